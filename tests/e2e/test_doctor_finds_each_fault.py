"""latchkey doctor: one good installation, in which it finds nothing; then one row per broken part."""

import getpass
import json
import os
import pwd
import re
import subprocess
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

import tokens
from installation import ROOT, program

pytestmark = pytest.mark.dev_only

ME = getpass.getuser() if os.geteuid() else "root"


class Site:
    """mosquitto.conf, the plugin's options and all they name, in a folder."""

    def __init__(self, folder):
        self.dir = folder
        self.keys, self.scopes = folder / "keys.json", folder / "scopes.acl"
        self.keys.write_text(tokens.jwks(tokens.Key()))
        self.scopes.write_text((ROOT / "provisioning/examples/scopes.acl").read_text())
        (folder / "state").mkdir(mode=0o700)
        (folder / "secret").write_text("x" * 43)
        (folder / "secret").chmod(0o600)
        for name in ("crt", "key"):
            (folder / f"broker.{name}").write_text("not looked into")
        self.conf = [f"user {ME}", "per_listener_settings false", "allow_anonymous false",
                     f"plugin {program('mosquitto_latchkey.so')}", f"plugin_opt_config {folder}/plugin.conf",
                     "listener 8883", f"certfile {folder}/broker.crt", f"keyfile {folder}/broker.key",
                     "listener 1883 127.0.0.1"]
        self.options = ["# options", "[plugin]", f"scopes = {self.scopes}", f"state_dir = {folder}/state",
                        "[issuer main]", "issuer = https://issuer.test", f"keys_file = {self.keys}",
                        f"client_secret_file = {folder}/secret"]
        self.broker = self.program("2.0.11")

    def program(self, version):
        path = self.dir / "mosquitto"
        path.write_text(f"#!/bin/sh\necho 'mosquitto version {version}'\nexit 3\n")
        path.chmod(0o755)
        return path

    def replace(self, old, new):
        """A line of either file, by how it begins; None leaves it out."""
        for lines in (self.conf, self.options):
            for i, line in enumerate(lines):
                if line.startswith(old):
                    lines[i:i + 1] = [] if new is None else [new]
                    return
        raise AssertionError(old)

    def doctor(self, *arguments, env=None, **options):
        (self.dir / "mosquitto.conf").write_text("\n".join(self.conf) + "\n")
        (self.dir / "plugin.conf").write_text("\n".join(self.options) + "\n")
        done = subprocess.run([program("latchkey"), "doctor", "--mosquitto-conf", str(self.dir / "mosquitto.conf"),
                               "--mosquitto", str(self.broker), *arguments], capture_output=True, text=True,
                              timeout=60, check=False, env={**os.environ, **(env or {})}, **options)
        assert "Sanitizer" not in done.stderr, done.stderr
        return done

    def find(self, *arguments, code=1, **options):
        done = self.doctor("--json", *arguments, **options)
        assert done.returncode == code, (done.stdout, done.stderr)
        return json.loads(done.stdout)["findings"]


@pytest.fixture
def site(tmp_path):
    tmp_path.chmod(0o755)
    return Site(tmp_path)


def test_nothing_is_wrong(site):
    assert site.find(code=0) == []
    done = site.doctor()
    assert done.stdout == f"{site.dir}/mosquitto.conf: nothing found; Mosquitto 2.0.11\n"


def test_no_options_file(site):
    site.replace("plugin_opt_config", "plugin_opt_config /nowhere/plugin.conf")
    site.conf.insert(5, f"plugin_opt_scopes {site.scopes}")
    site.conf.insert(5, f"plugin_opt_state_dir {site.dir}/state")
    findings = site.find()
    assert [(f["check"], f["line"]) for f in findings] == [("file-access", 5), ("issuer-missing", 4)]
    assert findings[0]["what"] == "/nowhere/plugin.conf: No such file or directory"


def test_our_own_example(site):
    """What is found in it is what is not on this machine: account, files, issuer's options."""
    done = site.doctor("--json", "--offline", "--mosquitto-conf", str(ROOT / "broker-plugin/examples/mosquitto.conf"))
    assert {f["check"] for f in json.loads(done.stdout)["findings"]} <= {
        "account", "file-access", "state-dir", "issuer-missing"}


def other_plugin_first(site):
    site.conf.insert(3, "plugin /usr/lib/other.so")


def plugin_twice(site):
    site.conf.append(f"plugin {program('mosquitto_latchkey.so')}")


def no_plugin(site):
    site.replace("plugin /", None)
    site.replace("plugin_opt", None)


def many_issuers_none_named(site):
    site.replace("issuer = ", None)


def included(site):
    """Lines of an included file are found in that file."""
    folder = site.dir / "conf.d"
    folder.mkdir()
    (folder / "b.conf").write_text("# nothing\n")
    (folder / "a.conf").write_text("\nlistener 1884\n")
    (folder / "a.txt").write_text("listener 1885\n")
    site.conf.append(f"include_dir {folder}")


def replace(old, new):
    return lambda site: site.replace(old, new)


def add(*lines):
    return lambda site: site.conf.extend(lines)


def mode(name, bits):
    return lambda site: (site.dir / name).chmod(bits)


def write(name, text):
    return lambda site: (site.dir / name).write_text(text)


def both(*changes):
    def change(site):
        for one in changes:
            one(site)
    return change


# what is broken: (how, check, file and line or None, a part of the sentence)
FAULTS = {
    "another plugin goes first": (other_plugin_first, "plugin-order", "mosquitto.conf:5", "/usr/lib/other.so (line 4)"),
    "the same file twice": (plugin_twice, "plugin-twice", "mosquitto.conf:10", "a second time"),
    "no plugin": (no_plugin, "plugin-missing", "mosquitto.conf:0", "no line loads"),
    "settings per listener": (replace("per_listener", "per_listener_settings true"), "per-listener-settings",
                              "mosquitto.conf:2", "is true"),
    "identity as user name": (add("use_identity_as_username true"), "identity-listener", "mosquitto.conf:10",
                              "use_identity_as_username on listener 1883"),
    "subject as user name": (add("use_subject_as_username true"), "identity-listener", "mosquitto.conf:10",
                             "use_subject_as_username on listener 1883"),
    "plain, on all addresses": (replace("listener 1883", "listener 1883"), "plain-listener", "mosquitto.conf:9",
                                "listener 1883 has no TLS"),
    "plain, on an address others reach": (replace("listener 1883", "listener 1883 192.0.2.1"), "plain-listener",
                                          "mosquitto.conf:9", "listener 1883"),
    "plain, the old way": (lambda site: site.conf.insert(0, "port 1885"), "plain-listener", "mosquitto.conf:1",
                           "listener 1885"),
    "plain, in an included file": (included, "plain-listener", "a.conf:2", "listener 1884"),
    "anonymous and deferred": (both(replace("allow_anonymous", "allow_anonymous true"),
                                    replace("[plugin]", "[plugin]\nunknown = defer")), "anonymous",
                               "mosquitto.conf:3", "unknown is defer"),
    "a key without certificate": (replace("certfile", None), "tls-incomplete", "mosquitto.conf:7", "keyfile, but no certfile"),
    "a certificate without key": (replace("keyfile", None), "tls-incomplete", "mosquitto.conf:7", "certfile without keyfile"),
    "TLS asked for on a plain listener": (add("require_certificate true"), "tls-incomplete", "mosquitto.conf:10",
                                          "require_certificate, but no certfile"),
    "a certificate that is not there": (replace("certfile", "certfile /nowhere/x"), "file-access", "mosquitto.conf:7",
                                        "/nowhere/x: No such file"),
    "a secret others may read": (mode("secret", 0o644), "secret-mode", "plugin.conf:8", "has mode 644"),
    "no secret": (lambda site: (site.dir / "secret").unlink(), "file-access", "plugin.conf:8", "No such file"),
    "a state folder others may enter": (mode("state", 0o755), "state-dir", "plugin.conf:4", "mode 755"),
    "a state folder that is a file": (both(lambda site: (site.dir / "state").rmdir(), write("state", "")), "state-dir",
                                      "plugin.conf:4", "is no folder"),
    "a mistake in the scope map": (write("scopes.acl", "a publish x\nb pub y\n"), "scope-map", "scopes.acl:2",
                                   "column 3: expected an action"),
    "no scope map": (lambda site: site.scopes.unlink(), "file-access", "plugin.conf:3", "No such file"),
    "no keys": (write("keys.json", '{"keys": []}'), "issuer-keys", "plugin.conf:7", "no key in it"),
    "keys that are none": (write("keys.json", "{"), "issuer-keys", "plugin.conf:7", "keys.json"),
    "no issuer": (many_issuers_none_named, "issuer-missing", "mosquitto.conf:4", "no option names an issuer"),
    "no such account": (replace("user", "user nobody-here"), "account", "mosquitto.conf:1", "no account nobody-here"),
    "an old broker": (lambda site: site.program("1.6.9"), "broker-version", None, "1.6.9 is not supported"),
    "a broker between": (lambda site: site.program("2.0.18"), "broker-version", None, "2.0.18"),
    "a 2.1 that is too new": (lambda site: site.program("2.1.2"), "broker-version", None, "2.1.2"),
    "no broker": (lambda site: (site.dir / "mosquitto").unlink(), "broker-version", None, "no mosquitto"),
    "an issuer over plain HTTP": (both(replace("keys_file", None), replace("issuer =", "issuer = http://192.0.2.1")),
                                  "issuer-url", "plugin.conf:6", "http://192.0.2.1/.well-known/jwks.json"),
}


@pytest.mark.parametrize("row", FAULTS)
def test_a_fault_is_found(row, site):
    change, check, where, what = FAULTS[row]
    change(site)
    findings = site.find()
    assert [f["check"] for f in findings] == [check], findings
    found = findings[0]
    assert what in found["what"], found
    if where is not None:
        assert f"{os.path.basename(found['file'])}:{found['line']}" == where
    assert found["why"] and found["remedy"]
    text = site.doctor().stdout
    assert re.search(r"\n    why  .*\n    do   .*\n1 finding\n", text), text


@pytest.mark.parametrize("version", ["2.0.11", "2.0.21", "2.0.22", "2.1.3"])
def test_supported_brokers(site, version):
    site.program(version)
    assert site.find(code=0) == []


def test_what_is_plain_for_this_machine_only_is_fine(site):
    site.conf += ["listener 0 /run/x.sock", "listener 1884 localhost", "listener 1885 ::1", "listener 1886",
                  "bind_interface lo", "listener 1887", "psk_hint x"]
    assert site.find(code=0) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="owners are looked at as root")
class TestAsAnotherAccount:
    def test_nothing_is_wrong(self, site):
        self.become(site)
        assert site.find(code=0) == []

    @pytest.mark.parametrize("name, check, what", [
        ("state", "state-dir", "does not belong to nobody"), ("secret", "file-access", "cannot be read by nobody")])
    def test_not_its_own(self, site, name, check, what):
        self.become(site)
        os.chown(site.dir / name, 0, 0)
        findings = site.find()
        assert [f["check"] for f in findings] == [check] and what in findings[0]["what"]

    def test_a_folder_on_the_way_is_closed(self, site):
        self.become(site)
        closed = site.dir / "closed"
        closed.mkdir(mode=0o700)
        (closed / "keys.json").write_text(site.keys.read_text())
        site.replace("keys_file", f"keys_file = {closed}/keys.json")
        assert [f["what"] for f in site.find()] == [f"{closed}/keys.json: nobody cannot enter {closed}"]

    def test_a_state_folder_it_cannot_make(self, site):
        self.become(site)
        site.replace("state_dir", f"state_dir = {site.dir}/new")
        assert [f["what"] for f in site.find()] == [f"{site.dir}/new is not there, and nobody cannot make it"]

    @staticmethod
    def become(site):
        nobody = pwd.getpwnam("nobody")
        site.replace("user", "user nobody")
        # The folders pytest makes are closed to others, and so may be the one the build is in.
        folder = site.dir
        while str(folder) != "/tmp" and folder != folder.parent:
            folder.chmod(0o755)
            folder = folder.parent
        plugin = site.dir / "mosquitto_latchkey.so"
        plugin.write_text("not looked into")
        site.replace("plugin /", f"plugin {plugin}")
        for name in ("state", "secret"):
            os.chown(site.dir / name, nobody.pw_uid, nobody.pw_gid)


# ---------------------------------------------------------------------------------- over the network

@pytest.fixture
def issuer(site):
    """An issuer on loopback. issuer.clock is added to its Date, issuer.status to its answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response_only(server.status)
            self.send_header("Date", formatdate(time.time() + server.clock, usegmt=True))
            body = site.keys.read_bytes()
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.status, server.clock = 200, 0
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    site.replace("keys_file", None)
    site.replace("issuer =", f"issuer = {server.url}")
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_issuer_that_answers(site, issuer):
    assert site.find(code=0) == []


@pytest.mark.parametrize("seconds, what", [(3600, "is 59 minutes behind|is 1 hour behind"), (-3600, "1 hour ahead of")])
def test_clocks_that_differ(site, issuer, seconds, what):
    issuer.clock = seconds
    findings = site.find()
    assert [f["check"] for f in findings] == ["clock"] and re.search(what, findings[0]["what"]), findings


def test_clocks_that_differ_less_than_the_leeway(site, issuer):
    issuer.clock = 100
    site.replace("[plugin]", "[plugin]\nleeway = 5m")
    assert site.find(code=0) == []


def test_an_issuer_without_keys(site, issuer):
    issuer.status = 404
    assert [(f["check"], "HTTP 404" in f["what"]) for f in site.find()] == [("issuer-keys", True)]


def test_an_issuer_that_is_not_there(site):
    site.replace("keys_file", None)
    site.replace("issuer =", "issuer = https://127.0.0.1:9")
    assert [f["check"] for f in site.find(code=3)] == ["issuer-unreachable"]
    assert site.find("--offline", code=0) == []


def test_the_server_of_the_command_line_is_asked_too(site):
    findings = site.find(code=3, env={"LATCHKEY_URL": "https://127.0.0.1:9"})
    assert [(f["check"], f["file"]) for f in findings] == [("issuer-unreachable", "LATCHKEY_URL")]


def test_a_certificate_nobody_vouches_for(site, stack):
    site.replace("keys_file", None)
    site.replace("issuer =", f"issuer = {stack.url}")
    assert [f["check"] for f in site.find()] == ["issuer-trust"]
    site.options.append(f"ca_file = {stack.ca}")
    assert site.find(code=0) == []


# ------------------------------------------------------------------------------------------- usage

def test_wrong_usage(site):
    assert site.doctor("--no-such").returncode == 2
    assert site.doctor("more").returncode == 2
    done = subprocess.run([program("latchkey"), "doctor", "--mosquitto-conf", str(site.dir / "none")],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "cannot read" in done.stderr
