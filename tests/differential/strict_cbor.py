"""CBOR (RFC 8949), read strictly and with positions; and written, in any width one asks for.

cbor2 forgets what matters here (keys that came twice, tags, where an item began), so the judge
reads by itself and asks cbor2 for a second opinion on what it accepts.
"""

import math
import struct

DEPTH_MAX = 16  # limits.h: LK_DEPTH_MAX
MEMBERS_MAX = 64  # limits.h: LK_MEMBERS_MAX


class Bad(Exception):
    """Not what a strict reader takes; the rule it breaks is the message."""


class Item:
    """One item: kind, value, and where its encoding begins and ends."""

    __slots__ = ("kind", "value", "start", "end")

    def __init__(self, kind, value, start, end):
        self.kind, self.value, self.start, self.end = kind, value, start, end


def _argument(data, pos):
    """Major type, additional information, argument and the position behind the head."""
    if pos >= len(data):
        raise Bad("cut short")
    major, info = data[pos] >> 5, data[pos] & 31
    pos += 1
    if info < 24:
        return major, info, info, pos
    if info == 31:
        raise Bad("ours: indefinite length")
    if info > 27:
        raise Bad("reserved head")
    width = 1 << (info - 24)
    if pos + width > len(data):
        raise Bad("cut short")
    return major, info, int.from_bytes(data[pos : pos + width], "big"), pos + width


def _special(info, value, start, pos):
    if info < 24:
        return Item("simple", value, start, pos)
    if info == 24:
        if value < 32:
            raise Bad("simple value in two bytes")
        return Item("simple", value, start, pos)
    form = {25: ">e", 26: ">f", 27: ">d"}[info]
    number = struct.unpack(form, value.to_bytes(1 << (info - 24), "big"))[0]
    return Item("float", number, start, pos)


def _tagged(data, pos, depth):
    """Tags and their content; not recursive, since a chain of tags may be long."""
    tags = []
    while pos < len(data) and data[pos] >> 5 == 6:
        start = pos
        _, _, number, pos = _argument(data, pos)
        tags.append((number, start))
    item = read_item(data, pos, depth)
    for number, start in reversed(tags):
        item = Item("tag", (number, item), start, item.end)
    return item


def read_item(data, pos=0, depth=0):
    """The item at pos, with everything in it."""
    start = pos
    major, info, value, pos = _argument(data, pos)
    if major == 0:
        return Item("int", value, start, pos)
    if major == 1:
        return Item("int", -1 - value, start, pos)
    if major in (2, 3):
        if value > len(data) - pos:
            raise Bad("cut short")
        content = data[pos : pos + value]
        if major == 2:
            return Item("bytes", content, start, pos + value)
        try:
            return Item("text", content.decode("utf-8"), start, pos + value)
        except UnicodeDecodeError:
            raise Bad("text is no UTF-8") from None
    if major == 6:
        return _tagged(data, start, depth)
    if major == 7:
        return _special(info, value, start, pos)
    if depth == DEPTH_MAX:
        raise Bad("ours: nested deeper than 16")
    if value > len(data) - pos:
        raise Bad("cut short")
    items = []
    for _ in range(value * (2 if major == 5 else 1)):
        item = read_item(data, pos, depth + 1)
        items.append(item)
        pos = item.end
    if major == 4:
        return Item("array", items, start, pos)
    return Item("map", list(zip(items[::2], items[1::2])), start, pos)


def read_whole(data):
    item = read_item(data)
    if item.end != len(data):
        raise Bad("bytes behind the item")
    return item


def map_members(item, key_kinds=("int", "text", "bytes")):
    """The pairs of a map whose keys must be told apart, as a dict {(kind, key): value}."""
    if item.kind != "map":
        raise Bad("no map")
    if len(item.value) > MEMBERS_MAX:
        raise Bad("ours: more than 64 members")
    members = {}
    for key, value in item.value:
        if key.kind not in key_kinds:
            raise Bad("a key that is no label")
        if key.kind == "int" and not -(2**63) <= key.value < 2**63:
            raise Bad("ours: a label beyond 64 bits")
        if (key.kind, key.value) in members:
            raise Bad("a key twice")
        members[key.kind, key.value] = value
    return members


# Writing.


class Map(list):
    """Pairs, in this order and as often as they stand here."""


class Tag:
    def __init__(self, number, content):
        self.number, self.content = number, content


class Simple:
    def __init__(self, number):
        self.number = number


class Float:
    """A float of just this width: 2, 4 or 8 bytes."""

    def __init__(self, value, width):
        self.value, self.width = value, width


class Raw(bytes):
    """Encoded already."""


class Indefinite:
    """An array, map, bytes or text of indefinite length."""

    def __init__(self, content):
        self.content = content


class Writer:
    """Preferred encoding; with `loose` the share of heads that are wider than they need be."""

    def __init__(self, rng=None, loose=0.0):
        self.rng, self.loose = rng, loose

    def head(self, major, value):
        width = 0
        if value >= 24:
            width = next(w for w in (1, 2, 4, 8) if value < 1 << (8 * w))
        if self.loose and self.rng.random() < self.loose:
            width = self.rng.choice([w for w in (1, 2, 4, 8) if w >= max(width, 1)])
        if width == 0:
            return bytes([major << 5 | value])
        return bytes([major << 5 | 24 + width.bit_length() - 1]) + value.to_bytes(width, "big")

    def write(self, value):
        if isinstance(value, Raw):
            return bytes(value)
        if value is None or isinstance(value, bool):
            return {None: b"\xf6", False: b"\xf4", True: b"\xf5"}[value]
        if isinstance(value, int):
            return self.head(0, value) if value >= 0 else self.head(1, -1 - value)
        if isinstance(value, bytes):
            return self.head(2, len(value)) + value
        if isinstance(value, str):
            text = value.encode()
            return self.head(3, len(text)) + text
        if isinstance(value, Map):
            return self.head(5, len(value)) + b"".join(
                self.write(k) + self.write(v) for k, v in value
            )
        if isinstance(value, list):
            return self.head(4, len(value)) + b"".join(map(self.write, value))
        if isinstance(value, Tag):
            return self.head(6, value.number) + self.write(value.content)
        if isinstance(value, Simple):
            n = value.number
            return bytes([0xE0 | n]) if n < 24 else bytes([0xF8, n])
        if isinstance(value, Float):
            return self.write_float(value)
        if isinstance(value, Indefinite):
            return self.write_indefinite(value.content)
        raise TypeError(value)

    @staticmethod
    def write_float(value):
        form, head = {2: (">e", 0xF9), 4: (">f", 0xFA), 8: (">d", 0xFB)}[value.width]
        return bytes([head]) + struct.pack(form, value.value)

    def write_indefinite(self, content):
        if isinstance(content, Map):
            inner = b"".join(self.write(k) + self.write(v) for k, v in content)
            return b"\xbf" + inner + b"\xff"
        if isinstance(content, list):
            return b"\x9f" + b"".join(map(self.write, content)) + b"\xff"
        head = b"\x5f" if isinstance(content, bytes) else b"\x7f"
        half = len(content) // 2
        return head + self.write(content[:half]) + self.write(content[half:]) + b"\xff"


def numeric_date(item):
    """RFC 8392 section 2, with the bounds of cbor.h."""
    if item.kind not in ("int", "float"):
        raise Bad("a date of another type")
    value = item.value
    if isinstance(value, float) and (math.isnan(value) or math.isinf(value)):
        raise Bad("a date that is no number")
    if value < 0 or value > 2**53:
        raise Bad("a date out of range")
    return int(value)
