"""broker-plugin/MIGRATING.md: its shell blocks, run in their order against real programs."""

import json
import os
import re
import signal
import subprocess
import time

import pytest

from installation import ROOT, Log, free_ports, program, sanitizer_runtime
from test_acl_import_never_widens import DYNSEC, hashed

pytestmark = pytest.mark.dev_only

PAGE = (ROOT / "broker-plugin/MIGRATING.md").read_text()

SYSTEMCTL = """#!/bin/sh
# What systemd would do.
case "$1 $2" in
'reload latchkeyd') kill -HUP "$LATCHKEYD_PID" && sleep 1 ;;
'reload mosquitto') kill -HUP "$(cat "$MOSQ/pid")" && sleep 1 ;;
'restart mosquitto')
    kill "$(cat "$MOSQ/pid")"
    while kill -0 "$(cat "$MOSQ/pid")" 2>/dev/null; do sleep 0.1; done
    "$MOSQ/start"
    ;;
*) exit 9 ;;
esac
"""

START = """#!/bin/sh
LD_PRELOAD=$RUNTIME /usr/sbin/mosquitto -c "$MOSQ/mosquitto.conf" >>"$MOSQ/mosquitto.log" 2>&1 &
echo $! >"$MOSQ/pid"
for i in $(seq 100); do
    mosquitto_sub -p "$PORT" -t x -E >/dev/null 2>&1
    case $? in 0 | 5) exit 0 ;; esac
    mosquitto_sub -p "$PORT" -t x -E 2>&1 | grep -q 'not authori' && exit 0
    kill -0 "$(cat "$MOSQ/pid")" || exit 1
    sleep 0.1
done
exit 1
"""


def blocks(*titles):
    """The ```sh blocks below these headings ("" is what stands before the first one)."""
    parts = re.split(r"^## (.*)\n", "## \n" + PAGE, flags=re.M)
    sections = dict(zip(parts[1::2], parts[2::2]))
    return [block for title in titles for block in re.findall(r"^```sh\n(.*?)^```$", sections[title], re.M | re.S)]


class Site:
    def __init__(self, folder, stack):
        self.dir, self.stack = folder, stack
        self.mosq, self.lk = folder / "mosquitto", folder / "latchkey"
        for path in (self.mosq, self.lk, folder / "bin"):
            path.mkdir()
        for name in ("latchkeyd.conf", "broker.secret"):
            (self.lk / name).symlink_to(stack.dir / "latchkeyd" / name)
        secret = folder / "manager.secret"
        secret.write_text(stack.manager_secret)
        secret.chmod(0o600)
        self.port = free_ports(1)
        plugin = program("mosquitto_latchkey.so")
        cli = os.path.dirname(program("latchkey"))
        self.env = {**os.environ, "PATH": f"{folder}/bin:{cli}:{os.environ['PATH']}", "MOSQ": str(self.mosq),
                    "LK": str(self.lk), "STATE": str(folder / "state"), "PLUGIN": plugin, "PORT": str(self.port),
                    "LATCHKEY_URL": stack.url, "LATCHKEY_CA": stack.ca, "LATCHKEY_CLIENT_ID": stack.manager_id,
                    "LATCHKEY_CLIENT_SECRET_FILE": str(secret), "LATCHKEYD_PID": stack.pid_latchkeyd,
                    "RUNTIME": sanitizer_runtime(plugin) or ""}
        for path, text in ((folder / "bin/systemctl", SYSTEMCTL), (self.mosq / "start", START)):
            path.write_text(text)
            path.chmod(0o755)

    def start(self, *lines):
        user = "user root\n" if os.geteuid() == 0 else ""
        (self.mosq / "mosquitto.conf").write_text(f"{user}allow_anonymous false\nlog_dest stderr\n"
                                                  f"listener {self.port} 127.0.0.1\n" + "\n".join(lines) + "\n")
        subprocess.run([self.mosq / "start"], env=self.env, check=True, timeout=30)

    def run(self, script):
        done = subprocess.run(["bash", "-eux", "-c", "\n".join(script)], cwd=self.dir, env=self.env, timeout=120,
                              capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-3000:]}\n" \
                                     f"{Log(self.mosq / 'mosquitto.log').since()[-2000:]}"
        return done

    def publish(self, user, password, topic):
        """@return mosquitto_pub's answer, by MQTT 5, so that a denial is seen."""
        return subprocess.run(["mosquitto_pub", "-V", "mqttv5", "-p", str(self.port), "-i", user, "-u", user, "-P",
                               password, "-q", "1", "-t", topic, "-m", "x"], capture_output=True, text=True,
                              timeout=20, check=False)

    def stop(self):
        try:
            os.kill(int((self.mosq / "pid").read_text()), signal.SIGTERM)
        except (OSError, ValueError):
            pass


@pytest.fixture
def site(tmp_path, fresh_stack):
    one = Site(tmp_path, fresh_stack())
    yield one
    one.stop()
    time.sleep(0.2)


ACL = """user pump-1
topic write devices/pump-1/telemetry/#
user pump-2
topic write devices/pump-2/telemetry/#
pattern read devices/%u/config/#
"""


def check_end(site):
    """The plugin is alone: the token is good, within its rights; the old password is not."""
    secret = (site.dir / "pump-1.secret").read_text().strip()
    token = site.stack.token("pump-1", secret)
    assert site.publish("pump-1", token, "devices/pump-1/telemetry").returncode == 0
    assert "not authori" in site.publish("pump-1", token, "devices/pump-2/telemetry").stderr.lower()
    assert site.publish("pump-2", "old-password", "devices/pump-2/telemetry").returncode != 0
    assert site.publish("pump-1", "old-password", "devices/pump-1/telemetry").returncode != 0


def test_from_password_file_and_acl_file(site):
    passwords, acl = site.mosq / "passwords", site.mosq / "acl"
    passwords.write_text("pump-1:old-password\npump-2:old-password\n")
    subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True)
    acl.write_text(ACL)
    site.start(f"password_file {passwords}", f"acl_file {acl}")
    script = blocks("", "From password_file and acl_file")
    assert len(script) == 7
    done = site.run(script[:-1])
    assert done.stdout.splitlines()[-1] == "pump-2"
    # Side by side: who is not registered yet comes as before, and may what he could.
    assert site.publish("pump-2", "old-password", "devices/pump-2/telemetry").returncode == 0
    assert site.publish("pump-2", "wrong", "devices/pump-2/telemetry").returncode != 0
    site.run([script[0], "TOKEN=$(LATCHKEY_CLIENT_ID=pump-1 LATCHKEY_CLIENT_SECRET_FILE=pump-1.secret latchkey token get)",
              script[-1]])
    check_end(site)


@pytest.mark.skipif(not DYNSEC.exists(), reason="no mosquitto_dynamic_security.so")
def test_from_dynamic_security(site):
    config = site.mosq / "dynamic-security.json"
    config.write_text(json.dumps({
        "defaultACLAccess": {"publishClientSend": False, "publishClientReceive": True, "subscribe": False},
        "clients": [{"username": name, "roles": [{"rolename": name}], **hashed("old-password")}
                    for name in ("pump-1", "pump-2")],
        "groups": [],
        "roles": [{"rolename": name, "acls": [{"acltype": "publishClientSend", "topic": f"devices/{name}/telemetry/#",
                                               "priority": 0, "allow": True}]} for name in ("pump-1", "pump-2")]}))
    site.start(f"plugin {DYNSEC}", f"plugin_opt_config_file {config}")
    script = blocks("", "From dynamic security")
    assert len(script) == 4
    site.run(script[:-1])
    assert site.publish("pump-2", "old-password", "devices/pump-2/telemetry").returncode == 0
    assert site.publish("pump-2", "wrong", "devices/pump-2/telemetry").returncode != 0
    site.run([script[0], "TOKEN=$(LATCHKEY_CLIENT_ID=pump-1 LATCHKEY_CLIENT_SECRET_FILE=pump-1.secret latchkey token get)",
              script[-1]])
    check_end(site)


def test_every_block_is_run():
    """No shell block stands below a heading whose blocks are not run."""
    ran = len(blocks("", "From password_file and acl_file", "From dynamic security"))
    assert PAGE.count("```sh\n") == ran == 1 + 6 + 3
