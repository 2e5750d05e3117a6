"""latchkey: what it prints, what it exits with, and that secrets never stand in an argument."""

import json
import re
import stat
import subprocess
import time

import pytest

import tokens
from installation import ROOT, program


@pytest.fixture(scope="module")
def sensor(stack):
    return stack.device("sensor")


def as_device(device):
    return {"LATCHKEY_CLIENT_ID": device.id, "LATCHKEY_CLIENT_SECRET": device.secret}


def test_device_add_ends_with_a_line_that_works(stack, tmp_path):
    out = stack.cli("device", "add", "sensor", "--name", "Boiler room", "--tag", "floor=2")
    assert "mosquitto_pub" in out and re.search(r"\b[A-Za-z0-9_-]{43}\b", out)
    secret = tmp_path / "secret"
    answer = json.loads(stack.cli("device", "add", "sensor", "--secret-out", str(secret), "--json"))
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    text = secret.read_text().strip()
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", text) and text not in stack.last.stdout
    name = answer["device"]["id"] if "device" in answer else answer["id"]
    assert stack.post_token(name, text).status_code == 200
    stack.cli("device", "add", "sensor", "--secret-out", str(secret), code=1)   # never overwritten


def test_device_list_and_show(stack, sensor):
    listed = json.loads(stack.cli("device", "list", "--json"))
    listed = listed["items"] if isinstance(listed, dict) else listed
    assert sensor.id in {device["id"] for device in listed}
    assert sensor.id in stack.cli("device", "list", "--type", "sensor")
    shown = stack.cli("device", "show", sensor.id)
    assert sensor.id in shown and "sensor" in shown and sensor.secret not in shown
    assert json.loads(stack.cli("device", "show", sensor.id, "--json"))["type"] == "sensor"


def test_suspend_and_resume(stack):
    device = stack.device("sensor")
    stack.cli("device", "suspend", device.id)
    stack.cli("token", "get", role=None, env=as_device(device), code=1)
    assert "refused" in stack.last.stderr
    stack.cli("device", "resume", device.id)
    stack.cli("token", "get", role=None, env=as_device(device))


def test_clients(stack, tmp_path):
    secret = tmp_path / "grafana.secret"
    stack.cli("client", "add", "monitor", "--id", "grafana", "--secret-out", str(secret),
              role="admin")
    listed = stack.cli("client", "list", role="admin")
    assert "grafana" in listed and "monitor" in listed and secret.read_text().strip() not in listed
    stack.cli("client", "add", "monitor", role="manager", code=1)


def test_token_get_show_verify(stack, sensor, tmp_path):
    jwks = tmp_path / "jwks.json"
    jwks.write_text(json.dumps({"keys": stack.jwks()}))
    for kind in ("jwt", "cwt"):
        token = stack.cli("token", "get", "--format", kind, role=None, env=as_device(sensor))
        assert token.count("\n") == 1
        assert sensor.id in stack.cli("token", "show", "-", role=None, input=token)
        claims = json.loads(stack.cli("token", "verify", "--jwks", str(jwks), "--issuer", stack.url,
                                      "--audience", "mqtt", "--own", "-", role=None, input=token))
        assert claims["sub"] == sensor.id and claims["aud"] in ("mqtt", ["mqtt"])
        later = str(int(time.time()) + 7200)
        for arguments, reason in ((["--at", later], "expired"), (["--audience", "coap"], "audience"),
                                  (["--issuer", "https://x.test"], "issuer")):
            stack.cli("token", "verify", "--jwks", str(jwks), *arguments, "-", role=None,
                      input=token, code=1)
            assert stack.last.stderr.startswith("refused: ")
            assert reason in stack.last.stderr and not stack.last.stdout
        file = tmp_path / "token"
        file.write_text(token)
        stack.cli("token", "verify", "--jwks", str(jwks), str(file), role=None)
        wrong = token[:20] + ("A" if token[20] != "A" else "B") + token[21:]
        stack.cli("token", "verify", "--jwks", str(jwks), "-", role=None, input=wrong, code=1)


def test_a_shorter_life(stack, sensor):
    answer = json.loads(stack.cli("token", "get", "--lifetime", "60", "--json", role=None,
                                  env=as_device(sensor)))
    assert answer["expires_in"] == 60


def test_explain_offline(stack, sensor):
    scopes = str(ROOT / "tests/e2e/scopes.acl")
    token = sensor.token()

    def explain(*what, code):
        return stack.cli("explain", "--token", "-", "--scopes", scopes, *what, role=None,
                         input=token, code=code, env={"LATCHKEY_URL": ""})
    assert "telemetry:send" in explain("publish", sensor.topic("telemetry"), code=0)
    explain("publish", "devices/other/telemetry", code=1)
    explain("subscribe", sensor.topic("config/#"), code=0)
    explain("subscribe", "#", code=1)
    explain("subscribe", "$share/g/devices/+/telemetry/#", code=1)
    assert token not in stack.last.stdout + stack.last.stderr


@pytest.mark.parametrize("arguments, code", [
    (("match", "devices/+/telemetry/#", "devices/a/telemetry"), 0), (("match", "+", "a/b"), 1),
    (("match", "#", "$SYS/x"), 1), (("match", "a/#/b", "a"), 2), (("match", "a", "a/+"), 2),
    (("covers", "devices/+/telemetry/#", "devices/a/telemetry/#"), 0),
    (("covers", "devices/a/telemetry", "devices/+/telemetry"), 1), (("covers", "#", "a+"), 2),
    (("covers", "a/#", "$share/g/a/b"), 0), (("covers", "+/#", "$SYS/a"), 1)])
def test_acl_questions(stack, arguments, code):
    stack.cli("acl", *arguments, role=None, code=code)


def test_acl_check(stack, tmp_path):
    stack.cli("acl", "check", str(ROOT / "tests/e2e/scopes.acl"), role=None)
    bad = tmp_path / "bad.acl"
    bad.write_text("# fine\ntelemetry:send  shout  devices/{device}/telemetry\n")
    stack.cli("acl", "check", str(bad), role=None, code=1)
    assert re.search(r"bad\.acl:2:17\b", stack.last.stderr + stack.last.stdout)


def test_send_and_status(stack):
    device = stack.device("actuator")
    assert json.loads(stack.cli("device", "send", device.id, "ping", "--json"))["state"] == "pending"
    stack.cli("device", "send", device.id, "ping", role="monitor", code=1)
    assert "403" in stack.last.stderr
    stack.cli("device", "send", stack.device("sensor").id, "ping", code=1)
    assert "409" in stack.last.stderr
    stack.cli("device", "send", "nobody-1", "ping", code=1)
    assert "404" in stack.last.stderr
    with device.connected() as c:
        c.publish(device.topic("status"), '{"battery":77,"rssi":-50}', retain=True)
    assert device.id in stack.cli("device", "status", device.id)


def test_watch_shows_what_arrives(stack, sensor):
    import os
    who, secret = stack.credentials("monitor")
    watch = subprocess.Popen(
        [program("latchkey"), "watch", "devices/+/telemetry/#"], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
        env=dict(os.environ, LATCHKEY_URL=stack.url, LATCHKEY_CA=stack.ca, LATCHKEY_CLIENT_ID=who,
                 LATCHKEY_CLIENT_SECRET=secret, LATCHKEY_MQTT_HOST="127.0.0.1",
                 LATCHKEY_MQTTS_PORT=stack.mqtts_port))
    try:
        with sensor.connected() as c:
            for n in range(100):
                c.publish(sensor.topic("telemetry"), f'{{"watched":{n}}}')
                time.sleep(0.05)
                if n % 10 == 9 and select_ready(watch.stdout):
                    break
        line = watch.stdout.readline()
        assert sensor.topic("telemetry") in line and "watched" in line
    finally:
        watch.terminate()
        watch.wait(10)


def select_ready(file):
    import select
    return bool(select.select([file], [], [], 0)[0])


def test_exit_codes(stack, sensor):
    for arguments in (("device",), ("nonsense",), ("device", "add"), ("device", "show"),
                      ("device", "list", "--colour", "red"), ("token", "get", "--format", "xml")):
        stack.cli(*arguments, code=2)
        assert stack.last.stderr
    stack.cli("device", "list", code=3, env={"LATCHKEY_URL": "https://127.0.0.1:1"})
    stack.cli("device", "list", code=2, env={"LATCHKEY_CLIENT_ID": ""})
    stack.cli("device", "show", "nobody-1", code=1)
    stack.cli("--help", role=None)
    stack.cli("--version", role=None)


def test_a_secret_in_an_argument_is_refused(stack, sensor):
    for arguments in (("token", "show", sensor.token()), ("token", "get", "--secret", sensor.secret),
                      ("device", "show", sensor.secret), ("token", "verify", sensor.token())):
        stack.cli(*arguments, code=2)
        assert sensor.secret not in stack.last.stderr


def test_it_does_not_trust_another_ca(stack, sensor, tmp_path):
    stack.cli("device", "list", code=3, env={"LATCHKEY_CA": ""})
    other = tmp_path / "ca.pem"
    other.write_text("")
    stack.cli("device", "list", code=None, env={"LATCHKEY_CA": str(other)})
    assert stack.last.returncode in (2, 3)


def test_verify_takes_tokens_of_others(stack, tmp_path):
    key = tokens.Key("k1")
    jwks = tmp_path / "keys.json"
    jwks.write_text(tokens.jwks(key))
    body = tokens.claims("https://other.test")
    stack.cli("token", "verify", "--jwks", str(jwks), "-", role=None, input=tokens.jwt(key, body))
    raw = tokens.cwt(key, body, tags=(18,))
    for text in (tokens.b64(raw), raw.hex()):
        stack.cli("token", "verify", "--jwks", str(jwks), *(["--hex"] if text == raw.hex() else []),
                  "-", role=None, input=text)
    stack.cli("token", "verify", "--own", "--jwks", str(jwks), "-", role=None,
              input=tokens.b64(raw), code=1)
