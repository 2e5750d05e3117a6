"""Monitors see which devices are connected: retained, under the device's own topic, without flapping."""

import json
import time

import pytest

import tokens
from installation import wait_until
from mqtt_raw import V311

WATCH = tokens.MONITOR + " status:read"


class Watcher:
    def __init__(self, one, filter_="devices/+/presence", **claims):
        token = one.monitor("watcher-1", scope=WATCH, **claims)
        self.client = one.connected("watcher-1", token)
        assert self.client.subscribe(filter_) == (1,)

    def next(self, timeout=5):
        message = self.client.message(timeout=timeout)
        return message, json.loads(message.payload)

    def quiet(self, seconds=1):
        assert self.client.messages(quiet=seconds) == []


@pytest.fixture
def one(broker):
    return broker(options=["leeway 0"])


@pytest.fixture
def watcher(one):
    return Watcher(one)


def expect(watcher, device, online, reason=None, timeout=5):
    message, said = watcher.next(timeout)
    assert message.topic == f"devices/{device}/presence" and message.qos == 1
    assert abs(said.pop("since") - time.time()) < 5
    wanted = {"online": online, "via": "mqtt"}
    if reason:
        wanted["reason"] = reason
    assert said == wanted


def test_coming_and_going(one, watcher):
    c = one.connected()
    expect(watcher, "sensor-1", True)
    c.disconnect()
    expect(watcher, "sensor-1", False)
    c = one.connected(version=V311)
    expect(watcher, "sensor-1", True)
    c.close()                                       # without a word
    expect(watcher, "sensor-1", False)
    watcher.quiet()


def test_it_is_retained(one, watcher):
    with one.connected():
        expect(watcher, "sensor-1", True)
        late = one.connected("watcher-2", one.monitor("watcher-2", scope=WATCH))
        late.subscribe("devices/+/presence")
        message = late.message(timeout=5)
        assert message.retain and json.loads(message.payload)["online"] is True


def test_a_take_over_does_not_flap(one, watcher):
    first = one.connected()
    expect(watcher, "sensor-1", True)
    for _ in range(5):
        second = one.connected()
        first.end()
        first = second
    watcher.quiet()
    first.close()
    expect(watcher, "sensor-1", False)


def test_the_last_connection_counts(one, watcher):
    a, b = one.connected(client_id="sensor-1:a"), one.connected(client_id="sensor-1:b")
    expect(watcher, "sensor-1", True)
    a.close()
    watcher.quiet()
    b.close()
    expect(watcher, "sensor-1", False)


def test_an_expired_one_has_a_reason(one, watcher):
    c = one.connected(token=one.jwt(exp=int(time.time()) + 2))
    expect(watcher, "sensor-1", True)
    c.end()
    expect(watcher, "sensor-1", False, "EXPIRED")


def test_only_devices_and_only_those_who_are_in(one, watcher):
    with one.connected("monitor-1", one.monitor()) as c:
        assert c.is_open()
    with one.client() as c:
        assert c.connect("sensor-1", one.jwt("sensor-2")).code == 0x87
    watcher.quiet()


def test_a_renewal_says_nothing(one, watcher):
    with one.client() as c:
        assert c.connect_by_auth("sensor-1", "OAUTH2-JWT", one.jwt()).code == 0
        expect(watcher, "sensor-1", True)
        c.reauthenticate("OAUTH2-JWT", one.jwt())
        watcher.quiet()


def test_a_sleeping_session_is_offline(one, watcher):
    c = one.connected(clean=False, props={0x11: 3600})
    expect(watcher, "sensor-1", True)
    c.close()
    expect(watcher, "sensor-1", False)


def test_a_tenants_device(one):
    watcher = Watcher(one, "devices/+/presence")
    with one.connected("acme~s1", one.jwt("acme~s1", tnt="acme")):
        watcher.quiet()
        own = one.connected("acme~m1", one.monitor("acme~m1", scope=WATCH, tnt="acme"))
        assert own.subscribe("t/acme/devices/+/presence") == (1,)
        assert own.message(timeout=5).topic == "t/acme/devices/acme~s1/presence"


def test_devices_cannot_say_it_themselves(one):
    with one.connected(token=one.jwt(scope="telemetry:send status:send")) as c:
        assert c.publish("devices/sensor-1/presence", "{}", retain=True) == 0x87
        assert c.subscribe("devices/+/presence") == (0x87,)


def test_many_at_once(one, watcher):
    ids = [f"sensor-{n}" for n in range(300)]
    clients = [one.connected(i, version=V311) for i in ids]
    seen = {watcher.next()[0].topic for _ in ids}
    assert seen == {f"devices/{i}/presence" for i in ids}
    for c in clients:
        c.close()
    gone = [watcher.next() for _ in ids]
    assert all(said["online"] is False for _, said in gone)
    assert {message.topic for message, _ in gone} == seen
    watcher.quiet()


def test_off(broker):
    one = broker(options=["presence false"])
    watcher = Watcher(one)
    with one.connected() as c:
        assert c.is_open()
    watcher.quiet(1.5)


@pytest.mark.parametrize("sig", [15, 9], ids=["stopped", "killed"])
def test_after_a_restart_who_is_not_back_is_offline(broker, sig):
    one = broker(start=False, config="autosave_interval 1\n")
    one.conf.write_text(one.conf.read_text().replace("autosave_interval 1800\n", ""))
    secret = one.dir / "secret"
    secret.write_text(tokens.b64(bytes(32)) + "\n")
    secret.chmod(0o600)
    one.conf.write_text(one.conf.read_text() + f"plugin_opt_client_secret_file {secret}\n")
    one.start()
    held = [one.connected("back-1"), one.connected("gone-1")]
    assert all(c.is_open() for c in held)
    if sig == 9:
        state = one.dir / "state" / "sessions"
        wait_until("the sessions are saved",
                   lambda: state.exists() and b"gone-1" in state.read_bytes(), 15)
        time.sleep(2)                               # and the broker's own file
    stopped = time.time()
    one.stop(sig)
    one.start()
    back = one.connected("back-1")
    watcher = Watcher(one)
    last = {}

    def gone():
        for message in watcher.client.messages(quiet=0.3):
            last.setdefault(message.topic.split("/")[1], []).append(json.loads(message.payload))
        return last.get("gone-1", [{}])[-1].get("online") is False
    wait_until("it is told", gone, 40, 0.5)
    took = time.time() - stopped
    assert took > 10, "others have time to come back"
    assert abs(last["gone-1"][-1]["since"] - stopped) < 10, "since it was last seen"
    assert all(said["online"] for said in last["back-1"])
    assert back.is_open()
