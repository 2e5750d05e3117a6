"""latchkey-load: what it reports happened, and what went wrong is not reported as a figure."""

import json
import subprocess

import pytest

import tokens
from installation import program

pytestmark = pytest.mark.dev_only


@pytest.fixture(scope="module")
def key(shared_broker, tmp_path_factory):
    number = shared_broker.key.private.private_numbers().private_value
    path = tmp_path_factory.mktemp("key") / "key.jwk"
    path.write_text(json.dumps({**shared_broker.key.jwk(), "d": tokens.b64(number.to_bytes(32, "big"))}))
    return path


@pytest.fixture
def load(shared_broker, key):
    def run(*arguments, code=0, port=None):
        done = subprocess.run([program("latchkey-load"), "--port", str(port or shared_broker.port), "--issuer",
                               shared_broker.ISSUER, "--key", str(key), "--json", *arguments],
                              capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout) if code == 0 else done
    return run


@pytest.mark.parametrize("form", ["cwt", "jwt"])
@pytest.mark.parametrize("version", [[], ["--mqtt-3.1.1"]])
def test_connect(load, shared_broker, form, version):
    mark = shared_broker.log.mark()
    answer = load("connect", "--clients", "50", "--rounds", "3", "--format", form, *version,
                  "--pid", str(shared_broker.process.pid))
    assert [(r["tokens"], r["logins"]) for r in answer["rounds"]] == \
        [("first seen", 50), ("seen before", 50), ("seen before", 50)]
    assert all(r["cpu_us"] > 1 for r in answer["rounds"])
    assert len(shared_broker.log.lines("New client connected", mark)) == 150


@pytest.mark.parametrize("publishers, subscribers, qos", [(1, 1, 0), (1, 1, 1), (1, 20, 1), (20, 1, 0)])
def test_publish(load, publishers, subscribers, qos):
    answer = load("publish", "--publishers", str(publishers), "--subscribers", str(subscribers),
                  "--qos", str(qos), "--messages", "200")
    assert answer["sent"] == 200 * publishers and answer["received"] == answer["sent"] * subscribers


def test_probe(load):
    answer = load("probe", "--rate", "50", "--seconds", "1")
    assert 40 <= answer["sent"] <= 52 and answer["received"] == answer["sent"]
    assert 0 < answer["p50_us"] <= answer["p99_us"] <= answer["max_us"]


def test_hold_and_hup(load, shared_broker):
    mark = shared_broker.log.mark()
    answer = load("hold", "--clients", "200", "--pid", str(shared_broker.process.pid), "--hup")
    assert answer["clients"] == 200 and answer["hup_cpu_ms"] > 0 and answer["hup_longest_ping_ms"] > 0
    assert shared_broker.log.lines("Reloading config", mark)


def test_who_may_not_is_not_counted(load, shared_broker):
    done = load("connect", "--clients", "3", "--audience", "somebody-else", code=1)
    assert done.stderr.endswith("not authorized\n") and done.stdout == ""


@pytest.mark.parametrize("arguments, code", [
    (["dance"], 2), ([], 2), (["connect", "--clients", "0"], 2), (["connect", "--clients", "many"], 2),
    (["connect", "--pid", "4194304"], 2), (["connect", "--host", "nowhere"], 2),
    (["connect", "--key", "/dev/null"], 2), (["publish", "--qos", "2"], 2), (["connect", "--format", "x"], 2)])
def test_wrong_usage(load, arguments, code):
    assert load(*arguments, code=code).stdout == ""


def test_nobody_there(load):
    assert "latchkey-load:" in load("connect", "--clients", "1", port=9, code=3).stderr
