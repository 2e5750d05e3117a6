"""Real programs for a test: a whole installation (tools/stack), or a broker with keys from a file."""

import os
import re
import shlex
import signal
import socket
import subprocess
import time
from contextlib import closing
from pathlib import Path

import requests

import mqtt_raw
import tokens

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("LATCHKEY_BUILD", ROOT / "build" / "dev")).resolve()


def program(name):
    found = sorted(path for path in BUILD.rglob(name) if path.is_file())
    assert found, f"{name} is not under {BUILD}: build it first (tools/check does)"
    return str(found[0])


def wait_until(what, condition, timeout=10, pause=0.02):
    """@return the first true value of condition()."""
    until = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < until, f"not within {timeout} s: {what}"
        time.sleep(pause)


class Log:
    """A log file, read from a mark on."""

    def __init__(self, path):
        self.path = Path(path)

    def mark(self):
        return self.path.stat().st_size if self.path.exists() else 0

    def since(self, mark=0):
        with self.path.open("rb") as file:
            file.seek(mark)
            return file.read().decode("utf-8", "replace")

    def lines(self, pattern, mark=0):
        return [line for line in self.since(mark).splitlines() if re.search(pattern, line)]

    def wait(self, pattern, mark=0, timeout=5):
        try:
            return wait_until(pattern, lambda: self.lines(pattern, mark), timeout)[0]
        except AssertionError:
            raise AssertionError(f"no line matches {pattern!r} within {timeout} s; the log since "
                                 f"then:\n{self.since(mark)[-3000:]}") from None


def sanitizer_runtime(library):
    found = re.search(r"libasan\S* => (\S+)", subprocess.run(
        ["ldd", library], capture_output=True, text=True, check=False).stdout)
    return found.group(1) if found else None


def free_ports(count):
    """A run of free ports below the range for outgoing connections."""
    while True:
        base = 12000 + int.from_bytes(os.urandom(2), "big") % 800 * 10
        try:
            for port in range(base, base + count):
                with closing(socket.socket()) as sock:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    sock.bind(("127.0.0.1", port))
            return base
        except OSError:
            continue


class Broker:
    """Mosquitto with the plugin and an issuer whose keys are in a file: no latchkeyd at all.

    For tests that need tokens nobody would issue. The issuer's private key is `key`.
    """

    ISSUER = "https://issuer.test"

    def __init__(self, folder, options=(), scopes=None, config="", preload=None, keys=None):
        self.dir = Path(folder)
        self.dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.key = tokens.Key()
        self.scopes = self.dir / "scopes.acl"
        self.scopes.write_text(scopes or (ROOT / "tests/e2e/scopes.acl").read_text())
        self.keys = self.dir / "keys.json"
        self.keys.write_text(tokens.jwks(self.key) if keys is None else keys)
        (self.dir / "state").mkdir(mode=0o700, exist_ok=True)
        self.port = free_ports(1)
        self.preload = preload
        self.log = Log(self.dir / "mosquitto.log")
        self.process = None
        lines = [f"user {os.environ.get('USER') or 'root'}" if os.geteuid() else "user root",
                 "allow_anonymous false", "persistence true",
                 f"persistence_location {self.dir}/", "autosave_interval 1800",
                 "log_dest stderr", "log_timestamp_format %Y-%m-%dT%H:%M:%S",
                 "max_queued_messages 2000", f"listener {self.port} 127.0.0.1",
                 f"plugin {program('mosquitto_latchkey.so')}"]
        defaults = {"issuer": self.ISSUER, "keys_file": self.keys, "scopes": self.scopes,
                    "state_dir": self.dir / "state", "auth_fail_rate": 100000}
        chosen = dict(option.split(" ", 1) for option in options)
        lines += [f"plugin_opt_{name} {value}" for name, value in {**defaults, **chosen}.items()
                  if value != ""]
        self.conf = self.dir / "mosquitto.conf"
        self.conf.write_text("\n".join(lines) + "\n" + config)

    def start(self, wait=True):
        env = dict(os.environ)
        runtime = sanitizer_runtime(program("mosquitto_latchkey.so"))
        preload = " ".join(str(p) for p in (runtime, self.preload) if p)
        mosquitto = ["/usr/sbin/mosquitto", "-c", str(self.conf)]
        if runtime:
            # Whole stacks, through code without frame pointers: else a leak of the plugin's looks
            # like the broker's. Too slow where much TLS is done, so tools/stack goes without.
            env["ASAN_OPTIONS"] = env.get("ASAN_OPTIONS", "") + ":fast_unwind_on_malloc=0"
        if preload:
            mosquitto = ["env", f"LD_PRELOAD={preload}"] + mosquitto
        with self.log.path.open("ab") as out:
            self.process = subprocess.Popen(mosquitto, stdin=subprocess.DEVNULL, stdout=out,
                                            stderr=out, env=env)
        if wait:
            wait_until("the broker listens", self._listens, 20)
        return self

    def _listens(self):
        assert self.process.poll() is None, "the broker ended:\n" + self.log.since()[-3000:]
        with closing(socket.socket()) as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self, sig=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(sig)
            self.process.wait(30)

    def restart(self):
        self.stop()
        return self.start()

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    # --- tokens of this issuer

    def claims(self, subject="sensor-1", **change):
        return tokens.claims(self.ISSUER, subject, **change)

    def jwt(self, subject="sensor-1", **change):
        return tokens.jwt(self.key, self.claims(subject, **change))

    def cwt(self, subject="sensor-1", **change):
        return tokens.cwt(self.key, self.claims(subject, **change))

    def monitor(self, subject="monitor-1", scope=tokens.MONITOR, **change):
        return self.jwt(subject, scope=scope, device_type=None, **change)

    def client(self, version=mqtt_raw.V5, **options):
        return mqtt_raw.Client(self.port, version, **options)

    def connected(self, subject="sensor-1", token=None, version=mqtt_raw.V5, client_id=None,
                  **options):
        c = self.client(version)
        ack = c.connect(client_id or subject, token or self.jwt(subject), **options)
        assert ack.kind == mqtt_raw.CONNACK and ack.code == 0, \
            f"refused with {ack.code}: {self.log.since()[-1500:]}"
        return c


class Stack:
    """A whole installation."""

    def __init__(self, folder, plugin_opts=(), settings=()):
        self.dir = Path(folder)
        self.arguments = []
        for option in plugin_opts:
            self.arguments += ["--plugin-opt", option]
        for setting in settings:
            self.arguments += ["--latchkeyd-set", setting]
        self.env = {}

    def _run(self, *arguments, timeout=120):
        done = subprocess.run([str(ROOT / "tools/stack"), *arguments, "--dir", str(self.dir)],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=timeout, check=False)
        assert done.returncode == 0, f"tools/stack {arguments}:\n{done.stdout}\n{done.stderr}"

    def up(self):
        self._run("up", "--build", str(BUILD), *self.arguments)
        self._read_env()
        return self

    def restart(self, what):
        self._run("restart", what)
        self._read_env()

    def down(self):
        self._run("down")

    def _read_env(self):
        self.env = dict(line.split("=", 1)
                        for line in shlex.split((self.dir / "env").read_text()))

    def __getattr__(self, name):
        """stack.url is LATCHKEY_URL, and so on."""
        try:
            return self.__dict__["env"]["LATCHKEY_" + name.upper()]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def port(self):
        return int(self.mqtt_port)

    @property
    def broker_log(self):
        return Log(Path(self.log_dir) / "mosquitto.log")

    @property
    def server_log(self):
        return Log(Path(self.log_dir) / "latchkeyd.log")

    def signal(self, name, sig):
        os.kill(int(self.env["LATCHKEY_PID_" + name.upper()]), sig)

    # --- HTTP

    def post_token(self, client_id, secret, **form):
        form.setdefault("grant_type", "client_credentials")
        return requests.post(self.url + "/oauth/token", data=form, auth=(client_id, secret),
                             verify=self.ca, timeout=30)

    def token(self, client_id, secret, **form):
        answer = self.post_token(client_id, secret, **form)
        assert answer.status_code == 200, answer.text
        return answer.json()["access_token"]

    def cwt(self, client_id, secret, **form):
        """@return the raw bytes."""
        return tokens.unb64(self.token(client_id, secret, token_format="cwt", **form))

    def api(self, role="manager"):
        """A requests session with a bearer token of this client."""
        session = Api(self.url)
        session.verify = self.ca
        session.headers["Authorization"] = "Bearer " + self.token(
            *self.credentials(role), audience="latchkey-api")
        return session

    def credentials(self, role):
        name = role.upper()
        return self.env[f"LATCHKEY_{name}_ID"], self.env[f"LATCHKEY_{name}_SECRET"]

    def device(self, kind="sensor", **fields):
        """Register one. @return Device."""
        answer = self.api().post("/v1/devices", json={"type": kind, **fields})
        assert answer.status_code == 201, answer.text
        return Device(self, answer.json())

    def jwks(self):
        return requests.get(self.url + "/.well-known/jwks.json", verify=self.ca,
                            timeout=10).json()["keys"]

    # --- MQTT

    def client(self, version=mqtt_raw.V5):
        return mqtt_raw.Client(self.port, version)

    def monitor(self, *filters, version=mqtt_raw.V5):
        """A monitor, connected and subscribed."""
        c = self.client(version)
        ack = c.connect("", self.token(*self.credentials("monitor")))
        assert ack.code == 0
        if filters:
            assert all(code < 0x80 for code in c.subscribe(*filters))
        return c

    # --- the command line

    def cli(self, *arguments, role="manager", code=0, env=None, input=None, timeout=60):
        """@return stdout. `code`: what the program must exit with (None: anything)."""
        variables = dict(os.environ, LATCHKEY_URL=self.url, LATCHKEY_CA=self.ca,
                         LATCHKEY_MQTT_HOST="127.0.0.1", LATCHKEY_MQTT_PORT=self.mqtt_port)
        if role:
            who, secret = self.credentials(role)
            variables.update(LATCHKEY_CLIENT_ID=who, LATCHKEY_CLIENT_SECRET=secret)
        variables.update(env or {})
        done = subprocess.run([program("latchkey"), *arguments], env=variables, input=input,
                              capture_output=True, text=True, timeout=timeout, check=False)
        self.last = done
        if code is not None:
            assert done.returncode == code, \
                f"latchkey {arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout


class Api(requests.Session):
    def __init__(self, url):
        super().__init__()
        self.base = url

    def request(self, method, url, **options):
        options.setdefault("timeout", 30)
        return super().request(method, self.base + url, **options)


class Device:
    def __init__(self, stack, answer):
        self.stack = stack
        self.answer = answer
        self.id = answer["device"]["id"]
        self.secret = answer["secret"]

    def token(self, **form):
        return self.stack.token(self.id, self.secret, **form)

    def cwt(self, **form):
        return self.stack.cwt(self.id, self.secret, **form)

    def connected(self, version=mqtt_raw.V5, token=None, **options):
        c = self.stack.client(version)
        ack = c.connect(self.id, token or self.token(), **options)
        assert ack.kind == mqtt_raw.CONNACK and ack.code == 0, f"refused with {ack.code}"
        return c

    def topic(self, rest):
        return f"devices/{self.id}/{rest}"


class Example:
    """One of the firmware examples, as a process."""

    def __init__(self, device, name, folder, *arguments):
        self.path = Path(folder) / f"{device.id}.log"
        secret = Path(folder) / f"{device.id}.secret"
        secret.write_text(device.secret)
        secret.chmod(0o600)
        stack = device.stack
        variables = dict(os.environ, LATCHKEY_URL=stack.url, LATCHKEY_CA=stack.ca,
                         LATCHKEY_CLIENT_ID=device.id, LATCHKEY_CLIENT_SECRET_FILE=str(secret),
                         LATCHKEY_MQTT_HOST="127.0.0.1", LATCHKEY_MQTTS_PORT=stack.mqtts_port)
        self.log = Log(self.path)
        with self.path.open("wb") as out:
            self.process = subprocess.Popen([program(name), *arguments], env=variables, stdout=out,
                                            stderr=out, stdin=subprocess.DEVNULL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise
