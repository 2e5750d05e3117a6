"""Malformed everything over MQTT: refused, with a reason; the broker lives, and so do the others.

LATCHKEY_SOAK_ROUNDS multiplies the mutations (tools/soak malformed).
"""

import os
import random
import struct

import pytest

import tokens
from mqtt_raw import (AUTH_DATA, AUTH_METHOD, CONNACK, V5, V311, Closed, connect_packet, packet,
                      properties, swarm, text)

SEED = int(os.environ.get("LATCHKEY_SOAK_SEED", "20261"))
ROUNDS = int(os.environ.get("LATCHKEY_SOAK_ROUNDS", "1"))


@pytest.fixture(autouse=True)
def others_live(shared_broker):
    with shared_broker.connected("witness-1") as witness:
        yield
        assert witness.is_open(), "the broker died or dropped somebody else"
    assert shared_broker.process.poll() is None


def mutate(rng, data):
    data = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        what, at = rng.randrange(4), rng.randrange(len(data))
        if what == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif what == 1:
            del data[at:at + rng.randint(1, 4)]
        elif what == 2:
            data[at:at] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 4)))
        else:
            data = data[:at]
        if not data:
            return b"x"
    return bytes(data)


def refuse_all(broker, passwords):
    """None of them gets in."""
    packets = [connect_packet("sensor-1", p, version=V311) for p in passwords]
    for n, (sock, code) in enumerate(swarm(broker.port, len(packets), packets.__getitem__)):
        sock.close()
        assert code in (5, None), f"admitted with {passwords[n]!r}"


def test_thousands_of_mutated_jwts(shared_broker):
    rng, good = random.Random(SEED), shared_broker.jwt().encode()
    wrong = [mutate(rng, good) for _ in range(2000 * ROUNDS)]
    refuse_all(shared_broker, [w for w in wrong if w != good])


def test_thousands_of_mutated_cwts(shared_broker):
    rng, good = random.Random(SEED + 1), shared_broker.cwt()
    wrong = [mutate(rng, good) for _ in range(2000 * ROUNDS)]
    refuse_all(shared_broker, [tokens.b64(w) for w in wrong if w != good])


def test_every_truncation(shared_broker):
    jwt, cwt = shared_broker.jwt().encode(), shared_broker.cwt()
    refuse_all(shared_broker, [jwt[:n] for n in range(1, len(jwt))] +
               [tokens.b64(cwt[:n]) for n in range(1, len(cwt))])


def test_every_byte_of_a_raw_cwt_by_auth(shared_broker):
    good = shared_broker.cwt()
    for at in range(0, len(good), 1 if ROUNDS > 1 else 3):
        wrong = bytearray(good)
        wrong[at] ^= 0x41
        with shared_broker.client(V5) as c:
            ack = c.connect_by_auth("sensor-1", "OAUTH2-CWT", bytes(wrong))
            assert (ack.kind, ack.code) == (CONNACK, 0x87), at


HEADERS = ['{"alg":"ES256","alg":"none"}', '{"alg":["ES256"]}', '{"alg":null}', "{}", "[]", "null",
           '{"alg":"ES256","kid":7}', '{"alg":"ES256","kid":"' + "k" * 4000 + '"}',
           '{"alg":"ES256","kid":"test-1","typ":"at+jwt","jwk":{"kty":"EC"}}',
           '{"alg":"ES256","kid":"../../etc/passwd"}', '{"alg":"ES256","b64":false,"crit":["b64"]}',
           '{"alg":"ES256"', '{"alg":"ES256","x":' + "[" * 3000 + "]" * 3000 + "}", "\0", '"ES256"']
BODIES = ["", "{}", "[]", "null", "{" + '"a":1,' * 900 + '"b":1}', '{"exp":' + "9" * 400 + "}",
          '{"iss":{"a":1}}', '{"aud":' + "[" * 2000 + "]" * 2000 + "}", '{"sub":"\\ud800"}',
          '{"sub":"a\\u0000b"}', '{"aud":["' + '","'.join("abcdefgh") * 50 + '"]}']


def test_headers_and_bodies(shared_broker):
    key, made = shared_broker.key, []

    def sign(head, body):
        data = tokens.b64(head.encode()) + "." + tokens.b64(body.encode())
        return data + "." + tokens.b64(key.sign(data.encode()))

    good_head = '{"alg":"ES256","kid":"test-1","typ":"at+jwt"}'
    made += [sign(head, "{}") for head in HEADERS]
    made += [sign(good_head, body) for body in BODIES]
    refuse_all(shared_broker, made)


LONG = {
    "of 8 KiB and one": lambda b: b.jwt(pad="x" * 8192),
    "as long as a password can be": lambda b: "e" * 65535,
    "dots": lambda b: "." * 65535,
    "a JWT with a long signature": lambda b: b.jwt() + "A" * 60000,
    "base64url of nested arrays": lambda b: tokens.b64(b"\x81" * 40000),
    "base64url of a map that promises much": lambda b: tokens.b64(b"\xbb" + b"\xff" * 8),
    "base64url of a text that promises much": lambda b: tokens.b64(b"\x7b" + b"\xff" * 8),
    "base64url of tags": lambda b: tokens.b64(b"\xd8\x3d" * 20000),
}


@pytest.mark.parametrize("row", LONG)
@pytest.mark.parametrize("version", [V311, V5], ids=["mqtt311", "mqtt5"])
def test_long_ones(shared_broker, row, version):
    with shared_broker.client(version) as c:
        try:
            assert c.connect("sensor-1", LONG[row](shared_broker)).code in (5, 0x87, 0x95)
        except Closed:
            pass


@pytest.mark.parametrize("size", [65535, 1024 * 1024])
def test_a_connect_of_a_mebibyte(shared_broker, size):
    """A password cannot be longer than 65535 bytes; the packet around it can."""
    body = connect_packet("sensor-1", b"p" * 65535, version=V5)
    with shared_broker.client(V5) as c:
        try:
            c.send(body if size == 65535 else packet(1, body[5:] + b"p" * (size - len(body))))
            assert c.read(CONNACK).code != 0
        except (Closed, OSError):
            pass


def test_passwords_and_names_of_all_bytes(shared_broker):
    rng = random.Random(SEED + 2)
    for n in range(100):
        junk = bytes(rng.randrange(256) for _ in range(rng.randint(0, 300)))
        for version in (V311, V5):
            with shared_broker.client(version) as c:
                try:
                    assert c.connect("sensor-1", junk, username=junk if n % 2 else "x").code != 0
                except Closed:
                    pass


def test_ids_of_all_kinds(shared_broker):
    token = shared_broker.jwt()
    for client_id in ("sensor-1/", "sensor-1#", "#", "+", "sensor-1\x7f", "Sensor-1", "sensor-1 ",
                      " sensor-1", "sensor-10", "x" * 65535, "sensor-1:" + "x" * 60000, "%c",
                      "sensor‑1"):
        for version in (V311, V5):
            with shared_broker.client(version) as c:
                try:
                    assert c.connect(client_id, token).code != 0, client_id
                except Closed:
                    pass


def test_auth_packets_out_of_place(shared_broker):
    def auth(code, props):
        return packet(15, bytes([code]) + properties(props))
    for data in (auth(0x18, {AUTH_METHOD: "OAUTH2-JWT", AUTH_DATA: b"x"}), auth(0x19, {}),
                 auth(0x00, {AUTH_METHOD: "OAUTH2-JWT"}), packet(15), auth(0xFF, {}),
                 packet(15, bytes([0x19]) + b"\xff\xff\xff\xff")):
        for first in (True, False):
            with shared_broker.client(V5) as c:
                try:
                    if not first:
                        c.connect_by_auth("sensor-1", "OAUTH2-JWT", shared_broker.jwt())
                    c.send(data)
                    c.end(timeout=5)
                except (Closed, OSError):
                    pass


def test_auth_data_of_all_kinds(shared_broker):
    for data in (b"", None, b"\0", b"x" * 65535, b"\xd8\x3d", shared_broker.jwt() + "\0",
                 b"\0" + shared_broker.jwt().encode(), shared_broker.jwt() + " "):
        for method in ("OAUTH2-JWT", "OAUTH2-CWT"):
            with shared_broker.client(V5) as c:
                try:
                    assert c.connect_by_auth("sensor-1", method, data).code != 0
                except Closed:
                    pass


def test_a_cwt_by_the_jwts_method_and_the_other_way_round(shared_broker):
    for method, data in (("OAUTH2-JWT", shared_broker.cwt()), ("OAUTH2-CWT", shared_broker.jwt()),
                         ("OAUTH2-CWT", tokens.b64(shared_broker.cwt()))):
        with shared_broker.client(V5) as c:
            assert c.connect_by_auth("sensor-1", method, data).code == 0x87, method


def test_topics_of_all_kinds(shared_broker):
    with shared_broker.connected() as sensor:
        for topic in ("x" * 65535, "/" * 5000, "devices/sensor-1/telemetry/" + "a/" * 3000):
            try:
                sensor.publish(topic, b"", qos=1)
            except Closed:
                break
    for filter_ in ("$share", "$share/", "$share//", "$share/g", "$share/g/", "$share/+/a",
                    "$share/g/$share/h/#", "a/#/b", "a+/b", "#a", "+/" * 3000 + "#", "\x00", ""):
        with shared_broker.connected() as sensor:
            try:
                assert sensor.subscribe(filter_)[0] >= 0x80, filter_
            except (Closed, OSError):
                pass


def test_packets_of_all_bytes(shared_broker):
    rng = random.Random(SEED + 3)
    good = connect_packet("sensor-1", shared_broker.jwt(), version=V5)
    for _ in range(500 * ROUNDS):
        with shared_broker.client(V5) as c:
            try:
                c.send(mutate(rng, good))
                c.send(struct.pack(">H", 0))
                c.sock.settimeout(0.01)
                c.sock.recv(100)
            except (Closed, OSError):
                pass
    assert text("")
