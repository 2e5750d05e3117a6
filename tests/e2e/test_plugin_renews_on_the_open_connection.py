"""AUTH 0x19 renews a token; nothing is lost meanwhile; a wrong one ends the connection."""

import time

import pytest

import tokens
from mqtt_raw import AUTH, CONNACK, DISCONNECT, PUBACK, V5, Closed


@pytest.fixture(scope="module")
def strict(workdir):
    import installation
    one = installation.Broker(workdir / "renewal", ["leeway 0"]).start()
    yield one
    one.stop()


METHODS = {"OAUTH2-JWT": lambda b, *a, **k: b.jwt(*a, **k),
           "OAUTH2-CWT": lambda b, *a, **k: b.cwt(*a, **k)}


def by_auth(b, method="OAUTH2-JWT", subject="sensor-1", **change):
    c = b.client(V5)
    ack = c.connect_by_auth(subject, method, METHODS[method](b, subject, **change))
    assert (ack.kind, ack.code) == (CONNACK, 0)
    return c


@pytest.mark.parametrize("method", METHODS)
def test_three_times_past_the_first_end(strict, method):
    make = METHODS[method]
    with by_auth(strict, method, exp=int(time.time()) + 3) as c:
        for _ in range(3):
            time.sleep(1.5)
            answer = c.reauthenticate(method, make(strict, exp=int(time.time()) + 3))
            assert (answer.kind, answer.code) == (AUTH, 0)
            assert c.publish("devices/sensor-1/telemetry", "{}") == 0
        when, code = c.end(timeout=8)
        assert code == 0x98, "the last token's end ends the connection"


def test_a_wider_token_gives_more_and_a_narrower_one_less(strict):
    with by_auth(strict, scope="config:read") as c:
        assert c.publish("devices/sensor-1/telemetry", "x") == 0x87
        assert c.subscribe("devices/sensor-1/config/#") == (1,)
        c.reauthenticate("OAUTH2-JWT", strict.jwt(scope="telemetry:send config:read"))
        assert c.publish("devices/sensor-1/telemetry", "x") == 0
        c.reauthenticate("OAUTH2-JWT", strict.jwt(scope="telemetry:send"))
        assert c.publish("devices/sensor-1/telemetry", "x") == 0
        with strict.connected("manager-1", strict.jwt("manager-1", scope="config:write",
                                                      device_type=None)) as manager:
            assert manager.publish("devices/sensor-1/config/a", "1") == 0
        assert c.messages(quiet=0.5) == [], "the filter is no longer covered"


WRONG = {
    "another subject": (lambda b: b.jwt("sensor-2"), "SUBJECT"),
    "wrong signature": (lambda b: tokens.jwt(tokens.Key(b.key.kid), b.claims()), "SIGNATURE"),
    "expired": (lambda b: b.jwt(exp=int(time.time()) - 1), "EXPIRED"),
    "another tenant": (lambda b: b.jwt(tnt="acme"), "SUBJECT|DENIED"),
    "bound to a key": (lambda b: b.jwt(cnf={"kid": "abc"}), "BOUND"),
    "not a token": (lambda b: "hunter2", ""),
}


@pytest.mark.parametrize("row", WRONG)
def test_a_refused_renewal_ends_the_connection(strict, row):
    make, reason = WRONG[row]
    with by_auth(strict) as c:
        mark = strict.log.mark()
        try:
            answer = c.reauthenticate("OAUTH2-JWT", make(strict))
            # 2.0.11 answers with a CONNACK where the standard wants a DISCONNECT.
            assert answer.kind in (DISCONNECT, CONNACK) and answer.code == 0x87
        except Closed:
            pass
        c.end(timeout=5)
    strict.log.wait(rf"sensor-1\b.*\b({reason})\b", mark)


def test_another_method_cannot_renew(strict):
    with by_auth(strict) as c:
        try:
            answer = c.reauthenticate("OAUTH2-CWT", strict.cwt())
            assert answer.kind in (DISCONNECT, CONNACK) and answer.code != 0
        except Closed:
            pass
        c.end(timeout=5)


def test_who_came_with_a_password_cannot_use_auth(strict):
    with strict.connected() as c:
        try:
            answer = c.reauthenticate("OAUTH2-JWT", strict.jwt())
            assert answer.kind in (DISCONNECT, CONNACK) and answer.code != 0
        except Closed:
            pass
        c.end(timeout=5)


def test_messages_flow_while_it_renews(strict):
    with strict.connected("monitor-1", strict.monitor()) as monitor, by_auth(strict) as c:
        monitor.subscribe("devices/+/telemetry/#")
        for n in range(50):
            c.publish("devices/sensor-1/telemetry", str(n), wait=False)
            if n % 10 == 0:
                c.auth(0x19, "OAUTH2-JWT", strict.jwt())
        codes = [c.read(PUBACK).code for _ in range(50)]
        assert max(codes) < 0x80
        assert [c.read(AUTH).code for _ in range(5)] == [0] * 5
        assert [m.payload for m in monitor.messages(count=50)] == \
            [str(n).encode() for n in range(50)]
