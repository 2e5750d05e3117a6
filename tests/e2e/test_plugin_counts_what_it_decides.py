"""Prometheus finds every decision on the plugin's page, by every road, whoever else is asking."""

import random
import re
import socket
import subprocess
import threading
import time
from contextlib import closing

import pytest

import prometheus
import tokens
from installation import free_ports, wait_until
from mqtt_raw import V311
from prometheus import get

NAMES = {"latchkey_auth_total", "latchkey_auth_duration_seconds_bucket",
         "latchkey_auth_duration_seconds_sum", "latchkey_auth_duration_seconds_count",
         "latchkey_acl_total", "latchkey_sessions", "latchkey_token_cache_total",
         "latchkey_disconnects_total", "latchkey_keys_last_success_timestamp_seconds",
         "latchkey_tick_ok", "latchkey_build_info"}
LABELS = {"latchkey_auth_total": {"method", "outcome", "reason"},
          "latchkey_acl_total": {"action", "outcome"},
          "latchkey_token_cache_total": {"outcome"}, "latchkey_disconnects_total": {"cause"},
          "latchkey_build_info": {"version"},
          "latchkey_auth_duration_seconds_bucket": {"le"}}


def curl(*arguments):
    done = subprocess.run(["curl", "-sS", "--max-time", "10", *arguments], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def port():
    return free_ports(1)


@pytest.fixture
def counting(broker, port):
    return broker(options=[f"metrics 127.0.0.1:{port}", "leeway 0"])


def page(port):
    return prometheus.parse(curl(f"http://127.0.0.1:{port}/metrics"))


def test_the_page_is_valid_and_complete(counting, port):
    with counting.connected(), counting.connected("acme~s1", counting.jwt("acme~s1", tnt="acme")):
        counting.client().connect("sensor-2", "hunter2")
        text = curl("-i", f"http://127.0.0.1:{port}/metrics")
        head, body = text.replace("\r\n", "\n").split("\n\n", 1)
        assert head.startswith("HTTP/1.1 200 OK\n")
        assert "Content-Type: text/plain; version=0.0.4; charset=utf-8" in head
        samples = prometheus.parse(body)
        assert {name for name, _ in samples} == NAMES
        for name, labels in samples:
            assert {label for label, _ in labels} == LABELS.get(name, set()), name
        assert abs(get(samples, "latchkey_keys_last_success_timestamp_seconds") - time.time()) < 60
        assert get(samples, "latchkey_tick_ok") == get(samples, "latchkey_build_info") == 1
        for secret in ("sensor", "acme", "devices", "telemetry"):
            assert secret not in body, "no metric names a device, a tenant or a topic"


def test_what_happens_is_counted(counting, port):
    token = counting.jwt(exp=int(time.time()) + 3)
    with counting.connected(token=token) as c:
        assert c.publish("devices/sensor-1/telemetry", "x") == 0
        assert c.publish("devices/sensor-1/telemetry", "x") == 0
        assert c.publish("devices/sensor-2/telemetry", "x") == 0x87
        assert c.subscribe("devices/sensor-1/config/#", "#") == (1, 0x87)
        assert c.unsubscribe("devices/sensor-1/config/#") == (0,)
        with counting.connected(token=token, client_id="sensor-1:2"):
            assert get(page(port), "latchkey_sessions") == 2
        with counting.client() as other:
            assert other.connect_by_auth("sensor-1", "OAUTH2-JWT", tokens.jwt(
                tokens.Key("nobody"), counting.claims())).code == 0x87
        wait_until("one has left", lambda: get(page(port), "latchkey_sessions") == 1)
        samples = page(port)
        auth = "latchkey_auth_total"
        assert get(samples, auth, method="password", outcome="ok", reason="OK") == 2
        assert get(samples, auth, method="OAUTH2-JWT", outcome="unauthorized", reason="KEY") == 1
        assert get(samples, auth) == get(samples, "latchkey_auth_duration_seconds_count") == 3
        assert 0 < get(samples, "latchkey_auth_duration_seconds_sum") < 3
        assert get(samples, "latchkey_token_cache_total", outcome="hit") == 1
        assert get(samples, "latchkey_token_cache_total", outcome="miss") == 1
        acl = "latchkey_acl_total"
        assert get(samples, acl, action="publish", outcome="ok") == 2
        assert get(samples, acl, action="publish", outcome="forbidden") == 1
        assert get(samples, acl, action="subscribe", outcome="ok") == 1
        assert get(samples, acl, action="subscribe", outcome="forbidden") == 1
        assert get(samples, acl, action="unsubscribe", outcome="ok") == 1
        c.end(timeout=10)
    wait_until("it was ended", lambda: get(page(port), "latchkey_disconnects_total",
                                           cause="EXPIRED") == 1)
    assert get(page(port), "latchkey_sessions") == 0


def test_unix_socket(broker):
    one = broker(start=False)
    path = one.dir / "metrics.sock"
    one.conf.write_text(one.conf.read_text() + f"plugin_opt_metrics unix:{path}\n")
    one.start()
    prometheus.parse(curl("--unix-socket", str(path), "http://localhost/metrics"))
    one.stop(sig=9)
    assert path.exists(), "left behind by a broker that was killed"
    one.start()
    assert path.stat().st_mode & 0o777 == 0o660
    prometheus.parse(curl("--unix-socket", str(path), "http://localhost/metrics"))
    one.stop()
    assert not path.exists()


def test_file(broker):
    one = broker(start=False)
    path = one.dir / "latchkey.prom"
    one.conf.write_text(one.conf.read_text() + f"plugin_opt_metrics {path}\n")
    one.start()
    assert path.stat().st_mode & 0o777 == 0o644
    before = path.stat().st_ino
    with one.connected():
        wait_until("it is written again",
                   lambda: get(prometheus.parse(path.read_text()), "latchkey_sessions") == 1, 15)
    assert path.stat().st_ino != before, "replaced, not written over"
    assert [p.name for p in one.dir.glob("latchkey.prom*")] == ["latchkey.prom"]


@pytest.mark.parametrize("place", ["on", "127.0.0.1", "example.test:9100", "unix:here",
                                   "/no/such/folder/latchkey.prom", "unix:/no/such/folder/sock"])
def test_a_wrong_place_stops_the_broker_and_is_named(broker, place):
    one = broker(options=[f"metrics {place}"], start=False)
    one.start(wait=False)
    one.process.wait(15)
    assert one.process.returncode != 0
    assert one.log.lines("option metrics")


def test_a_port_that_is_taken_stops_the_broker(counting, broker, port):
    one = broker(options=[f"metrics 127.0.0.1:{port}"], start=False)
    one.start(wait=False)
    one.process.wait(15)
    assert one.process.returncode != 0
    assert one.log.lines("option metrics .*in use")


def test_an_address_for_everybody_is_warned_about(broker, port):
    one = broker(options=[f"metrics 0.0.0.0:{port}"])
    assert one.log.lines("option metrics .*others than this machine")
    page(port)


def test_off_by_default(broker):
    one = broker()
    listening = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=False).stdout
    if listening:
        mine = [line for line in listening.splitlines() if f"pid={one.process.pid}," in line]
        assert len(mine) == 1, mine


def ask(port, data, timeout=10):
    with closing(socket.create_connection(("127.0.0.1", port), timeout=timeout)) as sock:
        try:
            sock.sendall(data)
            out = b""
            while chunk := sock.recv(65536):
                out += chunk
        except ConnectionResetError:
            return b""
        return out


MALFORMED = {
    "another path": (b"GET / HTTP/1.1\r\n\r\n", b"404"),
    "another method": (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", b"405"),
    "no version": (b"GET /metrics\r\n\r\n", b"400"),
    "another version": (b"GET /metrics HTTP/3.0\r\n\r\n", b"505"),
    "a proxy's form": (b"GET http://x/metrics HTTP/1.1\r\n\r\n", b"400"),
    "TLS": (b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1" + bytes(20), b"400"),
    "a head without end": (b"GET /metrics HTTP/1.1\r\n" + b"X: y\r\n" * 3000, b"431"),
    "one endless line": (b"G" * 100000, b"431"),
    "NUL": (b"GET /metrics\0 HTTP/1.1\r\n\r\n", b"400"),
}


def test_malformed_requests(counting, port):
    for name, (data, status) in MALFORMED.items():
        answer = ask(port, data)
        # Who sends more than he should may find the connection reset before the answer.
        assert answer.split(b" ")[1:2] == [status] or (len(data) > 4096 and not answer), name
    assert ask(port, b"HEAD /metrics HTTP/1.1\r\n\r\n").endswith(b"\r\n\r\n")
    rng = random.Random(4)
    good = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n"
    for _ in range(300):
        data = bytearray(good)
        for _ in range(rng.randrange(1, 5)):
            at = rng.randrange(len(data))
            data[at:at + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
        # Half a request is not answered but given up after a while: do not wait for that here.
        if b"\r\n\r\n" in data or b"\0" in data:
            ask(port, bytes(data))
    page(port)
    assert counting.process.poll() is None


def test_slow_and_greedy_scrapers_stop_nobody(counting, port):
    hungry = []
    try:
        for n in range(40):                         # far more than there are places
            sock = socket.create_connection(("127.0.0.1", port), timeout=5)
            sock.sendall(b"GET /metrics HTT" if n % 2 else b"G")
            hungry.append(sock)
            if n % 10 == 9:
                page(port)
        with counting.connected() as c:
            assert c.publish("devices/sensor-1/telemetry", "x") == 0
        began = time.monotonic()
        hungry[-1].settimeout(10)
        try:
            assert hungry[-1].recv(1) == b"", "half a request is given up"
        except ConnectionResetError:
            pass
        print(f"given up after {time.monotonic() - began:.1f} s")
    finally:
        for sock in hungry:
            sock.close()
    page(port)


def test_scraped_all_the_time(counting, port):
    """The page is made while the broker's thread counts: it is valid each time, and only grows."""
    stop, problems = threading.Event(), []

    def scrape():
        before = 0
        while not stop.is_set():
            try:
                now = get(page(port), "latchkey_acl_total", action="publish", outcome="ok")
                assert now >= before
                before = now
            except BaseException as problem:
                problems.append(problem)
                return
    threads = [threading.Thread(target=scrape) for _ in range(2)]
    for thread in threads:
        thread.start()
    with counting.connected(version=V311) as c:
        for _ in range(500):
            c.publish("devices/sensor-1/telemetry", "x")
    stop.set()
    for thread in threads:
        thread.join()
    assert not problems, problems
    assert get(page(port), "latchkey_acl_total", action="publish", outcome="ok") == 500


def test_help_is_for_people(counting, port):
    for line in curl(f"http://127.0.0.1:{port}/metrics").splitlines():
        if line.startswith("# HELP"):
            assert re.fullmatch(r"# HELP \w+ [A-Z1].*\.", line), line
