"""Keys come over the network, outlive an outage and a restart, and go when the issuer says so."""

import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

import tokens
from installation import wait_until


class Issuer:
    """A JWKS over plain HTTP on loopback, which counts how often it is asked."""

    def __init__(self):
        self.keys, self.asked, self.port = [tokens.Key("one")], 0, 0
        self.ahead_s = 0                            # of its clock, as its Date header has it
        self.start()

    def start(self):
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.asked += self.path == "/.well-known/jwks.json"
                body = tokens.jwks(*issuer.keys).encode()
                self.send_response(200 if issuer.keys else 503)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def date_time_string(self, timestamp=None):
                return super().date_time_string(time.time() + issuer.ahead_s)

            def log_message(self, *_):
                pass

        HTTPServer.allow_reuse_address = True
        self.server = HTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def issuer():
    one = Issuer()
    yield one
    one.stop()


def broker_of(broker, issuer, secret=True, **options):
    one = broker(start=False, options=[f"issuer http://127.0.0.1:{issuer.port}", "keys_file "] +
                 [f"{name} {value}" for name, value in options.items()])
    one.ISSUER, one.key = f"http://127.0.0.1:{issuer.port}", issuer.keys[0]
    if secret:
        path = one.dir / "secret"
        path.write_text(tokens.b64(bytes(range(32))) + "\n")
        path.chmod(0o600)
        one.conf.write_text(one.conf.read_text() + f"plugin_opt_client_secret_file {path}\n")
    one.start()
    return one


def code(one, token, client_id="sensor-1"):
    with one.client() as c:
        return c.connect(client_id, token).code


def fetched(one, mark=0):
    one.log.wait(r"keys issuer=\S+ count=\d+ reason=OK", mark)


def test_unknown_key_is_fetched_in_the_background_but_not_all_the_time(broker, issuer):
    one = broker_of(broker, issuer)
    fetched(one)
    assert code(one, one.jwt()) == 0
    new = tokens.Key("two")
    issuer.keys.append(new)
    asked = issuer.asked
    token = tokens.jwt(new, one.claims())
    for n in range(20):
        assert code(one, tokens.jwt(tokens.Key(f"nobody-{n}"), one.claims())) == 0x87
    started = time.monotonic()
    wait_until("the new key is here", lambda: code(one, token) == 0, 15)
    assert issuer.asked - asked <= 2
    assert time.monotonic() - started <= 12
    one.log.wait(r"reason=KEY")


def test_server_down_broker_restarted(broker, issuer):
    one = broker_of(broker, issuer)
    fetched(one)
    one.stop()
    issuer.stop()
    mark = one.log.mark()
    one.start()
    one.log.wait(r"keys file=\S+ count=1 from the last run", mark)
    assert code(one, one.jwt()) == 0
    assert code(one, tokens.jwt(tokens.Key("one"), one.claims())) == 0x87
    one.log.wait(r"keys url=\S+ status=0 failures=1", mark)
    issuer.start()
    fetched(one, mark)


def test_changed_cache_is_ignored(broker, issuer):
    one = broker_of(broker, issuer)
    fetched(one)
    path = one.dir / "state" / "keys"
    wait_until("the keys are kept", path.exists)
    one.stop()
    issuer.stop()
    data = path.read_bytes()
    forged = tokens.jwks(tokens.Key("one")).encode()
    at = data.index(b'{"keys"')
    path.write_bytes(data[:at] + forged + data[at + len(forged):])
    mark = one.log.mark()
    one.start()
    one.log.wait(r"keys file=\S+ ignored reason=SIGNATURE", mark)
    assert code(one, one.jwt()) == 0x87
    one.log.wait(r"reason=UNAVAILABLE", mark)
    issuer.start()
    wait_until("keys are fetched again", lambda: code(one, one.jwt()) == 0, 15)


def test_without_a_secret_no_keys_are_kept(broker, issuer):
    one = broker_of(broker, issuer, secret=False)
    fetched(one)
    one.log.wait(r"no client_secret_file: keys are not kept")
    assert code(one, one.jwt()) == 0
    one.stop()
    assert not (one.dir / "state" / "keys").exists()
    issuer.stop()
    one.start()
    assert code(one, one.jwt()) == 0x87
    issuer.start()


def test_a_key_that_goes_takes_its_verified_tokens_along(broker, issuer):
    one = broker_of(broker, issuer, refresh_interval=1)
    fetched(one)
    token = one.jwt()
    assert code(one, token) == 0
    assert code(one, token) == 0
    one.log.wait(r"expires_in=\d+ cached")
    mark = one.log.mark()
    issuer.keys = [tokens.Key("one")]               # the same name, another key
    wait_until("the old key is gone", lambda: code(one, token) == 0x87)
    one.log.wait(r"reason=SIGNATURE", mark)
    issuer.keys = []                                # an empty set is an error, not a wish
    fresh = tokens.Key("one")
    time.sleep(1.5)
    issuer.keys = [fresh]
    wait_until("and the next is taken", lambda: code(one, tokens.jwt(fresh, one.claims())) == 0)


def test_stopping_does_not_wait_for_a_server_that_hangs(broker):
    import socket
    listener = socket.create_server(("127.0.0.1", 0))

    class Hanging:
        port, keys = listener.getsockname()[1], [tokens.Key("one")]
    one = broker_of(broker, Hanging)
    time.sleep(0.5)
    started = time.monotonic()
    assert code(one, one.jwt()) == 0x87, "the loop goes on"
    one.stop()
    assert time.monotonic() - started < 3
    listener.close()


def test_a_clock_behind_the_servers_is_not_trusted(broker, issuer):
    issuer.ahead_s = 3600
    one = broker_of(broker, issuer, refresh_interval=1)
    fetched(one)
    assert code(one, one.jwt()) == 0x87
    one.log.wait(r"client=sensor-1 .*reason=CLOCK")
    issuer.ahead_s = 0
    wait_until("the clocks agree", lambda: code(one, one.jwt()) == 0)
