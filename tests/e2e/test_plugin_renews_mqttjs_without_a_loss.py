"""MQTT.js publishes QoS 1 at a hundred a second and renews by AUTH: nothing lost, doubled or cut off.

Needs node and the package mqtt (5 or later): `npm install mqtt` anywhere, and LATCHKEY_NODE_MODULES
naming that node_modules.
"""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

import ace

HERE = Path(__file__).resolve().parent


def mqttjs():
    places = [os.environ.get("LATCHKEY_NODE_MODULES"), HERE / "node/node_modules",
              "/usr/share/nodejs", "/usr/lib/node_modules", "/usr/local/lib/node_modules"]
    for place in filter(None, places):
        package = Path(place) / "mqtt/package.json"
        if package.is_file() and int(json.loads(package.read_text())["version"].split(".")[0]) >= 5:
            return str(package.parent)
    return None


pytestmark = [
    pytest.mark.skipif(not shutil.which("node"), reason="node is not installed"),
    pytest.mark.skipif(not mqttjs(), reason="MQTT.js 5 is not installed: npm install mqtt, and "
                                            "LATCHKEY_NODE_MODULES=.../node_modules"),
]


@pytest.mark.parametrize("method", ["OAUTH2-JWT", "ace"])
def test_a_thousand_messages_and_five_renewals(broker, method):
    b = broker(options=["leeway 0"])
    seed = os.urandom(32)
    cnf = ace.Ed25519(seed).jwt_cnf() if method == "ace" else None
    now = int(time.time())
    # The first ends before the run does, however slowly node starts.
    tokens = [b.jwt(cnf=cnf, exp=now + end) for end in (10, 60, 70, 80, 90, 100)]
    job = {"port": b.port, "id": "sensor-1", "method": method, "tokens": tokens,
           "topic": "devices/sensor-1/telemetry", "count": 1000, "every": 200, "seed": seed.hex()}
    with b.connected("monitor-1", b.monitor()) as monitor:
        monitor.subscribe("devices/sensor-1/telemetry")
        done = subprocess.run(["node", str(HERE / "node/renew.js"), mqttjs()],
                              input=json.dumps(job), capture_output=True, text=True, timeout=60,
                              check=False)
        assert done.returncode == 0 and done.stdout, done.stderr
        assert json.loads(done.stdout) == {"connects": 1, "renewed": 5, "closes": 0,
                                           "acked": 1000, "errors": []}, b.log.since()
        got = [m.payload for m in monitor.messages(count=1000, timeout=20)]
        assert got == [str(n).encode() for n in range(1000)]
        assert monitor.messages(quiet=0.3) == []
    assert len(b.log.lines("accepted renewal client=sensor-1")) == 5
