"""The second opinion: accept or refuse a token, and read its claims.

Written from RFC 8392, 8747, 9052, 7515, 7519, 9068 and the public headers of token/, not from the
library's sources. Signatures are checked by cryptography (CWT) and by PyJWT (JWT). Where Latchkey
is stricter than the RFCs by choice, the rule says so: its name begins with "ours:".
"""

import base64
import json
import re
from decimal import Decimal

import cbor2
import jwt
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import constant_time, hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from strict_cbor import DEPTH_MAX, MEMBERS_MAX, Bad, Writer, map_members, numeric_date, read_whole

TOKEN_MAX, AUDIENCE_MAX, CHILDREN_MAX, KID_MAX = 8192, 8, 32, 64
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256

# Errors a token may be refused with because of its bytes alone.
BYTES = {
    "TRUNCATED", "MALFORMED", "TYPE", "DUPLICATE", "DEPTH", "TRAILING", "UTF8", "BASE64",
    "MISSING", "CRIT", "RANGE", "SYNTAX", "LIMIT", "UNSUPPORTED", "ALG",
}  # fmt: skip


class Refused(Exception):
    def __init__(self, rule, errors=BYTES):
        super().__init__(rule)
        self.rule, self.errors = rule, set(errors)


def x(value):
    """As the driver writes a span."""
    if value is None:
        return "-"
    return "x" + (value.encode() if isinstance(value, str) else bytes(value)).hex()


class Json:
    """A piece of JSON of which only the meaning is compared."""

    def __init__(self, value):
        self.value = value


class Read:
    """A token taken apart, not yet trusted."""

    def __init__(self):
        self.format = self.alg = self.kid = self.typ = None
        self.signed = self.signature = b""
        self.own_form = False
        self.claims = {}


# base64url

_alphabet = re.compile(rb"[A-Za-z0-9_-]*\Z")


def b64_decode(text):
    if not _alphabet.match(text) or len(text) % 4 == 1:
        raise Refused("no base64url")
    out = base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    if base64.urlsafe_b64encode(out).rstrip(b"=") != text:
        raise Refused("base64url with bits left over")
    return out


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


# CWT

COSE_ALGS = {-7: "ES256", -9: "ES256", -8: "EdDSA", -19: "EdDSA", 5: "HS256", 4: "HS256/64",
             -257: "RS256"}  # fmt: skip
CLASSIC = {"ES256": -7, "EdDSA": -8, "HS256": 5, "HS256/64": 4, "RS256": -257}
MACS = ("HS256", "HS256/64")
LABELS = ("int", "text")


def _typed(item, kind, what):
    if item is None:
        return None
    if item.kind != kind:
        raise Bad(f"{what}: another type")
    return item.value


def _text(item, what):
    text = _typed(item, "text", what)
    if text is not None and "\0" in text:
        raise Refused("ours: NUL in a text")
    return text


def _texts(item, what, limit):
    texts = [_text(i, what) for i in _typed(item, "array", what)]
    if len(texts) > limit:
        raise Refused(f"ours: more {what} than we hold")
    return texts


def _is_encrypt0(item):
    """RFC 9052 section 5.2; a COSE_Encrypt, which RFC 8747 has beside it, is not for us."""
    if item.kind == "tag" and item.value[0] == 16:
        item = item.value[1]
    return item.kind == "array" and len(item.value) == 3


def _cwt_cnf(item, data):
    """RFC 8747 section 3.1, RFC 9679 section 4: one known member, others are passed over."""
    if item is None:
        return "none", None
    members = map_members(item)
    known = {k[1]: v for k, v in members.items() if k[0] == "int" and 1 <= k[1] <= 5}
    if 1 in known and known[1].kind != "map" or 3 in known and known[3].kind != "bytes":
        raise Bad("cnf: another type")
    if len(known) != 1:
        return "other", None
    label, value = next(iter(known.items()))
    encoded = data[value.start : value.end]
    if label == 1:
        return "key", encoded
    if label == 2 and _is_encrypt0(value):
        return "encrypted", encoded
    if label == 3:
        return "kid", value.value
    if label == 5 and value.kind == "bytes" and len(value.value) == 32:
        return "thumbprint", value.value
    return "other", None


def _cwt_scope(item, data):
    if item is None or item.kind not in ("text", "bytes", "array"):
        return None, None
    if item.kind == "text":
        return _text(item, "scope"), None
    if item.kind == "bytes":
        return None, item.value
    return None, data[item.start : item.end]


def cwt_claims(data):
    members = map_members(read_whole(data))
    for value in members.values():
        if value.kind == "tag":
            raise Refused("RFC 8392 section 3: a claim's value is tagged")
    at = lambda n: members.get(("int", n))
    named = lambda n: members.get(("text", n))
    c = {"iss": _text(at(1), "iss"), "sub": _text(at(2), "sub"), "client": None}
    c["aud"] = []
    if at(3) is not None:
        is_list = at(3).kind == "array"
        c["aud"] = _texts(at(3), "audiences", AUDIENCE_MAX) if is_list else [_text(at(3), "aud")]
    for name, number in (("exp", 4), ("nbf", 5), ("iat", 6)):
        c[name] = None if at(number) is None else numeric_date(at(number))
    c["id"] = _typed(at(7), "bytes", "cti")
    c["cnf"], c["cnf_value"] = _cwt_cnf(at(8), data)
    c["scope"], c["scope_data"] = _cwt_scope(at(9), data)
    c["tnt"], c["dty"] = _text(named("tnt"), "tnt"), _text(named("dty"), "dty")
    children = named("children")
    c["children"] = [] if children is None else _texts(children, "children", CHILDREN_MAX)
    c["gen"] = _typed(named("gen"), "int", "gen")
    if c["gen"] is not None and c["gen"] < 0:
        raise Bad("gen: negative")
    note = named("note")
    is_text = note is not None and note.kind == "text" and "\0" not in note.value
    c["note_text"] = note.value if is_text else None
    c["note_raw"] = None if note is None else data[note.start : note.end]
    c["raw"] = data
    return c


def _cose_tags(item):
    """61(18(...)), 18(...) or, RFC 9052 section 2, nothing: then it is a COSE_Sign1."""
    cwt_tag = False
    if item.kind == "tag" and item.value[0] == 61:
        cwt_tag, item = True, item.value[1]
        if item.kind != "tag":
            raise Refused("RFC 8392 section 6: tag 61 without a COSE tag")
    if item.kind != "tag":
        return cwt_tag, None, item
    tag, item = item.value
    if tag == 16:  # a library that decrypts asks for the key first
        raise Refused("encrypted, and we have no key", BYTES | {"FORM", "KEY"})
    if tag not in (17, 18):
        raise Refused("another COSE structure")
    return cwt_tag, tag, item


def _protected(data):
    if data == b"":
        return {}
    return map_members(read_whole(data), LABELS)


def _crit(protected):
    """RFC 9052 section 3.1; we understand alg and kid."""
    crit = protected.get(("int", 2))
    if crit is None:
        return
    if crit.kind != "array" or not crit.value:
        raise Refused("crit is no list, or an empty one")
    for label in crit.value:
        if label.kind != "int" or label.value not in (1, 4):
            raise Refused("crit: not understood")
        if ("int", label.value) not in protected:
            raise Refused("crit names what is not there")


def _own_cwt(data, tag, alg, kid, kid_protected, payload, signature):
    """contracts section 5: byte by byte the form that our own server writes."""
    if not kid_protected or not 0 < len(kid) <= KID_MAX:
        return False
    if alg == "ES256" and int.from_bytes(signature[32:], "big") > ORDER // 2:
        return False
    w = Writer()
    protected = b"\xa2\x01" + w.write(CLASSIC[alg]) + b"\x04" + w.write(kid)
    body = b"\x84" + w.write(protected) + b"\xa0" + w.write(payload) + w.write(signature)
    return data == b"\xd8\x3d" + bytes([0xC0 | tag]) + body


def read_cwt(data):
    cwt_tag, tag, body = _cose_tags(read_whole(data))
    if body.kind != "array" or len(body.value) != 4:
        raise Refused("no COSE message")
    protected_bytes = _typed(body.value[0], "bytes", "protected")
    protected = _protected(protected_bytes)
    unprotected = map_members(body.value[1], LABELS)
    if set(protected) & set(unprotected):
        raise Refused("RFC 9052 section 3: a label in both buckets")
    if ("int", 1) in unprotected:
        raise Refused("alg is not protected")
    if ("int", 2) in unprotected:
        raise Refused("crit is not protected")
    _crit(protected)
    alg = protected.get(("int", 1))
    if alg is None or alg.kind != "int" or alg.value not in COSE_ALGS:
        raise Refused("no alg that we take")
    t = Read()
    t.format, t.alg = "cwt", COSE_ALGS[alg.value]
    if (t.alg in MACS) != (tag == 17):
        raise Refused("a MAC in COSE_Sign1 or a signature in COSE_Mac0")
    kid_item = protected.get(("int", 4), unprotected.get(("int", 4)))
    t.kid = _typed(kid_item, "bytes", "kid")
    payload = _typed(body.value[2], "bytes", "payload")
    t.signature = _typed(body.value[3], "bytes", "signature")
    context = "MAC0" if tag == 17 else "Signature1"
    # RFC 9052 section 4.4: an empty map is signed as no bytes at all.
    signed_protected = protected_bytes if protected else b""
    t.signed = cbor2.dumps([context, signed_protected, b"", payload])
    t.own_form = cwt_tag and tag is not None and _own_cwt(
        data, tag, t.alg, t.kid or b"", ("int", 4) in protected, payload, t.signature
    )
    t.claims = cwt_claims(payload)
    return t


# JWT


class Number(str):
    """A number of JSON as it stands."""


class Object(dict):
    pass


def _object(pairs):
    if len(pairs) > MEMBERS_MAX:
        raise Refused("ours: more than 64 members")
    out = Object(pairs)
    if len(out) != len(pairs):
        raise Refused("a member twice")
    for name in out:
        _check_string(name)
    return out


def _check_string(text):
    if "\0" in text:
        raise Refused("ours: NUL in a text")
    if any("\ud800" <= c <= "\udfff" for c in text):
        raise Refused("half a surrogate pair")


def _no_constant(name):
    raise Refused(f"{name} is no JSON")


def _check_value(value, depth=0):
    if isinstance(value, Number):
        return
    if isinstance(value, str):
        _check_string(value)
    elif isinstance(value, (dict, list)):
        if depth == DEPTH_MAX:
            raise Refused("ours: nested deeper than 16")
        for inner in value.values() if isinstance(value, dict) else value:
            _check_value(inner, depth + 1)


def json_read(data):
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=Number,
            parse_float=Number,
            parse_constant=_no_constant,
        )
    except (ValueError, RecursionError) as e:
        raise Refused(f"no JSON: {type(e).__name__}") from None
    if not isinstance(value, dict):
        raise Refused("no object")
    _check_value(value)
    return value


def _string(value, what):
    if value is not None and (isinstance(value, Number) or not isinstance(value, str)):
        raise Refused(f"{what}: another type")
    return value


def _member(members, name):
    """A string member; null is a value of another type, not an absent one."""
    if name not in members:
        return None
    if members[name] is None:
        raise Refused(f"{name}: another type")
    return _string(members[name], name)


def _strings(value, what, limit):
    if not isinstance(value, list):
        raise Refused(f"{what}: another type")
    if any(i is None for i in value):
        raise Refused(f"{what}: another type")
    texts = [_string(i, what) for i in value]
    if len(texts) > limit:
        raise Refused(f"ours: more {what} than we hold")
    return texts


def _json_date(members, name):
    if name not in members:
        return None
    value = members[name]
    if not isinstance(value, Number):
        raise Refused("a date of another type")
    number = Decimal(value)
    if number < 0 or number > 2**53:
        raise Refused("a date out of range")
    return int(number) if number.adjusted() >= 0 or number == 0 else 0


def _json_gen(members):
    if "gen" not in members:
        return None
    value = members["gen"]
    if not isinstance(value, Number) or not re.match(r"-?[0-9]+\Z", value):
        raise Refused("gen: no integer")
    if not 0 <= int(value) <= 2**53:
        raise Refused("gen: out of range")
    return int(value)


def _b64_or_none(value):
    if isinstance(value, Number) or not isinstance(value, str):
        return None
    try:
        return b64_decode(value.encode())
    except Refused:
        return None


def _jwt_cnf(members):
    """RFC 7800 section 3.1: one known member, others are passed over."""
    if "cnf" not in members:
        return "none", None
    cnf = members["cnf"]
    if not isinstance(cnf, dict):
        raise Refused("cnf: another type")
    known = {"jwk": "key", "kid": "kid", "x5t#S256": "x5t", "jkt": "thumbprint", "jwe": None,
             "jku": None, "osc": None}  # fmt: skip
    found = [name for name in cnf if name in known]
    if len(found) != 1 or known[found[0]] is None:
        return "other", None
    kind, value = known[found[0]], cnf[found[0]]
    if kind == "key":
        return (kind, Json(value)) if isinstance(value, dict) else ("other", None)
    value = _b64_or_none(value)
    if not value or (kind != "kid" and len(value) != 32):
        return "other", None
    return kind, value


def jwt_claims(data):
    m = json_read(data)
    c = {"iss": _member(m, "iss"), "sub": _member(m, "sub"), "client": _member(m, "client_id")}
    c["aud"] = []
    if "aud" in m:
        is_list = isinstance(m["aud"], list)
        c["aud"] = _strings(m["aud"], "audiences", AUDIENCE_MAX) if is_list else [_member(m, "aud")]
    for name in ("exp", "nbf", "iat"):
        c[name] = _json_date(m, name)
    c["id"] = _member(m, "jti")
    c["cnf"], c["cnf_value"] = _jwt_cnf(m)
    scope = m.get("scope")
    is_text = isinstance(scope, str) and not isinstance(scope, Number)
    c["scope"] = scope if is_text else None
    c["scope_data"] = Json(scope) if isinstance(scope, list) else None
    c["tnt"], c["dty"] = _member(m, "tnt"), _member(m, "dty")
    c["children"] = _strings(m["children"], "children", CHILDREN_MAX) if "children" in m else []
    c["gen"] = _json_gen(m)
    note = m.get("note")
    is_text = isinstance(note, str) and not isinstance(note, Number)
    c["note_text"] = note if is_text else None
    c["note_raw"] = Json(note) if "note" in m else None
    c["raw"] = data
    return c


JOSE_ALGS = {"ES256": "ES256", "EdDSA": "EdDSA", "Ed25519": "EdDSA", "HS256": "HS256",
             "RS256": "RS256"}  # fmt: skip


def read_jwt(data):
    parts = data.split(b".")
    if len(parts) != 3:
        raise Refused("not two dots")
    header = json_read(b64_decode(parts[0]))
    if "crit" in header:
        raise Refused("ours: no crit is understood")
    t = Read()
    t.format = "jwt"
    alg = _member(header, "alg")
    if alg not in JOSE_ALGS:
        raise Refused("no alg that we take")
    t.alg = JOSE_ALGS[alg]
    t.kid, t.typ = _member(header, "kid"), _member(header, "typ")
    payload, t.signature = b64_decode(parts[1]), b64_decode(parts[2])
    t.signed = parts[0] + b"." + parts[1]
    t.own_form = _typ_is(t.typ, "at+jwt")
    t.claims = jwt_claims(payload)
    t.kid = None if t.kid is None else t.kid.encode()
    return t


def _typ_is(typ, wanted):
    """RFC 7515 section 4.1.9: without "application/", in any case of letters."""
    if typ is None:
        return False
    typ = typ.lower() if typ.isascii() else typ
    return typ.removeprefix("application/") == wanted.lower()


# Trust

_verifiers = {
    "ES256": jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256),
    "EdDSA": jwt.algorithms.OKPAlgorithm(),
    "HS256": jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256),
    "RS256": jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256),
}


def _cose_signature_holds(key, signed, signature):
    if key.alg in MACS:
        h = hmac.HMAC(key.public, hashes.SHA256())
        h.update(signed)
        tag = h.finalize()[: 8 if key.alg == "HS256/64" else 32]
        return len(tag) == len(signature) and constant_time.bytes_eq(tag, signature)
    try:
        if key.alg == "ES256":
            if len(signature) != 64:
                return False
            r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
            key.public.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))
        elif key.alg == "EdDSA":
            key.public.verify(signature, signed)
        else:
            key.public.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def signature_holds(token, key):
    if token.format == "cwt":
        return _cose_signature_holds(key, token.signed, token.signature)
    if key.alg == "RS256" and len(token.signature) != key.public.key_size // 8:
        return False
    try:
        return bool(_verifiers[key.alg].verify(token.signed, key.public, token.signature))
    except ValueError:
        return False


def find_key(settings, token):
    issuer = next((i for i in settings.issuers if i.url == token.claims["iss"]), None)
    if not token.claims["iss"] or issuer is None:
        raise Refused("an issuer we do not trust", {"ISSUER"})
    if token.kid is None:
        key = issuer.keys[0] if len(issuer.keys) == 1 else None
    else:
        key = next((k for k in issuer.keys if token.kid and k.kid == token.kid), None)
    if key is None:
        raise Refused("no such key", {"KEY"})
    if key.alg != token.alg:
        raise Refused("a key for another algorithm", {"ALG"})
    return issuer, key


_scope = re.compile(r"[!#-\[\]-~]{1,2048}\Z")  # RFC 6749 section 3.3; limits.h: LK_SCOPE_MAX


def map_scope(issuer, token):
    """Some issuers write `scope` as an array of texts: that is a list, too."""
    array = token.claims["scope_data"]
    if issuer.own or not isinstance(array, Json) or not array.value:
        return
    if isinstance(array.value[0], Number) or not isinstance(array.value[0], str):
        return  # AIF, or nothing we know
    if any(isinstance(i, Number) or not isinstance(i, str) for i in array.value):
        raise Refused("a scope that is no list", {"SCOPE"})
    scopes = [text for text in array.value if _scope.match(text)]
    if len(scopes) > 64 or len(" ".join(scopes)) > 2048:
        raise Refused("ours: more scopes than we hold", {"LIMIT"})
    token.claims["scope"] = " ".join(scopes) or None
    token.claims["scope_data"] = None


def _cose_key_is_secret(data):
    """Symmetric, or with its private part (RFC 9052 section 7, RFC 8230); or who knows what."""
    try:
        members = map_members(read_whole(data))
    except Bad:
        return True
    kty = members.get(("int", 1))
    kty = kty.value if kty is not None and kty.kind == "int" else None
    return kty == 4 or ("int", -3 if kty == 3 else -4) in members


def cnf_is_secret(token):
    """contracts section 5: a symmetric key never travels in clear (RFC 8747 3.2, RFC 7800 3.2)."""
    c = token.claims
    if c["cnf"] != "key":
        return False
    if token.format == "cwt":
        return _cose_key_is_secret(c["cnf_value"])
    jwk = c["cnf_value"].value
    return "d" in jwk or "k" in jwk or jwk.get("kty") == "oct"


def check_claims(settings, issuer, token):
    """All that is wrong with an authentic token; the first of it is what is reported."""
    c, wrong = token.claims, []
    if token.format == "jwt" and issuer.typ is not None and not _typ_is(token.typ, issuer.typ):
        wrong.append(("another typ", "TYP"))
    if issuer.own and not token.own_form:
        wrong.append(("ours: not the form our server writes", "FORM"))
    required = ["iss", "sub"] + (["id"] if issuer.own else [])
    if any(not c[name] for name in required) or c["exp"] is None:
        wrong.append(("a required claim is missing", "CLAIM"))
    elif issuer.own and (c["iat"] is None or not c["aud"]):
        wrong.append(("a required claim is missing", "CLAIM"))
    if c["exp"] is not None and c["exp"] + settings.leeway <= settings.now:
        wrong.append(("expired", "EXPIRED"))
    horizon = settings.now + settings.leeway
    if any(c[name] is not None and c[name] > horizon for name in ("nbf", "iat")):
        wrong.append(("not yet valid", "NOT_YET"))
    if not settings.audience or settings.audience not in c["aud"]:
        wrong.append(("another audience", "AUDIENCE"))
    if cnf_is_secret(token):
        wrong.append(("a secret key in clear", "BOUND"))
    if wrong:
        raise Refused(wrong[0][0], {error for _, error in wrong})


def read_token(data):
    if len(data) > TOKEN_MAX:
        raise Refused("ours: longer than 8 KiB", {"LIMIT"})
    if not data:
        raise Refused("nothing")
    try:
        if data[0] >= 0x80:
            return read_cwt(data)
        if b"." in data:
            return read_jwt(data)
        return read_cwt(b64_decode(data))
    except Bad as e:
        raise Refused(str(e)) from None


def judge(settings, data):
    """The token as read, or Refused."""
    token = read_token(data)
    issuer, key = find_key(settings, token)
    if not signature_holds(token, key):
        raise Refused("the signature does not hold", {"SIGNATURE"})
    map_scope(issuer, token)
    check_claims(settings, issuer, token)
    libraries_agree(token, key, data)
    return token


def libraries_agree(token, key, data):
    """What we accept and read, cbor2 and PyJWT read too."""
    c = token.claims
    if token.format == "cwt":
        theirs = cbor2.loads(c["raw"])
        assert theirs[1] == c["iss"] and theirs[2] == c["sub"] and int(theirs[4]) == c["exp"]
        assert theirs.get(7) == c["id"] and theirs.get("tnt") == c["tnt"]
    elif json.loads(b64_decode(data.split(b".")[0]))["alg"] != "Ed25519":  # PyJWT has only EdDSA
        off = dict.fromkeys(("verify_exp", "verify_nbf", "verify_iat", "verify_aud"), False)
        theirs = jwt.decode(data.decode(), key.public, algorithms=[token.alg], options=off)
        assert theirs["iss"] == c["iss"] and theirs["sub"] == c["sub"]
        # a float may round .999999999 up to the next second
        assert theirs.get("jti") == c["id"] and 0 <= int(theirs["exp"]) - c["exp"] <= 1


# The driver's lines


def agrees(token, line):
    """Which fields of an accepted token's line say something else than we read?"""
    if not line.startswith("A "):
        return ["accepted by the judge"]
    theirs = dict(field.split("=", 1) for field in line[2:].split(" "))
    ours = {"alg": token.alg, "kid": x(token.kid), "typ": x(token.typ), "format": token.format,
            "own": str(int(token.own_form))}  # fmt: skip
    for name, value in token.claims.items():
        if name in ("aud", "children"):
            ours[name] = ",".join(x(i) for i in value)
        elif name in ("exp", "nbf", "iat", "gen"):
            ours[name] = "-" if value is None else str(value)
        elif name == "cnf":
            ours[name] = value
        elif isinstance(value, Json):
            ours[name] = _same_json(value, theirs[name], token.claims["raw"])
        else:
            ours[name] = x(value)
    return [f"{n}: {ours.get(n)} != {theirs.get(n)}" for n in sorted(set(ours) | set(theirs))
            if ours.get(n) != theirs.get(n)]  # fmt: skip


def _same_json(value, theirs, raw):
    """Theirs, if it stands in the claims set and means the same."""
    text = bytes.fromhex(theirs[1:]) if theirs.startswith("x") else b""
    try:
        same = json.loads(text, parse_int=Number, parse_float=Number) == value.value
    except ValueError:
        same = False
    return theirs if same and text in raw and text == text.strip() else "x" + repr(value.value)
