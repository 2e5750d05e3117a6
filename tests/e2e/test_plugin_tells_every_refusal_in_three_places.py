"""Nothing is silent: every refusal has its reason in the log, in a metric and in the last denials."""

import time

import pytest

import issuer
import prometheus
import tokens
from installation import free_ports, wait_until
from mqtt_raw import AUTH, Closed, packet
from test_plugin_counts_what_it_decides import page

SCOPES = """telemetry:send publish devices/{device}/telemetry/#
telemetry:send publish devices/{device}/slowly rate<=1/s
config:read subscribe devices/{device}/config/#
"""


@pytest.fixture(scope="module")
def server():
    one = issuer.Issuer()
    yield one
    one.stop()
    assert not one.problems, one.problems


@pytest.fixture(scope="module")
def port():
    return free_ports(1)


@pytest.fixture(scope="module")
def told(workdir, server, port):
    import installation
    import tempfile
    from pathlib import Path

    made = []

    def make(start=False, **more):
        made.append(installation.Broker(Path(tempfile.mkdtemp(prefix="broker-", dir=workdir)),
                                        **more))
        return made[-1]
    yield issuer.broker_of(make, server, [f"metrics 127.0.0.1:{port}",
                                          "max_connections_per_subject 1"], scopes=SCOPES)
    for one in made:
        one.stop()


def now():
    return int(time.time())


# reason: (password made from the broker, outcome). The client id is sensor-1.
LOGINS = {
    "MISSING": (lambda b: None, "malformed"),
    "MALFORMED": (lambda b: b.jwt().replace(".", ".IA.", 1), "malformed"),
    "BASE64": (lambda b: "hunter2", "malformed"),
    "TYPE": (lambda b: b.jwt(exp="tomorrow"), "malformed"),
    "RANGE": (lambda b: b.jwt(exp=1e300), "malformed"),
    "TYP": (lambda b: tokens.jwt(b.key, b.claims(), {"typ": "JWT"}), "unauthorized"),
    "CRIT": (lambda b: tokens.jwt(b.key, b.claims(), {"crit": ["exp"]}), "malformed"),
    "TRAILING": (lambda b: tokens.b64(b.cwt() + b"\0"), "malformed"),
    "TRUNCATED": (lambda b: tokens.b64(b.cwt()[:60]), "malformed"),
    "ALG": (lambda b: tokens.jwt(b.key, b.claims(), {"alg": "none"}, b""), "unauthorized"),
    "KEY": (lambda b: tokens.jwt(b.key, b.claims(), {"kid": "nobody"}), "unauthorized"),
    "SIGNATURE": (lambda b: tokens.jwt(tokens.Key(b.key.kid), b.claims()), "unauthorized"),
    "ISSUER": (lambda b: b.jwt(iss="https://other.test"), "unauthorized"),
    "AUDIENCE": (lambda b: b.jwt(aud="coap"), "unauthorized"),
    "EXPIRED": (lambda b: b.jwt(exp=now() - 31, iat=now() - 600), "unauthorized"),
    "NOT_YET": (lambda b: b.jwt(nbf=now() + 90), "unauthorized"),
    "SUBJECT": (lambda b: b.jwt("sensor-2"), "forbidden"),
    "BOUND": (lambda b: b.jwt(cnf={"jwk": tokens.Key("holder").jwk()}), "unauthorized"),
    "CLAIM": (lambda b: b.jwt(jti=None), "unauthorized"),
    "FORM": (lambda b: tokens.b64(tokens.cwt(b.key, b.claims(), tags=(18,))), "unauthorized"),
    "DUPLICATE": (lambda b: tokens.b64(tokens.cwt(
        b.key, b.claims(), unprotected={4: b.key.kid.encode()})), None),
}


def counted(port, outcome, reason, method="password"):
    labels = {"outcome": outcome} if outcome else {}
    return prometheus.get(page(port), "latchkey_auth_total", method=method, reason=reason, **labels)


@pytest.mark.parametrize("reason", LOGINS)
def test_a_refused_login(told, server, port, reason):
    make, outcome = LOGINS[reason]
    password = make(told)
    mark, before = told.log.mark(), counted(port, outcome, reason)
    server.denials.clear()
    with told.client() as c:
        assert c.connect("sensor-1", password).code == 0x87
    line = told.log.wait(rf"refused login client=sensor-1 .*reason=\w+", mark)
    assert f"reason={reason} " in line
    assert counted(port, outcome, reason) == before + 1
    subject = "sensor-2" if reason == "SUBJECT" else "sensor-1"
    server.wait(subject=subject, client_id="sensor-1", action="connect", topic="", reason=reason)


def test_more_connections_than_a_subject_may_have(told, server, port):
    with told.connected(client_id="sensor-1:1"):
        mark, before = told.log.mark(), counted(port, "unavailable", "LIMIT")
        with told.client() as c:
            assert c.connect("sensor-1:2", told.jwt()).code == 0x87
        told.log.wait("refused login client=sensor-1:2 .*reason=LIMIT", mark)
        assert counted(port, "unavailable", "LIMIT") == before + 1
        server.wait(subject="sensor-1", client_id="sensor-1:2", action="connect", reason="LIMIT")


def test_a_refused_renewal(told, server, port):
    for reason, make in (("EXPIRED", lambda: told.jwt(exp=now() - 31, iat=now() - 600)),
                         ("SUBJECT", lambda: told.jwt("sensor-3"))):
        mark, before = told.log.mark(), counted(port, None, reason, "OAUTH2-JWT")
        server.denials.clear()
        with told.client() as c:
            assert c.connect_by_auth("sensor-1", "OAUTH2-JWT", told.jwt()).code == 0
            try:
                c.reauthenticate("OAUTH2-JWT", make())
            except Closed:
                pass
        told.log.wait(f"refused renewal client=sensor-1 .*reason={reason}", mark)
        assert counted(port, None, reason, "OAUTH2-JWT") == before + 1
        server.wait(client_id="sensor-1", action="renew", reason=reason)


def test_an_auth_packet_out_of_place(told, server, port):
    mark, before = told.log.mark(), counted(port, "forbidden", "STATE", "OAUTH2-JWT")
    with told.client() as c:
        assert c.connect_by_auth("sensor-1", "OAUTH2-JWT", told.jwt()).code == 0
        c.send(packet(AUTH))
        c.end()
    told.log.wait("refused renewal client=sensor-1 .*reason=STATE", mark)
    assert counted(port, "forbidden", "STATE", "OAUTH2-JWT") == before + 1
    server.wait(subject="sensor-1", client_id="sensor-1", action="renew", reason="STATE")


def checked(port, action, outcome):
    return prometheus.get(page(port), "latchkey_acl_total", action=action, outcome=outcome)


def test_a_refused_topic(told, server, port):
    server.denials.clear()
    with told.connected() as c:
        for action, topic, code in (
                ("publish", "devices/sensor-2/telemetry", lambda t: c.publish(t, "x")),
                ("subscribe", "devices/+/telemetry/#", lambda t: c.subscribe(t)[0]),
                ("subscribe", "$share/g/#", lambda t: c.subscribe(t)[0])):
            mark, before = told.log.mark(), checked(port, action, "forbidden")
            assert code(topic) == 0x87
            shown = topic.replace("$", r"\$").replace("+", r"\+")
            told.log.wait(f"refused {action} client=sensor-1 .*topic={shown} reason=DENIED", mark)
            assert checked(port, action, "forbidden") == before + 1
            server.wait(subject="sensor-1", client_id="sensor-1", action=action, topic=topic,
                        reason="DENIED", count=1)


def test_too_many_messages(told, server, port):
    server.denials.clear()
    mark, before = told.log.mark(), checked(port, "publish", "unavailable")
    with told.connected() as c:
        codes = [c.publish("devices/sensor-1/slowly", "x") for _ in range(5)]
        refused = codes.count(0x87)
        assert codes[0] == 0 and refused >= 3
    told.log.wait("refused publish client=sensor-1 .*topic=devices/sensor-1/slowly reason=LIMIT", mark)
    assert checked(port, "publish", "unavailable") == before + refused
    topic = {"action": "publish", "topic": "devices/sensor-1/slowly", "reason": "LIMIT"}
    wait_until("all are told", lambda: sum(
        d["count"] for d in server.denials if topic.items() <= d.items()) == refused)


def test_an_expired_token_that_may_stay(broker, server):
    port = free_ports(1)
    one = issuer.broker_of(broker, server, [f"metrics 127.0.0.1:{port}", "leeway 0",
                                            "disconnect_after_expire false"])
    with one.connected("late-1", one.jwt("late-1", exp=now() + 2)) as c:
        time.sleep(3)
        mark = one.log.mark()
        assert c.publish("devices/late-1/telemetry", "x") == 0x87
        one.log.wait("refused publish client=late-1 .*reason=EXPIRED", mark)
        assert checked(port, "publish", "unauthorized") == 1
        server.wait(subject="late-1", action="publish", topic="devices/late-1/telemetry",
                    reason="EXPIRED")


def test_no_keys(broker, port):
    port = free_ports(1)
    one = broker(options=["issuer http://127.0.0.1:1", "keys_file ", f"metrics 127.0.0.1:{port}"])
    assert one.client().connect("sensor-1", one.jwt()).code == 0x87
    one.log.wait("refused login client=sensor-1 .*reason=UNAVAILABLE")
    samples = page(port)
    assert prometheus.get(samples, "latchkey_auth_total", outcome="unavailable",
                          reason="UNAVAILABLE") == 1
    assert prometheus.get(samples, "latchkey_keys_last_success_timestamp_seconds") == 0


def test_a_clock_that_cannot_be_right(broker, fresh):
    port = free_ports(1)
    fresh.ahead_s = 86400
    one = issuer.broker_of(broker, fresh, [f"metrics 127.0.0.1:{port}"])
    assert one.client().connect("sensor-1", one.jwt()).code == 0x87
    one.log.wait("refused login client=sensor-1 .*reason=CLOCK")
    assert counted(port, "unavailable", "CLOCK") == 1
    fresh.wait(subject="sensor-1", action="connect", reason="CLOCK")


def test_somebody_who_did_not_come_with_a_token(broker, fresh):
    port = free_ports(1)
    one = issuer.broker_of(broker, fresh, [f"metrics 127.0.0.1:{port}", "unknown defer"])
    one.stop()
    one.conf.write_text(one.conf.read_text().replace("allow_anonymous false",
                                                     "allow_anonymous true"))
    one.start()
    with one.client() as c:
        assert c.connect("somebody", None, username=None).code == 0
        assert c.publish("authz-info", "x") == 0x87
    one.log.wait("refused publish client=somebody .*topic=authz-info reason=DENIED")
    assert checked(port, "publish", "forbidden") == 1
    fresh.wait(subject="somebody", action="publish", topic="authz-info", reason="DENIED")


# --- how they travel


@pytest.fixture
def fresh():
    one = issuer.Issuer()
    yield one
    one.stop()
    assert not one.problems, one.problems


def deny(one, times=1, topic="devices/other/telemetry", subject="sensor-1"):
    with one.connected(subject) as c:
        for _ in range(times):
            assert c.publish(topic, "x") == 0x87


def test_the_same_ones_are_folded_and_sent_in_few_requests(broker, fresh):
    one = issuer.broker_of(broker, fresh)
    deny(one, 1000)
    total = lambda: sum(d["count"] for d in fresh.denials)              # noqa: E731
    wait_until("all are told", lambda: total() == 1000)
    assert len(fresh.posts) <= 10, "at most one a second"
    assert len(fresh.asked_for) == 1, "one token serves them all"


def test_what_cannot_be_sent_now_is_sent_later_with_the_same_key(broker, fresh):
    one = issuer.broker_of(broker, fresh)
    fresh.status = 503
    deny(one)
    wait_until("it was tried twice", lambda: len(fresh.posts) >= 2, 15)
    fresh.status = 202
    fresh.wait(reason="DENIED", count=1, timeout=20)
    assert len({key for _, key, _ in fresh.posts}) == 1
    one.log.wait("denials reachable again")


def test_an_issuer_without_the_endpoint_is_left_alone(broker, fresh):
    one = issuer.broker_of(broker, fresh)
    fresh.status = 404
    deny(one)
    one.log.wait("denials status=404 .*asked again in an hour")
    for n in range(3):
        time.sleep(1.1)
        deny(one, topic=f"devices/other/{n}")
    assert len(fresh.posts) == 1
    assert len(one.log.lines("denials status=404")) == 1


def test_a_batch_that_is_refused_is_given_up(broker, fresh):
    one = issuer.broker_of(broker, fresh)
    fresh.status = 400
    deny(one)
    wait_until("it was refused", lambda: fresh.posts)
    fresh.status = 202
    deny(one, topic="devices/other/status")
    fresh.wait(topic="devices/other/status", timeout=15)
    assert not [d for d in fresh.denials if d["topic"] == "devices/other/telemetry"]


def test_a_token_that_is_not_taken_any_more_is_replaced(broker, fresh):
    one = issuer.broker_of(broker, fresh)
    deny(one)
    fresh.wait(reason="DENIED")
    fresh.status = 401
    deny(one, topic="devices/other/status")
    wait_until("it was refused", lambda: fresh.posts[-1][0] == 401)
    fresh.status = 202
    fresh.wait(topic="devices/other/status", timeout=15)
    assert len(fresh.asked_for) == 2


def test_strangers_leave_room_for_those_who_are_known(broker, fresh):
    one = issuer.broker_of(broker, fresh)
    fresh.token_status = 503                        # so that they gather in the ring
    deny(one, subject="known-1")
    for n in range(200):
        with one.client() as c:
            assert c.connect(f"stranger-{n}", "hunter2").code == 0x87
    fresh.token_status = 200
    fresh.wait(subject="known-1", reason="DENIED", timeout=70)


def test_the_broker_ends_while_a_request_hangs(broker, fresh):
    one = issuer.broker_of(broker, fresh)
    hanging = []
    take = fresh.take

    def hang(request, body):
        if request.path == "/v1/verifiers/denials":
            hanging.append(body)
            time.sleep(20)
        take(request, body)
    fresh.take = hang
    deny(one)
    wait_until("the request hangs", lambda: hanging)
    with one.connected() as c:
        assert c.publish("devices/sensor-1/telemetry", "x") == 0, "nobody waits for it"
    began = time.monotonic()
    one.stop()
    assert time.monotonic() - began < 10
    fresh.take = take
