"""A device with a persistent session may sleep; its messages wait, also across a broker restart."""

import pytest

import tokens
from mqtt_raw import SESSION_EXPIRY, V5, V311

SESSION = {V5: {"clean": False, "props": {SESSION_EXPIRY: 3600}}, V311: {"clean": False}}


@pytest.mark.parametrize("version", [V311, V5], ids=["mqtt311", "mqtt5"])
def test_across_absence_and_a_broker_restart(fresh_stack, version):
    stack = fresh_stack()
    device = stack.device("actuator")
    with device.connected(version, **SESSION[version]) as c:
        assert c.subscribe(device.topic("config/#")) == (1,)
    manager_token = stack.token(*stack.credentials("manager"), audience="mqtt")

    def send(first, last):
        with stack.client(V5) as manager:
            assert manager.connect("manager", manager_token).code == 0
            for n in range(first, last):
                assert manager.publish(device.topic("config/n"), str(n)) == 0

    send(0, 5)
    stack.restart("mosquitto")
    send(5, 10)                                 # judged by the grant the broker remembers
    c = stack.client(version)
    ack = c.connect(device.id, device.token(), **SESSION[version])
    assert (ack.code, ack.session_present) == (0, True)
    assert [m.payload for m in c.messages(count=10)] == [str(n).encode() for n in range(10)]
    c.close()


def test_queued_messages_wait_while_the_token_ends(broker):
    import time
    one = broker(options=["leeway 0"])
    token = one.jwt("actuator-1", scope=tokens.ACTUATOR, device_type="actuator",
                    exp=int(time.time()) + 2)
    with one.connected("actuator-1", token, **SESSION[V5]) as c:
        c.subscribe("devices/actuator-1/config/#")
    time.sleep(3)
    with one.connected("manager-1", one.jwt("manager-1", scope="config:write",
                                            device_type=None)) as manager:
        assert manager.publish("devices/actuator-1/config/a", "late") == 0
    with one.client(V5) as c:
        fresh = one.jwt("actuator-1", scope=tokens.ACTUATOR, device_type="actuator")
        ack = c.connect("actuator-1", fresh, **SESSION[V5])
        assert (ack.code, ack.session_present) == (0, True)
        assert c.message().payload == b"late"


def test_a_take_over_leaves_one_connection(broker):
    one = broker()
    with one.connected() as old:
        with one.connected() as new:
            assert new.publish("devices/sensor-1/telemetry", "x") == 0
            old.end(timeout=5)
            with one.client(V5) as thief:
                assert thief.connect("sensor-1", "hunter2").code == 0x87
            assert new.is_open(), "a refused take-over must leave the owner alone"
