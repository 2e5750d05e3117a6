"""A small MQTT 3.1.1 and 5 client that sees every packet.

For tests of what goes over the wire: return codes, AUTH exchanges, DISCONNECT reasons, the moment a
connection ends. It does nothing on its own: no thread, no ping, no reconnect. Packets of the
broker are answered only by the calls below (QoS 1 publishes are acknowledged by `messages`).
"""

import select
import socket
import ssl
import struct
import time
from dataclasses import dataclass, field

CONNECT, CONNACK, PUBLISH, PUBACK = 1, 2, 3, 4
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK = 8, 9, 10, 11
PINGREQ, PINGRESP, DISCONNECT, AUTH = 12, 13, 14, 15

V311, V5 = 4, 5

SESSION_EXPIRY, RECEIVE_MAXIMUM = 0x11, 0x21
AUTH_METHOD, AUTH_DATA, WILL_DELAY = 0x15, 0x16, 0x18

NO_SUBSCRIBERS, CONTINUE, REAUTHENTICATE = 0x10, 0x18, 0x19

# MQTT 5 section 2.2.2.2: how the value of each property is written.
_BYTE, _TWO, _FOUR, _VARINT, _TEXT, _PAIR = range(6)
_PROPERTY = {
    0x01: _BYTE, 0x02: _FOUR, 0x03: _TEXT, 0x08: _TEXT, 0x09: _TEXT, 0x0B: _VARINT, 0x11: _FOUR,
    0x12: _TEXT, 0x13: _TWO, 0x15: _TEXT, 0x16: _TEXT, 0x17: _BYTE, 0x18: _FOUR, 0x19: _BYTE,
    0x1A: _TEXT, 0x1C: _TEXT, 0x1F: _TEXT, 0x21: _TWO, 0x22: _TWO, 0x23: _TWO, 0x24: _BYTE,
    0x25: _BYTE, 0x26: _PAIR, 0x27: _FOUR, 0x28: _BYTE, 0x29: _BYTE, 0x2A: _BYTE,
}


class Closed(Exception):
    """The broker ended the connection."""


def _bytes(value):
    return value.encode() if isinstance(value, str) else bytes(value)


def text(value):
    value = _bytes(value)
    return struct.pack(">H", len(value)) + value


def varint(number):
    out = bytearray()
    while True:
        number, digit = divmod(number, 128)
        out.append(digit | (0x80 if number else 0))
        if not number:
            return bytes(out)


def _read_varint(data, at):
    number, shift = 0, 0
    while True:
        digit = data[at]
        number |= (digit & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not digit & 0x80:
            return number, at


def properties(values):
    out = b""
    for name, value in (values or {}).items():
        kind = _PROPERTY[name]
        out += varint(name)
        out += {_BYTE: lambda v: struct.pack(">B", v), _TWO: lambda v: struct.pack(">H", v),
                _FOUR: lambda v: struct.pack(">I", v), _VARINT: varint, _TEXT: text,
                _PAIR: lambda v: text(v[0]) + text(v[1])}[kind](value)
    return varint(len(out)) + out


def read_properties(data, at):
    length, at = _read_varint(data, at)
    end, values = at + length, {}
    while at < end:
        name, at = _read_varint(data, at)
        kind = _PROPERTY[name]
        if kind in (_BYTE, _TWO, _FOUR):
            size = {_BYTE: 1, _TWO: 2, _FOUR: 4}[kind]
            values[name] = int.from_bytes(data[at:at + size], "big")
            at += size
        elif kind == _VARINT:
            values[name], at = _read_varint(data, at)
        else:
            parts = []
            for _ in range(2 if kind == _PAIR else 1):
                size = int.from_bytes(data[at:at + 2], "big")
                parts.append(data[at + 2:at + 2 + size])
                at += 2 + size
            values[name] = parts[0] if kind == _TEXT else tuple(parts)
    return values, at


def packet(kind, body=b"", flags=0):
    return bytes([kind << 4 | flags]) + varint(len(body)) + body


def connect_packet(client_id, password=None, username="x", version=V5, clean=True, keepalive=60,
                   props=None, will=None):
    """`will` is (topic, payload, qos, retain), with a dict of properties as an optional fifth."""
    flags = 0x02 if clean else 0
    payload = text(client_id)
    if will is not None:
        topic, message, qos, retain = will[:4]
        flags |= 0x04 | qos << 3 | (0x20 if retain else 0)
        if version == V5:
            payload += properties(will[4] if len(will) > 4 else None)
        payload += text(topic) + text(message)
    if username is not None:
        flags |= 0x80
        payload += text(username)
    if password is not None:
        flags |= 0x40
        payload += text(password)
    head = text("MQTT") + bytes([version, flags]) + struct.pack(">H", keepalive)
    if version == V5:
        head += properties(props)
    return packet(CONNECT, head + payload)


@dataclass
class Packet:
    kind: int
    flags: int
    body: bytes
    code: int = 0                                   # reason or return code, where there is one
    codes: tuple = ()                               # SUBACK, UNSUBACK
    props: dict = field(default_factory=dict)
    topic: str = ""                                 # PUBLISH
    payload: bytes = b""
    qos: int = 0
    retain: bool = False
    packet_id: int = 0
    session_present: bool = False                   # CONNACK


def parse(kind, flags, body, version):
    p = Packet(kind, flags, body)
    v5 = version == V5
    if kind == CONNACK:
        p.session_present, p.code = bool(body[0] & 1), body[1]
        if v5:
            p.props, _ = read_properties(body, 2)
    elif kind == PUBLISH:
        size = int.from_bytes(body[:2], "big")
        p.topic, at = body[2:2 + size].decode(), 2 + size
        p.qos, p.retain = flags >> 1 & 3, bool(flags & 1)
        if p.qos:
            p.packet_id, at = int.from_bytes(body[at:at + 2], "big"), at + 2
        if v5:
            p.props, at = read_properties(body, at)
        p.payload = body[at:]
    elif kind == PUBACK:
        p.packet_id = int.from_bytes(body[:2], "big")
        p.code = body[2] if len(body) > 2 else 0
    elif kind in (SUBACK, UNSUBACK):
        p.packet_id, at = int.from_bytes(body[:2], "big"), 2
        if v5:
            p.props, at = read_properties(body, at)
        p.codes = tuple(body[at:])
    elif kind in (DISCONNECT, AUTH):
        p.code = body[0] if body else 0
        if len(body) > 1:
            p.props, _ = read_properties(body, 1)
    return p


def readable(sock, timeout):
    """select() cannot take the thousandth file descriptor; poll() can."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(timeout * 1000))


class Client:
    def __init__(self, port, version=V5, host="127.0.0.1", tls=None, timeout=10):
        """`tls`: a CA file, or an ssl.SSLContext."""
        self.version = version
        self.sock = socket.create_connection((host, port), timeout=timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            context = tls if isinstance(tls, ssl.SSLContext) \
                else ssl.create_default_context(cafile=str(tls))
            self.sock = context.wrap_socket(self.sock, server_hostname=host)
        self.timeout = timeout
        self.data = b""
        self.next_id = 0
        self.kept = []                              # packets that a call was not waiting for

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Drop the connection without a word, as a device that loses power."""
        self.sock.close()

    # --- sending

    def send(self, data):
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as gone:
            raise Closed(str(gone)) from gone

    def connect(self, client_id, password=None, **options):
        """@return the CONNACK, or the AUTH that came instead. Raises Closed."""
        self.send(connect_packet(client_id, password, version=self.version, **options))
        return self.read(CONNACK, AUTH)

    def connect_by_auth(self, client_id, method, data, props=None, username=None, **options):
        both = {AUTH_METHOD: method, AUTH_DATA: data, **(props or {})}
        if data is None:
            del both[AUTH_DATA]
        return self.connect(client_id, username=username, props=both, **options)

    def auth(self, code, method, data):
        body = bytes([code]) + properties({AUTH_METHOD: method, AUTH_DATA: data})
        self.send(packet(AUTH, body))

    def reauthenticate(self, method, data):
        """@return the AUTH, or the DISCONNECT that ended it. Raises Closed."""
        self.auth(REAUTHENTICATE, method, data)
        return self.read(AUTH, DISCONNECT, CONNACK)

    def new_id(self):
        self.next_id = self.next_id % 65535 + 1
        return self.next_id

    def publish(self, topic, payload=b"", qos=1, retain=False, props=None, wait=True):
        """@return the PUBACK's reason code, 0 also for "nobody has subscribed"; None for QoS 0."""
        body, number = text(topic), 0
        if qos:
            number = self.new_id()
            body += struct.pack(">H", number)
        if self.version == V5:
            body += properties(props)
        self.send(packet(PUBLISH, body + _bytes(payload), qos << 1 | (1 if retain else 0)))
        if not qos or not wait:
            return None
        code = self.read(PUBACK, where=lambda p: p.packet_id == number).code
        return 0 if code == NO_SUBSCRIBERS else code

    def subscribe(self, *filters, qos=1):
        """@return the SUBACK's codes."""
        number = self.new_id()
        body = struct.pack(">H", number) + (properties(None) if self.version == V5 else b"")
        body += b"".join(text(f) + bytes([qos]) for f in filters)
        self.send(packet(SUBSCRIBE, body, 2))
        return self.read(SUBACK, where=lambda p: p.packet_id == number).codes

    def unsubscribe(self, *filters):
        number = self.new_id()
        body = struct.pack(">H", number) + (properties(None) if self.version == V5 else b"")
        self.send(packet(UNSUBSCRIBE, body + b"".join(text(f) for f in filters), 2))
        return self.read(UNSUBACK, where=lambda p: p.packet_id == number).codes

    def ping(self):
        self.send(packet(PINGREQ))
        return self.read(PINGRESP)

    def disconnect(self, code=0):
        self.send(packet(DISCONNECT, bytes([code]) if self.version == V5 and code else b""))
        self.sock.close()

    # --- receiving

    def _receive(self, until):
        pending = self.sock.pending() if isinstance(self.sock, ssl.SSLSocket) else 0
        if not pending:
            left = until - time.monotonic()
            if left <= 0 or not readable(self.sock, left):
                raise TimeoutError("no packet in time")
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError as gone:
            raise Closed(str(gone)) from gone
        if not data:
            raise Closed("end of stream")
        self.data += data

    def _next(self, until):
        while True:
            if len(self.data) >= 2:
                try:
                    length, start = _read_varint(self.data, 1)
                except IndexError:
                    length = None
                if length is not None and len(self.data) >= start + length:
                    first, body = self.data[0], self.data[start:start + length]
                    self.data = self.data[start + length:]
                    return parse(first >> 4, first & 15, body, self.version)
            self._receive(until)

    def read(self, *kinds, where=None, timeout=None):
        """The next packet of one of these kinds (any, if none is given); others are kept."""
        def wanted(p):
            return (not kinds or p.kind in kinds) and (where is None or where(p))
        for index, p in enumerate(self.kept):
            if wanted(p):
                return self.kept.pop(index)
        until = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            p = self._next(until)
            if wanted(p):
                return p
            self.kept.append(p)

    def message(self, timeout=None):
        """The next PUBLISH, acknowledged if it asks for that."""
        p = self.read(PUBLISH, timeout=timeout)
        if p.qos == 1:
            self.send(packet(PUBACK, struct.pack(">H", p.packet_id)))
        return p

    def messages(self, quiet=0.5, count=None, timeout=10):
        """Messages until `count` have come, or none for `quiet` seconds."""
        got, until = [], time.monotonic() + timeout
        while (count is None or len(got) < count) and time.monotonic() < until:
            try:
                got.append(self.message(timeout=quiet if count is None
                                        else until - time.monotonic()))
            except TimeoutError:
                break
        return got

    def end(self, timeout=10):
        """Wait until the broker ends the connection.
        @return (time.time() of the end, reason code of its DISCONNECT or None)."""
        code, until = None, time.monotonic() + timeout
        for p in self.kept:
            if p.kind == DISCONNECT:
                code = p.code
        while True:
            try:
                p = self._next(until)
            except Closed:
                return time.time(), code
            if p.kind == DISCONNECT and code is None:
                code = p.code

    def is_open(self):
        """Does the broker still answer?"""
        try:
            self.ping()
            return True
        except (Closed, OSError):
            return False


def swarm(port, count, make_connect, timeout=60):
    """Connect many 3.1.1 clients at once, from one thread.

    @param make_connect  index -> CONNECT packet
    @return list of (socket, return code), in the order of the index.
    """
    import selectors
    selector, results, waiting = selectors.DefaultSelector(), [None] * count, 0
    started, until = 0, time.monotonic() + timeout
    while (started < count or waiting) and time.monotonic() < until:
        while started < count and waiting < 64:
            sock = socket.create_connection(("127.0.0.1", port), timeout=timeout)
            sock.sendall(make_connect(started))
            selector.register(sock, selectors.EVENT_READ, started)
            started, waiting = started + 1, waiting + 1
        for key, _ in selector.select(1):
            try:
                answer = key.fileobj.recv(4096)
            except ConnectionResetError:
                answer = b""
            code = answer[3] if len(answer) >= 4 and answer[0] >> 4 == CONNACK else None
            results[key.data] = (key.fileobj, code)
            selector.unregister(key.fileobj)
            waiting -= 1
    if any(r is None for r in results):
        raise TimeoutError("not every client of the swarm had an answer in time")
    return results


def still_open(sockets, settle=0.5):
    """Which of these (otherwise silent) connections the broker has not ended: a ping each."""
    alive = []
    for sock in sockets:
        try:
            sock.sendall(packet(PINGREQ))
        except OSError:
            pass
    time.sleep(settle)
    for sock in sockets:
        try:
            sock.settimeout(5)
            alive.append(bool(sock.recv(4096)))
        except OSError:
            alive.append(False)
    return alive
