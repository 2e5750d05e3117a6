"""A stand-in for latchkeyd over HTTPS: keys, token endpoint, and the feed of revocations.

It speaks exactly the interface of the real one, and can do what the real one never should: hang,
cut, lie. The last test of test_plugin_ends_what_is_revoked.py tries the real one.
"""

import base64
import datetime
import ipaddress
import json
import pathlib
import socket
import ssl
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import tokens

CLIENT, SECRET = "broker-1", tokens.b64(bytes(range(32)))


def certificate(folder):
    """A certificate for 127.0.0.1 that is its own authority. @return (certificate, key) paths."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "feed.test")])
    now = datetime.datetime.utcnow()
    made = (x509.CertificateBuilder().subject_name(name).issuer_name(name)
            .public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.SubjectAlternativeName(
                [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256()))
    cert_path, key_path = folder / "feed.crt", folder / "feed.key"
    cert_path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(key.private_bytes(serialization.Encoding.PEM,
                                           serialization.PrivateFormat.PKCS8,
                                           serialization.NoEncryption()))
    return cert_path, key_path


class FeedServer:
    """`answer` is what the next requests of the feed are answered with: None (as the interface
    says), or a function of (handler, query) that answers true when it has answered by itself."""

    def __init__(self, folder):
        self.cert, self.cert_key = certificate(folder)
        self.keys = [tokens.Key("feed-1")]
        self.epoch, self.log, self.page = "e1", [], 100000
        self.trimmed = 0                            # what has gone from the log's beginning
        self.answer = None
        self.queries, self.tokens_issued, self.keys_asked = [], 0, 0
        self.token_life, self.token = 3600, None
        self.changed = threading.Condition()
        self.port, self.polling = 0, 0
        self.connections = set()
        self.start()

    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}"

    # --- what is revoked

    def revoke(self, *entries):
        with self.changed:
            self.log += entries
            self.changed.notify_all()

    def sub(self, subject, gen_before=2, until=None):
        return {"kind": "sub", "value": subject, "gen_before": gen_before,
                "until": until or int(time.time()) + 3600}

    def jti(self, jti, until=None):
        return {"kind": "jti", "value": jti, "until": until or int(time.time()) + 3600}

    def kid(self, kid):
        return {"kind": "kid", "value": kid, "until": int(time.time()) + 3600}

    def restore(self, epoch, *entries):
        """From a backup: another epoch, other entries."""
        with self.changed:
            self.epoch, self.log, self.trimmed = epoch, list(entries), 0
            self.changed.notify_all()

    @property
    def seq(self):
        return self.trimmed + len(self.log)

    def document(self, epoch, after):
        full = epoch != self.epoch or after < self.trimmed or after > self.seq
        begin = 0 if full else after - self.trimmed
        entries = self.log[begin:begin + self.page]
        end = begin + len(entries)
        out = {"epoch": self.epoch, "seq": self.trimmed + end, "full": full, "entries": entries}
        if end < len(self.log):
            out["more"] = True
        return out

    def wait_for_poll(self, timeout=10):
        """Until a request is held that waits for news, so that nothing else stands in the way."""
        until = time.monotonic() + timeout
        while not self.polling or self.queries[-1]["wait"] < 1:
            assert time.monotonic() < until, f"nobody waits for news: {self.queries[-3:]}"
            time.sleep(0.005)

    # --- HTTP

    def start(self):
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                outer.connections.add(self.connection)

            def finish(self):
                outer.connections.discard(self.connection)
                try:
                    super().finish()
                except OSError:
                    pass

            def log_message(self, *_):
                pass

            def reply(self, status, body, headers=()):
                body = body if isinstance(body, bytes) else json.dumps(body).encode()
                head = [f"HTTP/1.1 {status} X", "Content-Type: application/json",
                        f"Content-Length: {len(body)}", f"Date: {self.date_time_string()}"]
                head += [f"{name}: {value}" for name, value in headers]
                try:
                    self.wfile.write("\r\n".join(head + ["", ""]).encode() + body)
                except OSError:
                    self.close_connection = True

            def do_POST(self):
                form = urllib.parse.parse_qs(
                    self.rfile.read(int(self.headers["Content-Length"])).decode())
                wanted = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
                if self.path != "/oauth/token" or self.headers["Authorization"] != wanted or \
                        form != {"grant_type": ["client_credentials"], "scope": ["feed:read"],
                                 "audience": ["latchkey-api"]}:
                    self.reply(401, {"error": "invalid_client"})
                    return
                outer.tokens_issued += 1
                outer.token = f"token-{outer.tokens_issued}"
                self.reply(200, {"access_token": outer.token, "token_type": "Bearer",
                                 "expires_in": outer.token_life})

            def do_GET(self):
                path, _, query = self.path.partition("?")
                if path == "/.well-known/jwks.json":
                    outer.keys_asked += 1
                    self.reply(200, tokens.jwks(*outer.keys).encode())
                elif path == "/v1/feed":
                    if self.headers["Authorization"] != f"Bearer {outer.token}":
                        self.reply(401, {"title": "unauthorized"})
                    else:
                        self.feed(dict(urllib.parse.parse_qsl(query, keep_blank_values=True)))
                else:
                    self.reply(404, {"title": "not found"})

            def feed(self, query):
                epoch, after, wait = query["epoch"], int(query["after"]), int(query["wait"])
                answer = outer.answer
                outer.queries.append({"epoch": epoch, "after": after, "wait": wait,
                                      "at": time.monotonic()})
                if answer is not None and answer(self, query):
                    return
                outer.polling += 1
                with outer.changed:
                    outer.changed.wait_for(
                        lambda: outer.stopped or epoch != outer.epoch or after != outer.seq, wait)
                    document = outer.document(epoch, after)
                outer.polling -= 1
                if outer.stopped:
                    self.close_connection = True
                else:
                    self.reply(200, document)

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, *_):
                pass                                # connections that tests cut

        self.stopped = False
        self.server = Server(("127.0.0.1", self.port), Handler, bind_and_activate=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.cert_key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                 do_handshake_on_connect=False)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def cut(self):
        """End every connection, also those that wait."""
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def stop(self):
        with self.changed:
            self.stopped = True
            self.changed.notify_all()
        self.server.shutdown()
        self.server.server_close()
        self.cut()


def options(server, folder):
    """plugin_opt lines for a broker that reads this feed; its secret is in `folder`."""
    secret = folder / "verifier.secret"
    secret.write_text(SECRET + "\n")
    secret.chmod(0o600)
    return [f"issuer {server.url}", "keys_file ", f"ca_file {server.cert}", f"client_id {CLIENT}",
            f"client_secret_file {secret}"]


def serve():
    """By hand: python3 feed_server.py FOLDER; lines like `sub pump-7 2` on stdin revoke."""
    server = FeedServer(pathlib.Path(sys.argv[1]))
    print(server.url, server.cert, flush=True)
    for line in sys.stdin:
        kind, *rest = line.split()
        if kind in ("sub", "jti", "kid"):
            server.revoke(getattr(server, kind)(rest[0], *map(int, rest[1:])))
            print(json.dumps(server.log[-1]), flush=True)


if __name__ == "__main__":
    serve()
