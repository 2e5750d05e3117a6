"""An issuer of the test's own over plain HTTP on loopback: keys, the verifier's token, and a place
for the last denials, which it remembers."""

import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import tokens
from installation import wait_until

SECRET = tokens.b64(bytes(range(32)))


class Issuer:
    def __init__(self):
        self.key = tokens.Key()
        self.denials, self.posts, self.asked_for, self.problems = [], [], [], []
        self.status = 202                           # of POST /v1/verifiers/denials
        self.token_status = 200
        self.lifetime = 3600
        self.ahead_s = 0                            # of its clock, as its Date header has it
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self, status, body=b""):
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                known = self.path == "/.well-known/jwks.json"
                self.answer(200 if known else 404, tokens.jwks(issuer.key).encode())

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                try:
                    issuer.take(self, body)
                except Exception as problem:        # a wrong request fails the test, not the thread
                    issuer.problems.append(repr(problem))
                    self.answer(500)

            def date_time_string(self, timestamp=None):
                return super().date_time_string(time.time() + issuer.ahead_s)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, request, body):
        authorization = request.headers["Authorization"]
        if request.path == "/oauth/token":
            assert base64.b64decode(authorization.removeprefix("Basic ")).decode() \
                == "broker:" + SECRET
            form = parse_qs(body.decode(), strict_parsing=True)
            assert form["grant_type"] == ["client_credentials"]
            assert form["scope"] == ["denials:write"] and form["audience"] == ["latchkey-api"]
            self.asked_for.append(form)
            request.answer(self.token_status, json.dumps(
                {"access_token": f"token-{len(self.asked_for)}", "token_type": "Bearer",
                 "expires_in": self.lifetime}).encode())
            return
        assert request.path == "/v1/verifiers/denials", request.path
        assert authorization == f"Bearer token-{len(self.asked_for)}"
        assert request.headers["Content-Type"] == "application/json"
        assert len(request.headers["Idempotency-Key"]) == 22
        assert SECRET.encode() not in body
        document = json.loads(body)
        assert list(document) == ["denials"] and 1 <= len(document["denials"]) <= 100
        for denial in document["denials"]:
            assert set(denial) == {"subject", "client_id", "action", "topic", "reason", "at",
                                   "count"}
            assert denial["count"] >= 1 and denial["at"] > 1700000000
        self.posts.append((self.status, request.headers["Idempotency-Key"], document["denials"]))
        if 200 <= self.status <= 299:
            self.denials += document["denials"]
        request.answer(self.status)

    def wait(self, timeout=10, **wanted):
        """A denial with these members."""
        def find():
            assert not self.problems, self.problems
            return [d for d in self.denials if wanted.items() <= d.items()]
        return wait_until(f"a denial {wanted} among {self.denials}", find, timeout)[0]

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def broker_of(broker, issuer, options=(), **more):
    """A broker that gets its keys from this issuer, and tells it about denials."""
    one = broker(start=False, options=[f"issuer {issuer.url}", "keys_file ", "client_id broker",
                                       *options], **more)
    secret = one.dir / "secret"
    secret.write_text(SECRET + "\n")
    secret.chmod(0o600)
    one.conf.write_text(one.conf.read_text().replace(
        "plugin_opt_client_id broker\n",
        f"plugin_opt_client_id broker\nplugin_opt_client_secret_file {secret}\n"
        "plugin_opt_feed off\n"))
    one.ISSUER, one.key = issuer.url, issuer.key
    one.start()
    one.log.wait(r"keys issuer=\S+ count=1 reason=OK")
    return one
