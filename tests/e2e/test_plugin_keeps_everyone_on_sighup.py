"""SIGHUP makes Mosquitto ask about every session again. Nobody entitled notices; no signature is
verified again; a stranger gets nothing out of it."""

import struct
import threading
import time

import pytest

import tokens
from installation import wait_until
from mqtt_raw import (SESSION_EXPIRY, V5, V311, Closed, connect_packet, still_open, swarm)

ONLINE, OFFLINE, BY_AUTH = 1000, 100, 20


def read_counter(path):
    return struct.unpack("<Q", path.read_bytes()[:8])[0]


def persistent(version):
    return {"clean": False, "props": {SESSION_EXPIRY: 600} if version == V5 else None}


class Strangers(threading.Thread):
    """Claim the ids of offline devices with wrong passwords, as fast as it goes."""

    def __init__(self, broker, ids, passwords):
        super().__init__(daemon=True)
        self.broker, self.ids, self.passwords = broker, ids, passwords
        self.halt, self.tries, self.admitted = threading.Event(), 0, []

    def run(self):
        while not self.halt.is_set():
            for n, victim in enumerate(self.ids):
                version = (V311, V5)[n % 2]
                password = self.passwords[self.tries % len(self.passwords)]
                self.try_once(victim, version, password)
                if self.halt.is_set():
                    return

    def try_once(self, victim, version, password):
        self.tries += 1
        try:
            with self.broker.client(version) as c:
                ack = c.connect(victim, password, **persistent(version))
                if ack.code == 0:
                    self.admitted.append((victim, password))
        except (Closed, OSError):
            pass

    def finish(self):
        self.halt.set()
        self.join(30)


@pytest.fixture
def hub(broker, count_verifications, workdir, monkeypatch):
    counter = workdir / "verifications"
    monkeypatch.setenv("LATCHKEY_TEST_COUNTER", str(counter))
    one = broker(options=["leeway 300"], preload=count_verifications)
    one.counter = counter
    return one


def test_a_thousand_online_a_hundred_offline(hub):
    past, later = int(time.time()) - 10, int(time.time()) + 600

    def token(subject, n, **more):
        return hub.jwt(subject, exp=past if n % 2 else later, iat=past - 300, **more)

    offline = [f"sleeper-{n}" for n in range(OFFLINE)]
    for n, name in enumerate(offline):
        version = (V311, V5)[n // 2 % 2]
        c = hub.connected(name, token(name, n), version=version, **persistent(version))
        assert c.subscribe(f"devices/{name}/config/#") == (1,)
        c.disconnect()
    packets = [connect_packet(f"online-{n}", token(f"online-{n}", n), version=V311)
               for n in range(ONLINE)]
    online = swarm(hub.port, ONLINE, packets.__getitem__)
    assert [code for _, code in online] == [0] * ONLINE
    by_auth = []
    for n in range(BY_AUTH):
        c = hub.client(V5)
        assert c.connect_by_auth(f"auth-{n}", "OAUTH2-JWT", token(f"auth-{n}", n)).code == 0
        by_auth.append(c)

    # Before: wrong passwords of every kind, among them a good token of another device.
    forged = tokens.jwt(tokens.Key(hub.key.kid), hub.claims(offline[0]))
    wrong = ["hunter2", forged, hub.jwt("online-1"), token("online-2", 1)]
    before = Strangers(hub, offline, wrong)
    for n, victim in enumerate(offline[:20]):
        before.try_once(victim, (V311, V5)[n % 2], wrong[n % 4])
    assert not before.admitted
    assert read_counter(hub.counter) >= ONLINE + OFFLINE, "the counter does not count"

    # During: garbage only, so that every verification that is counted is one too many.
    mark, count = hub.log.mark(), read_counter(hub.counter)
    during = Strangers(hub, offline, ["hunter2", "", "x" * 200])
    during.start()
    for reload in range(3):
        hub.reload()
        wait_until("the broker says that it reloads",
                   lambda n=reload: len(hub.log.lines("Reloading config", mark)) > n)
        time.sleep(0.5)
    during.finish()
    assert during.tries > 20
    assert not during.admitted, f"admitted during the reload: {during.admitted[:3]}"
    alive = still_open([sock for sock, _ in online], settle=1)
    assert alive == [True] * ONLINE, f"{alive.count(False)} connected clients were dropped"
    assert all(c.is_open() for c in by_auth)
    assert read_counter(hub.counter) == count, "signatures were verified again"

    # After: still nothing for strangers, and everything for those who sleep.
    after = Strangers(hub, offline, wrong)
    for n, victim in enumerate(offline):
        after.try_once(victim, (V311, V5)[n % 2], wrong[n % 4])
    assert not after.admitted
    manager = hub.connected("manager-1", hub.jwt("manager-1", scope="config:write",
                                                 device_type=None))
    for name in offline:
        assert manager.publish(f"devices/{name}/config/x", name) == 0
    for n, name in enumerate(offline):
        version = (V311, V5)[n // 2 % 2]
        c = hub.client(version)
        ack = c.connect(name, hub.jwt(name), **persistent(version))
        assert (ack.code, ack.session_present) == (0, True), name
        assert c.message().payload == name.encode()
        c.disconnect()
    for sock, _ in online:
        sock.close()


def test_the_scope_map_is_read_again(broker):
    one = broker()
    with one.connected() as c:
        assert c.publish("devices/sensor-1/extra", "x") == 0x87
        good = one.scopes.read_text()
        mark = one.log.mark()
        one.scopes.write_text(good + "telemetry:send publish devices/{device}/extra\n")
        one.reload()
        wait_until("the new rule works", lambda: c.publish("devices/sensor-1/extra", "x") == 0)

        # A broken file: the map that was good stays, and the log says where it is broken.
        one.scopes.write_text(good + "telemetry:send shout devices/{device}/extra\n")
        line = len(good.splitlines()) + 1
        mark = one.log.mark()
        one.reload()
        one.log.wait(rf"scopes\.acl.*\b{line}\b", mark)
        time.sleep(0.3)
        assert c.publish("devices/sensor-1/extra", "x") == 0
        one.scopes.write_text(good)
        one.reload()
        wait_until("the rule is gone", lambda: c.publish("devices/sensor-1/extra", "x") == 0x87)
        assert c.publish("devices/sensor-1/telemetry", "x") == 0


def test_a_rule_that_goes_takes_its_deliveries_along(broker):
    one = broker()
    with one.connected("monitor-1", one.monitor()) as monitor, one.connected() as c:
        assert monitor.subscribe("devices/+/telemetry/#") == (1,)
        c.publish("devices/sensor-1/telemetry", "1")
        assert monitor.message().payload == b"1"
        one.scopes.write_text("".join(line for line in one.scopes.read_text().splitlines(True)
                                      if not line.startswith("telemetry:read")))
        one.reload()

        def silent():
            c.publish("devices/sensor-1/telemetry", "2")
            return monitor.messages(quiet=0.3) == []
        wait_until("nothing is delivered any more", silent)
