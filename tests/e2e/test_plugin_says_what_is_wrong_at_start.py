"""A wrong option, a wrong file, a plugin named twice: the broker does not start, and says why."""

import os

import pytest

import installation
import tokens


@pytest.fixture(autouse=True)
def no_leak_check(monkeypatch):
    """A Mosquitto that ends at start, or has settings per listener, never frees its own."""
    monkeypatch.setenv("ASAN_OPTIONS", os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0")


WRONG = {
    "no issuer": (["issuer "], "", r"option issuer required"),
    "an option nobody knows": (["colour blue"], "", r"option colour there is no such option"),
    "an rs_key_file that is not there": (["rs_key_file /x"], "",
                                         r"option rs_key_file /x: not there"),
    "a duration that is none": (["leeway soon"], "", r"option leeway soon: expected a duration"),
    "a duration with a wrong unit": (["refresh_interval 5y"], "", r"option refresh_interval 5y:"),
    "a count out of range": (["max_sessions 0"], "", r"option max_sessions 0: expected a number"),
    "a word that is none": (["unknown maybe"], "", r"option unknown maybe: expected deny or defer"),
    "a truth that is none": (["disconnect_after_expire yes"], "",
                             r"option disconnect_after_expire yes: expected true or false"),
    "proof of possession asked for, a little": (["require_cnf some"], "",
                                                r"option require_cnf some: expected true or false"),
    "keys from two places": (["jwks_uri https://x/jwks"], "", r"option jwks_uri keys come from"),
    "an issuer in clear text": (["issuer http://issuer.test", "keys_file "], "",
                                r"option issuer http://issuer\.test: expected https"),
    "keys in clear text": (["keys_file ", "jwks_uri http://10.0.0.1/jwks"], "",
                           r"option jwks_uri http://10\.0\.0\.1/jwks: expected https"),
    "a scope map that is not there": (["scopes /nowhere/scopes.acl"], "",
                                      r"scope map /nowhere/scopes\.acl: not there"),
    "a key file that is not there": (["keys_file /nowhere/keys"], "", r"keys_file /nowhere/keys: "),
    "a secret file that is not there": (["client_secret_file /nowhere/secret"], "",
                                        r"option client_secret_file /nowhere/secret: not there"),
    "a state folder that cannot be": (["state_dir /proc/latchkey"], "",
                                      r"option state_dir /proc/latchkey: "),
    "a configuration file that is not there": (["config /nowhere/plugin.conf"], "",
                                               r"option config /nowhere/plugin\.conf: not there"),
    "the same option twice": ([], "plugin_opt_audience a\nplugin_opt_audience b\n",
                              r"option audience given twice"),
}


def ends_with(one, message):
    one.start(wait=False)
    assert one.process.wait(20) != 0
    one.log.wait(message)


@pytest.mark.parametrize("row", WRONG)
def test_wrong_option(broker, row):
    options, config, message = WRONG[row]
    ends_with(broker(options=options, start=False, config=config), message)


def test_wrong_scope_map_is_named_by_line_and_column(broker):
    one = broker(start=False, scopes="# a map\na:b  shout  x/#\n")
    ends_with(one, r"scope map \S+scopes\.acl:2:\d+: expected an action")


@pytest.mark.parametrize("row", ["not base64url", "31 bytes", "open to others"])
def test_rs_key_that_is_none(broker, row):
    one = broker(start=False)
    path = one.dir / "rs_key"
    path.write_text({"not base64url": "*" * 43, "31 bytes": tokens.b64(bytes(31)),
                     "open to others": tokens.b64(bytes(32))}[row])
    path.chmod(0o644 if row == "open to others" else 0o600)
    one.conf.write_text(one.conf.read_text() + f"plugin_opt_rs_key_file {path}\n")
    ends_with(one, r"option rs_key_file \S+: " +
              ("the file's owner or mode is not safe" if row == "open to others"
               else "expected 32 bytes as 43 characters of base64url"))


def test_secret_that_others_can_read(broker):
    one = broker(start=False)
    secret = one.dir / "secret"
    secret.write_text(tokens.b64(bytes(32)))
    secret.chmod(0o644)
    one.conf.write_text(one.conf.read_text() + f"plugin_opt_client_secret_file {secret}\n")
    ends_with(one, r"option client_secret_file \S+: the file's owner or mode is not safe")


INI = {
    "outside of a section": ("leeway = 5\n", r"option leeway stands outside of \[plugin\]"),
    "a wrong value": ("[plugin]\nleeway = never\n", r"option leeway never: expected a duration"),
    "in the wrong section": ("[issuer main]\nleeway = 5\n", r"option leeway belongs into \[plugin\]"),
    "two issuers": ("[issuer a]\nca_file = /a\n[issuer b]\nclient_id = b\n",
                    r"more than one issuer is not supported by this version"),
    "in both places": ("[plugin]\naudience = x\n[issuer a]\nissuer = https://x\n",
                       r"option issuer given twice"),
    "no ini file": ("[plugin]\nnonsense\n", r"not an ini file: line 2"),
}


@pytest.mark.parametrize("row", INI)
def test_wrong_file_of_options(broker, row):
    text, message = INI[row]
    one = broker(start=False)
    conf = one.dir / "plugin.conf"
    conf.write_text(text)
    one.conf.write_text(one.conf.read_text() + f"plugin_opt_config {conf}\n")
    ends_with(one, message)


def test_everything_from_the_file_and_again_on_sighup(broker):
    one = broker(start=False, options=["issuer ", "keys_file ", "scopes ", "state_dir "])
    conf = one.dir / "plugin.conf"
    text = (f"[plugin]\nscopes = {one.scopes}\nstate_dir = {one.dir}/state\nleeway = 0\n"
            f"[issuer main]\nissuer = {one.ISSUER}\nkeys_file = {one.keys}\n")
    conf.write_text(text)
    one.conf.write_text(one.conf.read_text() + f"plugin_opt_config {conf}\n")
    one.start()
    old = one.jwt(exp=tokens.claims("x")["iat"] - 5, iat=1)
    with one.client() as c:
        assert c.connect("sensor-1", old).code == 0x87
    conf.write_text(text.replace("leeway = 0", "leeway = 60"))
    one.reload()
    installation.wait_until("the leeway is there", lambda: is_taken(one, old))
    mark = one.log.mark()
    conf.write_text(text.replace("leeway = 0", "leeway = 0\naudience = other"))
    one.reload()
    one.log.wait(r"option audience was changed and takes effect at the next start", mark)
    conf.write_text(text.replace("leeway = 0", "leeway = x"))
    one.reload()
    one.log.wait(r"option leeway x: expected .* the options stay as they were", mark)
    assert not is_taken(one, old), "leeway 0 came with the audience"
    one.connected().close()


def is_taken(one, token):
    with one.client() as c:
        return c.connect("sensor-1", token).code == 0


def test_named_twice(broker):
    one = broker(start=False)
    text = one.conf.read_text()
    plugin = [line for line in text.splitlines() if line.startswith("plugin")]
    one.conf.write_text(text + "\n".join(plugin).replace("/state", "/state2") + "\n")
    ends_with(one, r"the plugin is loaded twice for the same listeners")


def test_two_brokers_do_not_share_a_state_folder(broker):
    one = broker()
    two = broker(start=False, options=[f"state_dir {one.dir}/state"])
    ends_with(two, r"option state_dir \S+: another plugin or broker uses it")


def test_one_library_on_two_listeners(broker):
    """per_listener_settings: two plugins in one library, with nothing between them."""
    one = broker(start=False)
    lines = one.conf.read_text().splitlines()
    plugin = [line for line in lines if line.startswith("plugin")]
    port = installation.free_ports(1)
    (one.dir / "state2").mkdir(mode=0o700)
    other = one.dir / "other.acl"
    other.write_text("telemetry:send publish other/{device}\n")
    again = [line.replace("/state", "/state2").replace("scopes.acl", "other.acl") for line in plugin]
    one.conf.write_text("\n".join(["per_listener_settings true"] + lines +
                                  ["allow_anonymous false", f"listener {port} 127.0.0.1",
                                   "allow_anonymous false"] + again) + "\n")
    one.start()
    with one.connected() as first:
        assert first.publish("devices/sensor-1/telemetry", "x") == 0
        assert first.publish("other/sensor-1", "x") == 0x87
    first_port, one.port = one.port, port
    with one.connected("sensor-2") as second:
        assert second.publish("other/sensor-2", "x") == 0
        assert second.publish("devices/sensor-2/telemetry", "x") == 0x87
        installation.time.sleep(2.2)
        second.publish("other/sensor-2", "x")
    version = one.log.since()
    if "mosquitto version 2.0.11 " in version:
        one.log.wait(r"no tick came within 2000 ms")
    one.port = first_port
