"""Commands reach the device and come back as a state; status shows what it last said."""

import json
import time

import pytest

from installation import wait_until
from mqtt_raw import SESSION_EXPIRY, V5

SESSION = {"clean": False, "props": {SESSION_EXPIRY: 600}}


@pytest.fixture(scope="module")
def manager(stack):
    return stack.api("manager")


def send(api, device, name="ping", wait=None, **fields):
    return api.post(f"/v1/devices/{device.id}/commands", json={"name": name, **fields},
                    params={"wait": wait} if wait is not None else None)


def state(api, device, command):
    answer = api.get(f"/v1/devices/{device.id}/commands/{command}")
    assert answer.status_code == 200, answer.text
    return answer.json()["state"]


def test_pending_delivered_done(stack, manager):
    device = stack.device("actuator")
    answer = send(manager, device, "open", args={"percent": 40})
    assert answer.status_code == 202, answer.text
    command = answer.json()
    assert command["state"] == "pending" and command["sent_by"] == "manager"
    assert abs(command["sent_at"] - time.time()) < 30
    with device.connected(**SESSION) as c:
        assert c.subscribe(device.topic("commands/+")) == (1,)
        message = c.message(timeout=15)
        assert message.topic == device.topic("commands/" + command["id"])
        assert (message.qos, message.retain) == (1, False)
        assert 0 < message.props[0x02] <= 86400, "a command carries a message expiry"
        body = json.loads(message.payload)
        assert body["id"] == command["id"] and body["name"] == "open"
        assert body["args"] == {"percent": 40} and body["expires_at"] > body["issued_at"]
        result = message.topic + "/result"
        assert c.publish(result, '{"state":"received"}') == 0
        wait_until("delivered", lambda: state(manager, device, command["id"]) == "delivered")
        assert c.publish(result, '{"state":"done","detail":"40 %"}') == 0
        wait_until("done", lambda: state(manager, device, command["id"]) == "done")
        assert c.publish(result, '{"state":"failed"}') == 0
        time.sleep(0.3)
        assert state(manager, device, command["id"]) == "done", "a finished command stays finished"


def test_waiting_for_the_result(stack, manager):
    import threading
    device = stack.device("actuator")
    with device.connected(**SESSION) as c:
        c.subscribe(device.topic("commands/+"))

        def answer_it():
            message = c.message(timeout=20)
            c.publish(message.topic + "/result", '{"state":"failed","detail":"stuck"}')
        thread = threading.Thread(target=answer_it)
        thread.start()
        answer = send(manager, device, wait=10)
        thread.join()
    assert answer.status_code in (200, 202) and answer.json()["state"] == "failed"


def test_who_may_not_send_and_to_whom_one_cannot(stack, manager):
    actuator, sensor = stack.device("actuator"), stack.device("sensor")
    refused = send(stack.api("monitor"), actuator)
    assert refused.status_code == 403
    assert send(manager, sensor).status_code == 409
    answer = manager.post("/v1/devices/nobody-1/commands", json={"name": "ping"})
    assert answer.status_code == 404
    assert manager.post(f"/v1/devices/{actuator.id}/suspend").status_code == 200
    assert send(manager, actuator).status_code == 409
    assert manager.post(f"/v1/devices/{actuator.id}/resume").status_code == 200
    assert send(manager, actuator).status_code == 202
    for problem in (refused, answer):
        assert problem.headers["Content-Type"] == "application/problem+json"
        body = problem.json()
        assert body["status"] == problem.status_code
        assert {"type", "title", "detail", "code", "request_id", "time"} <= set(body)


BAD_COMMANDS = {
    "no name": {}, "empty name": {"name": ""}, "name is a number": {"name": 7},
    "long name": {"name": "x" * 65}, "unknown member": {"name": "a", "colour": "red"},
    "expires in the past": {"name": "a", "expires_in": 0},
    "expires never": {"name": "a", "expires_in": 10 ** 9},
}


@pytest.mark.parametrize("row", BAD_COMMANDS)
def test_a_command_that_is_none(stack, manager, row):
    device = stack.device("actuator")
    answer = manager.post(f"/v1/devices/{device.id}/commands", json=BAD_COMMANDS[row])
    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["errors"]


def test_a_command_waits_for_a_sleeping_device_and_expires(stack, manager):
    device = stack.device("actuator")
    with device.connected(**SESSION) as c:
        c.subscribe(device.topic("commands/+"))
        c.disconnect()
    keeps, ends = (send(manager, device, name, expires_in=life).json()["id"]
                   for name, life in (("keeps", 300), ("ends", 1)))
    wait_until("expired", lambda: state(manager, device, ends) == "expired", 15)
    time.sleep(2)                               # the broker counts in whole seconds
    with device.connected(**SESSION) as c:
        names = [json.loads(m.payload)["name"] for m in c.messages(quiet=1)]
        assert names == ["keeps"]
        assert state(manager, device, keeps) in ("pending", "delivered")


def test_status_shows_what_the_device_last_said(stack, manager):
    device = stack.device("sensor", name="Boiler room")
    before = manager.get(f"/v1/devices/{device.id}/status").json()
    assert before["name"] == "Boiler room" and not before["online"]
    with device.connected() as c:
        c.publish(device.topic("telemetry"), '{"t":20.5,"battery":81,"rssi":-61}')
        c.publish(device.topic("telemetry"), '{"t":21.5}')
        status = wait_until("the second reading", lambda: (
            lambda s: s if (s.get("telemetry") or {}).get("payload", s.get("telemetry")) and
            "21.5" in json.dumps(s["telemetry"]) else None)(
                manager.get(f"/v1/devices/{device.id}/status").json()))
        assert status["battery"] == 81 and status["rssi"] == -61
        assert abs(status["last_seen"] - time.time()) < 30
    assert stack.api("monitor").get(f"/v1/devices/{device.id}/status").status_code == 200
    assert manager.get("/v1/devices/nobody/status").status_code == 404


def test_what_is_no_telemetry_harms_nothing(stack, manager):
    device = stack.device("sensor")
    with device.connected() as c:
        for payload in (b"", b"\xff\xfe", b"{", b"[" * 5000, b"[1]", b'{"battery":1e400}',
                        b'{"battery":"full"}', b"\xa1", b"\xbf" * 100, b'{"a":1,"a":2}',
                        b'{"t":1' + b" " * 70000 + b"}", b"\x00" * 65536):
            assert c.publish(device.topic("telemetry"), payload) == 0
        c.publish(device.topic("telemetry"), '{"t":99}')
    wait_until("the good one", lambda: "99" in json.dumps(
        manager.get(f"/v1/devices/{device.id}/status").json().get("telemetry")))


def test_a_device_cannot_speak_for_another(stack, manager):
    """The id comes from the topic the broker allowed, never from what is said."""
    one, two = stack.device("sensor"), stack.device("sensor")
    with one.connected() as c:
        c.publish(one.topic("telemetry"), json.dumps({"device": two.id, "id": two.id, "t": 5}))
    wait_until("seen", lambda: manager.get(f"/v1/devices/{one.id}/status").json()["last_seen"])
    assert not manager.get(f"/v1/devices/{two.id}/status").json()["last_seen"]


def test_cbor_telemetry(stack, manager):
    import cbor2
    device = stack.device("sensor")
    with device.connected(V5) as c:
        c.publish(device.topic("telemetry"), cbor2.dumps({"t": 18, "battery": 55}))
    wait_until("CBOR is read",
               lambda: manager.get(f"/v1/devices/{device.id}/status").json()["battery"] == 55)
