"""tools/stack: what other people's scripts may rely on; and that nothing secret shows."""

import os
import shlex
import signal
import stat
import subprocess
from pathlib import Path

import requests

from installation import ROOT, wait_until

STACK = str(ROOT / "tools/stack")


def run(*arguments, code=0):
    done = subprocess.run([STACK, *arguments], capture_output=True, text=True, timeout=120,
                          check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def test_env_is_for_the_shell_and_for_nobody_else(stack):
    file = stack.dir / "env"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(stack.dir.stat().st_mode) == 0o700
    out = subprocess.run(["sh", "-c", f". {shlex.quote(str(file))}; echo $LATCHKEY_URL"],
                         capture_output=True, text=True, check=True).stdout
    assert out.strip() == stack.url
    for name in ("URL", "CA", "MQTT_PORT", "MQTTS_PORT", "WS_PORT", "ADMIN_ID", "ADMIN_SECRET",
                 "MANAGER_ID", "MANAGER_SECRET", "MONITOR_ID", "MONITOR_SECRET", "PID_MOSQUITTO",
                 "PID_LATCHKEYD", "LOG_DIR", "BIN"):
        assert stack.env.get("LATCHKEY_" + name), name
    assert "LATCHKEY_COAP_PORT" not in stack.env
    for name in ("latchkeyd", "latchkey", "mosquitto_latchkey.so"):
        assert (Path(stack.bin) / name).exists(), name


def test_nothing_secret_in_process_lists_or_logs(stack):
    stack.device("sensor").connected().close()
    secrets = [value for name, value in stack.env.items() if name.endswith("_SECRET")]
    secrets += [p.read_text().strip() for p in (stack.dir / "latchkeyd").glob("*.secret")]
    assert len(secrets) >= 5
    listing = subprocess.run(["ps", "axww"], capture_output=True, text=True, check=True).stdout
    logs = "".join(p.read_text(errors="replace") for p in Path(stack.log_dir).iterdir())
    for secret in secrets:
        assert secret not in listing and secret not in logs
    assert "eyJ" not in logs, "a token stands in a log"


def test_secret_files_are_private(stack):
    for folder, _, files in os.walk(stack.dir):
        assert stat.S_IMODE(os.stat(folder).st_mode) & 0o077 == 0, folder
        for name in files:
            path = Path(folder) / name
            if path.suffix in (".secret", ".key") or name in ("env", "master"):
                assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_ports_follow_the_base(stack):
    base = int(stack.url.rsplit(":", 1)[1])
    assert [int(stack.mqtt_port), int(stack.mqtts_port), int(stack.ws_port)] == \
        [base + 1, base + 2, base + 3]
    ours = {base + n for n in range(6)}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            address, port = line.split()[1].split(":")
            if line.split()[3] == "0A" and int(port, 16) in ours:
                assert address == "0100007F", f"port {int(port, 16)} listens beyond loopback"


def lives(pid):
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


def test_up_down_up_keeps_the_installation(fresh_stack):
    stack = fresh_stack()
    device, env = stack.device("sensor"), dict(stack.env)
    stack.down()
    stack.down()
    for name in ("MOSQUITTO", "LATCHKEYD"):
        assert not lives(env["LATCHKEY_PID_" + name])
    stack.up()
    for name in ("URL", "MQTT_PORT", "ADMIN_SECRET", "MONITOR_SECRET"):
        assert stack.env["LATCHKEY_" + name] == env["LATCHKEY_" + name]
    with device.connected() as c:
        assert c.is_open()
    pids = dict(stack.env)
    stack.up()                                              # already up: stays as it is
    assert stack.env["LATCHKEY_PID_MOSQUITTO"] == pids["LATCHKEY_PID_MOSQUITTO"]
    for what in ("mosquitto", "latchkeyd"):
        stack.restart(what)
        key = "LATCHKEY_PID_" + what.upper()
        assert stack.env[key] != pids[key] and lives(stack.env[key])
    with device.connected() as c:
        assert c.is_open()


def test_restart_after_a_kill(fresh_stack):
    stack = fresh_stack()
    for what in ("latchkeyd", "mosquitto"):
        stack.signal(what, signal.SIGKILL)
        stack.restart(what)
    assert requests.get(stack.url + "/readyz", verify=stack.ca, timeout=10).status_code == 200


def test_it_says_why_it_cannot_start(fresh_stack):
    stack = fresh_stack()
    stack.down()
    conf = stack.dir / "latchkeyd" / "latchkeyd.conf"
    conf.write_text(conf.read_text() + "\n[server]\ncolour = red\n")
    done = run("up", "--dir", str(stack.dir), code=1)
    assert "colour" in done.stderr and "latchkeyd.log" in done.stderr


def test_wrong_usage(tmp_path):
    for arguments in ((), ("sideways",), ("up",), ("up", "--dir"), ("restart", "--dir", "x"),
                      ("restart", "moon", "--dir", str(tmp_path)),
                      ("up", "--dir", str(tmp_path), "--store", "tape")):
        assert run(*arguments, code=2).stderr
    run("down", "--dir", str(tmp_path / "nothing"))
    assert not (tmp_path / "nothing").exists()


def test_a_wrong_plugin_option_stops_the_broker_with_its_name(broker):
    for option, word in (("colour red", "colour"), ("leeway soon", "leeway"),
                         ("scopes /nonexistent/scopes.acl", "scopes"), ("issuer ", "issuer")):
        one = broker(options=[option], start=False)
        one.start(wait=False)
        one.process.wait(15)
        assert one.process.returncode != 0, option
        assert one.log.lines(word), one.log.since()


def test_a_broken_scope_map_stops_the_broker_at_start(broker):
    one = broker(start=False, scopes="telemetry:send publish devices/{device}/telemetry colour=red\n")
    one.start(wait=False)
    one.process.wait(15)
    assert one.process.returncode != 0
    assert one.log.lines(r"scopes\.acl:1:\d+")


def test_the_log_is_there_while_it_runs(stack):
    wait_until("lines in both logs",
               lambda: stack.broker_log.since() and stack.server_log.since())
