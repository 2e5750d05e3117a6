"""Random JWTs: valid ones in every spelling, and ones with something wrong."""

import hashlib
import hmac
import json

import jwt

from cwt_cases import _signature as _signature_odd, spoil_some
from judge import b64


class Text(str):
    """JSON as it stands, not a string to be encoded."""


class Members(list):
    """Members of an object, in this order and as often as they stand here."""


class Speller:
    """Writes JSON with white space, escapes and orders of its own."""

    def __init__(self, rng, fancy):
        self.rng, self.fancy = rng, fancy

    def space(self):
        if self.rng.random() < self.fancy * 0.3:
            return self.rng.choice([" ", "\n", "\t", "\r\n", "  "])
        return ""

    def string(self, text):
        out = []
        for c in text:
            if self.rng.random() < self.fancy * 0.2:
                out.append(self.escaped(c))
            elif c in '"\\' or c < " ":
                out.append(json.dumps(c)[1:-1])
            else:
                out.append(c)
        return '"' + "".join(out) + '"'

    def escaped(self, c):
        short = {"/": "\\/", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t",
                 '"': '\\"', "\\": "\\\\"}  # fmt: skip
        if c in short and self.rng.random() < 0.5:
            return short[c]
        units = c.encode("utf-16-be", "surrogatepass")
        code = "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
        return code.upper().replace("\\U", "\\u") if self.rng.random() < 0.5 else code

    def write(self, value):
        s = self.space
        if isinstance(value, Text):
            return s() + value + s()
        if isinstance(value, str):
            return s() + self.string(value) + s()
        if isinstance(value, (Members, dict)):
            pairs = value.items() if isinstance(value, dict) else value
            inner = ",".join(s() + (k if isinstance(k, Text) else self.string(k)) + s() + ":"
                             + self.write(v) for k, v in pairs)  # fmt: skip
            return s() + "{" + (inner or s()) + "}" + s()
        if isinstance(value, list):
            return s() + "[" + (",".join(map(self.write, value)) or s()) + "]" + s()
        return s() + json.dumps(value) + s()


def any_value(rng, depth=0):
    kind = rng.randrange(8 if depth < 4 else 6)
    if kind == 0:
        return rng.choice([0, -1, 2**53, 2**53 + 1, 2**64, 10**40])
    if kind == 1:
        return Text(rng.choice(["-0", "1.5", "1E5", "1e-5", "0.0", "-1.25e+3", "1e400", "1e-400"]))
    if kind == 2:
        return rng.choice([True, False, None])
    if kind in (3, 4):
        return rng.choice(["", "a", "ü€\U0001f600", '"\\/', "\x01\x1f\x7f", "x" * 30, "\u2028"])
    if kind == 5:
        return rng.randrange(10**6)
    if kind == 6:
        return [any_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {f"n{i}": any_value(rng, depth + 1) for i in range(rng.randrange(4))}


def date(rng, value):
    kind = rng.random()
    if kind < 0.7 or value < 0:
        return value
    if kind < 0.85:
        return Text(f"{value}." + rng.choice(["0", "5", "999999999", "000"]))
    if kind < 0.95:
        return Text(f"{value}" + rng.choice(["e0", "E0", "e+0", "e-0", ".0e0", "0e-1", "00E-2"]))
    digits = str(value)
    return Text(f"{digits[0]}.{digits[1:] or '0'}e{len(digits) - 1}")


def good_cnf(rng):
    thumb = b64(rng.randbytes(32))
    return rng.choice([
        {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": thumb}},
        {"jwk": {"kty": "EC", "crv": "P-256", "x": thumb, "y": thumb}},
        {"kid": b64(rng.randbytes(rng.choice([1, 8, 40])))},
        {"x5t#S256": thumb}, {"jkt": thumb}, {"jwe": "a.b.c.d.e"}, {"jku": "https://x", "kid": "YQ"},
        {"osc": {"id": "YQ"}}, {}, {"kid": "YQ", "unknown": [1, {"jwk": 2}]},
        {"jwk": {}}, {"jwk": {"a": 1}, "kid": "YQ"}, {"kid": ""}, {"x5t#S256": b64(b"short")},
    ])  # fmt: skip


class Plan:
    def __init__(self, rng, settings):
        self.rng, self.settings = rng, settings
        fits = [i for i in settings.issuers if any(k.alg != "HS256/64" for k in i.keys)]
        self.issuer = rng.choice(fits or settings.issuers)
        usable = [k for k in self.issuer.keys if self._fits(k)]
        self.key = rng.choice(usable or self.issuer.keys)
        self.signer = self.key
        self.low_s = rng.random() < 0.7
        self.fancy = rng.choice([0.0, 0.0, 0.3, 1.0])
        self.signature = None
        self.header_text = self.payload_text = None  # change the text before it is signed
        self.done = lambda token: token  # change the token
        self.claims = self._claims()
        self.header = self._header()

    def _fits(self, key):
        try:
            return key.alg != "HS256/64" and (key.kid is None or key.kid.decode() is not None)
        except UnicodeDecodeError:
            return False

    def _claims(self):
        rng, s = self.rng, self.settings
        c = {
            "iss": self.issuer.url,
            "sub": rng.choice(["pump-7", "a", "acme~pump", "ü" * 10, 'quo"te\\', "\x7f"]),
            "aud": rng.choice([s.audience, [s.audience], ["x", s.audience], [s.audience] * 8]),
            "exp": date(rng, s.now + rng.choice([1 - s.leeway, 1, 60, 3600, 10**6])),
            "iat": date(rng, rng.choice([s.now, s.now + s.leeway, s.now - 100, 0])),
            "jti": rng.choice([b64(rng.randbytes(16)), "x", "ü/"]),
        }
        optional = {
            "client_id": lambda: rng.choice(["pump-7", "", "ü"]),
            "nbf": lambda: date(rng, rng.choice([s.now, s.now + s.leeway, 0, s.now - 5000])),
            "cnf": lambda: good_cnf(rng),
            "scope": lambda: rng.choice(["a:b c:d", "", ["a:b", "c"], ["a b", "", "ü", "c:d"], [[]], [],
                                         7, None, {"a": 1}]),
            "tnt": lambda: rng.choice(["acme", "*", ""]),
            "dty": lambda: rng.choice(["sensor", "", "ü"]),
            "children": lambda: [f"c{i}" for i in range(rng.choice([0, 1, 5, 32]))],
            "gen": lambda: rng.choice([0, 1, 255, 2**32, 2**53]),
            "note": lambda: any_value(rng),
            rng.choice(["x", "", "ISS", "is", "exp ", "a/b", "ü", "n\\"]): lambda: any_value(rng),
        }
        for name, value in optional.items():
            if rng.random() < 0.4:
                c[name] = value()
        if not self.issuer.own and rng.random() < 0.1:
            for name in rng.sample(["aud", "iat", "jti"], 2):
                c.pop(name)
        pairs = list(c.items())
        if rng.random() < 0.5:
            rng.shuffle(pairs)
        return Members(pairs)

    def _header(self):
        rng = self.rng
        alg = self.key.alg
        if alg == "EdDSA" and rng.random() < 0.3:
            alg = "Ed25519"
        h = {"alg": alg}
        typ = self.issuer.typ or ("at+jwt" if self.issuer.own else rng.choice([None, "JWT", "ü"]))
        if typ is not None:
            h["typ"] = rng.choice([typ, typ, "application/" + typ])
            if typ.isascii() and rng.random() < 0.2:
                h["typ"] = h["typ"].upper()
        try:
            kid = self.key.kid.decode() if self.key.kid is not None else None
        except UnicodeDecodeError:
            kid = "no text"
        if kid is not None and (len(self.issuer.keys) > 1 or rng.random() < 0.5):
            h["kid"] = kid
        # offered keys are never looked at
        for name, value in (("jwk", {"kty": "oct", "k": "YQ"}), ("jku", "https://evil"),
                            ("x5c", ["AA=="]), ("cty", "x"), ("b64", True), ("x", any_value(rng))):  # fmt: skip
            if rng.random() < 0.1:
                h[name] = value
        pairs = list(h.items())
        rng.shuffle(pairs)
        return Members(pairs)

    def put(self, name, value, to=None):
        to = self.claims if to is None else to
        for i, (k, _) in enumerate(to):
            if k == name:
                to[i] = (name, value)
                return
        to.append((name, value))

    def drop(self, name):
        self.claims[:] = [p for p in self.claims if p[0] != name]

    def is_plain(self):
        """Could PyJWT have written it? Then it does."""
        def plain(v):
            if isinstance(v, Text):
                return False
            inner = v.values() if isinstance(v, dict) else v if isinstance(v, list) else []
            return all(map(plain, inner))

        names = [k for k, _ in self.claims]
        return (
            self.fancy == 0 and self.signer is self.key and self.signature is None
            and self.header_text is None and self.payload_text is None
            and self.key.alg != "HS256/64" and len(names) == len(set(names))
            and all(plain(k) and plain(v) for k, v in self.claims + self.header)
            and dict(self.header).get("alg") == self.key.alg
            and len(self.header) == len(dict(self.header))
            and isinstance(dict(self.header).get("kid", ""), str)
            and isinstance(dict(self.header).get("typ"), str)  # else it adds one
        )  # fmt: skip

    def build(self):
        if self.is_plain():
            headers = dict(self.header)
            token = jwt.encode(dict(self.claims), self.key.private, self.key.alg, headers)
            return self.done(token.encode())
        speller = Speller(self.rng, self.fancy)
        header = speller.write(self.header).encode("utf-8", "surrogatepass")
        payload = speller.write(self.claims).encode("utf-8", "surrogatepass")
        if self.header_text:
            header = self.header_text(header)
        if self.payload_text:
            payload = self.payload_text(payload)
        signed = f"{b64(header)}.{b64(payload)}".encode()
        signature = self.signer.sign(signed, self.low_s)
        if self.signature is not None:
            signature = self.signature(signature)
        return self.done(signed + b"." + b64(signature).encode())


def _past(p):
    p.put("exp", date(p.rng, p.settings.now - p.settings.leeway - p.rng.choice([0, 1, 1000])))


def _future(p):
    late = p.settings.now + p.settings.leeway + p.rng.choice([1, 1000, 10**8])
    p.put(p.rng.choice(["nbf", "iat"]), date(p.rng, late))


def _audience(p):
    a = p.settings.audience
    p.put("aud", p.rng.choice(["other", a + "x", a[:-1], a.upper(), [], [a + " "], "", [""],
                               [[a]], [a, 1], {a: a}, None, [a, None]]))  # fmt: skip


def _issuer(p):
    url = p.issuer.url
    p.put("iss", p.rng.choice(["https://nobody", url + "/", url[:-1], "", url.upper()]))


def _issuer_other(p):
    p.put("iss", p.rng.choice(p.settings.issuers).url)


def _missing(p):
    p.drop(p.rng.choice(["iss", "sub", "aud", "exp", "iat", "jti"]))


def _date(p):
    p.put(p.rng.choice(["exp", "nbf", "iat"]), p.rng.choice([
        -1, 2**53, 2**53 + 1, 2**63, 2**64, 10**30, "1700000000", None, True, [1], {},
        Text("-0"), Text("-0.0"), Text("-0.5"), Text("-1e-400"), Text("1e400"), Text("1e-400"),
        Text("1e15"), Text("1e16"), Text("9007199254740992.0"), Text("0.9999999999999999999"),
        Text("1700000000.99999999999999999999"), Text("17000000000e-1"), Text("0e999999"),
        Text("1" + "0" * 40 + "e-31"), Text("0." + "0" * 40 + "17e50"), Text("01"), Text("+1"),
        Text(".5"), Text("1."), Text("1e"), Text("0x10"), Text("NaN"), Text("Infinity"),
        Text("-Infinity"), Text("1_000"), Text("1e+"), Text("--1"), Text("-"), Text(""),
    ]))  # fmt: skip


def _twice(p):
    name, value = p.rng.choice(p.claims)
    other = p.rng.choice([value, any_value(p.rng)])
    key = name
    if name and p.rng.random() < 0.5:
        key = Text('"' + Speller(p.rng, 1).escaped(name[0]) + json.dumps(name[1:])[1:])
    p.claims.insert(p.rng.randrange(len(p.claims) + 1), (key, other))


def _twice_inside(p):
    p.put(p.rng.choice(["note", "cnf", "zz"]), p.rng.choice([
        Text('{"kid":"YQ","kid":"YQ"}'), Text('[{"a":1,"\\u0061":2}]'), Text('{"a":{"":1,"":1}}'),
        Text('{"a":1,"A":2}'),
    ]))  # fmt: skip


def _header_twice(p):
    name, value = p.rng.choice(p.header)
    key = name
    if p.rng.random() < 0.5:
        key = Text('"' + Speller(p.rng, 1).escaped(name[0]) + json.dumps(name[1:])[1:])
    p.header.append((key, value))


def _type(p):
    name = p.rng.choice(["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "cnf", "scope", "tnt",
                         "dty", "children", "gen", "client_id"])  # fmt: skip
    p.put(name, any_value(p.rng))


def _nul(p):
    name = p.rng.choice(["iss", "sub", "aud", "scope", "tnt", "note", "zz"])
    bad = p.rng.choice([Text('"a\\u0000"'), Text('"\\u0000"'), ["a\0"], {"a\0": 1}, {"\0": 1}])
    p.put(name, bad)


def _string(p):
    """Bytes, escapes and names that are no JSON string."""
    bad = p.rng.choice(['"\\x"', '"\\u12"', '"\\u12g4"', '"a', "'a'", '"\n"', '"\t"', '"\x1f"',
                        '"\\ud800"', '"\\udc00"', '"\\ud800\\u0041"', '"\\udc00\\ud800"',
                        '"\\ud83d\\ude00"', '"\\U0041"', '"\\', '"\\"', '"\x7f"', '"\\u"',
                        '"\\uD83D\\uDE00"', '"\\ufeff"', '"\\uffff"'])  # fmt: skip
    if p.rng.random() < 0.3:
        p.claims.append((Text(bad), 1))
    else:
        p.put(p.rng.choice(["sub", "note", "zz"]), Text(bad))


def _utf8(p):
    bad = p.rng.choice([b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc3",
                        b"\xe2\x82", b"\x80"])  # fmt: skip
    p.put(p.rng.choice(["sub", "note", "zz"]), "MARK")
    p.fancy = 0.0
    p.payload_text = lambda text: text.replace(b"MARK", bad)


def _syntax(p):
    def change(text):
        return p.rng.choice([
            text + b",", text[:-1], text[:-1] + b",}", b"[" + text + b"]", text + text,
            text + b"\0", b"\xef\xbb\xbf" + text, text.decode("utf-8", "replace").encode("utf-16"),
            text.replace(b":", b"=", 1), text.replace(b",", b"", 1), text.replace(b",", b",,", 1),
            text + b"//x", b" \t\r\n" + text + b" \n", b"\x0b" + text, b"\xc2\xa0" + text, b"",
            b"null", b"[]", b"{}", b'""', b"1", text.replace(b"}", b"]"), b"{" + text,
            text[:-1] + b',"a"}', text[:-1] + b',"a":}', text[:-1] + b",1:2}",
            text[:-1] + b',"a":tru}', text[:-1] + b',"a":True}', text[:-1] + b',"a":nul}',
        ])  # fmt: skip

    if p.rng.random() < 0.6:
        p.payload_text = change
    else:
        p.header_text = change


def _payload_spoilt(p):
    """Bytes changed before they are signed: what is behind the signature gets to see them."""
    p.payload_text = lambda text: spoil_some(p.rng, text)


def _header_spoilt(p):
    p.header_text = lambda text: spoil_some(p.rng, text)


def _many(p):
    count = p.rng.choice([63, 64, 65, 66, 200])
    where = p.rng.random()
    if where < 0.5:
        for i in range(count - len(p.claims)):
            p.claims.append((f"m{i}", 0))
    elif where < 0.75:
        p.put("note", {f"m{i}": 0 for i in range(count)})
    else:
        for i in range(count - len(p.header)):
            p.header.append((f"m{i}", 0))


def _many_texts(p):
    if p.rng.random() < 0.5:
        p.put("aud", [p.settings.audience] * p.rng.choice([8, 9, 30]))
    else:
        p.put("children", ["c"] * p.rng.choice([32, 33, 100]))


def _deep(p):
    depth = p.rng.choice([13, 14, 15, 16, 17, 500])
    opening, closing = p.rng.choice([("[", "]"), ('{"a":', "}"), ('[{"b":', "}]")])
    inner = "" if opening == "[" else "1"
    text = Text(opening * depth + inner + closing * depth)
    if p.rng.random() < 0.7:
        p.put("note", text)
    else:
        p.put("zz", text, p.header)


def _cnf(p):
    p.put("cnf", p.rng.choice([
        {"jwk": "text"}, {"jwk": None}, {"kid": 1}, {"kid": None}, {"kid": "not base64!"},
        {"kid": "YQ=="}, {"kid": "YR"}, {"x5t#S256": 5}, {"jwk": {}, "jkt": "x"}, [], "kid", None,
        {"jwk": {"kty": "oct", "k": "YQ"}}, {"jwk": {"kty": "EC", "d": "YQ"}}, {"jwk": {"k": 1}},
        {"jwk": {"kty": "oct"}}, {"jwk": {"x": {"d": 1}}}, {"jwk": {"a": [1, {"b": "c\\u00fc"}]}}, {"jkt": "YQ"},
        {"jwe": "x", "kid": "YQ"}, {"JWK": {}}, {"kid": ["YQ"]}, {f"m{i}": 1 for i in range(65)},
        Text('{"j\\u0077k":{ "kty" : "EC" }}'), Text('{"kid":"\\u0059Q"}'),
    ]))  # fmt: skip


def _scope(p):
    p.put("scope", p.rng.choice([
        ["a", 1], [1, "a"], ["a", ["b"]], ["s" * 2048], ["s" * 2049, "a"], ["s" * 1024, "t" * 1024],
        ["s"] * 64, ["s"] * 65, ["a\\"], ['"'], [""], ["a", None], Text('[ "\\u0061" ]'), [["a", 1]],
    ]))  # fmt: skip


def _generation(p):
    p.put("gen", p.rng.choice([-1, 2**53 + 1, 2**64, "1", None, Text("1.0"), Text("1e3"),
                               Text("-0"), Text("01"), True]))  # fmt: skip


def _alg(p):
    p.put("alg", p.rng.choice(["none", "None", "NONE", "", "HS256", "ES256", "EdDSA", "Ed25519",
                               "RS256", "es256", "ES256 ", "HS256/64", "ES384", "PS256", None, 1,
                               ["ES256"], "ESP256", Text('"\\u0045S256"')]), p.header)  # fmt: skip


def _no_alg(p):
    p.header[:] = [pair for pair in p.header if pair[0] != "alg"]
    if p.rng.random() < 0.5:
        p.header.append((p.rng.choice(["Alg", "alg ", "enc"]), p.key.alg))


def _none(p):
    p.put("alg", p.rng.choice(["none", "nOnE"]), p.header)
    p.signature = lambda s: b""


def _crit(p):
    value = p.rng.choice([["exp"], [], ["b64"], ["alg"], "x", None, 1])
    p.header.append((p.rng.choice(["crit", Text('"cr\\u0069t"')]), value))


def _kid(p):
    kid = (p.key.kid or b"x").decode("utf-8", "replace")
    other = (p.rng.choice(p.issuer.keys).kid or b"").decode("utf-8", "replace")
    p.put("kid", p.rng.choice(["", "nobody", 1, None, kid + " ", kid[:-1], kid.upper(), "k" * 65,
                               [kid], other]), p.header)  # fmt: skip


def _no_kid(p):
    p.header[:] = [pair for pair in p.header if pair[0] != "kid"]


def _typ(p):
    p.put("typ", p.rng.choice(["JWT", "at+jwt", "AT+JWT", "application/AT+jwt", "at+jwt ", "", 1,
                               None, "application/", "application/application/at+jwt", "at+jw",
                               "application/JWT", "AT+\u212awt", "x.y+z"]), p.header)  # fmt: skip


def _no_typ(p):
    p.header[:] = [pair for pair in p.header if pair[0] != "typ"]


def _signer(p):
    p.signer = p.rng.choice([k for i in p.settings.issuers for k in i.keys if k is not p.key])


def _confusion(p):
    """The public key, as text, as a secret for HS256 (RFC 8725 section 2.1)."""
    frame = p.key.frame()
    p.put("alg", "HS256", p.header)

    def sign_again(token):
        signed = token.rpartition(b".")[0]
        return signed + b"." + b64(hmac.digest(frame, signed, hashlib.sha256)).encode()

    p.done = sign_again


def _base64(p):
    def change(token):
        parts = token.split(b".")
        at = p.rng.randrange(3)
        part = parts[at]
        digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        last = digits[digits.index(part[-1:]) ^ 1 : (digits.index(part[-1:]) ^ 1) + 1]
        parts[at] = p.rng.choice([
            part + b"=", part + b"=" * (-len(part) % 4), part[:-1] + last, part + b"\n",
            part[:5] + b" " + part[5:], part.replace(b"-", b"+").replace(b"_", b"/"), part + b"A",
            part[:-1], b"", part[:4] + b"\xc3\xbc" + part[4:], part + b"%3D",
        ])  # fmt: skip
        return b".".join(parts)

    p.done = change


def _dots(p):
    p.done = lambda t: p.rng.choice([t + b".", b"." + t, t.replace(b".", b"..", 1), t + b".x",
                                     t.replace(b".", b"", 1), t.replace(b".", b""), b" " + t,
                                     t + b" ", t + b"\n", b"Bearer " + t, t.rpartition(b".")[0],
                                     t.rpartition(b".")[0] + b"."])  # fmt: skip


def _high_s(p):
    p.low_s = not p.low_s


def _size(p):
    size = len(p.build())
    filler = max(8192 - size - 20, 0) * 3 // 4 + p.rng.choice([-2, -1, 0, 1, 2, 3, 4, 5, 600])
    p.fancy = 0.0
    p.put("filler", "f" * max(filler, 0))


MUTATIONS = {
    "claim: exp in the past": _past,
    "claim: nbf or iat in the future": _future,
    "claim: wrong aud": _audience,
    "claim: wrong iss": _issuer,
    "claim: iss of another": _issuer_other,
    "claim: missing": _missing,
    "claim: odd date": _date,
    "claim: member twice": _twice,
    "claim: member twice inside": _twice_inside,
    "claim: another type": _type,
    "claim: NUL in a text": _nul,
    "claim: odd string": _string,
    "claim: invalid UTF-8": _utf8,
    "JSON: odd syntax": _syntax,
    "claims: spoilt, then signed": _payload_spoilt,
    "header: spoilt, then signed": _header_spoilt,
    "around 64 members": _many,
    "claim: around the limit of a list": _many_texts,
    "claim: odd cnf": _cnf,
    "claim: odd scope": _scope,
    "claim: odd gen": _generation,
    "depth around 16": _deep,
    "header: member twice": _header_twice,
    "header: another alg": _alg,
    "header: no alg": _no_alg,
    "header: alg none": _none,
    "header: crit": _crit,
    "header: another kid": _kid,
    "header: no kid": _no_kid,
    "header: another typ": _typ,
    "header: no typ": _no_typ,
    "signed by another key": _signer,
    "signed with the public key": _confusion,
    "signature: odd": _signature_odd,
    "signature: the other s": _high_s,
    "base64url: odd": _base64,
    "other dots": _dots,
    "size around 8 KiB": _size,
}


def make(rng, settings, mutate):
    p = Plan(rng, settings)
    names = rng.sample(list(MUTATIONS), rng.choice([1, 1, 1, 2])) if mutate else []
    for name in names:
        MUTATIONS[name](p)
    return p.build(), names
