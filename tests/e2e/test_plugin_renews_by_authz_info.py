"""A token published to authz-info renews the session; nothing published there is ever seen again."""

import json
import os
import subprocess
import threading
import time
from contextlib import closing
import socket

import pytest

import ace
import installation
import tokens
from mqtt_raw import (PUBACK, PUBLISH, SESSION_EXPIRY, V5, V311, WILL_DELAY, Closed, packet,
                      text)

TOPIC = "authz-info"
TELEMETRY = "devices/sensor-1/telemetry"
PUBREC, PUBREL, PUBCOMP = 5, 6, 7


@pytest.fixture(scope="module")
def one(workdir):
    b = installation.Broker(workdir / "authz-info", ["leeway 0"]).start()
    yield b
    b.stop()


@pytest.fixture(autouse=True)
def not_too_often():
    """Twenty renewals a second are what a subject may ask for, and all rows have the same."""
    time.sleep(0.2)


def told(c, timeout=5):
    """The plugin's answer to this client."""
    m = c.read(PUBLISH, where=lambda p: p.topic == TOPIC, timeout=timeout)
    assert (m.qos, m.retain) == (0, False)
    return json.loads(m.payload)


def renew(c, token, qos=1):
    c.publish(TOPIC, token, qos=qos)
    return told(c)


@pytest.mark.parametrize("form", ["JWT", "CWT"])
@pytest.mark.parametrize("version", [V311, V5], ids=["mqtt311", "mqtt5"])
def test_three_times_past_the_first_end(one, version, form):
    make = one.jwt if form == "JWT" else one.cwt
    with one.connected(token=one.jwt(exp=int(time.time()) + 3), version=version) as c:
        for _ in range(3):
            time.sleep(1.5)
            answer = renew(c, make(exp=int(time.time()) + 3))
            assert answer["ok"] is True and 1 <= answer["expires_in"] <= 3, answer
            assert set(answer) == {"ok", "expires_in"}
            assert c.publish(TELEMETRY, "{}") == 0
        end, _ = c.end(timeout=8)
        assert end < time.time() + 1, "the last token's end ends the connection"


def test_every_qos(one):
    with one.connected(version=V5) as c:
        assert renew(c, one.jwt(), qos=0)["ok"]
        assert c.publish(TOPIC, one.jwt(), qos=1) == 0 and told(c)["ok"]
        token, number = one.jwt().encode(), c.new_id()
        body = text(TOPIC) + number.to_bytes(2, "big") + b"\0" + token
        c.send(packet(PUBLISH, body, 4))
        assert c.read(PUBREC).body[:2] == number.to_bytes(2, "big") and told(c)["ok"]
        c.send(packet(PUBLISH, body, 4 | 8))            # again, as after a lost PUBREC
        assert len(c.read(PUBREC).body) in (2, 3) and told(c)["ok"]
        c.send(packet(PUBREL, number.to_bytes(2, "big"), 2))
        c.read(PUBCOMP)
        assert c.publish(TELEMETRY, "x") == 0


def test_mqtt5_hears_it_in_the_puback(one):
    with one.connected(version=V5) as c:
        assert c.publish(TOPIC, one.jwt()) == 0
        assert c.publish(TOPIC, one.jwt("sensor-2")) == 0x87
        assert told(c)["ok"] is True
        assert told(c) == {"ok": False, "reason": "SUBJECT"}


def test_by_topic_alias(one):
    props = {0x23: 1}
    with one.connected(version=V5) as c:
        assert c.publish(TOPIC, one.jwt(), props=props) == 0 and told(c)["ok"]
        assert c.publish("", one.jwt(), props=props) == 0 and told(c)["ok"]


def test_rights_and_subscriptions_follow_at_once(one):
    with one.connected(token=one.jwt(scope="config:read"), version=V311) as c, \
            one.connected("manager-1", one.jwt("manager-1", scope="config:write",
                                               device_type=None)) as manager, \
            one.connected("monitor-1", one.monitor()) as monitor:
        monitor.subscribe("devices/+/telemetry/#")
        c.subscribe("devices/sensor-1/config/#")
        c.publish(TELEMETRY, "before")
        assert renew(c, one.jwt())["ok"]
        c.publish(TELEMETRY, "after")
        assert monitor.message().payload == b"after"
        assert renew(c, one.jwt(scope="telemetry:send"))["ok"]
        manager.publish("devices/sensor-1/config/a", "1")
        assert c.messages(quiet=0.5) == [], "the filter is no longer covered"
        assert renew(c, one.jwt(scope="config:read"))["ok"]
        manager.publish("devices/sensor-1/config/a", "2")
        assert c.message().payload == b"2", "and covered again"


REFUSED = {
    "another subject": ("SUBJECT", lambda b: b.jwt("sensor-2")),
    "another tenant": ("SUBJECT", lambda b: b.jwt(tnt="acme")),
    "another type": ("SUBJECT", lambda b: b.jwt(dty="actuator")),
    "expired": ("EXPIRED", lambda b: b.jwt(exp=int(time.time()) - 1)),
    "not yet": ("NOT_YET", lambda b: b.jwt(nbf=int(time.time()) + 60)),
    "of a stranger": ("SIGNATURE", lambda b: tokens.jwt(tokens.Key(b.key.kid), b.claims())),
    "for another audience": ("AUDIENCE", lambda b: b.jwt(aud="coap")),
    "of another issuer": ("ISSUER", lambda b: b.jwt(iss="https://other.test")),
    "bound to a key": ("BOUND", lambda b: b.jwt(cnf=ace.Ed25519().jwt_cnf())),
    "bound to a certificate": ("BOUND", lambda b: b.jwt(cnf={"x5t#S256": tokens.b64(bytes(32))})),
    "base64url of a CWT": ("MALFORMED", lambda b: tokens.b64(b.cwt())),
    "nothing": ("MISSING", lambda b: b""),
    "too long": ("LIMIT", lambda b: b.jwt(pad="x" * 8192)),
    "a mebibyte": ("LIMIT", lambda b: b"e" * (1 << 20)),
    "text": (None, lambda b: b"hunter2"),
    "CBOR": (None, lambda b: b"\xd8\x3d\xd2\x84"),
}


@pytest.mark.parametrize("row", REFUSED)
@pytest.mark.parametrize("version", [V311, V5], ids=["mqtt311", "mqtt5"])
def test_a_refused_one_leaves_the_old_grant(one, row, version):
    reason, make = REFUSED[row]
    with one.connected(version=version) as c:
        mark = one.log.mark()
        code = c.publish(TOPIC, make(one))
        assert code == (0x87 if version == V5 else 0)
        answer = told(c)
        assert answer["ok"] is False and set(answer) == {"ok", "reason"}
        assert reason is None or answer["reason"] == reason, answer
        one.log.wait(rf"refused renewal client=sensor-1 user=sensor-1 \S+ method=authz-info "
                     rf"reason={answer['reason']}", mark)
        assert c.publish(TELEMETRY, "x") == 0
        assert renew(c, one.jwt())["ok"], "and the next one is taken"


def test_a_refused_one_does_not_move_the_end(one):
    with one.connected(token=one.jwt(exp=int(time.time()) + 2)) as c:
        c.publish(TOPIC, one.jwt("sensor-2", exp=int(time.time()) + 60))
        assert told(c)["ok"] is False
        assert c.end(timeout=5)[1] == 0x98


def test_a_subject_renews_twenty_times_a_second(one):
    time.sleep(1)
    mark, token = one.log.mark(), one.jwt()
    with one.connected() as c:
        for _ in range(100):
            c.publish(TOPIC, token, wait=False)
        codes = [c.read(PUBACK).code for _ in range(100)]
        answers = [told(c) for _ in range(100)]
        taken = sum(a["ok"] for a in answers)
        assert 20 <= taken <= 40 and all(a["ok"] for a in answers[:20]), answers
        assert {a["reason"] for a in answers if not a["ok"]} == {"LIMIT"}
        assert [code < 0x80 for code in codes] == [a["ok"] for a in answers]
        one.log.wait(r"refused publish client=sensor-1 .*topic=authz-info reason=LIMIT", mark)
        time.sleep(1.1)
        assert renew(c, one.jwt())["ok"]


def test_who_came_by_a_method_may_renew_so_too(one):
    with one.client(V5) as c:
        assert c.connect_by_auth("sensor-1", "OAUTH2-JWT", one.jwt()).code == 0
        assert renew(c, one.cwt())["ok"]
        assert c.reauthenticate("OAUTH2-JWT", one.jwt()).code == 0
        assert c.publish(TELEMETRY, "x") == 0


def test_who_has_proven_possession_renews_with_the_same_key(one):
    holder, other = ace.Ed25519(), ace.Ed25519()
    with one.client(V5) as c:
        token = one.jwt(cnf=holder.jwt_cnf(), exp=int(time.time()) + 3)
        assert ace.connect(c, "sensor-1", token, holder).code == 0
        assert renew(c, one.jwt())["reason"] == "CLAIM", "never to a bearer token"
        assert renew(c, one.jwt(cnf=other.jwt_cnf()))["reason"] == "BOUND"
        assert renew(c, one.jwt(cnf={"x5t#S256": tokens.b64(bytes(32))}))["ok"] is False
        # The key is the same, whatever form it has.
        assert renew(c, one.cwt(cnf=holder.cwt_cnf()))["ok"]
        time.sleep(3)
        assert c.publish(TELEMETRY, "x") == 0


def test_sighup_still_knows_the_password_of_connect(one):
    """The broker shows it again for every session; the token in it has been replaced since."""
    old = one.jwt(exp=int(time.time()) + 3)
    asleep = one.connected(token=old, version=V5, clean=False, props={SESSION_EXPIRY: 60})
    asleep.subscribe("devices/sensor-1/config/#")
    assert renew(asleep, one.jwt())["ok"]
    with one.connected("sensor-2", one.jwt("sensor-2", exp=int(time.time()) + 3)) as awake:
        assert renew(awake, one.jwt("sensor-2"))["ok"]
        asleep.close()
        time.sleep(3.2)
        one.reload()
        time.sleep(0.5)
        assert awake.is_open() and one.process.poll() is None
        with one.connected("manager-1", one.jwt("manager-1", scope="config:write",
                                                device_type=None)) as manager:
            manager.publish("devices/sensor-1/config/a", "kept")
        with one.client(V5) as again:
            ack = again.connect("sensor-1", one.jwt(), clean=False, props={SESSION_EXPIRY: 0})
            assert ack.session_present and again.message().payload == b"kept"


def test_no_token_is_a_way_around_a_denial(broker):
    b = broker(options=["on_deny disconnect"])
    with b.connected() as c:
        body = b"".join([
            packet(PUBLISH, text("devices/sensor-2/telemetry") + b"\0\1\0x", 2),
            packet(PUBLISH, text(TOPIC) + b"\0\2\0" + b.jwt().encode(), 2)])
        c.send(body)
        c.end(timeout=3)
    assert not b.log.lines("accepted renewal")


def test_an_expired_one_that_stays_connected_comes_back(broker):
    b = broker(options=["disconnect_after_expire false", "leeway 0"])
    with b.connected(token=b.jwt(exp=int(time.time()) + 1)) as c:
        time.sleep(1.5)
        assert c.publish(TELEMETRY, "x") == 0x87
        assert renew(c, b.jwt())["ok"]
        assert c.publish(TELEMETRY, "x") == 0


# --- nothing leaks

EVERYTHING = "a:b both #\na:b both +\na:b both authz-info\na:b both $authzinfo\na:b both +/#\n"


def files_with(folder, needle):
    return [str(path) for path in folder.rglob("*") if path.is_file()
            and needle in path.read_bytes()]


def test_nobody_subscribes_or_reads(broker):
    b = broker(options=["presence false"], scopes=EVERYTHING)
    token = b.jwt(scope="a:b")
    with b.connected("monitor-1", b.monitor(scope="a:b")) as spy, b.connected(token=token) as c:
        assert spy.subscribe(TOPIC, "$share/g/authz-info", "$authzinfo", "$share/g/$authzinfo") == \
            (0x87,) * 4
        assert spy.subscribe("#", "+", "+/#", "$share/g/#", "$share/g/+") == (1,) * 5
        for qos in (0, 1):
            assert renew(c, b.jwt(scope="a:b"), qos=qos)["ok"]
        number = c.new_id().to_bytes(2, "big")
        c.send(packet(PUBLISH, text(TOPIC) + number + b"\0" + token.encode(), 4))
        c.read(PUBREC)
        c.send(packet(6, number, 2))
        c.read(7)
        assert c.publish(TOPIC, b"nonsense") == 0x87
        assert c.publish("end", "x") == 0
        got = spy.messages(quiet=1)
        assert {m.topic for m in got} == {"end"}, "neither the token nor the answer"
        # The client itself gets its answers (three of four are still unread) and no more.
        assert all(set(json.loads(m.payload)) <= {"ok", "expires_in", "reason"}
                   for m in c.messages(quiet=0.5))


def test_retained_ones_are_refused(broker):
    b = broker(options=["presence false"], scopes=EVERYTHING)
    token = b.jwt(scope="a:b")
    for version in (V311, V5):
        with b.connected(token=token, version=version) as c:
            assert c.publish(TOPIC, token, retain=True) == (0x87 if version == V5 else 0)
            assert told(c) == {"ok": False, "reason": "DENIED"}
            assert c.publish(TOPIC, b"", retain=True) == (0x87 if version == V5 else 0)
    with b.connected("monitor-1", b.monitor(scope="a:b")) as spy:
        spy.subscribe("#", "+")
        assert spy.messages(quiet=0.5) == []


@pytest.mark.parametrize("retain", [False, True], ids=["", "retained"])
def test_wills_are_refused_at_every_end(broker, retain):
    b = broker(options=["leeway 0", "presence false"], scopes=EVERYTHING)
    token = b.jwt(scope="a:b", exp=int(time.time()) + 6)
    will = (TOPIC, b.jwt(scope="a:b", exp=int(time.time()) + 600), 1, retain)
    mark = b.log.mark()
    with b.connected("monitor-1", b.monitor(scope="a:b")) as spy:
        spy.subscribe("#", "+")
        b.connected(token=token, will=will).close()                     # lost
        first = b.connected(token=token, will=will)
        second = b.connected(token=token, will=will)                    # taken over
        first.end(timeout=5)
        second.disconnect(4)                                            # left with its will
        b.connected(token=token, will=(*will, {WILL_DELAY: 1}),
                    props={SESSION_EXPIRY: 60}, clean=False).close()    # delayed
        with b.connected("sensor-1:b", token, will=will) as c:          # kicked
            c.end(timeout=15)
        assert spy.messages(quiet=1.5) == []
    assert len(b.log.lines(r"refused publish client=sensor-1\S* .*topic=authz-info", mark)) >= 5
    assert not b.log.lines("accepted renewal", mark)


def test_nothing_in_the_persistence_file(broker):
    """Not of a renewal, an unfinished QoS 2 publish, a retained one, or a will at the broker's end."""
    b = broker(options=["presence false"], scopes=EVERYTHING)
    made = [b.jwt(scope="a:b", jti=tokens.b64(os.urandom(16))) for _ in range(5)]
    b.connected("asleep-1", b.jwt("asleep-1", scope="a:b"), clean=False,
                props={SESSION_EXPIRY: 600}).subscribe("#", "$share/g/#", "+")
    c = b.connected(token=b.jwt(scope="a:b"), clean=False, props={SESSION_EXPIRY: 600})
    assert renew(c, made[0])["ok"]
    c.send(packet(PUBLISH, text(TOPIC) + b"\x12\x34\0" + made[1].encode(), 4))
    c.read(PUBREC)
    assert told(c)["ok"]
    c.publish(TOPIC, made[2], retain=True)
    w = b.connected("sensor-1:w", b.jwt(scope="a:b"), will=(TOPIC, made[3], 1, False))
    v = b.connected("sensor-1:v", b.jwt(scope="a:b"), will=(TOPIC, made[4], 1, True))
    c.publish("kept", "a-message-that-is-kept", retain=True)
    b.process.send_signal(installation.signal.SIGUSR1)                  # save now
    time.sleep(0.5)
    for when in ("running", "stopped"):
        if when == "stopped":
            b.stop()
        assert files_with(b.dir, b"a-message-that-is-kept")
        for token in made:
            signature = token.rsplit(".", 1)[1].encode()
            assert not files_with(b.dir, signature), when
    for client in (c, w, v):
        client.close()
    b.start()
    with b.client(V5) as again:
        ack = again.connect("sensor-1", b.jwt(scope="a:b"), clean=False)
        assert ack.code == 0
        assert [m for m in again.messages(quiet=0.5) if m.topic != "kept"] == []


class Plain:
    """A second Mosquitto without any plugin, bridging # both ways to the first."""

    def __init__(self, folder, port, token):
        self.port = installation.free_ports(1)
        folder.mkdir()
        conf = folder / "mosquitto.conf"
        conf.write_text(f"""listener {self.port} 127.0.0.1
allow_anonymous true
user root
connection up
address 127.0.0.1:{port}
remote_clientid bridge-1
remote_username x
remote_password {token}
topic # both 1
topic $authzinfo both 1
bridge_attempt_unsubscribe false
notifications false
bridge_protocol_version mqttv311
start_type automatic
restart_timeout 1
""")
        with (folder / "log").open("wb") as out:
            self.process = subprocess.Popen(["/usr/sbin/mosquitto", "-c", str(conf)], stdout=out,
                                            stderr=out, stdin=subprocess.DEVNULL)

    def up(self):
        with closing(socket.socket()) as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self):
        self.process.terminate()
        self.process.wait(15)


def test_bridges_carry_none_of_it(broker, workdir, tmp_path):
    """One bridges to us with a token; we bridge to another without any plugin being asked."""
    import mqtt_raw
    b = broker(start=False, options=["presence false"], scopes=EVERYTHING)
    far = Plain(tmp_path / "far", b.port, b.jwt("bridge-1", scope="a:b", device_type=None))
    out = Plain(tmp_path / "out", 1, "x")
    b.conf.write_text(b.conf.read_text() + f"""
connection out
address 127.0.0.1:{out.port}
topic # both 1
notifications false
restart_timeout 1
""")
    try:
        installation.wait_until("the others listen", lambda: far.up() and out.up())
        b.start()
        with mqtt_raw.Client(far.port, V5) as there, mqtt_raw.Client(out.port, V5) as beyond, \
                b.connected(token=b.jwt(scope="a:b")) as c:
            there.connect("there")
            beyond.connect("beyond")
            there.subscribe("#", "$authzinfo")
            beyond.subscribe("#", "$authzinfo")

            def both_carry():
                c.publish("x", "hello")
                return all(any(m.topic == "x" for m in s.messages(quiet=0.3))
                           for s in (there, beyond))
            installation.wait_until("both bridges are up", both_carry, 20, 0.2)
            for s in (there, beyond, c):
                s.messages(quiet=0.5)
            for qos in (0, 1):
                assert renew(c, b.jwt(scope="a:b"), qos=qos)["ok"]
            c.publish(TOPIC, b"nonsense")
            c.publish(TOPIC, b.jwt(scope="a:b"), retain=True)
            b.connected("sensor-1:w", b.jwt(scope="a:b"),
                        will=(TOPIC, b.jwt(scope="a:b"), 1, True)).close()
            for s in (there, beyond):
                assert s.messages(quiet=1) == []
            # What comes in by our own bridge is never asked about, and still goes nowhere.
            mark = b.log.mark()
            beyond.publish(TOPIC, b.jwt(scope="a:b"))
            assert [m.topic for m in there.messages(quiet=1)] == []
            # What the far broker's clients publish is judged as its bridge's.
            there.publish(TOPIC, b.jwt(scope="a:b"))
            b.log.wait(r"refused renewal client=bridge-1 .*reason=SUBJECT", mark)
            assert [m.topic for m in beyond.messages(quiet=1) if m.topic != TOPIC] == []
    finally:
        far.stop()
        out.stop()


def test_strangers_and_clients_of_the_password_file(broker):
    from test_plugin_holds_its_session_rules import password_file
    b = broker(start=False, options=["unknown defer", "presence false"], scopes=EVERYTHING)
    (b.dir / "acl").write_text("user bob\ntopic readwrite #\ntopic readwrite $authzinfo\n")
    password_file(b)
    b.conf.write_text(b.conf.read_text() + f"acl_file {b.dir}/acl\n")
    b.start()
    token = b.jwt(scope="a:b")
    with b.client() as bob, b.connected(token=token) as c:
        assert bob.connect("bob", "secret", username="bob").code == 0
        assert bob.subscribe("#", TOPIC, "$authzinfo") == (1, 0x87, 0x87)
        assert bob.publish(TOPIC, token) == 0x87
        assert c.publish(TOPIC, token) == 0 and told(c)["ok"]
        assert bob.messages(quiet=0.5) == []


# --- while messages flow

@pytest.mark.parametrize("version", [V311, V5], ids=["mqtt311", "mqtt5"])
def test_nothing_is_lost_or_doubled_at_a_hundred_a_second(one, version):
    """paho publishes QoS 1 at 100/s for ten seconds and renews five times."""
    from test_plugin_serves_stock_clients import paho_client
    with one.connected("monitor-1", one.monitor()) as monitor:
        monitor.subscribe("devices/sensor-1/telemetry")
        p = paho_client("sensor-1", 5 if version == V5 else 4)
        answers, dropped, ready = [], [], threading.Event()
        p.username_pw_set("x", one.jwt(exp=int(time.time()) + 4))
        p.on_connect = lambda *_: ready.set()
        p.on_disconnect = lambda *a: dropped.append(a)
        p.on_message = lambda _c, _u, m: answers.append((m.topic, json.loads(m.payload)))
        p.connect("127.0.0.1", one.port)
        p.loop_start()
        try:
            assert ready.wait(10)
            begun, sent = time.monotonic(), []
            for n in range(1000):
                sent.append(p.publish(TELEMETRY, str(n), qos=1))
                if n % 200 == 100:
                    p.publish(TOPIC, one.jwt(exp=int(time.time()) + 4), qos=1)
                time.sleep(max(0, begun + (n + 1) * 0.01 - time.monotonic()))
            for info in sent:
                info.wait_for_publish(10)
            assert not dropped
        finally:
            p.disconnect()
            p.loop_stop()
        assert [m.payload for m in monitor.messages(count=1000, timeout=20)] == \
            [str(n).encode() for n in range(1000)]
        assert [a[0] for a in answers] == [TOPIC] * 5 and all(a[1]["ok"] for a in answers)
        assert monitor.messages(quiet=0.3) == []
