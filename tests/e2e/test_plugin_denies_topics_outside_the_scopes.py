"""What a token does not say is denied: publishing, subscribing, receiving."""

import pytest

import tokens
from mqtt_raw import V5, V311

DENIED_PUBLISH = {
    "another device's telemetry": "devices/sensor-2/telemetry",
    "another device's telemetry, deeper": "devices/sensor-2/telemetry/temperature",
    "its own status without the scope": "devices/sensor-1/status",
    "its own commands": "devices/sensor-1/commands/1",
    "its own config": "devices/sensor-1/config",
    "its own presence": "devices/sensor-1/presence",
    "a level that only begins like telemetry": "devices/sensor-1/telemetry2",
    "an id that only begins like its own": "devices/sensor-10/telemetry",
    "an empty id": "devices//telemetry",
    "a leading slash": "/devices/sensor-1/telemetry",
    "another tenant": "t/acme/devices/sensor-1/telemetry",
    "another case": "devices/Sensor-1/telemetry",
    "alerts": "alerts/sensor-1/hot",
    "anything": "hello",
    "the broker's control": "$CONTROL/dynamic-security/v1",
}

DENIED_SUBSCRIBE = {
    "everything": "#",
    "every top level": "+",
    "every command": "devices/+/commands/#",
    "every command, by a group": "$share/g/devices/+/commands/#",
    "telemetry of all": "devices/+/telemetry/#",
    "telemetry of all, by a group": "$share/g/devices/+/telemetry/#",
    "its own telemetry": "devices/sensor-1/telemetry",
    "all of its own": "devices/sensor-1/#",
    "another device's config": "devices/sensor-2/config/#",
    "config of all": "devices/+/config/#",
    "the broker's statistics": "$SYS/#",
    "the broker's control": "$CONTROL/#",
    "authz-info": "authz-info",
    "alerts": "alerts/#",
    "a leading slash": "/#",
}


@pytest.fixture(scope="module")
def sensor(shared_broker):
    with shared_broker.connected() as c:
        yield c


@pytest.fixture(scope="module")
def old_sensor(shared_broker):
    with shared_broker.connected("sensor-311", version=V311) as c:
        yield c


@pytest.mark.parametrize("row", DENIED_PUBLISH)
def test_publish(shared_broker, sensor, row):
    topic = DENIED_PUBLISH[row]
    mark = shared_broker.log.mark()
    assert sensor.publish(topic, "x") == 0x87
    if not topic.startswith("$"):           # the broker itself may refuse those
        shared_broker.log.wait(r"\bsensor-1\b.*\bDENIED\b|\bDENIED\b.*\bsensor-1\b", mark)


@pytest.mark.parametrize("row", DENIED_SUBSCRIBE)
def test_subscribe(shared_broker, sensor, old_sensor, row):
    topic = DENIED_SUBSCRIBE[row]
    mark = shared_broker.log.mark()
    assert sensor.subscribe(topic) == (0x87,)
    shared_broker.log.wait(r"\bsensor-1\b.*\bDENIED\b|\bDENIED\b.*\bsensor-1\b", mark)
    assert old_sensor.subscribe(topic.replace("sensor-1", "sensor-311")) == (0x80,)


def test_what_the_scopes_say_is_allowed(shared_broker, sensor, old_sensor):
    assert sensor.publish("devices/sensor-1/telemetry", "{}") == 0
    assert sensor.publish("devices/sensor-1/telemetry/room/1", "{}") == 0
    assert sensor.subscribe("devices/sensor-1/config/#", "devices/sensor-1/config") == (1, 1)
    assert sensor.subscribe("$share/g/devices/sensor-1/config/+") == (1,)
    assert sensor.unsubscribe("devices/sensor-1/config/#") == (0,)
    assert old_sensor.publish("devices/sensor-311/telemetry", "{}") == 0
    assert old_sensor.subscribe("devices/sensor-311/config/#") == (1,)


def test_one_denied_filter_leaves_the_others(shared_broker, sensor):
    assert sensor.subscribe("devices/sensor-1/config/#", "#", "devices/sensor-1/config/a") \
        == (1, 0x87, 1)


def test_a_denied_publish_reaches_nobody(shared_broker, sensor, old_sensor):
    with shared_broker.connected("monitor-1", shared_broker.monitor()) as monitor:
        assert monitor.subscribe("devices/+/telemetry/#") == (1,)
        sensor.publish("devices/sensor-2/telemetry", "forged")
        sensor.publish("devices/sensor-2/telemetry", "forged", qos=0)
        old_sensor.publish("devices/sensor-2/telemetry", "forged")
        sensor.publish("devices/sensor-1/telemetry", "real")
        assert [m.payload for m in monitor.messages(quiet=0.7)] == [b"real"]


def test_a_command_result_may_not_be_retained(shared_broker):
    token = shared_broker.jwt("actuator-1", scope=tokens.ACTUATOR, device_type="actuator")
    with shared_broker.connected("actuator-1", token) as c:
        topic = "devices/actuator-1/commands/7/result"
        assert c.publish(topic, "{}", retain=True) == 0x87
        assert c.publish(topic, "{}") == 0


def test_without_a_device_type_no_device_topics(shared_broker):
    """A client's token with a device's scopes: {device} is void for it."""
    token = shared_broker.jwt("person-1", scope=tokens.SENSOR, device_type=None)
    with shared_broker.connected("person-1", token) as c:
        assert c.publish("devices/person-1/telemetry", "x") == 0x87


def test_a_tenants_device_lives_under_its_tenant(shared_broker):
    token = shared_broker.jwt("acme~s1", tnt="acme")
    with shared_broker.connected("acme~s1", token) as c:
        assert c.publish("t/acme/devices/acme~s1/telemetry", "x") == 0
        assert c.publish("devices/acme~s1/telemetry", "x") == 0x87
        assert c.publish("t/other/devices/acme~s1/telemetry", "x") == 0x87


def test_scopes_with_a_star(shared_broker):
    token = shared_broker.jwt("sensor-7", scope="telemetry:*")
    with shared_broker.connected("sensor-7", token) as c:
        assert c.publish("devices/sensor-7/telemetry", "x") == 0
        assert c.subscribe("devices/+/telemetry/#") == (1,)
    token = shared_broker.jwt("sensor-8", scope="desk:*")
    with shared_broker.connected("sensor-8", token) as c:
        assert c.subscribe("devices/#") == (0x87,)


def test_an_unknown_scope_harms_nothing(shared_broker):
    token = shared_broker.jwt("sensor-9", scope="weather:make telemetry:send")
    with shared_broker.connected("sensor-9", token) as c:
        assert c.publish("devices/sensor-9/telemetry", "x") == 0


def test_a_will_outside_the_scopes_is_not_published(shared_broker):
    with shared_broker.connected("monitor-2", shared_broker.monitor("monitor-2")) as monitor:
        monitor.subscribe("devices/+/telemetry/#")
        for topic in ("devices/sensor-2/telemetry", "devices/sensor-5/telemetry/last"):
            c = shared_broker.connected("sensor-5", will=(topic, "bye", 1, False))
            c.close()
        assert [m.topic for m in monitor.messages(quiet=0.7)] == ["devices/sensor-5/telemetry/last"]
