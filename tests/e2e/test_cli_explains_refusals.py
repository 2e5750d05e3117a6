"""latchkey explain DEVICE: what it may do, what it was refused lately and why, and whose clock is off."""

import json
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from installation import program, wait_until
from mqtt_raw import Closed

DEVICE = {"id": "pump-7", "type": "sensor", "tenant": None, "state": "active", "active": True,
          "scopes": ["telemetry:send", "config:read"]}


class Server:
    """What explain asks, with answers and a clock of the test's choice."""

    def __init__(self):
        self.device, self.denials, self.ahead_s = dict(DEVICE), [], 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self, status, document):
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                self.answer(200, {"access_token": "t", "token_type": "Bearer", "expires_in": 60})

            def do_GET(self):
                if self.path == "/v1/devices/pump-7":
                    self.answer(200, outer.device)
                elif self.path == "/v1/devices/pump-7/denials" and outer.denials is not None:
                    self.answer(200, {"items": outer.denials, "next_cursor": None})
                else:
                    self.answer(404, {"title": "Not found", "status": 404})

            def date_time_string(self, timestamp=None):
                return super().date_time_string(time.time() + outer.ahead_s)

            def log_message(self, *_):
                pass

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def explain(self, *arguments, code=0, device="pump-7"):
        env = {"LATCHKEY_URL": f"http://127.0.0.1:{self.http.server_port}",
               "LATCHKEY_CLIENT_ID": "manager", "LATCHKEY_CLIENT_SECRET": "x" * 43}
        done = subprocess.run([program("latchkey"), "explain", device, *arguments], env=env,
                              capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code < 2 else done.stderr


@pytest.fixture
def server():
    one = Server()
    yield one
    one.http.shutdown()
    one.http.server_close()


PUBLISH = ("publish", "devices/pump-7/telemetry")


def denial(reason, ago=10, action="connect", topic="", count=1, **more):
    return {"client_id": "pump-7", "action": action, "topic": topic, "reason": reason,
            "at": int(time.time()) - ago, "count": count, **more}


def test_what_the_device_may_do(server):
    text = server.explain(*PUBLISH)
    assert text.startswith("allowed: publish devices/pump-7/telemetry\n")
    assert "telemetry:send" in text and "no broker has told of a refusal lately" in text
    text = server.explain("publish", "devices/pump-8/telemetry", code=1)
    assert text.startswith("denied: ")
    assert "hint" not in text


def test_what_was_refused_in_words_newest_first(server):
    server.denials = [
        denial("DENIED", 60, "publish", "devices/pump-8/telemetry", 312),
        denial("SUBJECT", 5), denial("SIGNATURE", 30), denial("OF_TOMORROW", 90)]
    text = server.explain(*PUBLISH)
    at = [text.index(part) for part in (
        "SUBJECT: the client id does not belong to the token's subject",
        "SIGNATURE: the signature does not verify",
        "publish devices/pump-8/telemetry (312 times), as pump-7", "DENIED: not permitted",
        "OF_TOMORROW: a reason this version does not know")]
    assert at == sorted(at)
    answer = json.loads(server.explain(*PUBLISH, "--json"))
    assert answer["allowed"] is True and answer["device"] == DEVICE and answer["hints"] == []
    assert [d["reason"] for d in answer["denials"]] == ["SUBJECT", "SIGNATURE", "DENIED",
                                                        "OF_TOMORROW"]


def test_only_the_last_ones(server):
    server.denials = [denial("DENIED", 1000 - n, "publish", f"x/{n}") for n in range(100)]
    shown = json.loads(server.explain(*PUBLISH, "--json"))["denials"]
    assert [d["topic"] for d in shown] == [f"x/{n}" for n in range(99, 79, -1)]


def test_text_of_a_device_does_not_reach_the_terminal(server):
    server.denials = [denial("DENIED", 1, "publish", "x\x1b[2J\n", client_id="\x1b[31mred")]
    text = server.explain(*PUBLISH)
    assert "\x1b" not in text and "\\x1B" in text.replace("\\x1b", "\\x1B")


@pytest.mark.parametrize("reason, ahead_s, at, hint", [
    ("EXPIRED", 0, 10, "the device does not renew in time"),
    ("NOT_YET", 0, 10, "the broker's clock is behind the server's"),
    ("CLOCK", 0, 10, "the broker's clock is behind the server's"),
    ("EXPIRED", 0, -90, "the broker is at least "),
    ("DENIED", 100, 10, "this machine is "),
    ("DENIED", -100, 10, "s ahead of the server")])
def test_hints_about_clocks(server, reason, ahead_s, at, hint):
    server.ahead_s = ahead_s
    server.denials = [denial(reason, at)]
    text = server.explain(*PUBLISH)
    assert [line for line in text.splitlines() if line.startswith("hint: ") and hint in line], text
    answer = json.loads(server.explain(*PUBLISH, "--json"))
    assert abs(answer["clock_ahead_s"] + ahead_s) <= 2
    assert any(hint in line for line in answer["hints"])


def test_clocks_that_agree_are_not_mentioned(server):
    server.ahead_s = 3
    server.denials = [denial("DENIED")]
    assert "hint" not in server.explain(*PUBLISH)


def test_a_suspended_device(server):
    server.device.update(state="suspended", active=False)
    assert "hint: the device is suspended: it gets no token" in server.explain(*PUBLISH)


def test_a_server_that_keeps_none(server):
    server.denials = None
    assert "the server keeps no refusals of its brokers" in server.explain(*PUBLISH)
    assert json.loads(server.explain(*PUBLISH, "--json"))["denials"] is None


@pytest.mark.parametrize("arguments, code, said", [
    (("write", "x"), 2, "expected publish or subscribe"),
    (("publish",), 2, "expected publish or subscribe, not 'pump-7'"),
    (("--scopes", "x"), 2, ""),
    ((*PUBLISH, "--token", "-"), 2, "a device or --token, not both"),
    ((*PUBLISH, "extra"), 2, "")])
def test_wrong_usage(server, arguments, code, said):
    assert said in server.explain(*arguments, code=code)


def test_a_device_nobody_knows(server):
    server.explain(*PUBLISH, device="pump-9", code=1)


def test_the_whole_way(stack):
    """A real broker refuses, and explain says so."""
    device = stack.device()
    with device.connected() as c:
        try:
            assert c.publish("devices/somebody-else/telemetry", "x") == 0x87
        except Closed:
            pass

    def told():
        answer = json.loads(stack.cli("explain", device.id, "publish", device.topic("telemetry"),
                                      "--json"))
        if answer["denials"] is None:
            pytest.skip("this server keeps no refusals")
        return [d for d in answer["denials"] if d["topic"] == "devices/somebody-else/telemetry"]
    assert wait_until("it is told", told)[0]["reason"] == "DENIED"
