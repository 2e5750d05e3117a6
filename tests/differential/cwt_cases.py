"""Random CWTs: valid ones in every form, and ones with something wrong."""

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from judge import CLASSIC, MACS, ORDER, b64
from strict_cbor import Float, Indefinite, Map, Raw, Simple, Tag, Writer


def any_value(rng, depth=0):
    """A claim's value nobody knows."""
    kind = rng.randrange(11 if depth < 4 else 8)
    if kind == 0:
        return rng.choice([0, 23, 24, 255, 256, 65536, 2**32, 2**53, 2**63, 2**64 - 1])
    if kind == 1:
        return -rng.choice([1, 24, 25, 257, 2**31, 2**63, 2**63 + 1, 2**64])
    if kind == 2:
        return rng.randbytes(rng.choice([0, 1, 23, 24, 40]))
    if kind == 3:
        return rng.choice(["", "a", "ü€\U0001f600", "x" * 24, "\0"])
    if kind == 4:
        return rng.choice([True, False, None, Simple(23), Simple(0), Simple(32), Simple(255)])
    if kind == 5:
        width = rng.choice([2, 4, 8])
        return Float(rng.choice([0.0, -0.0, 1.5, float("inf"), float("nan"), -2.0]), width)
    if kind in (6, 7):
        return rng.randrange(1000)
    if kind == 8:
        return [any_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == 9:
        return Map((any_value(rng, depth + 1), any_value(rng, depth + 1))
                   for _ in range(rng.randrange(3)))  # fmt: skip
    # RFC 8392 section 3 forbids a tag on a claim's value, not inside it.
    return Tag(rng.choice([24, 61, 999, 2**32]), any_value(rng, depth + 1)) if depth else 7


def date(rng, value, up=False):
    """A NumericDate: value as an integer or a float, in a short one up or down to the next."""
    if rng.random() < 0.7 or value < 0:
        return value
    width = rng.choice([2, 4, 8])
    step = {2: 32, 4: 1 << max(value.bit_length() - 24, 0), 8: 1}[width]
    near = (value + step - 1) // step * step if up else value // step * step
    if width == 2 and near > 65504:
        width, near = 8, value
    return Float(near + rng.choice([0.0, 0.5, 0.25]) if width == 8 else float(near), width)


def spoil(rng, data):
    """One change to bytes that nobody planned, and its name."""
    kind = rng.choice(["flip", "flip", "flip", "cut", "append", "insert", "delete", "copy"])
    at = rng.randrange(len(data)) if data else 0
    if kind == "flip" and data:
        return kind, data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
    if kind == "cut":
        return kind, data[:at]
    if kind == "append":
        return kind, data + rng.choice([b"\0", b"\n", b"A", b"=", rng.randbytes(3)])
    if kind == "insert":
        return kind, data[:at] + rng.randbytes(1) + data[at:]
    if kind == "delete":
        return kind, data[:at] + data[at + 1 :]
    return "copy", data[:at] + data[max(at - 8, 0) : at] + data[at:]


def spoil_some(rng, data):
    for _ in range(rng.choice([1, 1, 2, 4])):
        data = spoil(rng, data)[1]
    return data


def nested(kind, depth):
    value = [] if kind != "map" else Map()
    for _ in range(depth - 1):
        value = Map([(0, value)]) if kind == "map" else [value]
    return value


def good_cnf(rng, key):
    """cnf in every form of RFC 8747 section 3, RFC 9203 section 3.2 and RFC 9679 section 4."""
    cose_key = Map([(1, 2), (-1, 1), (-2, rng.randbytes(32)), (-3, rng.randbytes(32))])
    forms = [
        Map([(1, cose_key)]),
        Map([(1, Map([(1, 1), (-1, 6), (-2, rng.randbytes(32))]))]),
        Map([(3, rng.randbytes(rng.choice([0, 1, 8, 64])))]),
        Map([(2, [b"\xa1\x01\x0a", Map([(5, b"iv")]), rng.randbytes(20)])]),
        Map([(2, Tag(16, [b"", Map(), rng.randbytes(20)]))]),
        Map([(5, rng.randbytes(rng.choice([32, 32, 31, 0])))]),
        Map([(4, Map([(0, b"id"), (2, b"secret")]))]),
        Map([(99, 1), (3, b"kid"), ("what", [1, 2])]),
        Map([(1, cose_key), (3, b"kid")]),
        Map([(-1, 3)]),
        Map(),
    ]
    return rng.choice(forms)


class Plan:
    """A token before it is encoded; mutations change it."""

    def __init__(self, rng, settings):
        self.rng, self.settings = rng, settings
        self.issuer = rng.choice(settings.issuers)
        usable = [k for k in self.issuer.keys if self.issuer.own is False or k.kid]
        self.key = rng.choice(usable or self.issuer.keys)
        self.signer = self.key
        self.low_s = self.issuer.own or rng.random() < 0.5
        self.loose = 0.0 if self.issuer.own else rng.choice([0.0, 0.0, 0.2, 0.7])
        self.payload_loose = rng.choice([0.0, 0.0, 0.3])
        self.tag = 17 if self.key.alg in MACS else 18
        self.cwt_tag = True
        self.payload = self.payload_tail = None
        self.signature = None
        self.items = None  # of the message's array, instead of the usual four
        self.protected_raw = None
        self.as_text = rng.random() < 0.1
        self.claims = self._claims()
        self._headers()

    def _claims(self):
        rng, s = self.rng, self.settings
        exp = s.now + rng.choice([1 - s.leeway, 1, 60, 3600, 10**6])
        c = {
            1: self.issuer.url,
            2: rng.choice(["pump-7", "a", "acme~pump", "ü" * 10, "urn:x"]),
            3: rng.choice([s.audience, [s.audience], ["x", s.audience, "y"], [s.audience] * 8]),
            4: date(rng, exp, up=True),
            6: date(rng, rng.choice([s.now, s.now + s.leeway, s.now - 100, 0])),
            7: rng.randbytes(rng.choice([16, 16, 16, 1, 40])),
        }
        if rng.random() < 0.4:
            c[5] = date(rng, rng.choice([s.now, s.now + s.leeway, 0, s.now - 5000]))
        if rng.random() < 0.4:
            c[8] = good_cnf(rng, self.key)
        if rng.random() < 0.7:
            c[9] = rng.choice(["telemetry:send", "a:b c:d", "", b"\x82\x01\x02", b"",
                               [["devices/a", 1], ["x/#", 2]], [], 7, None])  # fmt: skip
        if rng.random() < 0.3:
            c["tnt"] = rng.choice(["acme", "*", ""])
        if rng.random() < 0.4:
            c["dty"] = rng.choice(["sensor", "ü", ""])
        if rng.random() < 0.2:
            c["children"] = [f"c{i}" for i in range(rng.choice([0, 1, 5, 32]))]
        if rng.random() < 0.3:
            c["gen"] = rng.choice([0, 1, 255, 2**32, 2**53 + 1, 2**64 - 1])
        if rng.random() < 0.3:
            c["note"] = any_value(rng)
        for _ in range(rng.choice([0, 0, 1, 3])):
            name = rng.choice([0, 10, 38, 39, 40, 24, 256, -1, -65537, 2**63 - 1, -(2**63),
                               "client_id", "exp", "ISS", "tn", "", b"", b"tnt", b"\x01"])  # fmt: skip
            c[name] = any_value(rng)
        if not self.issuer.own and rng.random() < 0.1:
            for name in rng.sample([3, 5, 6, 7], 2):
                c.pop(name, None)
        pairs = list(c.items())
        if rng.random() < 0.5:
            rng.shuffle(pairs)
        return Map(pairs)

    def _headers(self):
        rng, key = self.rng, self.key
        alg = CLASSIC[key.alg]
        if not self.issuer.own and rng.random() < 0.3:
            alg = {-7: -9, -8: -19}.get(alg, alg)
        self.protected, self.unprotected = Map([(1, alg)]), Map()
        if self.issuer.own:
            self.protected += [(4, key.kid)] if key.kid is not None else []
            return
        if self.tag == 18 and rng.random() < 0.3:
            self.tag = None
            self.cwt_tag = False
        elif rng.random() < 0.3:
            self.cwt_tag = False
        if key.kid is not None and (len(self.issuer.keys) > 1 or rng.random() < 0.5):
            rng.choice([self.protected, self.unprotected]).append((4, key.kid))
        for _ in range(rng.choice([0, 0, 1, 3])):
            extra = rng.choice([(3, 61), (3, "application/cwt"), (16, 61), (5, b"iv"), (7, [b""]),
                                (34, [-16, rng.randbytes(32)]), (33, b"cert"), (99, any_value(rng)),
                                (-70000, 1), ("x", 2), ("", Map()), (15, Map([(1, "iss")]))])  # fmt: skip
            taken = [k for k, _ in self.protected + self.unprotected]
            if extra[0] not in taken:
                rng.choice([self.protected, self.unprotected]).append(extra)
        if rng.random() < 0.1:
            labels = [k for k, _ in self.protected if k in (1, 4)]
            self.protected.append((2, labels))
        if rng.random() < 0.3:
            rng.shuffle(self.protected)

    def find(self, name):
        return next((i for i, (k, _) in enumerate(self.claims) if k == name), None)

    def put(self, name, value):
        at = self.find(name)
        if at is None:
            self.claims.append((name, value))
        else:
            self.claims[at] = (name, value)

    def drop(self, name):
        self.claims[:] = [p for p in self.claims if p[0] != name]

    def build(self):
        w = Writer(self.rng, self.loose)
        payload = self.payload
        if payload is None:
            payload = Writer(self.rng, self.payload_loose).write(self.claims)
        payload += self.payload_tail or b""
        protected = self.protected_raw
        if protected is None:
            protected = w.write(self.protected)
        context = "MAC0" if self.tag == 17 else "Signature1"
        signed_protected = b"" if protected == b"\xa0" else protected
        signed = Writer().write([context, signed_protected, b"", payload])
        signature = self.signer.sign(signed, self.low_s)
        if self.signature is not None:
            signature = self.signature(signature)
        body = [protected, self.unprotected, payload, signature]
        if self.items is not None:
            body = self.items(body)
        out = w.write(body)
        if self.tag is not None:
            out = w.write(Tag(self.tag, Raw(out)))
        if self.cwt_tag:
            out = w.write(Tag(61, Raw(out)))
        return b64(out).encode() if self.as_text else out


# What can be wrong. A function of the plan, under the name the statistics have it by.


def _past(p):
    p.put(4, date(p.rng, p.settings.now - p.settings.leeway - p.rng.choice([0, 1, 1000])))


def _future(p):
    late = p.settings.now + p.settings.leeway + p.rng.choice([1, 1000, 10**8])
    p.put(p.rng.choice([5, 6]), date(p.rng, late))


def _audience(p):
    a = p.settings.audience
    p.put(3, p.rng.choice(["other", a + "x", a[:-1], a.upper(), [], [a + " "], "", [""]]))


def _issuer(p):
    url = p.issuer.url
    p.put(1, p.rng.choice(["https://nobody", url + "/", url[:-1], "", url.upper()]))


def _issuer_other(p):
    p.put(1, p.rng.choice(p.settings.issuers).url)


def _missing(p):
    p.drop(p.rng.choice([1, 2, 3, 4, 6, 7]))


def _date(p):
    bad = p.rng.choice([
        -1, -(2**64), 2**53, 2**53 + 1, 2**64 - 1, Float(float("nan"), 2), Float(float("inf"), 4),
        Float(float("-inf"), 8), Float(-1.0, 2), Float(-0.5, 8), Float(-0.0, 2), Float(2.0**53, 8),
        Float(2.0**54, 8), Float(1e300, 8), "1700000000", None, True, b"1", [1], Tag(1, 1700000000),
        Tag(2, b"\x01"), Float(5e-324, 8),
    ])  # fmt: skip
    p.put(p.rng.choice([4, 5, 6]), bad)


def _tagged(p):
    if not p.claims:
        return
    at = p.rng.randrange(len(p.claims))
    name, value = p.claims[at]
    p.claims[at] = (name, Tag(p.rng.choice([0, 1, 24, 61, 2**32]), value))


def _twice(p):
    name, value = p.rng.choice(p.claims)
    other = p.rng.choice([value, any_value(p.rng)])
    key = name
    if p.rng.random() < 0.5 and isinstance(name, int):
        key = Raw(Writer(p.rng, 1.0).write(name))
    p.claims.insert(p.rng.randrange(len(p.claims) + 1), (key, other))


def _type(p):
    name = p.rng.choice([1, 2, 3, 4, 5, 6, 7, 8, 9, "tnt", "dty", "children", "gen"])
    p.put(name, any_value(p.rng))


def _nul(p):
    name = p.rng.choice([1, 2, 3, 9, "tnt", "dty", "note"])
    p.put(name, p.rng.choice(["a\0", "\0", "pump\0x"]))


def _utf8(p):
    bad = p.rng.choice([b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc3",
                        b"\xe2\x82", b"a\x80"])  # fmt: skip
    text = Raw(bytes([0x60 | len(bad)]) + bad)
    name = p.rng.choice([1, 2, 9, "dty", "note", 77])
    p.put(name, p.rng.choice([text, [text], Map([(text, 1)])]) if name in ("note", 77) else text)


def _many(p):
    count = p.rng.choice([63, 64, 65, 66, 200])
    for i in range(count - len(p.claims)):
        p.claims.append((1000 + i, 0))


def _many_texts(p):
    if p.rng.random() < 0.5:
        p.put(3, [p.settings.audience] * p.rng.choice([8, 9, 30]))
    else:
        p.put("children", ["c"] * p.rng.choice([32, 33, 100]))


def _deep(p):
    kind = p.rng.choice(["array", "map"])
    value = nested(kind, p.rng.choice([14, 15, 16, 17, 100]))
    where = p.rng.random()
    if where < 0.6:
        p.put(p.rng.choice(["note", 50]), value)
    else:
        value = nested(kind, p.rng.choice([12, 13, 14, 15, 16, 17]))
        p.rng.choice([p.protected, p.unprotected]).append((98, value))


def _cnf(p):
    cose_key = Map([(1, 4), (-1, b"k" * 32)])
    p.put(8, p.rng.choice([
        Map([(1, cose_key), (2, b"x")]), Map([(1, b"bytes")]), Map([(3, "text")]), Map([(3, 1)]),
        Map([(3, b"a"), (3, b"b")]), [], b"kid", None, 3, Map([(1, cose_key)]),
        Map([(1, Map([(1, 4), (1, 4), (-1, b"k" * 32)]))]), Map([(1, Map([(1, 2), (-4, b"d")]))]),
        Map([(1, Map([(1, 3), (-3, b"d")]))]), Map([(1, Map([(1, 1), (-3, b"y")]))]),
        Map([(1, Map([("kty", 4), (-1, b"k")]))]), Map([(1, Map([(i, 4) for i in range(1, 70)]))]),
        Map([(5, b"short")]), Map([(5, "t" * 32)]), Map([(3, b"a"), (5, b"h" * 32)]),
        Map([(2, 1)]), Map([(2, [b"", Map()])]), Map([(2, Tag(96, [b"", Map(), b"c", []]))]),
        Map([(i, i) for i in range(100, 165)]),
        Map([(Raw(b"\x18\x03"), b"wide")]), Map([(3.5 and Float(3.0, 2), b"x")]),
        Map([(2**64 - 1, 1), (3, b"k")]), Map([(-(2**64), 1), (3, b"k")]),
    ]))  # fmt: skip


def _generation(p):
    p.put("gen", p.rng.choice([-1, Float(1.0, 2), "1", 2**64 - 1, Tag(2, b"\x01"), None]))


def _indefinite(p):
    where = p.rng.randrange(6)
    if where == 0:
        p.payload = Writer().write(Indefinite(p.claims))
    elif where == 1:
        at = p.rng.randrange(len(p.claims))
        name, value = p.claims[at]
        if isinstance(value, (str, bytes, list)):
            value = Indefinite(value)
        p.claims[at] = (name, value)
    elif where == 2:
        p.items = lambda body: Indefinite(body)
    elif where == 3:
        p.items = lambda body: [body[0], Indefinite(body[1])] + body[2:]
    elif where == 4:
        p.items = lambda body: body[:2] + [Indefinite(body[2]), body[3]]
    else:
        p.protected_raw = Writer().write(Indefinite(p.protected))


def _payload_tail(p):
    p.payload_tail = p.rng.choice([b"\0", b"\xa0", b"\xff", p.rng.randbytes(3)])


def _payload_other(p):
    p.payload = p.rng.choice([b"", b"\xa0", b"\x80", b"\x01", b"\xf6", b"\xd2\xa0", b"\xa1\x01"])


def _payload_spoilt(p):
    """Bytes changed before they are signed: what is behind the signature gets to see them."""
    p.payload = spoil_some(p.rng, Writer(p.rng, p.payload_loose).write(p.claims))


def _protected_spoilt(p):
    p.protected_raw = spoil_some(p.rng, Writer(p.rng, p.loose).write(p.protected))


def _bad_key_of_claim(p):
    p.claims.append((p.rng.choice([Float(1.0, 2), None, [1], Map(), Tag(1, 5), 2**63, 2**64 - 1,
                                   -(2**63) - 1, -(2**64)]), 1))  # fmt: skip


def _alg(p):
    alg = p.rng.choice([-7, -9, -8, -19, 5, 4, -257, -35, 6, 0, 1, -37, "ES256", None, b"",
                        2**63, -(2**64), [-7]])  # fmt: skip
    p.protected[:] = [(k, alg if k == 1 else v) for k, v in p.protected]


def _alg_elsewhere(p):
    at = next((i for i, (k, _) in enumerate(p.protected) if k == 1), None)
    if at is None:
        return
    pair = p.protected[at]
    kind = p.rng.randrange(3)
    if kind != 2:
        del p.protected[at]
    if kind != 1:
        p.unprotected.append(pair)


def _crit(p):
    value = p.rng.choice([[], [2], [99], [1, 99], ["x"], 1, None, [1], [4], [1, 4], [1, 1],
                          [-1], [b""], [Float(1.0, 2)]])  # fmt: skip
    bucket = p.protected if p.rng.random() < 0.8 else p.unprotected
    bucket[:] = [pair for pair in bucket if pair[0] != 2] + [(2, value)]


def _both(p):
    pair = p.rng.choice(p.protected or [(77, 1)])
    if p.rng.random() < 0.5:
        pair = (77, 1)
        p.protected.append(pair)
    p.unprotected.append((pair[0], p.rng.choice([pair[1], 5])))


def _label_twice(p):
    bucket = p.rng.choice([p.protected, p.unprotected])
    pair = p.rng.choice(bucket) if bucket else (55, 1)
    bucket.append(pair)
    if len(bucket) == 1 or p.rng.random() < 0.3:
        bucket.append((Raw(Writer(p.rng, 1.0).write(pair[0])), pair[1]))


def _label(p):
    bucket = p.rng.choice([p.protected, p.unprotected])
    bucket.append((p.rng.choice([b"x", Float(1.0, 2), None, [1], Map(), 2**63, Tag(1, 1), "ok", 55]),
                   any_value(p.rng)))  # fmt: skip


def _headers_many(p):
    bucket = p.rng.choice([p.protected, p.unprotected])
    for i in range(p.rng.choice([60, 63, 64, 70])):
        bucket.append((2000 + i, 0))


def _kid(p):
    value = p.rng.choice([b"", b"nobody", "text", 1, None, b"k" * 65, b"\0",
                          (p.key.kid or b"") + b"\0", (p.key.kid or b"x")[:-1],
                          p.rng.choice(p.issuer.keys).kid or b""])  # fmt: skip
    p.protected[:] = [pair for pair in p.protected if pair[0] != 4]
    p.unprotected[:] = [pair for pair in p.unprotected if pair[0] != 4]
    if p.rng.random() < 0.8:
        p.rng.choice([p.protected, p.unprotected]).append((4, value))


def _signer(p):
    keys = [k for i in p.settings.issuers for k in i.keys if k is not p.key]
    p.signer = p.rng.choice(keys)


def _tags(p):
    p.cwt_tag = p.rng.random() < 0.5
    p.tag = p.rng.choice([None, 16, 17, 18, 61, 96, 97, 98, 1, 55799, 2**40])


def _shape(p):
    p.items = p.rng.choice([
        lambda b: b[:3], lambda b: b + [b""], lambda b: [], lambda b: Map([(0, b)]),
        lambda b: b[:2] + [None] + b[3:], lambda b: b[:3] + [None],
        lambda b: [b[0].hex()] + b[1:], lambda b: [Raw(b[0])] + b[1:],
        lambda b: [b[0], b""] + b[2:], lambda b: [b[0], []] + b[2:],
        lambda b: b[:2] + [Raw(b[2])] + b[3:], lambda b: b[:2] + [Tag(24, b[2])] + b[3:],
        lambda b: b[1:] + b[:1],
    ])  # fmt: skip


def _protected(p):
    w = Writer()
    p.protected_raw = p.rng.choice([
        b"", b"\xa0", w.write(p.protected) + b"\0", b"\x80", b"\xa1\x01", b"\x26",
        w.write(w.write(p.protected)), w.write(Tag(24, p.protected)), w.write(p.protected)[:-1],
    ])  # fmt: skip


def _signature(p):
    """Half of them are of ES256: r and s out of range, DER, the other s."""
    def number(n):
        return n.to_bytes(32, "big")

    def der(sig):
        r, s = int.from_bytes(sig[:32], "big"), int.from_bytes(sig[32:64], "big")
        return encode_dss_signature(r, s)

    def plus_order(sig):
        s = int.from_bytes(sig[32:64], "big") + ORDER
        return sig[:32] + number(s % 2**256)

    p.signature = p.rng.choice([
        der, plus_order,
        lambda s: number(0) + s[32:], lambda s: s[:32] + number(0), lambda s: bytes(len(s)),
        lambda s: number(ORDER) + s[32:], lambda s: s[:32] + number(ORDER),
        lambda s: s[:32] + number(2**256 - 1), lambda s: s[:32] + number(ORDER - 1),
        lambda s: s[:-1], lambda s: s + b"\0", lambda s: b"", lambda s: b"\0" + s,
        lambda s: s[:8], lambda s: s[:32], lambda s: s * 2, lambda s: s[32:] + s[:32],
        lambda s: bytes([s[0] ^ 1]) + s[1:], lambda s: s[:-1] + bytes([s[-1] ^ 0x80]),
    ])  # fmt: skip


def _high_s(p):
    p.low_s = False


def _own_form(p):
    """Another form than our server's: fine from anyone else."""
    kind = p.rng.randrange(6)
    if kind == 0:
        p.cwt_tag = False
    elif kind == 1:
        p.cwt_tag, p.tag = False, None
    elif kind == 2:
        p.loose = 1.0
    elif kind == 3:
        p.unprotected.append((3, 61))
    elif kind == 4:
        p.protected.append((3, 61))
    else:
        p.protected.reverse()


def _size(p):
    """Around the limit of 8 KiB."""
    p.as_text = False
    size = len(p.build())
    filler = 8192 - size - 8 + p.rng.choice([-3, 0, 1, 2, 3, 4, 60, 3000])
    p.put("filler", bytes(max(filler, 0)))


def _padded(p):
    p.as_text = True
    p.text = p.rng.choice([b"=", b"==", b"\n", b" ", b"%3D", b".", b"..", b"A", b"-"])


MUTATIONS = {
    "claim: exp in the past": _past,
    "claim: nbf or iat in the future": _future,
    "claim: wrong aud": _audience,
    "claim: wrong iss": _issuer,
    "claim: iss of another": _issuer_other,
    "claim: missing": _missing,
    "claim: odd date": _date,
    "claim: tagged value": _tagged,
    "claim: key twice": _twice,
    "claim: another type": _type,
    "claim: NUL in a text": _nul,
    "claim: invalid UTF-8": _utf8,
    "claim: around 64 members": _many,
    "claim: around the limit of a list": _many_texts,
    "claim: odd cnf": _cnf,
    "claim: odd gen": _generation,
    "claim: odd key": _bad_key_of_claim,
    "depth around 16": _deep,
    "indefinite length": _indefinite,
    "payload: trailing bytes": _payload_tail,
    "payload: no claims set": _payload_other,
    "payload: spoilt, then signed": _payload_spoilt,
    "header: spoilt, then signed": _protected_spoilt,
    "header: another alg": _alg,
    "header: alg unprotected or missing": _alg_elsewhere,
    "header: crit": _crit,
    "header: label in both buckets": _both,
    "header: label twice": _label_twice,
    "header: odd label": _label,
    "header: around 64 members": _headers_many,
    "header: another kid": _kid,
    "header: odd protected bucket": _protected,
    "signed by another key": _signer,
    "message: other tags": _tags,
    "message: another shape": _shape,
    "message: not our own form": _own_form,
    "signature: odd": _signature,
    "signature: high s": _high_s,
    "size around 8 KiB": _size,
    "base64url: something behind": _padded,
}


def make(rng, settings, mutate):
    """A token and the names of what was done to it."""
    p = Plan(rng, settings)
    names = rng.sample(list(MUTATIONS), rng.choice([1, 1, 1, 2])) if mutate else []
    for name in names:
        MUTATIONS[name](p)
    data = p.build()
    return data + getattr(p, "text", b""), names
