"""Malformed everything over HTTP: a 4xx with a reason or a closed connection; never a 5xx, never
half a device.

LATCHKEY_SOAK_ROUNDS multiplies the mutations (tools/soak malformed).
"""

import json
import os
import random
import socket
import ssl
import threading
import uuid
from urllib.parse import urlparse

import pytest

SEED = int(os.environ.get("LATCHKEY_SOAK_SEED", "20260"))
ROUNDS = int(os.environ.get("LATCHKEY_SOAK_ROUNDS", "1"))
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def manager(stack):
    return stack.api("manager")


@pytest.fixture(scope="module")
def count(manager):
    """How many devices there are."""
    return lambda: manager.get("/v1/devices/count").json()["count"]


@pytest.fixture(autouse=True)
def still_healthy(stack, manager):
    pid = stack.env["LATCHKEY_PID_LATCHKEYD"]
    yield
    assert manager.get("/healthz").status_code == 200
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        assert stat.read().split()[2] != "Z", "latchkeyd died"


JSON = {
    "nothing": b"", "a word": b"hello", "half": b'{"type":"sensor"', "a list": b"[]",
    "a text": b'"sensor"', "a number": b"7", "null": b"null", "two values": b"{}{}",
    "member twice": b'{"type":"sensor","type":"actuator"}', "not UTF-8": b'{"type":"\xff\xfe"}',
    "a lone surrogate": b'{"type":"\\ud800"}', "NUL in a text": b'{"type":"sensor","name":"a\\u0000"}',
    "deep lists": b'{"type":' + b"[" * 5000 + b"]" * 5000 + b"}",
    "deep objects": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "a huge number": b'{"type":1' + b"0" * 5000 + b"}", "NaN": b'{"type":NaN}',
    "a trailing comma": b'{"type":"sensor",}', "a comment": b'{"type":"sensor"/**/}',
    "a byte order mark": b'\xef\xbb\xbf{"type":"sensor"}', "tabs in a text": b'{"type":"a\tb"}',
    "three thousand members": b"{" + b",".join(b'"m%d":1' % n for n in range(3000)) + b"}",
    "CBOR": bytes.fromhex("a16474797065667365") + b"nsor",
}


@pytest.mark.parametrize("row", JSON)
def test_json(manager, count, row):
    before = count()
    answer = manager.post("/v1/devices", data=JSON[row],
                          headers={"Content-Type": "application/json"})
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert count() == before


def test_other_content_types(manager):
    for kind in ("text/plain", "application/xml", "multipart/form-data", "", "application/json;;;"):
        answer = manager.post("/v1/devices", data=b"<x/>", headers={"Content-Type": kind})
        assert answer.status_code in (400, 415), kind


FORMS = {
    "nothing": b"", "no name": b"=client_credentials", "no value": b"grant_type",
    "half an escape": b"grant_type=%", "half an escape 2": b"grant_type=client%4",
    "not hex": b"grant_type=%zz", "NUL": b"grant_type=client_credentials%00",
    "raw NUL": b"grant_type=client_credentials\0", "not UTF-8": b"grant_type=%ff%fe",
    "thousands": b"&".join(b"p%d=1" % n for n in range(5000)), "only separators": b"&" * 5000,
    "a long scope": b"grant_type=client_credentials&scope=" + b"a" * 12000,
    "JSON": b'{"grant_type":"client_credentials"}',
}


@pytest.mark.parametrize("row", FORMS)
def test_forms(stack, manager, row):
    who, secret = stack.credentials("monitor")
    answer = manager.post("/oauth/token", data=FORMS[row], auth=(who, secret), headers={
        "Content-Type": "application/x-www-form-urlencoded", "Authorization": None})
    assert 400 <= answer.status_code < 500, answer.text
    assert "access_token" not in answer.text


TOO_LONG = {
    "a MiB of blanks": b" " * MIB, "a MiB of a": b'{"type":"' + b"a" * MIB + b'"}',
    "a MiB of members": b"{" + b",".join(b'"m%06d":1' % n for n in range(90000)) + b"}",
    "a MiB secret": b"grant_type=client_credentials&client_id=x&client_secret=" + b"s" * MIB,
}


@pytest.mark.parametrize("row", TOO_LONG)
def test_bodies_that_are_too_long(stack, manager, count, row):
    """413, or the connection ends before all of it was sent."""
    before = count()
    for path, kind in (("/v1/devices", "application/json"),
                       ("/oauth/token", "application/x-www-form-urlencoded")):
        head = (f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n"
                f"Authorization: {manager.headers['Authorization']}\r\n"
                f"Content-Length: {len(TOO_LONG[row])}\r\n\r\n")
        status, _ = raw(stack, head.encode() + TOO_LONG[row])
        assert status in (413, None)
    assert count() == before


AUTHORIZATIONS = {
    "half Basic": "Basic", "Basic without base64": "Basic !!!", "Basic without a colon": "Basic YWJj",
    "Basic with NUL": "Basic YQA6Yg==", "a MiB": "Basic " + "QUJD" * (MIB // 4),
    "unknown scheme": "Digest username=x", "two schemes": "Basic YTpi, Bearer x", "empty": "",
    "a 12 KiB secret": "Basic " + "QUJD" * 3000, "Bearer only": "Bearer", "Bearer two": "Bearer a b",
    "Bearer long": "Bearer " + "x" * 12000, "Bearer dots": "Bearer " + "." * 4000,
    "Bearer a.b.c": "Bearer eyJhbGciOiJub25lIn0.e30.",
}


@pytest.mark.parametrize("row", AUTHORIZATIONS)
def test_authorization_headers(stack, row):
    for path in ("/oauth/token", "/v1/devices"):
        status, _ = raw(stack, (f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 29\r\n"
                                "Content-Type: application/x-www-form-urlencoded\r\n"
                                f"Authorization: {AUTHORIZATIONS[row]}\r\n\r\n"
                                "grant_type=client_credentials").encode())
        assert status is None or 400 <= status < 500, status


def raw(stack, data, pieces=1):
    """Send bytes over TLS. @return (status or None when closed without an answer, answer).

    In a thread of its own: OpenSSL's errors are kept by thread, and Python 3.13 would take what a
    broken connection leaves behind for an error of the next one.
    """
    out = []
    thread = threading.Thread(target=lambda: out.append(raw_here(stack, data, pieces)))
    thread.start()
    thread.join()
    return out[0]


def raw_here(stack, data, pieces):
    url = urlparse(stack.url)
    context = ssl.create_default_context(cafile=stack.ca)
    with socket.create_connection((url.hostname, url.port), timeout=15) as plain, \
            context.wrap_socket(plain, server_hostname=url.hostname) as sock:
        answer = b""
        try:
            step = -(-len(data) // pieces) or 1
            for at in range(0, len(data), step):
                sock.sendall(data[at:at + step])
            sock.settimeout(2)
            while b"\r\n\r\n" not in answer:
                more = sock.recv(65536)
                if not more:
                    break
                answer += more
        except (TimeoutError, ConnectionError, ssl.SSLError):
            pass
    line = answer.split(b"\r\n", 1)[0].split()
    return (int(line[1]) if len(line) > 1 else None), answer


HTTP = {
    "not HTTP": b"hello\r\n\r\n", "no version": b"GET /healthz\r\n\r\n",
    "HTTP/9": b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n", "NUL in the path": b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a long path": b"GET /" + b"a" * 60000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "dots": b"GET /v1/../../../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
    "escaped slash": b"GET /v1/devices/a%2fb HTTP/1.1\r\nHost: x\r\n\r\n",
    "escaped NUL": b"GET /v1/devices/a%00b HTTP/1.1\r\nHost: x\r\n\r\n",
    "a long header": b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100000 + b"\r\n\r\n",
    "ten thousand headers": b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 10000 + b"\r\n",
    "a header without a colon": b"GET /healthz HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n",
    "an unknown method": b"BREW /coffee HTTP/1.1\r\nHost: x\r\n\r\n",
    "a length that is none": b"POST /oauth/token HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
    "a negative length": b"POST /oauth/token HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "a huge length": b"POST /oauth/token HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999\r\n\r\nx",
    "bad chunks": b"POST /oauth/token HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
    "a huge chunk": b"POST /oauth/token HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
}


@pytest.mark.parametrize("row", HTTP)
def test_http(stack, row):
    for pieces in (1, 7):
        status, _ = raw(stack, HTTP[row], pieces)
        assert status is None or 400 <= status < 500 or \
            (status == 501 and row == "an unknown method"), status


def test_connections_that_say_nothing_do_not_block_others(stack, manager):
    url = urlparse(stack.url)
    silent = [socket.create_connection((url.hostname, url.port), timeout=10) for _ in range(50)]
    for sock in silent[:25]:
        sock.sendall(b"\x16\x03\x01")                   # the beginning of a handshake
    assert manager.get("/healthz", timeout=5).status_code == 200
    for sock in silent:
        sock.close()


def mutate(random_, data):
    data = bytearray(data)
    for _ in range(random_.randint(1, 4)):
        what, at = random_.randrange(4), random_.randrange(len(data))
        if what == 0:
            data[at] ^= 1 << random_.randrange(8)
        elif what == 1:
            del data[at:at + random_.randint(1, 8)]
        elif what == 2:
            data[at:at] = bytes(random_.randrange(256) for _ in range(random_.randint(1, 8)))
        else:
            data = data[:at]
        if not data:
            return b"{"
    return bytes(data)


def test_mutated_registrations(manager, count):
    """Whatever is answered with 201 is one whole device; whatever is not has left nothing."""
    rng, created, before = random.Random(SEED), 0, count()
    for n in range(300 * ROUNDS):
        good = json.dumps({"type": "sensor", "id": f"m-{uuid.uuid4().hex}", "name": "Böiler",
                           "tags": ["a=1", "b=2"], "location": "cellar"}).encode()
        answer = manager.post("/v1/devices", data=mutate(rng, good),
                              headers={"Content-Type": "application/json"})
        if answer.status_code == 201:
            created += 1
            name = answer.json()["device"]["id"]
            assert manager.get("/v1/devices/" + name).status_code == 200
        else:
            assert 400 <= answer.status_code < 500, (n, answer.status_code, answer.text)
    assert count() == before + created


def test_mutated_token_requests(stack, manager):
    rng, device = random.Random(SEED + 1), stack.device("sensor")
    good = (f"grant_type=client_credentials&client_id={device.id}&client_secret={device.secret}"
            "&scope=telemetry%3Asend&token_format=cwt").encode()
    for _ in range(300 * ROUNDS):
        answer = manager.post("/oauth/token", data=mutate(rng, good), headers={
            "Content-Type": "application/x-www-form-urlencoded", "Authorization": None})
        assert answer.status_code == 200 or 400 <= answer.status_code < 500, answer.text
    assert stack.post_token(device.id, device.secret).status_code == 200


def test_mutated_bearer_tokens(stack, manager):
    rng = random.Random(SEED + 2)
    token = stack.token(*stack.credentials("manager"), audience="latchkey-api").encode()
    for _ in range(300 * ROUNDS):
        wrong = mutate(rng, token).translate(None, b"\r\n\0")
        if wrong.strip() == token:
            continue
        answer = manager.get("/v1/devices", headers={"Authorization": b"Bearer " + wrong})
        assert answer.status_code in (400, 401), answer.text


def test_mutated_http(stack):
    rng, device = random.Random(SEED + 3), stack.device("sensor")
    body = b"grant_type=client_credentials"
    good = (b"POST /oauth/token HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n"
            b"X-Request-Id: abc\r\n\r\n" % len(body)) + body
    for _ in range(60 * ROUNDS):
        status, _ = raw(stack, mutate(rng, good) + b"\r\n\r\n")
        assert status is None or status < 500 or status == 501
    assert stack.post_token(device.id, device.secret).status_code == 200
