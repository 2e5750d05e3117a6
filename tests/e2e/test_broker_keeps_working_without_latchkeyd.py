"""latchkeyd may stop and start: nobody is disturbed, and valid tokens still connect."""

import signal
import time

from installation import wait_until
from mqtt_raw import V5, V311


def test_stopping_and_starting_it_disturbs_nobody(fresh_stack):
    stack = fresh_stack()
    sensors = [stack.device("sensor") for _ in range(3)]
    with stack.monitor("devices/+/telemetry/#") as monitor:
        connections = [d.connected(version, will=(d.topic("telemetry/gone"), "gone", 1, False))
                       for d, version in zip(sensors, (V5, V311, V5))]
        fresh = stack.device("sensor")
        token = fresh.token()

        def all_publish(word):
            for device, c in zip(sensors, connections):
                assert c.publish(device.topic("telemetry"), word) == 0
            got = monitor.messages(count=3)
            assert sorted((m.topic, m.payload) for m in got) == \
                sorted((d.topic("telemetry"), word.encode()) for d in sensors)

        all_publish("before")
        stack.signal("latchkeyd", signal.SIGTERM)
        wait_until("latchkeyd is gone", lambda: not_running(stack))
        all_publish("down")
        with fresh.connected(token=token) as c:         # a token the broker has never seen
            assert c.publish(fresh.topic("telemetry"), "x") == 0
        assert monitor.message().payload == b"x"

        stack.restart("latchkeyd")
        all_publish("again")
        with stack.device("sensor").connected() as c:
            assert c.is_open()


def not_running(stack):
    import requests
    try:
        requests.get(stack.url + "/healthz", verify=stack.ca, timeout=2)
        return False
    except requests.ConnectionError:
        return True


def test_a_valid_token_connects_after_a_broker_restart_too(fresh_stack):
    import os
    import subprocess
    from installation import ROOT
    stack = fresh_stack()
    device = stack.device("sensor")
    token, raw = device.token(), device.cwt()
    with device.connected(token=token) as c:
        assert c.is_open()
    stack.signal("latchkeyd", signal.SIGTERM)
    wait_until("latchkeyd is gone", lambda: not_running(stack))

    # tools/stack waits for the desk, which is down: the broker is restarted by hand here.
    pid = int(stack.env["LATCHKEY_PID_MOSQUITTO"])
    conf = stack.dir / "mosquitto.conf"
    command = open(f"/proc/{pid}/cmdline", "rb").read().split(b"\0")[:-1]
    environment = dict(p.split(b"=", 1) for p in open(f"/proc/{pid}/environ", "rb").read()
                       .split(b"\0") if b"=" in p)
    os.kill(pid, signal.SIGTERM)
    wait_until("the broker is gone", lambda: not os.path.exists(f"/proc/{pid}"), 20)
    with stack.broker_log.path.open("ab") as out:
        broker = subprocess.Popen(command, env=environment, stdout=out, stderr=out,
                                  stdin=subprocess.DEVNULL)
    try:
        def connects():
            try:
                with stack.client(V5) as c:
                    return c.connect(device.id, token).code == 0
            except OSError:
                return False
        wait_until("the token is good with the keys from disk", connects, 15)
        with stack.client(V5) as c:
            assert c.connect_by_auth(device.id, "OAUTH2-CWT", raw).code == 0
            assert c.publish(device.topic("telemetry"), "x") == 0
        with stack.client(V5) as c:
            assert c.connect(device.id, token[:-4] + "AAAA").code == 0x87
    finally:
        broker.terminate()
        broker.wait(20)
    assert conf.exists() and ROOT
