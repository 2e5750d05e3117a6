"""mosquitto_pub, mosquitto_sub and paho, over every listener, with both kinds of token."""

import subprocess
import threading

import paho.mqtt.client as paho
import pytest

import tokens


def sub_command(stack, folder, *arguments):
    """mosquitto_sub as a monitor; its options from a file, as one does with secrets."""
    config = folder / "mosquitto_sub"
    who, secret = stack.credentials("monitor")
    config.write_text(f"-u {who}\n-P {stack.token(who, secret)}\n")
    config.chmod(0o600)
    return subprocess.Popen(
        ["stdbuf", "-oL", "mosquitto_sub", "-h", "127.0.0.1", "-p", stack.mqtt_port, "-i", who,
         *arguments],
        env={"XDG_CONFIG_HOME": str(folder), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.parametrize("kind", ["jwt", "cwt"])
@pytest.mark.parametrize("version", ["mqttv311", "mqttv5"])
def test_mosquitto_pub_reaches_mosquitto_sub(stack, tmp_path, kind, version):
    device = stack.device("sensor")
    token = device.token() if kind == "jwt" else tokens.b64(device.cwt())
    topic = device.topic("telemetry")
    sub = sub_command(stack, tmp_path, "-V", version, "-v", "-C", "1", "-W", "20", "-d",
                      "-t", "devices/+/telemetry/#")
    for line in sub.stdout:
        if "SUBACK" in line or "Subscribed" in line:
            break
    done = subprocess.run(
        ["mosquitto_pub", "-h", "127.0.0.1", "-p", stack.mqtt_port, "-V", version, "-i", device.id,
         "-u", "x", "-P", token, "-q", "1", "-t", topic, "-m", '{"t":21.5}'],
        capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    assert f'{topic} {{"t":21.5}}' in sub.stdout.read()
    assert sub.wait(25) == 0


def test_mosquitto_pub_says_when_it_is_refused(stack):
    device, other = stack.device("sensor"), stack.device("sensor")
    done = subprocess.run(
        ["mosquitto_pub", "-h", "127.0.0.1", "-p", stack.mqtt_port, "-V", "mqttv5", "-i", other.id,
         "-u", "x", "-P", device.token(), "-t", "t", "-m", "m"],
        capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode != 0 and "authori" in done.stderr.lower()


def paho_client(client_id, version, transport="tcp"):
    """paho 1.x on Debian 12, 2.x on Debian 13."""
    protocol = paho.MQTTv5 if version == 5 else paho.MQTTv311
    if hasattr(paho, "CallbackAPIVersion"):
        return paho.Client(paho.CallbackAPIVersion.VERSION2, client_id, protocol=protocol,
                           transport=transport)
    return paho.Client(client_id, protocol=protocol, transport=transport)


class Paho:
    def __init__(self, stack, client_id, token, version, road):
        transport = "websockets" if road == "websockets" else "tcp"
        self.client = paho_client(client_id, version, transport)
        self.client.username_pw_set("x", token)
        self.codes, self.got, self.granted = [], [], threading.Event()
        self.connected, self.received = threading.Event(), threading.Event()
        self.client.on_connect = self.on_connect
        self.client.on_message = self.on_message
        self.client.on_subscribe = lambda *_: self.granted.set()
        port = {"plain": stack.mqtt_port, "tls": stack.mqtts_port,
                "websockets": stack.ws_port}[road]
        if road == "tls":
            self.client.tls_set(ca_certs=stack.ca)
        self.client.connect("127.0.0.1", int(port))
        self.client.loop_start()
        assert self.connected.wait(10)

    def on_connect(self, _client, _userdata, _flags, code, _properties=None):
        self.codes.append(getattr(code, "value", code))
        self.connected.set()

    def on_message(self, _client, _userdata, message):
        self.got.append((message.topic, message.payload))
        self.received.set()

    def stop(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.mark.parametrize("road", ["plain", "tls", "websockets"])
@pytest.mark.parametrize("version", [311, 5])
def test_paho(stack, version, road):
    device = stack.device("sensor")
    monitor = Paho(stack, "monitor", stack.token(*stack.credentials("monitor")), version, road)
    assert monitor.codes == [0]
    monitor.client.subscribe(device.topic("telemetry/#"), 1)
    assert monitor.granted.wait(10)
    sensor = Paho(stack, device.id, device.token(), version, road)
    assert sensor.codes == [0]
    sensor.client.publish(device.topic("telemetry"), b"42", 1).wait_for_publish(10)
    assert monitor.received.wait(10)
    assert monitor.got == [(device.topic("telemetry"), b"42")]
    sensor.stop()
    monitor.stop()


@pytest.mark.parametrize("version, code", [(311, 5), (5, 0x87)])
def test_paho_is_refused(stack, version, code):
    device = stack.device("sensor")
    client = Paho(stack, device.id, device.token()[:-8] + "AAAAAAAA", version, "plain")
    # paho 2 gives every refusal the number that it has in MQTT 5.
    assert client.codes[0] == (0x87 if hasattr(paho, "CallbackAPIVersion") else code)
    client.stop()


def test_two_clients_of_one_device_by_suffix(stack):
    device = stack.device("sensor")
    token = device.token()
    one = Paho(stack, device.id + ":a", token, 5, "plain")
    two = Paho(stack, device.id + ":b", token, 5, "plain")
    assert one.codes == two.codes == [0]
    one.stop()
    two.stop()
