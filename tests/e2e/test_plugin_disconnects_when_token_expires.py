"""A connection ends when its token does; its will is still published."""

import time

import pytest

import tokens
from mqtt_raw import V5, V311


@pytest.fixture(scope="module")
def strict(workdir):
    import installation
    one = installation.Broker(workdir / "expiry", ["leeway 0"]).start()
    yield one
    one.stop()


def closed_in_time(when, exp, what):
    print(f"{what}: closed {when - exp:+.3f} s after exp")
    assert when >= exp, "closed before the token's end"
    assert when <= exp + 3, "kept open after the token's end"     # the promise is 1 s; CI has noise


@pytest.mark.parametrize("version", [V311, V5], ids=["mqtt311", "mqtt5"])
def test_at_the_end_of_a_five_second_token(strict, version):
    exp = int(time.time()) + 5
    with strict.connected(token=strict.jwt(exp=exp), version=version) as c:
        assert c.publish("devices/sensor-1/telemetry", "{}") == 0
        when, code = c.end(timeout=12)
    closed_in_time(when, exp, f"protocol {version}")
    assert code == (None if version == V311 else 0x98)
    strict.log.wait(r"sensor-1\b.*\b(EXPIRED|expired)\b|\b(EXPIRED|expired)\b.*sensor-1\b")


def test_of_a_real_token(fresh_stack):
    stack = fresh_stack(plugin_opts=["leeway 0"])
    device = stack.device("sensor")
    token = device.token(expires_in=5)
    import jwt as pyjwt
    exp = pyjwt.decode(token, options={"verify_signature": False})["exp"]
    assert exp <= time.time() + 5.5
    with device.connected(token=token) as c:
        when, code = c.end(timeout=12)
    closed_in_time(when, exp, "token of latchkeyd")
    assert code == 0x98


def test_leeway_is_given_to_the_open_connection(broker):
    one = broker(options=["leeway 3"])
    exp = int(time.time()) + 1
    with one.connected(token=one.jwt(exp=exp)) as c:
        when, _ = c.end(timeout=12)
    closed_in_time(when, exp + 3, "leeway 3")


def test_a_will_is_published_when_its_owner_expires(strict):
    with strict.connected("monitor-1", strict.monitor()) as monitor:
        monitor.subscribe("devices/+/telemetry/#")
        strict.connected("sensor-6", strict.jwt("sensor-6", exp=int(time.time()) + 2),
                         will=("devices/sensor-6/telemetry/gone", "battery", 1, False))
        message = monitor.message(timeout=8)
        assert (message.topic, message.payload) == ("devices/sensor-6/telemetry/gone", b"battery")


def test_many_expire_in_the_same_second_and_others_stay(strict):
    exp = int(time.time()) + 4
    dying = [strict.connected(f"sensor-{n}", strict.jwt(f"sensor-{n}", exp=exp))
             for n in range(100, 160)]
    living = [strict.connected(f"sensor-{n}") for n in range(200, 220)]
    ends = [c.end(timeout=12)[0] for c in dying]
    closed_in_time(max(ends), exp, "60 at once")
    assert all(c.is_open() for c in living)
    for c in living:
        c.close()


def test_an_expired_token_does_not_come_back(strict):
    token = strict.jwt(exp=int(time.time()) + 1)
    with strict.connected(token=token) as c:
        c.end(timeout=8)
    with strict.client(V5) as c:
        assert c.connect("sensor-1", token).code == 0x87


def test_a_subscription_stops_with_the_token_even_for_a_stuck_session(strict):
    """Persistent session: expired while online, the queue goes on; login is judged anew."""
    session = {"clean": False, "props": {0x11: 300}}
    with strict.connected("actuator-1", strict.jwt(
            "actuator-1", scope=tokens.ACTUATOR, device_type="actuator",
            exp=int(time.time()) + 2), **session) as c:
        assert c.subscribe("devices/actuator-1/config/#") == (1,)
        c.end(timeout=8)
    with strict.connected("manager-1", strict.jwt("manager-1", scope="config:write",
                                                  device_type=None)) as manager:
        assert manager.publish("devices/actuator-1/config/rate", "5", retain=False) == 0
    with strict.client(V5) as c:
        ack = c.connect("actuator-1", strict.jwt(
            "actuator-1", scope=tokens.ACTUATOR, device_type="actuator"), **session)
        assert (ack.code, ack.session_present) == (0, True)
        assert c.message().payload == b"5"
