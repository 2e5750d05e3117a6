"""Tokens as anybody could make them, right and wrong, with PyJWT, cbor2 and cryptography alone."""

import base64
import hashlib
import hmac
import json
import os
import time

import cbor2
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (decode_dss_signature,
                                                             encode_dss_signature)

ISS, SUB, AUD, EXP, NBF, IAT, CTI, CNF, SCOPE = range(1, 10)
CWT_KEY = {"iss": ISS, "sub": SUB, "aud": AUD, "exp": EXP, "nbf": NBF, "iat": IAT, "jti": CTI,
           "cnf": CNF, "scope": SCOPE}

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

SENSOR = "telemetry:send config:read"
ACTUATOR = "commands:receive status:send config:read"
MONITOR = "telemetry:read devices:read alerts:read status:read"


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    text = text.encode() if isinstance(text, str) else text
    return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))


class Key:
    """An ES256 key of our own, as an issuer would have."""

    def __init__(self, kid="test-1", private=None):
        self.kid = kid
        self.private = private or ec.generate_private_key(ec.SECP256R1())

    @property
    def public_pem(self):
        return self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    def jwk(self):
        n = self.private.public_key().public_numbers()
        return {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.kid,
                "x": b64(n.x.to_bytes(32, "big")), "y": b64(n.y.to_bytes(32, "big"))}

    def sign(self, data, high_s=False):
        r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(hashes.SHA256())))
        if (s > P256_ORDER // 2) != high_s:
            s = P256_ORDER - s
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def jwks(*keys):
    return json.dumps({"keys": [key.jwk() for key in keys]})


def claims(issuer, subject="sensor-1", scope=SENSOR, device_type="sensor", lifetime=600, **change):
    """One good specimen; name=None in `change` leaves a claim out."""
    now = int(time.time())
    out = {"iss": issuer, "sub": subject, "aud": "mqtt", "exp": now + lifetime, "iat": now,
           "jti": b64(os.urandom(16)), "scope": scope, "client_id": subject, "gen": 1,
           "dty": device_type}
    out.update(change)
    return {name: value for name, value in out.items() if value is not None}


def jwt(key, body, header=None, sign=None):
    """A compact JWS. `sign` replaces the signature: bytes, or a function of the signing input."""
    head = {"alg": "ES256", "kid": key.kid, "typ": "at+jwt"}
    head.update(header or {})
    head = {name: value for name, value in head.items() if value is not None}
    pieces = [b64(json.dumps(part, separators=(",", ":")).encode()) for part in (head, body)]
    data = ".".join(pieces).encode()
    if sign is None:
        sign = key.sign
    signature = sign(data) if callable(sign) else sign
    return ".".join(pieces + [b64(signature)])


def hs256(secret):
    return lambda data: hmac.new(secret, data, hashlib.sha256).digest()


def cwt_claims(body):
    out = {}
    for name, value in body.items():
        if name == "client_id":
            continue
        if name == "jti":
            value = unb64(value)
        out[CWT_KEY.get(name, name)] = value
    return out


def cwt(key, body, protected=None, unprotected=None, tags=(61, 18), high_s=False, signature=None):
    """61(18([…])), ES256, alg and kid protected: the form Latchkey's own server writes."""
    head = {1: -7, 4: key.kid.encode()} if protected is None else protected
    head = cbor2.dumps(head, canonical=True) if head else b""
    payload = cbor2.dumps(cwt_claims(body), canonical=True)
    to_sign = cbor2.dumps(["Signature1", head, b"", payload])
    if signature is None:
        signature = key.sign(to_sign, high_s=high_s)
    value = [head, unprotected or {}, payload, signature]
    for tag in reversed(tags):
        value = cbor2.CBORTag(tag, value)
    return cbor2.dumps(value)


def verify_cwt(data, jwk):
    """@return the claims. Raises unless one of our tokens, signed with this JWK."""
    outer = cbor2.loads(data)
    assert outer.tag == 61 and outer.value.tag == 18
    head, unprotected, payload, signature = outer.value.value
    assert unprotected == {}
    header = cbor2.loads(head)
    assert header[1] == -7 and header[4] == jwk["kid"].encode()
    public = ec.EllipticCurvePublicNumbers(
        int.from_bytes(unb64(jwk["x"]), "big"), int.from_bytes(unb64(jwk["y"]), "big"),
        ec.SECP256R1()).public_key()
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    assert s <= P256_ORDER // 2
    public.verify(encode_dss_signature(r, s), cbor2.dumps(["Signature1", head, b"", payload]),
                  ec.ECDSA(hashes.SHA256()))
    return cbor2.loads(payload)
