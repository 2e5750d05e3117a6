"""Keys and settings of the verifier, drawn from a random generator."""

import hashlib
import hmac
import json

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from judge import CLASSIC, ORDER, b64
from strict_cbor import Map, Writer

_RAW = serialization.Encoding.Raw, serialization.PublicFormat.Raw
_rsa_keys = []  # making one takes long, and which one it is does not matter


def _rsa_key(n):
    while len(_rsa_keys) <= n:
        _rsa_keys.append(rsa.generate_private_key(65537, 2048))
    return _rsa_keys[n]


class Key:
    """A key of an issuer; `public` is what the judge verifies with."""

    def __init__(self, rng, alg, kid):
        self.alg, self.kid = alg, kid
        if alg == "ES256":
            self.private = ec.derive_private_key(rng.randrange(1, ORDER), ec.SECP256R1())
        elif alg == "EdDSA":
            self.private = ed25519.Ed25519PrivateKey.from_private_bytes(rng.randbytes(32))
        elif alg == "RS256":
            self.private = _rsa_key(rng.randrange(2))
        else:
            self.private = rng.randbytes(rng.choice([32, 32, 33, 64, 65, 128]))
        is_secret = isinstance(self.private, bytes)
        self.public = self.private if is_secret else self.private.public_key()

    def sign(self, data, low_s=True):
        """The signature as COSE and JOSE have it."""
        if self.alg == "ES256":
            r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(hashes.SHA256())))
            if (s > ORDER // 2) == low_s:
                s = ORDER - s
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        if self.alg == "EdDSA":
            return self.private.sign(data)
        if self.alg == "RS256":
            return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())
        tag = hmac.digest(self.private, data, hashlib.sha256)
        return tag[:8] if self.alg == "HS256/64" else tag

    def _point(self):
        n = self.public.public_numbers()
        return n.x.to_bytes(32, "big"), n.y.to_bytes(32, "big")

    def frame(self):
        """The key as the driver is given it: a JWK, or a COSE_Key where JSON cannot say it."""
        try:
            kid = None if self.kid is None else self.kid.decode()
        except UnicodeDecodeError:
            return self._cose_key()
        if self.alg == "HS256/64" or (kid is not None and "\0" in kid):
            return self._cose_key()
        jwk = {"alg": self.alg} if kid is None else {"alg": self.alg, "kid": kid}
        if self.alg == "ES256":
            px, py = self._point()
            jwk.update(kty="EC", crv="P-256", x=b64(px), y=b64(py))
        elif self.alg == "EdDSA":
            jwk.update(kty="OKP", crv="Ed25519", x=b64(self.public.public_bytes(*_RAW)))
        elif self.alg == "RS256":
            n = self.public.public_numbers().n
            jwk.update(kty="RSA", e="AQAB", n=b64(n.to_bytes(256, "big")))
        else:
            jwk.update(kty="oct", k=b64(self.private))
        return json.dumps(jwk).encode()

    def _cose_key(self):
        pairs = Map([(3, CLASSIC[self.alg])])
        if self.kid is not None:
            pairs.append((2, self.kid))
        if self.alg == "ES256":
            px, py = self._point()
            pairs += [(1, 2), (-1, 1), (-2, px), (-3, py)]
        elif self.alg == "EdDSA":
            pairs += [(1, 1), (-1, 6), (-2, self.public.public_bytes(*_RAW))]
        else:
            pairs += [(1, 4), (-1, self.private)]
        return Writer().write(pairs)


class Issuer:
    def __init__(self, url, own, typ, keys):
        self.url, self.own, self.typ, self.keys = url, own, typ, keys


class Settings:
    def __init__(self, issuers, audience, now, leeway):
        self.issuers, self.audience, self.now, self.leeway = issuers, audience, now, leeway

    def frames(self):
        yield b"X", b""
        yield b"A", self.audience.encode()
        yield b"N", self.now.to_bytes(8, "big", signed=True) + self.leeway.to_bytes(8, "big")
        for issuer in self.issuers:
            yield b"I", issuer.url.encode()
            if issuer.own:
                yield b"O", b""
            if issuer.typ is not None:
                yield b"Y", issuer.typ.encode()
            for key in issuer.keys:
                yield b"K", key.frame()


def _kid(rng, n, alg):
    text = f"k{n}-{rng.randrange(10**6)}"
    kind = rng.random()
    if kind < 0.75:
        return text.encode()
    if kind < 0.85:
        return (text + "ü\"\\\n/").encode()
    if kind < 0.92 or alg == "RS256":  # which only a JWK can say
        return (text + "." * 64).encode()[:64]
    return bytes([0xFF, n]) + rng.randbytes(rng.randrange(0, 20))


ALGS = ["ES256", "ES256", "EdDSA", "EdDSA", "HS256", "HS256/64", "RS256"]


def random_settings(rng):
    """One issuer of our own, one that is not, at times one with a single key without a kid."""
    def keys(count, algs):
        drawn = [rng.choice(algs) for _ in range(count)]
        return [Key(rng, alg, _kid(rng, n, alg)) for n, alg in enumerate(drawn)]

    own = Issuer("https://as.example", True, "at+jwt", keys(3, ALGS))
    typ = rng.choice([None, None, "at+jwt", "JWT", "x.y+z"])
    foreign = Issuer("https://other.example/ü", False, typ, keys(4, ALGS))
    alone = [Key(rng, rng.choice(ALGS), rng.choice([None, b"only"]))]
    lonely = Issuer("urn:x:lonely", rng.random() < 0.3, None, alone)
    now = rng.choice([1_700_000_000, 1_700_000_000, 1_900_000_123, 40_000, 1 << 40])
    issuers = [own, foreign, lonely]
    rng.shuffle(issuers)
    return Settings(issuers, rng.choice(["mqtt", "coap", "äöü"]), now, rng.choice([0, 30, 300]))
