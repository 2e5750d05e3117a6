"""Every way a token can be wrong: the right code on the wire, the reason in the broker's log.

One good specimen, then one thing broken in each row.
"""

import json
import time

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

import tokens
from mqtt_raw import CONNACK, V5, V311, Closed

NOT_AUTHORIZED = {V311: 5, V5: 0x87}


def flip(token, index):
    raw = bytearray(tokens.unb64(token.split(".")[2]))
    raw[index] ^= 1
    return token.rsplit(".", 1)[0] + "." + tokens.b64(bytes(raw))


def confused(b):
    """HS256 with the public key, which everybody knows, as the secret."""
    return tokens.jwt(b.key, b.claims(), {"alg": "HS256"}, tokens.hs256(b.key.public_pem))


def now():
    return int(time.time())


# name: (the token, the reason in the log). The broker's leeway is the default of 30 s.
JWT = {
    "wrong signature": (lambda b: flip(b.jwt(), 40), "SIGNATURE"),
    "signature of another key with our kid":
        (lambda b: tokens.jwt(tokens.Key(b.key.kid), b.claims()), "SIGNATURE"),
    "unknown kid": (lambda b: tokens.jwt(b.key, b.claims(), {"kid": "nobody"}), "KEY"),
    "alg none": (lambda b: tokens.jwt(b.key, b.claims(), {"alg": "none"}, b""), "ALG"),
    "alg nOnE": (lambda b: tokens.jwt(b.key, b.claims(), {"alg": "nOnE"}, b""), "ALG"),
    "HS256 with the public key as secret": (confused, "ALG"),
    "HS256 with an empty secret":
        (lambda b: tokens.jwt(b.key, b.claims(), {"alg": "HS256"}, tokens.hs256(b"")), "ALG"),
    "expired": (lambda b: b.jwt(exp=now() - 31, iat=now() - 600), "EXPIRED"),
    "not yet valid": (lambda b: b.jwt(nbf=now() + 90), "NOT_YET"),
    "issued in the future": (lambda b: b.jwt(iat=now() + 90), "NOT_YET"),
    "wrong issuer": (lambda b: b.jwt(iss="https://other.test"), "ISSUER"),
    "issuer with a slash more": (lambda b: b.jwt(iss=b.ISSUER + "/"), "ISSUER"),
    "wrong audience": (lambda b: b.jwt(aud="latchkey-api"), "AUDIENCE"),
    "audience list without ours": (lambda b: b.jwt(aud=["coap", "latchkey-api"]), "AUDIENCE"),
    "no exp": (lambda b: b.jwt(exp=None), "CLAIM"),
    "no jti": (lambda b: b.jwt(jti=None), "CLAIM"),
    "no iat": (lambda b: b.jwt(iat=None), "CLAIM"),
    "no aud": (lambda b: b.jwt(aud=None), "CLAIM|AUDIENCE"),
    "no sub": (lambda b: b.jwt(sub=None), "CLAIM"),
    "no iss": (lambda b: b.jwt(iss=None), "CLAIM|ISSUER"),
    "exp is text": (lambda b: b.jwt(exp=str(now() + 600)), "TYPE|MALFORMED"),
    "exp without end": (lambda b: b.jwt(exp=1e300), "RANGE|TYPE|MALFORMED|LIMIT"),
    "cnf with a key, shown as bearer":
        (lambda b: b.jwt(cnf={"jwk": tokens.Key("holder").jwk()}), "BOUND"),
    "cnf with a kid, shown as bearer": (lambda b: b.jwt(cnf={"kid": "abc"}), "BOUND"),
    "cnf nobody knows": (lambda b: b.jwt(cnf={"jku": "https://x.test"}), "BOUND"),
    "certificate-bound, without the certificate":
        (lambda b: b.jwt(cnf={"x5t#S256": tokens.b64(bytes(32))}), "BOUND"),
    "client id of another device": (lambda b: b.jwt("sensor-2"), "SUBJECT"),
    "client id that begins like the subject": (lambda b: b.jwt("sensor"), "SUBJECT"),
    "a monitor with a device's client id": (lambda b: b.monitor("monitor-1"), "SUBJECT"),
    "not an access token (typ JWT)":
        (lambda b: tokens.jwt(b.key, b.claims(), {"typ": "JWT"}), "TYP|FORM"),
    "a crit header": (lambda b: tokens.jwt(b.key, b.claims(), {"crit": ["exp"]}), "CRIT"),
    "padding in the base64url": (lambda b: b.jwt() + "=", "BASE64|MALFORMED"),
    "two dots at the end": (lambda b: b.jwt() + ".", "MALFORMED|BASE64|TRAILING"),
    "exp twice": (lambda b: tokens.jwt(b.key, Twice(b.claims())), "DUPLICATE"),
    "the body of another token": (lambda b: swap_body(b), "SIGNATURE"),
    "not a token": (lambda b: "hunter2", None),
}


class Twice(dict):
    """Written to JSON with the member exp two times."""

    def items(self):
        return list(super().items()) + [("exp", now() + 10 ** 6)]


def swap_body(b):
    one, two = b.jwt().split("."), b.jwt(scope="telemetry:send telemetry:read").split(".")
    return ".".join((one[0], two[1], one[2]))


def cwt(b, **form):
    change = form.pop("change", {})
    return tokens.cwt(b.key, b.claims(**change), **form)


CWT = {
    "wrong signature": (lambda b: b.cwt()[:-1] + bytes([b.cwt()[-1] ^ 1]), "SIGNATURE"),
    "unknown kid": (lambda b: cwt(b, protected={1: -7, 4: b"nobody"}), "KEY"),
    "no alg": (lambda b: cwt(b, protected={4: b.key.kid.encode()}), "ALG|MISSING|FORM"),
    "alg in the unprotected map":
        (lambda b: cwt(b, protected={4: b.key.kid.encode()}, unprotected={1: -7}),
         "ALG|MISSING|FORM"),
    "kid in both maps":
        (lambda b: cwt(b, unprotected={4: b.key.kid.encode()}), "DUPLICATE|MALFORMED|FORM"),
    "HMAC where ES256 belongs":
        (lambda b: cwt(b, protected={1: 5, 4: b.key.kid.encode()}, tags=(61, 17),
                       signature=bytes(32)), "ALG"),
    "without its tags": (lambda b: cwt(b, tags=()), "FORM"),
    "without tag 61": (lambda b: cwt(b, tags=(18,)), "FORM"),
    "something unprotected": (lambda b: cwt(b, unprotected={99: 1}), "FORM"),
    "the other half of the curve (high s)": (lambda b: cwt(b, high_s=True), "FORM|SIGNATURE"),
    "expired": (lambda b: b.cwt(exp=now() - 31, iat=now() - 600), "EXPIRED"),
    "not yet valid": (lambda b: b.cwt(nbf=now() + 90), "NOT_YET"),
    "wrong issuer": (lambda b: b.cwt(iss="https://other.test"), "ISSUER"),
    "wrong audience": (lambda b: b.cwt(aud="coap"), "AUDIENCE"),
    "no exp": (lambda b: b.cwt(exp=None), "CLAIM"),
    "no cti": (lambda b: b.cwt(jti=None), "CLAIM"),
    "cnf, shown as bearer": (lambda b: b.cwt(cnf={3: b"12345678"}), "BOUND"),
    "client id of another device": (lambda b: b.cwt("sensor-2"), "SUBJECT"),
    "a byte after the end": (lambda b: b.cwt() + b"\0", "TRAILING|MALFORMED"),
    "cut in the middle": (lambda b: b.cwt()[:60], "TRUNCATED|MALFORMED"),
}


def reasons(pattern):
    """The reason is a word of its own in the line."""
    return rf"sensor-1\b.*\b({pattern})\b|\b({pattern})\b.*sensor-1\b"


def check_refused(b, version, password, reason):
    mark = b.log.mark()
    with b.client(version) as c:
        ack = c.connect("sensor-1", password)
        assert ack.kind == CONNACK
        assert ack.code == NOT_AUTHORIZED[version]
        c.end()
    if reason:
        b.log.wait(reasons(reason), mark)
    assert not password or password not in b.log.since(mark), "the token stands in the log"


@pytest.mark.parametrize("version", [V311, V5], ids=["mqtt311", "mqtt5"])
@pytest.mark.parametrize("row", JWT)
def test_jwt_as_password(shared_broker, row, version):
    make, reason = JWT[row]
    check_refused(shared_broker, version, make(shared_broker), reason)


@pytest.mark.parametrize("version", [V311, V5], ids=["mqtt311", "mqtt5"])
@pytest.mark.parametrize("row", CWT)
def test_cwt_as_password(shared_broker, row, version):
    make, reason = CWT[row]
    check_refused(shared_broker, version, tokens.b64(make(shared_broker)), reason)


@pytest.mark.parametrize("method, table", [("OAUTH2-JWT", JWT), ("OAUTH2-CWT", CWT)])
def test_by_enhanced_authentication(shared_broker, method, table):
    b = shared_broker
    for row, (make, reason) in table.items():
        mark = b.log.mark()
        data = make(b)
        with b.client(V5) as c:
            ack = c.connect_by_auth("sensor-1", method, data)
            assert (ack.kind, ack.code) == (CONNACK, 0x87), row
        if reason:
            b.log.wait(reasons(reason), mark)


@pytest.mark.parametrize("version", [V311, V5], ids=["mqtt311", "mqtt5"])
def test_the_specimen_itself_is_taken(shared_broker, version):
    """So that no row above can fail for the wrong reason."""
    b = shared_broker
    for good in (b.jwt(), tokens.b64(b.cwt()), b.jwt(aud=["mqtt", "coap"]),
                 b.jwt(nbf=now() + 20), b.jwt(exp=now() - 10, iat=now() - 60)):
        with b.connected(token=good, version=version) as c:
            assert c.publish("devices/sensor-1/telemetry", "{}") == 0


def test_an_unknown_method_is_a_bad_method(shared_broker):
    with shared_broker.client(V5) as c:
        ack = c.connect_by_auth("sensor-1", "SCRAM-SHA-1", b"x")
        assert (ack.kind, ack.code) == (CONNACK, 0x8C)


@pytest.mark.parametrize("version", [V311, V5], ids=["mqtt311", "mqtt5"])
def test_nobody_without_a_token(shared_broker, version):
    for options in ({"username": None, "password": None}, {"username": "x", "password": None},
                    {"username": "sensor-1", "password": ""}):
        with shared_broker.client(version) as c:
            try:
                ack = c.connect("sensor-1", **options)
                assert ack.code in (NOT_AUTHORIZED[version], 4, 0x86)
            except Closed:
                pass


# --- the same against the keys of a real latchkeyd ---------------------------------------------

@pytest.fixture(scope="module")
def sensor(stack):
    return stack.device("sensor")


def refused_by_stack(stack, client_id, token, reason):
    for version in (V311, V5):
        mark = stack.broker_log.mark()
        with stack.client(version) as c:
            ack = c.connect(client_id, token)
            assert ack.code == NOT_AUTHORIZED[version]
        stack.broker_log.wait(rf"\b({reason})\b", mark)


def test_real_token_with_a_bit_flipped(stack, sensor):
    refused_by_stack(stack, sensor.id, flip(sensor.token(), 10), "SIGNATURE")


def test_real_token_for_another_audience(stack, sensor):
    refused_by_stack(stack, sensor.id, sensor.token(audience="latchkey-api"), "AUDIENCE")


def test_real_token_of_another_device(stack, sensor):
    refused_by_stack(stack, stack.device("sensor").id, sensor.token(), "SUBJECT")


def test_real_monitor_with_a_devices_client_id(stack, sensor):
    token = stack.token(*stack.credentials("monitor"))
    refused_by_stack(stack, sensor.id, token, "SUBJECT")


def real_parts(token):
    header = pyjwt.get_unverified_header(token)
    return header, pyjwt.decode(token, options={"verify_signature": False})


def test_our_own_key_under_a_real_kid(stack, sensor):
    header, body = real_parts(sensor.token())
    refused_by_stack(stack, sensor.id, tokens.jwt(tokens.Key(header["kid"]), body), "SIGNATURE")


def test_a_kid_nobody_published(stack, sensor):
    _, body = real_parts(sensor.token())
    refused_by_stack(stack, sensor.id, tokens.jwt(tokens.Key("nobody"), body), "KEY")


def test_alg_none_with_real_claims(stack, sensor):
    header, body = real_parts(sensor.token())
    token = tokens.jwt(tokens.Key(header["kid"]), body, {"alg": "none"}, b"")
    refused_by_stack(stack, sensor.id, token, "ALG")


def test_hs256_with_the_published_key_as_secret(stack, sensor):
    header, body = real_parts(sensor.token())
    jwk = next(k for k in stack.jwks() if k["kid"] == header["kid"])
    public = ec.EllipticCurvePublicNumbers(
        int.from_bytes(tokens.unb64(jwk["x"]), "big"),
        int.from_bytes(tokens.unb64(jwk["y"]), "big"), ec.SECP256R1()).public_key()
    from cryptography.hazmat.primitives import serialization as s
    for secret in (public.public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo),
                   public.public_bytes(s.Encoding.DER, s.PublicFormat.SubjectPublicKeyInfo),
                   json.dumps(jwk).encode(), tokens.unb64(jwk["x"])):
        token = tokens.jwt(tokens.Key(header["kid"]), body, {"alg": "HS256"},
                           tokens.hs256(secret))
        refused_by_stack(stack, sensor.id, token, "ALG")


def test_real_token_after_its_end(fresh_stack):
    stack = fresh_stack(plugin_opts=["leeway 0"])
    device = stack.device("sensor")
    token = device.token(expires_in=1)
    time.sleep(1.2)
    refused_by_stack(stack, device.id, token, "EXPIRED")
