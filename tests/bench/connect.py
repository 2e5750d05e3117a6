#!/usr/bin/python3
"""What a login costs the broker, in CPU microseconds, beside an anonymous broker in the same run.

    tests/bench/connect.py [--build build/dev] [--count 3000] [--rounds 5]

Three brokers of the same kind are started on loopback ports: anonymous; with the plugin and a token
that was never seen before at every login (one ES256 verification each); with the plugin and tokens
seen before (the cache). The rounds alternate, so that a noisy neighbour hits all of them alike.
The figure is the broker's own CPU time (/proc/PID/schedstat), not wall-clock time.
"""
import argparse
import base64
import json
import os
import pathlib
import shutil
import socket
import statistics
import struct
import subprocess
import tempfile
import time

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

ISSUER = "https://127.0.0.1:9"
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def b64u(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Issuer:
    def __init__(self):
        self.key = ec.generate_private_key(ec.SECP256R1())
        n = self.key.public_key().public_numbers()
        self.jwks = {"keys": [{"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "bench",
                               "x": b64u(n.x.to_bytes(32, "big")), "y": b64u(n.y.to_bytes(32, "big"))}]}

    def sign(self, data):
        r, s = decode_dss_signature(self.key.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + min(s, ORDER - s).to_bytes(32, "big")

    def cwt(self, subject):
        now = int(time.time())
        claims = cbor2.dumps({1: ISSUER, 2: subject, 3: "mqtt", 4: now + 3600, 6: now, 7: os.urandom(16),
                              9: "telemetry:send config:read", "dty": "sensor"})
        head = cbor2.dumps({1: -7, 4: b"bench"})
        signature = self.sign(cbor2.dumps(["Signature1", head, b"", claims]))
        return b64u(b"\xd8\x3d\xd2" + cbor2.dumps([head, {}, claims, signature]))

    def jwt(self, subject):
        now = int(time.time())
        head = b64u(json.dumps({"alg": "ES256", "kid": "bench", "typ": "at+jwt"}).encode())
        body = b64u(json.dumps({"iss": ISSUER, "sub": subject, "aud": "mqtt", "exp": now + 3600, "iat": now,
                                "jti": b64u(os.urandom(16)), "client_id": subject, "dty": "sensor",
                                "scope": "telemetry:send config:read"}).encode())
        return f"{head}.{body}.{b64u(self.sign(f'{head}.{body}'.encode()))}"


class Broker:
    def __init__(self, folder, name, lines):
        self.port = free_port()
        conf = pathlib.Path(folder, f"{name}.conf")
        # A plugin or password_file belongs to the listener lines that stand before it.
        conf.write_text("\n".join([f"user {os.environ.get('USER', 'root')}", "persistence false",
                                   f"log_dest file {folder}/{name}.log", "log_type error", "log_type warning",
                                   f"listener {self.port} 127.0.0.1", *lines]) + "\n")
        self.process = subprocess.Popen([shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin"),
                                         "-c", str(conf)])
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                if self.process.poll() is not None:
                    raise SystemExit(f"{name}: the broker did not start; see {folder}/{name}.log")
                time.sleep(0.05)

    def cpu_ns(self):
        return int(pathlib.Path(f"/proc/{self.process.pid}/schedstat").read_text().split()[0])

    def login(self, client, password):
        def text(value):
            value = value.encode()
            return struct.pack(">H", len(value)) + value
        flags, payload = 0x02, text(client)
        if password:
            flags, payload = 0xC2, payload + text("x") + text(password)
        body = b"\x00\x04MQTT\x04" + bytes([flags]) + b"\x00\x3c" + payload
        length, n = b"", len(body)
        while True:
            n, low = divmod(n, 128)
            length += bytes([low | (0x80 if n else 0)])
            if not n:
                break
        with socket.create_connection(("127.0.0.1", self.port)) as s:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            s.sendall(b"\x10" + length + body)
            answer = s.recv(4)
            if answer != b"\x20\x02\x00\x00":
                raise SystemExit(f"refused: {answer.hex()}")
            s.sendall(b"\xe0\x00")


def measure(broker, logins):
    before = broker.cpu_ns()
    for client, password in logins:
        broker.login(client, password)
    time.sleep(0.05)
    return (broker.cpu_ns() - before) / len(logins) / 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build/dev")
    parser.add_argument("--count", type=int, default=3000, help="logins a round")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    plugin = next(pathlib.Path(args.build).resolve().rglob("mosquitto_latchkey.so"))
    root = pathlib.Path(__file__).resolve().parents[2]
    folder = tempfile.mkdtemp(prefix="latchkey-bench-")
    brokers = []
    try:
        issuer = Issuer()
        keys = pathlib.Path(folder, "keys.json")
        keys.write_text(json.dumps(issuer.jwks))
        state = pathlib.Path(folder, "state")
        state.mkdir(mode=0o700)
        options = {"issuer": ISSUER, "keys_file": keys, "state_dir": state, "cache_size": 131072,
                   "scopes": root / "provisioning/examples/scopes.acl"}
        anonymous = Broker(folder, "anonymous", ["allow_anonymous true"])
        brokers.append(anonymous)
        latchkey = Broker(folder, "latchkey", ["allow_anonymous false", f"plugin {plugin}",
                                               *[f"plugin_opt_{k} {v}" for k, v in options.items()]])
        brokers.append(latchkey)
        devices = [f"sensor-{i:06d}" for i in range(args.count)]
        print(f"one sensor's token: CWT {len(base64.urlsafe_b64decode(issuer.cwt('sensor-000000') + '==='))} bytes, "
              f"JWT {len(issuer.jwt('sensor-000000'))} bytes")
        rows = {"anonymous": [], "CWT, first seen": [], "CWT, cached": [], "JWT, first seen": [], "JWT, cached": []}
        for number in range(args.rounds):
            cwt = [(d, issuer.cwt(d)) for d in devices]
            jwt = [(d, issuer.jwt(d)) for d in devices]
            rows["anonymous"].append(measure(anonymous, [(d, None) for d in devices]))
            rows["CWT, first seen"].append(measure(latchkey, cwt))
            rows["CWT, cached"].append(measure(latchkey, cwt))
            rows["JWT, first seen"].append(measure(latchkey, jwt))
            rows["JWT, cached"].append(measure(latchkey, jwt))
            print(f"round {number + 1} of {args.rounds}", flush=True)
        base = statistics.median(rows["anonymous"])
        print(f"\n{'CPU us per connect + disconnect':34}{'median':>8}{'min':>8}{'over anonymous':>16}")
        for name, values in rows.items():
            median = statistics.median(values)
            print(f"{name:34}{median:8.1f}{min(values):8.1f}{median - base:16.1f}")
    finally:
        for broker in brokers:
            broker.process.terminate()
            broker.process.wait()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
