"""Each option of the plugin does what the operator's table says."""

import subprocess
import time

import pytest

from installation import wait_until
from mqtt_raw import V5, V311, Client, Closed


def test_on_deny_disconnect(broker):
    one = broker(options=["on_deny disconnect"])
    with one.connected() as c:
        assert c.publish("devices/sensor-1/telemetry", "x") == 0
        try:
            c.publish("devices/sensor-2/telemetry", "x")
        except Closed:
            pass
        c.end(timeout=5)
    with one.connected(version=V311) as c:
        c.publish("devices/sensor-2/telemetry", "x", qos=0)
        c.end(timeout=5)


@pytest.mark.parametrize("options", [[], ["disconnect_after_expire false"]],
                         ids=["expiring", "staying"])
def test_on_deny_disconnect_is_not_put_off_by_a_renewal(fresh_stack, options):
    """The denied publish and the AUTH come in one TLS record: only there does the broker read two
    packets of a connection in one turn, with no tick between them."""
    stack = fresh_stack(plugin_opts=["on_deny disconnect", *options])
    device = stack.device()
    for _ in range(5):
        mark = stack.broker_log.mark()
        with Client(int(stack.mqtts_port), V5, tls=stack.ca) as c:
            assert c.connect_by_auth(device.id, "OAUTH2-JWT", device.token()).code == 0
            send, parts = c.send, []
            c.send = parts.append
            c.publish("devices/other/telemetry", "x", qos=0)
            c.auth(0x19, "OAUTH2-JWT", device.token())
            send(b"".join(parts))
            c.end(timeout=5)
        # by the tick, or by the AUTH packet if that is looked at before it
        stack.broker_log.wait(f"(disconnect client={device.id} .*reason=DENIED"
                              f"|refused renewal client={device.id} .*reason=STATE)", mark)


def test_disconnect_after_expire_false(broker):
    one = broker(options=["disconnect_after_expire false", "leeway 0"])
    with one.connected(token=one.jwt(exp=int(time.time()) + 2)) as c:
        assert c.publish("devices/sensor-1/telemetry", "x") == 0
        time.sleep(3)
        assert c.is_open()
        assert c.publish("devices/sensor-1/telemetry", "x") == 0x87, "open, but with no rights"


def test_client_id_binding_off(broker):
    one = broker(options=["client_id_binding off"])
    with one.connected(client_id="whatever") as c:
        assert c.publish("devices/sensor-1/telemetry", "x") == 0
        assert c.publish("devices/whatever/telemetry", "x") == 0x87


def test_max_connections_per_subject(broker):
    one = broker(options=["max_connections_per_subject 3"])
    token = one.jwt()
    open_ = [one.connected(token=token, client_id=f"sensor-1:{n}") for n in range(3)]
    with one.client(V5) as c:
        assert c.connect("sensor-1:4", token).code != 0
    with one.connected("sensor-2") as other:
        assert other.is_open()
    open_.pop().disconnect()
    wait_until("a place is free", lambda: one.client(V5).connect("sensor-1:5", token).code == 0)
    assert all(c.is_open() for c in open_)
    again = one.connected(token=token, client_id="sensor-1:0")      # a take-over needs no place
    assert again.is_open()


def test_auth_fail_rate_slows_guessing_and_never_the_right_token(broker):
    one = broker(options=["auth_fail_rate 5"])
    forged = one.jwt()[:-6] + "AAAAAA"
    began = time.monotonic()
    for _ in range(60):
        with one.client(V5) as c:
            try:
                assert c.connect("sensor-1", forged).code != 0
            except Closed:
                pass
        with one.connected() as c:
            assert c.is_open(), "a right token must always come in"
    print(f"60 wrong and 60 right logins in {time.monotonic() - began:.2f} s")


@pytest.fixture
def password_file(tmp_path):
    path = tmp_path / "passwords"
    path.touch(mode=0o600)
    subprocess.run(["mosquitto_passwd", "-b", str(path), "old", "secret"], check=True,
                   capture_output=True)
    return path


def test_unknown_defer_leaves_passwords_to_the_password_file(broker, password_file):
    acl = password_file.with_name("acl")
    acl.write_text("user old\ntopic readwrite old/#\n")
    for choice, code in (("deny", 0x87), ("defer", 0)):
        one = broker(options=[f"unknown {choice}"],
                     config=f"password_file {password_file}\nacl_file {acl}\n")
        with one.client(V5) as c:
            assert c.connect("old-client", "secret", username="old").code == code, choice
            if code == 0:
                assert c.publish("old/x", "1") == 0
                assert c.publish("devices/sensor-1/telemetry", "1") == 0x87
        with one.client(V5) as c:
            assert c.connect("old-client", "wrong", username="old").code == 0x87
        with one.client(V5) as c:
            assert c.connect("sensor-1", one.jwt(exp=int(time.time()) - 100),
                             username="old").code == 0x87
        with one.connected() as c:
            assert c.publish("devices/sensor-1/telemetry", "x") == 0
            assert c.publish("old/x", "x") == 0x87


def test_defer_never_lets_a_password_without_a_name_in_as_anonymous(broker, password_file):
    one = broker(options=["unknown defer"], start=False)
    one.conf.write_text(one.conf.read_text().replace("allow_anonymous false",
                                                     "allow_anonymous true"))
    one.start()
    with one.client(V5) as c:
        assert c.connect("x", "hunter2", username=None).code == 0x87


def test_the_file_of_options_is_read_again(broker, tmp_path):
    file = tmp_path / "plugin.conf"
    file.write_text("[plugin]\nleeway = 0\non_deny = ignore\n")
    one = broker(options=[f"config {file}"])
    old = lambda: one.jwt(exp=int(time.time()) - 5, iat=int(time.time()) - 60)    # noqa: E731
    with one.client(V5) as c:
        assert c.connect("sensor-1", old()).code == 0x87
    with one.connected("sensor-2") as witness:
        file.write_text("[plugin]\nleeway = 60\n")
        one.reload()
        wait_until("the new leeway", lambda: one.client(V5).connect("sensor-1", old()).code == 0)
        mark = one.log.mark()
        file.write_text("[plugin]\nleeway = 0\ncolour = red\n")
        one.reload()
        one.log.wait("colour", mark)
        with one.client(V5) as c:
            assert c.connect("sensor-1", old()).code == 0, "a wrong file leaves the old options"
        assert witness.is_open()


@pytest.mark.parametrize("option", ["jwks_uri ftp://issuer.test/keys", "leeway -1", "leeway 1y", "unknown maybe",
                                    "client_id_binding loose", "on_deny shout", "cache_size x",
                                    "max_connections_per_subject 0", "keys_file /nonexistent",
                                    "disconnect_after_expire perhaps"])
def test_a_wrong_value_stops_the_broker_and_is_named(broker, option):
    from_url = ["keys_file "] if option.startswith("jwks_uri") else []
    one = broker(options=[option, *from_url], start=False)
    one.start(wait=False)
    one.process.wait(15)
    assert one.process.returncode != 0
    assert one.log.lines(option.split()[0]), one.log.since()


def test_secret_files_must_be_private(broker, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("A" * 43)
    secret.chmod(0o644)
    one = broker(options=[f"client_secret_file {secret}", "client_id broker"], start=False)
    one.start(wait=False)
    one.process.wait(15)
    assert one.process.returncode != 0 and one.log.lines("client_secret_file|secret")
