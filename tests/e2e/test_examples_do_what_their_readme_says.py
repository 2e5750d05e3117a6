"""The firmware examples, as real processes over TLS."""

import json
import time

from installation import Example, wait_until


def test_sensor_publishes_across_three_renewals_of_a_twenty_second_token(stack, tmp_path):
    device = stack.device("sensor")
    with stack.monitor(device.topic("telemetry/#")) as monitor, \
            Example(device, "latchkey-example-sensor", tmp_path, "--lifetime", "20",
                    "--interval", "1000") as sensor:
        began, got = time.monotonic(), []
        renewed = rf"\b{device.id}\b.*renew|renew.*\b{device.id}\b"
        while len(stack.broker_log.lines(renewed)) < 3:
            assert time.monotonic() < began + 75, stack.broker_log.since()[-3000:]
            assert sensor.process.poll() is None, sensor.log.since()[-2000:]
            got += [(time.monotonic(), m) for m in monitor.messages(quiet=1, timeout=2)]
        got += [(time.monotonic(), m) for m in monitor.messages(quiet=1.5, timeout=4)]
        for _, message in got:
            assert message.topic.startswith(device.topic("telemetry"))
            json.loads(message.payload)
        gaps = [b[0] - a[0] for a, b in zip(got, got[1:])]
        print(f"{len(got)} readings, longest gap {max(gaps):.1f} s")
        connects = stack.broker_log.lines(rf"New client connected .*as {device.id}\b")
        assert len(connects) == 1, "renewed on the open connection, not by a new one"
        assert not stack.broker_log.lines(rf"Client {device.id} .*(disconnect|closed)")


def test_actuator_answers_what_the_command_line_sends(stack, tmp_path):
    device = stack.device("actuator")
    with Example(device, "latchkey-example-actuator", tmp_path) as actuator:
        stack.broker_log.wait(rf"as {device.id}\b", timeout=15)
        actuator.log.wait("subscribed|SUBSCRIBED", timeout=10)
        out = stack.cli("device", "send", device.id, "set", '{"percent": 40}', "--wait", "15",
                        "--json")
        assert json.loads(out)["state"] == "done", actuator.log.since()
        out = stack.cli("device", "send", device.id, "no-such-command", "--wait", "15", "--json",
                        code=1)
        assert json.loads(out)["state"] == "failed"


def test_sensor_waits_for_a_server_that_comes_later(fresh_stack, tmp_path):
    import signal
    stack = fresh_stack()
    device = stack.device("sensor")
    stack.signal("latchkeyd", signal.SIGTERM)
    with Example(device, "latchkey-example-sensor", tmp_path) as sensor:
        time.sleep(2)
        assert sensor.process.poll() is None, "gave up instead of trying again"
        stack.restart("latchkeyd")
        wait_until("the sensor connects", lambda: stack.broker_log.lines(rf"as {device.id}\b"), 40)


def test_a_suspended_device_gets_no_token(stack, tmp_path):
    device = stack.device("sensor")
    stack.cli("device", "suspend", device.id)
    with Example(device, "latchkey-example-sensor", tmp_path) as sensor:
        sensor.log.wait(r"invalid_client|401|refused", timeout=15)
    assert device.secret not in sensor.log.since()


def test_an_example_stops_when_told(stack, tmp_path):
    device = stack.device("sensor")
    with Example(device, "latchkey-example-sensor", tmp_path) as sensor:
        stack.broker_log.wait(rf"as {device.id}\b", timeout=15)
        # Before it has read the broker's answer it has no session to leave.
        sensor.log.wait(r"^connected ", timeout=10)
        sensor.process.terminate()
        assert sensor.process.wait(10) == 0
    stack.broker_log.wait(rf"Client {device.id} (\[\S+\] )?disconnected", timeout=5)
