"""Who is who, when connections come, go, sleep and are replaced."""

import os
import signal
import time

import pytest

import tokens
from installation import wait_until
from mqtt_raw import AUTH, SESSION_EXPIRY, V5, V311, WILL_DELAY, Closed, packet

SESSION = {V311: {"clean": False}, V5: {"clean": False, "props": {SESSION_EXPIRY: 600}}}
VERSIONS = pytest.mark.parametrize("version", [V311, V5], ids=["mqtt311", "mqtt5"])
TELEMETRY = "devices/{}/telemetry"
CONFIG = "devices/{}/config/x"


def now():
    return int(time.time())


def manager_of(one):
    return one.connected("manager-1", one.monitor("manager-1", scope="config:write"))


def watcher_of(one):
    c = one.connected("monitor-1", one.monitor())
    c.subscribe("devices/+/telemetry/#")
    return c


@VERSIONS
def test_takeover_publishes_the_old_will_and_keeps_the_new_connection(broker, version):
    one = broker()
    with watcher_of(one) as watcher:
        old = one.connected(version=version, will=(TELEMETRY.format("sensor-1"), "gone", 1, False))
        with one.connected(version=version) as new:
            assert watcher.message().payload == b"gone"
            assert new.publish(TELEMETRY.format("sensor-1"), "here") == 0
            assert watcher.message().payload == b"here"
        old.close()


def test_will_of_an_expired_connection_that_is_taken_over(broker):
    one = broker(options=["leeway 0", "disconnect_after_expire false"])
    with watcher_of(one) as watcher:
        old = one.connected(token=one.jwt(exp=now() + 1),
                            will=(TELEMETRY.format("sensor-1"), "gone", 1, False))
        time.sleep(1.6)
        assert old.publish(TELEMETRY.format("sensor-1"), "late") == 0x87, "denied at once"
        with one.connected():
            assert watcher.message().payload == b"gone"
        old.close()


def test_delayed_will_is_judged_by_the_old_grant(broker):
    one = broker(options=["leeway 0"])
    with watcher_of(one) as watcher:
        c = one.connected(token=one.jwt(exp=now() + 2), props={SESSION_EXPIRY: 60},
                          will=(TELEMETRY.format("sensor-1"), "late", 1, False, {WILL_DELAY: 3}))
        c.close()
        assert watcher.message(timeout=8).payload == b"late"


def test_a_forbidden_will_is_not_published(broker):
    one = broker()
    with watcher_of(one) as watcher:
        one.connected(will=(TELEMETRY.format("sensor-2"), "forged", 1, False)).close()
        one.connected("sensor-3", will=(TELEMETRY.format("sensor-3"), "mine", 1, False)).close()
        assert watcher.message().payload == b"mine"


@VERSIONS
def test_an_expired_sleeper_still_gets_its_messages(broker, version):
    one = broker(options=["leeway 0"])
    with one.connected(token=one.jwt(exp=now() + 2), version=version, **SESSION[version]) as c:
        assert c.subscribe("devices/sensor-1/config/#") == (1,)
        c.disconnect()
    time.sleep(2.5)
    with manager_of(one) as manager:
        assert manager.publish(CONFIG.format("sensor-1"), "later") == 0
    c = one.client(version)
    assert c.connect("sensor-1", one.jwt(exp=now() - 1, iat=now() - 60),
                     **SESSION[version]).code in (5, 0x87), "the reconnect is judged anew"
    c.close()
    c = one.client(version)
    assert c.connect("sensor-1", one.jwt(), **SESSION[version]).session_present
    assert c.message().payload == b"later"
    c.close()


def test_kicked_with_its_session_and_subscriptions_kept(broker):
    """The broker looks at the subscriptions while it is kicking; the old grant judges them."""
    one = broker(options=["leeway 0"])
    c = one.connected(token=one.jwt(exp=now() + 2), **SESSION[V5])
    assert c.subscribe("devices/sensor-1/config/#") == (1,)
    assert c.end(timeout=8)[1] == 0x98
    with manager_of(one) as manager:
        assert manager.publish(CONFIG.format("sensor-1"), "kept") == 0
    c = one.client()
    assert c.connect("sensor-1", one.jwt(), **SESSION[V5]).session_present
    assert c.message().payload == b"kept"
    c.close()


@VERSIONS
def test_sighup_leaves_sleepers_alone_and_strangers_out(broker, version):
    one = broker()
    names = [f"sensor-{n}" for n in range(20)]
    for name in names:
        with one.connected(name, version=version, **SESSION[version]) as c:
            assert c.subscribe(f"devices/{name}/config/#") == (1,)
            c.disconnect()
    one.stop()
    one.start()                                     # half of them restored, half known again
    for name in names[::2]:
        with one.connected(name, version=version, **SESSION[version]) as c:
            c.disconnect()

    def stranger(name, password="wrong"):
        with one.client(version) as c:
            try:
                return c.connect(name, password, **SESSION[version]).code
            except Closed:
                return -1

    for round_ in range(10):
        one.process.send_signal(signal.SIGHUP)
        for name in names:
            assert stranger(name) != 0, f"round {round_}"
            assert stranger(name, one.jwt("sensor-99")) != 0
    with manager_of(one) as manager:
        for name in names:
            assert manager.publish(CONFIG.format(name), name) == 0
    for name in names:
        c = one.client(version)
        assert c.connect(name, one.jwt(name), **SESSION[version]).session_present, name
        assert c.message().payload == name.encode()
        c.disconnect()


@VERSIONS
def test_retained_messages_of_publishers_that_are_gone(broker, version):
    one = broker(config="check_retain_source true\n", scopes=
                 "status:send publish devices/{device}/status/#\n"
                 "status:read subscribe devices/+/status/#\n")
    with one.connected(token=one.jwt(scope="status:send"), version=version) as c:
        assert c.publish("devices/sensor-1/status", "up", retain=True) == 0
        c.disconnect()

    def read():
        with one.connected("monitor-1", one.monitor()) as monitor:
            monitor.subscribe("devices/+/status/#")
            try:
                return monitor.message(timeout=1).payload
            except TimeoutError:
                return None
    assert read() == b"up"
    one.scopes.write_text("status:read subscribe devices/+/status/#\n")
    one.reload()
    wait_until("what may no longer be sent is no longer shown", lambda: read() is None)


def test_connections_of_one_subject(broker):
    one = broker(options=["max_connections_per_subject 3"])
    token = one.jwt()
    held = [one.connected("sensor-1", token, client_id=f"sensor-1:{n}") for n in range(3)]
    with one.client() as c:
        assert c.connect("sensor-1:3", token).code == 0x87
    one.log.wait(r"client=sensor-1:3 .* reason=LIMIT more connections than a subject may have")
    with one.client() as c:
        assert c.connect("sensor-1:2", token).code == 0, "a takeover is not one more"
    held[0].close()
    wait_until("a place is free", lambda: one.client().connect("sensor-1:4", token).code == 0)
    for c in held[1:]:
        c.close()


def test_broker_assigned_ids_are_for_subjects_that_are_no_devices(broker):
    one = broker()
    with one.client() as c:
        ack = c.connect("", one.monitor())
        assert ack.code == 0 and ack.props[0x12].decode().startswith("auto-")
        taken = ack.props[0x12].decode()
        with one.client() as other:
            assert other.connect(taken, one.monitor("monitor-2")).code == 0x87
    with one.client() as c:
        assert c.connect("", one.jwt()).code == 0x87
    with one.client() as c:
        assert c.connect("sensor-1", one.monitor()).code == 0x87
    with one.client() as c:
        assert c.connect("auto-device", one.monitor()).code == 0x87


def test_a_denied_message_ends_the_connection_if_the_operator_wants_it(broker):
    one = broker(options=["on_deny disconnect"])
    with watcher_of(one) as watcher:
        c = one.connected(will=(TELEMETRY.format("sensor-1"), "kicked", 1, False))
        c.publish("devices/sensor-2/telemetry", "x", wait=False)
        started = time.monotonic()
        assert c.end(timeout=5)[1] == 0x98
        assert time.monotonic() - started < 1
        assert watcher.message().payload == b"kicked"
    one.log.wait(r"disconnect client=sensor-1 user=sensor-1 reason=DENIED")


def test_rate_of_a_rule(broker):
    one = broker(scopes="telemetry:send publish devices/{device}/telemetry rate<=5/s\n")
    with one.connected() as c, one.connected(client_id="sensor-1:b") as other:
        codes = [c.publish(TELEMETRY.format("sensor-1"), "x") for _ in range(8)]
        assert codes[:5] == [0] * 5 and 0x87 in codes[5:]
        assert other.publish(TELEMETRY.format("sensor-1"), "x") == 0x87, "it is the subject's"
        time.sleep(1.1)
        assert other.publish(TELEMETRY.format("sensor-1"), "x") == 0
    one.log.wait(r"refused publish client=sensor-1 .*reason=LIMIT")


def test_a_flood_of_denied_messages_does_not_fill_the_log(broker):
    one = broker()
    with one.connected() as c:
        mark = one.log.mark()
        for _ in range(2000):
            c.publish("devices/sensor-2/telemetry", "x", qos=0)
        assert c.publish(TELEMETRY.format("sensor-1"), "x") == 0
        lines = one.log.lines("refused publish", mark)
        assert 1 <= len(lines) <= 60
        time.sleep(2.2)
        c.publish("devices/sensor-2/telemetry", "x")
        one.log.wait(r"client=sensor-1 and \d+ more refusals", mark)


@pytest.mark.parametrize("defer", [False, True], ids=["deny", "defer"])
def test_authz_info_is_closed_to_everyone(broker, defer):
    # Without the plugin's own messages, so that the reader of everything sees what clients sent.
    one = broker(start=False, options=["presence false"] + ["unknown defer"] * defer,
                 scopes="a:b both #\na:b both authz-info\n")
    if defer:
        (one.dir / "acl").write_text("user bob\ntopic readwrite #\n")
        password_file(one)
        one.conf.write_text(one.conf.read_text() + f"acl_file {one.dir}/acl\n")
    one.start()
    token = one.jwt(scope="a:b")
    clients = [one.connected(token=token)]
    if defer:
        clients.append(one.client())
        assert clients[1].connect("bob", "secret", username="bob").code == 0
        assert clients[1].publish("anything", "x") == 0
    for n, c in enumerate(clients):
        # Whoever came with a token renews by it (test_plugin_renews_by_authz_info.py).
        assert c.publish("authz-info", token) == (0 if n == 0 else 0x87)
        assert c.subscribe("authz-info", "$share/g/authz-info") == (0x87, 0x87)
        assert c.publish("authz-info", token, retain=True) == 0x87
        c.close()
    with one.connected("sensor-2", one.jwt("sensor-2", scope="a:b")) as reader:
        assert reader.subscribe("#") == (1,)
        one.connected(token=token, will=("authz-info", "x", 1, False)).close()
        with one.connected(token=token) as c:
            assert c.publish("end", "x") == 0
        assert reader.message().topic == "end"


def password_file(one):
    import subprocess
    path = one.dir / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(path), "bob", "secret"], check=True,
                   capture_output=True)
    text = one.conf.read_text().replace("allow_anonymous false", "allow_anonymous true")
    one.conf.write_text(text + f"password_file {path}\n")


def test_beside_a_password_file(broker):
    one = broker(start=False, options=["unknown defer"])
    password_file(one)
    one.start()

    def code(client_id, password, username):
        with one.client() as c:
            return c.connect(client_id, password, username=username).code
    one.connected().close()
    assert code("bob", "secret", "bob") == 0
    assert code("bob", "guess", "bob") == 0x87
    assert code("anybody", None, None) == 0, "anonymous, as the operator has it"
    assert code("anybody", "guess", None) == 0x87, "a password alone is never handed on"
    assert code("sensor-1", "secret", "bob") == 0x87, "nor is a device's client id"
    assert code("sensor-1", None, None) == 0x87
    assert code("bob", one.jwt(exp=now() - 600, iat=1), "bob") == 0x87, "a bad token is a no"
    with one.client() as c:
        assert c.connect("bob", "secret", username="bob").code == 0
        one.reload()
        time.sleep(0.5)
        assert c.ping()


def test_five_hundred_tokens_that_end_in_one_second(broker):
    one = broker(options=["leeway 0", "max_connections_per_subject 600"])
    exp = now() + 4
    token = one.jwt(exp=exp)
    clients = [one.connected(token=token, client_id=f"sensor-1:{n}", version=V311)
               for n in range(500)]
    ends = [c.end(timeout=12)[0] for c in clients]
    assert min(ends) >= exp and max(ends) <= exp + 1.5
    one.connected().close()


def test_failures_never_lock_a_right_token_out(broker):
    one = broker(options=["auth_fail_rate 5"])
    bad = one.jwt()[:-4] + "AAAA"
    for _ in range(40):
        with one.client() as c:
            assert c.connect("sensor-1", bad).code == 0x87
    one.connected().close()
    one.log.wait(r"address=127\.0\.0\.1 more than 5 refused logins a second")


def test_table_full_of_live_connections(broker):
    one = broker(options=["max_sessions 4", "max_connections_per_subject 10"])
    for n in range(8):
        one.connected(f"sensor-{n}").disconnect()   # those that sleep give way
    held = [one.connected(f"sensor-{n}") for n in range(4)]
    with one.client() as c:
        assert c.connect("sensor-9", one.jwt("sensor-9")).code == 0x87
    one.log.wait(r"client=sensor-9 .*reason=BUSY")
    for c in held:
        c.close()


def test_killed_hard_it_comes_back_with_what_was_saved(broker):
    one = broker(config="autosave_interval 1\nautosave_on_changes true\n")
    with one.connected(**SESSION[V5]) as c:
        assert c.subscribe("devices/sensor-1/config/#") == (1,)
        c.disconnect()
    sessions = one.dir / "state" / "sessions"
    wait_until("saved in the background", lambda: sessions.exists() and
               b"sensor-1" in sessions.read_bytes(), 15)
    time.sleep(0.5)
    one.stop(signal.SIGKILL)
    one.start()
    one.log.wait(r"sessions file=\S+ count=1")


def test_a_session_file_that_was_changed_is_ignored(broker):
    one = broker()
    one.connected().disconnect()
    one.stop()
    path = one.dir / "state" / "sessions"
    data = bytearray(path.read_bytes())
    assert os.stat(path).st_mode & 0o777 == 0o600
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    mark = one.log.mark()
    one.start()
    one.log.wait(r"sessions file=\S+ ignored reason=SIGNATURE", mark)


def test_an_empty_auth_packet_ends_the_connection_and_nothing_else(broker):
    """Left alone, Mosquitto 2.0 would forget the client's id while the client is still in its
    tables, and crash when somebody else comes or goes."""
    one = broker()
    with watcher_of(one) as watcher:
        for _ in range(20):
            c = one.client()
            assert c.connect_by_auth("sensor-1", "OAUTH2-JWT", one.jwt(),
                                     will=(TELEMETRY.format("sensor-1"), "out", 1, False)).code == 0
            c.send(packet(AUTH))
            assert c.end(timeout=5)[1] in (0x82, 0x98)
            assert watcher.message().payload == b"out"
        for n in range(50):
            with one.connected(f"sensor-{n}") as c:
                assert c.ping()
    one.log.wait(r"client=sensor-1 .*reason=STATE an AUTH packet out of place")
