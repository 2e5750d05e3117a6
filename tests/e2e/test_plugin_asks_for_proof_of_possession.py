"""Method `ace`: a token bound to a key lets in who has the key, and nobody else."""

import hashlib
import hmac
import json
import os
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

import ace
import installation
import tokens
from mqtt_raw import (AUTH, AUTH_DATA, AUTH_METHOD, CONNACK, CONTINUE, DISCONNECT, V5, V311, Closed,
                      packet, properties)

RS_KEY = os.urandom(32)
VECTORS = Path(__file__).resolve().parents[1] / "vectors"


def write_rs_key(folder):
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "rs_key"
    path.write_text(tokens.b64(RS_KEY) + "\n")
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def one(workdir):
    folder = workdir / "possession"
    b = installation.Broker(folder, ["leeway 0", f"rs_key_file {write_rs_key(folder)}"]).start()
    yield b
    b.stop()


HOLDERS = {"ES256": ace.Es256, "Ed25519": ace.Ed25519, "HS256": lambda: ace.Derived(RS_KEY)}
FORMATS = ["JWT", "CWT"]


def bound(b, holder, form="JWT", subject="sensor-1", **change):
    if form == "JWT":
        return b.jwt(subject, cnf=holder.jwt_cnf(), **change)
    return b.cwt(subject, cnf=holder.cwt_cnf(), **change)


def come_in(b, holder, token=None, subject="sensor-1", **options):
    c = b.client(V5)
    ack = ace.connect(c, subject, token or bound(b, holder, subject=subject), holder, **options)
    assert (ack.kind, ack.code) == (CONNACK, 0), (ack.kind, hex(ack.code), b.log.since()[-1000:])
    return c


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", HOLDERS)
def test_the_holder_comes_in(one, kind, form):
    holder, mark = HOLDERS[kind](), one.log.mark()
    with one.connected("monitor-1", one.monitor()) as monitor:
        monitor.subscribe("devices/+/telemetry/#")
        token = bound(one, holder, form)
        with one.client(V5) as c:
            ack = ace.connect(c, "sensor-1", token, holder)
            assert (ack.kind, ack.code) == (CONNACK, 0)
            assert ack.props[AUTH_METHOD] == b"ace"
            assert c.publish("devices/sensor-1/telemetry", "x") == 0
            assert c.publish("devices/sensor-2/telemetry", "x") == 0x87
        assert monitor.message().topic == "devices/sensor-1/telemetry"
    one.log.wait(r"accepted login client=sensor-1 user=sensor-1 \S+ method=ace", mark)
    assert str(token) not in one.log.since(mark)


def der(holder, data, token):
    return holder.private.sign(data, ec.ECDSA(hashes.SHA256()))


WRONG_ANSWERS = {
    "another key": ("ES256", "BOUND", lambda h, c, n, t: n + ace.Es256().prove(c + n, t)),
    "another Ed25519 key": ("Ed25519", "BOUND",
                            lambda h, c, n, t: n + ace.Ed25519().prove(c + n, t)),
    "a key derived from another secret": (
        "HS256", "BOUND", lambda h, c, n, t: n + ace.Derived(bytes(32)).prove(c + n, t)),
    "a key derived from another token": (
        "HS256", "BOUND", lambda h, c, n, t: n + h.prove(c + n, t + b"x")),
    "nonces swapped": ("Ed25519", "BOUND", lambda h, c, n, t: n + h.prove(n + c, t)),
    "over the broker's nonce alone": ("Ed25519", "BOUND", lambda h, c, n, t: n + h.prove(c, t)),
    "over the client's nonce alone": ("ES256", "BOUND", lambda h, c, n, t: n + h.prove(n, t)),
    "over another nonce": ("HS256", "BOUND", lambda h, c, n, t: n + h.prove(bytes(8) + n, t)),
    "over another nonce of the client": ("ES256", "BOUND",
                                         lambda h, c, n, t: bytes(8) + h.prove(c + n, t)),
    "over the token": ("Ed25519", "BOUND", lambda h, c, n, t: n + h.prove(t, t)),
    "a nonce of 7 bytes": ("HS256", "BOUND", lambda h, c, n, t: n[:7] + h.prove(c + n[:7], t)),
    "a nonce of 9 bytes": ("Ed25519", "BOUND",
                           lambda h, c, n, t: n + b"x" + h.prove(c + n + b"x", t)),
    "a tag of 8 bytes": ("HS256", "BOUND", lambda h, c, n, t: n + h.prove(c + n, t)[:8]),
    "a tag of 33 bytes": ("HS256", "BOUND", lambda h, c, n, t: n + h.prove(c + n, t) + b"\0"),
    "a signature as DER": ("ES256", "BOUND", lambda h, c, n, t: n + der(h, c + n, t)),
    "r and s of zero": ("ES256", "BOUND", lambda h, c, n, t: n + bytes(64)),
    "zeroes": ("Ed25519", "BOUND", lambda h, c, n, t: n + bytes(64)),
    "a tag keyed with the public key": (
        "Ed25519", "BOUND",
        lambda h, c, n, t: n + hmac.new(h.x, c + n, hashlib.sha256).digest()),
    "a tag keyed with the kid": (
        "HS256", "BOUND",
        lambda h, c, n, t: n + hmac.new(h.kid, c + n, hashlib.sha256).digest()),
    "a nonce and no proof": ("ES256", "MALFORMED", lambda h, c, n, t: n),
    "one byte": ("ES256", "MALFORMED", lambda h, c, n, t: b"\0"),
    "nothing": ("ES256", "MALFORMED", lambda h, c, n, t: b""),
    "the token again": ("ES256", "BOUND", lambda h, c, n, t: ace.token_data(t)),
}


@pytest.mark.parametrize("row", WRONG_ANSWERS)
def test_a_wrong_answer(one, row):
    kind, reason, make = WRONG_ANSWERS[row]
    holder = HOLDERS[kind]()
    token = ace.raw(bound(one, holder))
    mark = one.log.mark()
    with one.client(V5) as c:
        challenge = ace.begin(c, "sensor-1", token)
        ack = ace.finish(c, make(holder, challenge, os.urandom(8), token))
        assert (ack.kind, ack.code) == (CONNACK, 0x87)
        c.end(timeout=5)
    one.log.wait(rf"refused login client=sensor-1 .*method=ace reason={reason}\b", mark)


def test_an_answer_is_good_once(one):
    holder = ace.Ed25519()
    token = bound(one, holder)
    with one.client(V5) as c:
        good = ace.answer(ace.begin(c, "sensor-1", token), holder, token)
        assert ace.finish(c, good).code == 0
        # As a second answer: nobody has asked.
        try:
            c.auth(CONTINUE, "ace", good)
            assert c.end(timeout=5)[1] == 0x82
        except Closed:
            pass
    with one.client(V5) as c:
        ace.begin(c, "sensor-1", token)
        assert ace.finish(c, good).code == 0x87


def test_every_challenge_is_new(one):
    holder = ace.Ed25519()
    token, seen = bound(one, holder), set()
    for _ in range(50):
        with one.client(V5) as c:
            seen.add(ace.begin(c, "sensor-1", token))
    assert len(seen) == 50


def test_a_second_guess_is_not_asked_for(one):
    holder = ace.Ed25519()
    token, mark = bound(one, holder), one.log.mark()
    with one.client(V5) as c:
        challenge = ace.begin(c, "sensor-1", token)
        assert ace.finish(c, os.urandom(72)).code == 0x87
        try:
            c.auth(CONTINUE, "ace", ace.answer(challenge, holder, token))
            c.end(timeout=5)
        except (Closed, OSError):
            pass
    assert not one.log.lines("accepted login client=sensor-1 ", mark)


def private_part(b):
    holder = ace.Ed25519()
    cnf = holder.jwt_cnf()
    cnf["jwk"]["d"] = tokens.b64(bytes(32))
    return b.jwt(cnf=cnf)


STARTS = {
    "no cnf": ("CLAIM", lambda b, h: ace.token_data(b.jwt())),
    "bound to a certificate": (
        "UNSUPPORTED", lambda b, h: ace.token_data(b.jwt(cnf={"x5t#S256": tokens.b64(bytes(32))}))),
    "a private key in the token": ("BOUND", lambda b, h: ace.token_data(private_part(b))),
    "a secret key in the token": (
        "BOUND", lambda b, h: ace.token_data(
            b.jwt(cnf={"jwk": {"kty": "oct", "k": tokens.b64(bytes(32)), "alg": "HS256"}}))),
    "expired": ("EXPIRED", lambda b, h: ace.token_data(bound(b, h, exp=int(time.time()) - 1))),
    "of a stranger": ("SIGNATURE", lambda b, h: ace.token_data(
        tokens.jwt(tokens.Key(b.key.kid), b.claims(cnf=h.jwt_cnf())))),
    "for another audience": ("AUDIENCE", lambda b, h: ace.token_data(bound(b, h, aud="coap"))),
    "base64url of a CWT": (
        "MALFORMED", lambda b, h: ace.token_data(tokens.b64(bound(b, h, "CWT")))),
    "a kid of 8 bytes with a zero": (
        "FORM", lambda b, h: ace.token_data(b.jwt(cnf={"kid": tokens.b64(b"\0" + b"k" * 7)}))),
    "a length beyond the data": (
        "MALFORMED", lambda b, h: b"\xff\xff" + ace.raw(bound(b, h))),
    "one byte": ("MALFORMED", lambda b, h: b"\0"),
    "no token, and a byte": ("MALFORMED", lambda b, h: b"\0\0x"),
    "a token and a proof over the TLS exporter": (
        "UNSUPPORTED", lambda b, h: ace.token_data(bound(b, h)) + bytes(64)),
    "no token": ("MISSING", lambda b, h: b"\0\0"),
    "empty data": ("MISSING", lambda b, h: b""),
    "no data": ("MISSING", lambda b, h: None),
    "not a token": ("MALFORMED|ALG|TYPE|BASE64|TRUNCATED", lambda b, h: ace.token_data(b"hunter2")),
    "the token without its length": ("MALFORMED", lambda b, h: ace.raw(bound(b, h))),
}


@pytest.mark.parametrize("row", STARTS)
def test_a_token_that_earns_no_challenge(one, row):
    reason, make = STARTS[row]
    data, mark = make(one, ace.Es256()), one.log.mark()
    with one.client(V5) as c:
        ack = c.connect_by_auth("sensor-9" if "no" in row.split() else "sensor-1", "ace", data)
        assert (ack.kind, ack.code) == (CONNACK, 0x87)
    one.log.wait(rf"refused login .*method=ace reason=({reason})\b", mark)


def test_the_client_id_is_bound_as_ever(one):
    holder = ace.Ed25519()
    token = bound(one, holder)
    with one.client(V5) as c:
        mark = one.log.mark()
        assert ace.connect(c, "sensor-2", token, holder).code == 0x87
        one.log.wait(r"refused login client=sensor-2 .*reason=SUBJECT", mark)
    with one.client(V5) as c:
        assert ace.connect(c, "sensor-1:b", token, holder).code == 0


@pytest.mark.parametrize("kind", HOLDERS)
def test_a_bound_token_is_no_bearer_token(one, kind):
    holder = HOLDERS[kind]()
    for version in (V311, V5):
        with one.client(version) as c:
            mark = one.log.mark()
            assert c.connect("sensor-1", bound(one, holder)).code in (5, 0x87)
            one.log.wait(r"refused login .*reason=BOUND", mark)
    for method, form in (("OAUTH2-JWT", "JWT"), ("OAUTH2-CWT", "CWT")):
        with one.client(V5) as c:
            assert c.connect_by_auth("sensor-1", method, bound(one, holder, form)).code == 0x87


def test_without_rs_key_file_a_kid_is_no_key(shared_broker):
    mark = shared_broker.log.mark()
    with shared_broker.client(V5) as c:
        token = bound(shared_broker, ace.Derived(RS_KEY))
        assert c.connect_by_auth("sensor-1", "ace", ace.token_data(token)).code == 0x87
    shared_broker.log.wait(r"refused login .*method=ace reason=KEY\b", mark)


def test_it_waits_ten_seconds_and_no_longer(one):
    holder = ace.Ed25519()
    token = bound(one, holder)
    with one.client(V5) as slow, one.client(V5) as late:
        challenges = [ace.begin(c, "sensor-1", token) for c in (slow, late)]
        time.sleep(8.5)
        assert ace.finish(slow, ace.answer(challenges[0], holder, token)).code == 0
        time.sleep(2)
        mark = one.log.mark()
        assert ace.finish(late, ace.answer(challenges[1], holder, token)).code == 0x87
        one.log.wait(r"refused login .*method=ace reason=TIMEOUT", mark)
        assert slow.is_open()


def test_what_happens_meanwhile_counts(one):
    """A token that expires between challenge and answer is expired."""
    holder = ace.Ed25519()
    token = bound(one, holder, exp=int(time.time()) + 2)
    with one.client(V5) as c:
        challenge = ace.begin(c, "sensor-1", token)
        time.sleep(2.1)
        mark = one.log.mark()
        assert ace.finish(c, ace.answer(challenge, holder, token)).code == 0x87
        one.log.wait(r"refused login .*reason=EXPIRED", mark)


def test_a_thousand_unanswered_challenges(one):
    """The oldest give way; who answers at once comes in; nothing is left behind."""
    holder = ace.Ed25519()
    token = bound(one, holder)
    waiting = [one.client(V5) for _ in range(1100)]
    challenges = [ace.begin(c, "sensor-1", token) for c in waiting]
    come_in(one, holder, token).close()
    assert ace.finish(waiting[0], ace.answer(challenges[0], holder, token)).code in (0x87, 0x8C)
    last = ace.finish(waiting[-1], ace.answer(challenges[-1], holder, token))
    assert (last.kind, last.code) == (CONNACK, 0)
    for c in waiting:
        c.close()
    come_in(one, holder, token).close()


def test_nothing_but_auth_before_connack(one):
    holder = ace.Ed25519()
    token = bound(one, holder)
    with one.client(V5) as c:
        ace.begin(c, "sensor-1", token)
        try:
            c.publish("devices/sensor-1/telemetry", "x", wait=False)
            c.end(timeout=5)
        except Closed:
            pass


# --- renewal

@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", ["ES256", "Ed25519"])
def test_renewal(one, kind, form):
    holder = HOLDERS[kind]()
    with come_in(one, holder, bound(one, holder, exp=int(time.time()) + 3)) as c:
        for _ in range(2):
            time.sleep(1.5)
            token = bound(one, holder, form, exp=int(time.time()) + 3)
            done = ace.renew(c, token, holder)
            assert (done.kind, done.code) == (AUTH, 0)
            assert done.props[AUTH_METHOD] == b"ace"
            assert c.publish("devices/sensor-1/telemetry", "x") == 0
        assert c.end(timeout=8)[1] == 0x98


def test_renewal_of_a_derived_key_with_its_kid(one):
    """RFC 9202 section 4: the update names the key by kid, and the client goes on using it."""
    first = ace.Derived(RS_KEY)
    t1 = bound(one, first)
    with come_in(one, first, t1) as c:
        same_key = ace.Derived(RS_KEY, kid=first.kid, of=ace.raw(t1))
        t2 = bound(one, same_key, jti=tokens.b64(os.urandom(16)))
        assert ace.renew(c, t2, same_key).code == 0
        # A server that makes a new key under the old kid is understood too.
        t3 = bound(one, first, jti=tokens.b64(os.urandom(16)))
        assert ace.renew(c, t3, first).code == 0
        assert c.publish("devices/sensor-1/telemetry", "x") == 0
    # And from there on: the newest key of this kid, and the token's own.
    with come_in(one, ace.Derived(RS_KEY, kid=first.kid, of=ace.raw(t3)), t2):
        pass


def test_new_rights_hold_at_once(one):
    holder = ace.Ed25519()
    with come_in(one, holder, bound(one, holder, scope="config:read")) as c:
        assert c.publish("devices/sensor-1/telemetry", "x") == 0x87
        assert ace.renew(c, bound(one, holder), holder).code == 0
        assert c.publish("devices/sensor-1/telemetry", "x") == 0


H = ace.Ed25519()
WRONG_RENEWALS = {
    "another key": ("BOUND", lambda b: (bound(b, ace.Ed25519()), H)),
    "another key, and its holder": (
        "BOUND", lambda b: (lambda other: (bound(b, other), other))(ace.Ed25519())),
    "a key of another kind": (
        "BOUND", lambda b: (lambda other: (bound(b, other), other))(ace.Derived(RS_KEY))),
    "no key": ("CLAIM", lambda b: (b.jwt(), H)),
    "another subject": ("SUBJECT", lambda b: (bound(b, H, subject="sensor-2"), H)),
    "another tenant": ("SUBJECT|DENIED", lambda b: (bound(b, H, tnt="acme"), H)),
    "another type": ("SUBJECT", lambda b: (bound(b, H, dty="actuator"), H)),
    "expired": ("EXPIRED", lambda b: (bound(b, H, exp=int(time.time()) - 1), H)),
    "a wrong proof": ("BOUND", lambda b: (bound(b, H), ace.Ed25519())),
    "no token": ("MISSING", lambda b: (b"", H)),
}


@pytest.mark.parametrize("row", WRONG_RENEWALS)
def test_a_refused_renewal_ends_the_connection(one, row):
    reason, make = WRONG_RENEWALS[row]
    token, holder = make(one)
    with come_in(one, H) as c:
        mark = one.log.mark()
        try:
            got = c.reauthenticate("ace", ace.token_data(token))
            if (got.kind, got.code) == (AUTH, CONTINUE):
                got = ace.finish(c, ace.answer(ace.challenge_of(got), holder, token))
            # 2.0.11 answers with a CONNACK where the standard wants a DISCONNECT.
            assert got.kind in (CONNACK, DISCONNECT) and got.code == 0x87
        except Closed:
            pass
        c.end(timeout=5)
    one.log.wait(rf"refused renewal client=sensor-1 .*method=ace reason=({reason})\b", mark)
    assert one.process.poll() is None


def test_between_the_steps_the_broker_takes_nothing_else(one):
    with come_in(one, H) as c:
        ace.challenge_of(c.reauthenticate("ace", ace.token_data(bound(one, H))))
        c.publish("devices/sensor-1/telemetry", "x", wait=False)
        try:
            assert c.end(timeout=5)[1] == 0x82
        except Closed:
            pass


def test_empty_auth_packets_at_every_moment(one):
    """Mosquitto 2.0 takes F0 00 for a next step, whatever the connection is at."""
    token = bound(one, H)
    with one.connected("witness-1") as witness:
        for moment in ("challenged", "in", "renewing", "twice"):
            with one.client(V5) as c:
                try:
                    challenge = ace.begin(c, "sensor-1", token)
                    if moment != "challenged":
                        assert ace.finish(c, ace.answer(challenge, H, token)).code == 0
                    if moment == "renewing":
                        ace.challenge_of(c.reauthenticate("ace", ace.token_data(token)))
                    c.send(packet(AUTH))
                    if moment == "twice":
                        c.send(packet(AUTH, bytes([0x18]) + properties(
                            {AUTH_METHOD: "ace", AUTH_DATA: ace.answer(challenge, H, token)})))
                    c.end(timeout=5)
                except (Closed, OSError):
                    pass
            come_in(one, H, token).close()
        assert witness.is_open() and one.process.poll() is None


def test_sighup_in_the_middle(one):
    token = bound(one, H)
    with come_in(one, H, token) as c, one.client(V5) as half:
        challenge = ace.begin(half, "sensor-1:b", token)
        renewal = ace.challenge_of(c.reauthenticate("ace", ace.token_data(token)))
        mark = one.log.mark()
        one.reload()
        one.log.wait("Reloading config", mark)
        time.sleep(0.3)
        assert ace.finish(half, ace.answer(challenge, H, token)).code == 0
        assert ace.finish(c, ace.answer(renewal, H, token)).code == 0
        assert c.publish("devices/sensor-1/telemetry", "x") == 0


def test_a_takeover_of_a_client_that_is_renewing(one):
    token = bound(one, H)
    old = come_in(one, H, token)
    ace.challenge_of(old.reauthenticate("ace", ace.token_data(token)))
    with come_in(one, H, token) as c:
        old.end(timeout=5)
        assert c.publish("devices/sensor-1/telemetry", "x") == 0


def test_a_persistent_session_and_its_will(one):
    from mqtt_raw import SESSION_EXPIRY
    with one.connected("monitor-1", one.monitor()) as monitor:
        monitor.subscribe("devices/+/status/#")
        holder = ace.Ed25519()
        token = bound(one, holder, scope="status:send config:read")
        c = come_in(one, holder, token, clean=False, props={SESSION_EXPIRY: 60},
                    will=("devices/sensor-1/status", "gone", 1, False))
        c.subscribe("devices/sensor-1/config/#")
        c.close()
        assert monitor.message().payload == b"gone"
        one.reload()
        time.sleep(0.3)
        with one.connected("manager-1", one.jwt("manager-1", scope="config:write",
                                                device_type=None)) as manager:
            manager.publish("devices/sensor-1/config/a", "1")
        with one.client(V5) as again:
            ack = ace.connect(again, "sensor-1", token, holder, clean=False,
                              props={SESSION_EXPIRY: 0})
            assert ack.code == 0 and ack.session_present
            assert again.message().payload == b"1"


def test_a_token_stored_by_authz_info_serves_the_next_connect(one):
    holder = ace.Ed25519()
    token = bound(one, holder, "CWT")
    with come_in(one, holder, subject="sensor-1") as c:
        assert c.publish("authz-info", token) == 0
        assert json.loads(c.message().payload)["ok"] is True
    with one.client(V5) as c:
        ack = ace.connect(c, "sensor-1", None, holder, stored=token)
        assert (ack.kind, ack.code) == (CONNACK, 0)
        assert c.publish("devices/sensor-1/telemetry", "x") == 0
    with one.client(V5) as c:
        assert ace.connect(c, "sensor-1", None, ace.Ed25519(), stored=token).code == 0x87
    with one.client(V5) as c:
        assert c.connect_by_auth("sensor-1:other", "ace", None).code == 0x87


def test_require_cnf(broker):
    b = broker(options=["require_cnf true"])
    mark = b.log.mark()
    for version in (V311, V5):
        with b.client(version) as c:
            assert c.connect("sensor-1", b.jwt()).code in (5, 0x87)
    b.log.wait(r"refused login .*method=password reason=BOUND require_cnf is on", mark)
    with b.client(V5) as c:
        assert c.connect_by_auth("sensor-1", "OAUTH2-JWT", b.jwt()).code == 0x87
    come_in(b, H).close()


# --- the published layout, and the reference client against it

def test_the_reference_client_writes_the_vectors():
    data = json.loads((VECTORS / "ace/mqtt_auth_data.json").read_text())
    token = bytes.fromhex(data["tokens"]["tok_ed"])
    holder = ace.Ed25519(bytes.fromhex(data["keys"]["device_ed25519_seed"]))
    for test in data["tests"]:
        if test["name"].startswith("CONNECT, token only"):
            assert ace.token_data(token).hex() == test["authDataHex"]
        if test["name"] == "AUTH from client, challenge/response, Ed25519":
            assert ace.answer(bytes.fromhex(test["rsNonceHex"]), holder, token,
                              bytes.fromhex(test["clientNonceHex"])).hex() == test["authDataHex"]


def test_the_published_packets(one):
    """Their tokens are of another issuer: refused, each for that and not for its form."""
    for test in json.loads((VECTORS / "mqtt/ace_packets.json").read_text())["tests"]:
        kind = test["decoded"]["type"]
        if kind != "CONNECT":
            continue
        mark = one.log.mark()
        v5 = test["decoded"]["level"] == 5 if "level" in test["decoded"] else True
        with one.client(V5 if v5 else V311) as c:
            c.send(bytes.fromhex(test["packetHex"]))
            ack = c.read(CONNACK)
            assert ack.code == (0x87 if v5 else 5), test["name"]
        reason = "ISSUER|KEY" if v5 else r"\w+"
        one.log.wait(rf"refused login client=dev1 .*reason=({reason})\b", mark)
