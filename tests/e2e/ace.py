"""The client's side of RFC 9431's method `ace` with its challenge, from the RFC's text (section
2.2.4.2), and the keys a token can be bound to (RFC 7800, RFC 8747, RFC 9202 section 3.3.1)."""

import hashlib
import hmac
import os
import struct

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mqtt_raw import AUTH, AUTH_DATA, AUTH_METHOD, CONNACK, CONTINUE, DISCONNECT, REAUTHENTICATE
from tokens import b64

METHOD = "ace"


class Es256:
    def __init__(self):
        self.private = ec.generate_private_key(ec.SECP256R1())
        n = self.private.public_key().public_numbers()
        self.x, self.y = n.x.to_bytes(32, "big"), n.y.to_bytes(32, "big")

    def jwt_cnf(self):
        return {"jwk": {"kty": "EC", "crv": "P-256", "x": b64(self.x), "y": b64(self.y)}}

    def cwt_cnf(self):
        return {1: {1: 2, -1: 1, -2: self.x, -3: self.y}}

    def prove(self, data, token):
        r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


class Ed25519:
    def __init__(self, seed=None):
        self.private = (ed25519.Ed25519PrivateKey.from_private_bytes(seed) if seed
                        else ed25519.Ed25519PrivateKey.generate())
        self.x = self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def jwt_cnf(self):
        return {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": b64(self.x)}}

    def cwt_cnf(self):
        return {1: {1: 1, -1: 6, -2: self.x}}

    def prove(self, data, token):
        return self.private.sign(data)


class Derived:
    """A symmetric key that the token names by kid. The server tells it to the client; here we
    derive it as the server does. `of`: the token the key was made for, if not the present one."""

    def __init__(self, rs_key, kid=None, of=None):
        self.rs_key, self.of = rs_key, of
        self.kid = kid or bytes(1 + byte % 255 for byte in os.urandom(8))

    def jwt_cnf(self):
        return {"kid": b64(self.kid)}

    def cwt_cnf(self):
        return {3: self.kid}

    def key(self, token):
        info = cbor2.dumps(["ACE-CoAP-DTLS-key-derivation", 32, self.of or token])
        return HKDF(hashes.SHA256(), 32, None, info).derive(self.rs_key)

    def prove(self, data, token):
        return hmac.new(self.key(token), data, hashlib.sha256).digest()


def raw(token):
    return token.encode() if isinstance(token, str) else token


def token_data(token):
    return struct.pack(">H", len(raw(token))) + raw(token)


def answer(challenge, holder, token, nonce=None):
    nonce = nonce or os.urandom(8)
    return nonce + holder.prove(challenge + nonce, raw(token))


def begin(client, client_id, token, **options):
    """CONNECT. @return the challenge; raises if the answer is anything else."""
    packet = client.connect_by_auth(client_id, METHOD, token_data(token) if token else None,
                                    **options)
    return challenge_of(packet)


def challenge_of(packet):
    assert (packet.kind, packet.code) == (AUTH, CONTINUE), (packet.kind, hex(packet.code))
    assert packet.props[AUTH_METHOD] == METHOD.encode()
    assert len(packet.props[AUTH_DATA]) == 8
    return packet.props[AUTH_DATA]


def finish(client, data):
    """@return what the broker says to an answer: CONNACK, AUTH or DISCONNECT."""
    client.auth(CONTINUE, METHOD, data)
    return client.read(CONNACK, AUTH, DISCONNECT)


def connect(client, client_id, token, holder, stored=None, **options):
    """The whole exchange. `stored`: a token the broker has; `token` is then None."""
    challenge = begin(client, client_id, token, **options)
    return finish(client, answer(challenge, holder, token or stored))


def renew(client, token, holder):
    challenge = challenge_of(client.reauthenticate(METHOD, token_data(token)))
    return finish(client, answer(challenge, holder, token))
