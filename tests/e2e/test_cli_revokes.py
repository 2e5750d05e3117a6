"""latchkey: rotate, remove, restore, disconnect, revoke, and the signing keys."""

import json
import re
import stat

import jwt
import pytest

import installation


@pytest.fixture(scope="module")
def one(workdir):
    made = installation.Stack(workdir / "cli-revoke").up()
    yield made
    made.down()


def as_client(name, secret):
    return {"LATCHKEY_CLIENT_ID": name, "LATCHKEY_CLIENT_SECRET": secret}


def generation(token):
    return jwt.decode(token, options={"verify_signature": False})["gen"]


def test_rotate_a_device(one, tmp_path):
    device, file = one.device("sensor"), tmp_path / "new.secret"
    out = one.cli("device", "rotate", device.id, "--overlap", "1h", "--secret-out", str(file))
    new = file.read_text().strip()
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", new) and new not in out
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and "UTC, in" in out
    assert device.token() and one.token(device.id, new)
    out = one.cli("device", "rotate", device.id)
    assert "not valid any more" in out
    newest = re.search(r"[A-Za-z0-9_-]{43}", out).group()
    for secret, status in ((device.secret, 401), (new, 401), (newest, 200)):
        assert one.post_token(device.id, secret).status_code == status
    one.cli("device", "rotate", device.id, "--secret-out", str(file), code=1)   # file is there
    assert one.post_token(device.id, newest).status_code == 200
    one.cli("device", "rotate", "nobody", "--secret-out", str(tmp_path / "none"), code=1)
    assert not (tmp_path / "none").exists()
    assert set(json.loads(one.cli("device", "rotate", device.id, "--json"))) == \
        {"secret", "old_valid_until", "psk_identity"}


def test_disconnect_remove_restore_purge(one):
    device = one.device("sensor")
    assert generation(device.token()) == 1
    assert device.id in one.cli("device", "disconnect", device.id)
    assert generation(device.token()) == 2
    one.cli("device", "remove", device.id)
    one.cli("device", "show", device.id, code=1)
    assert device.id not in one.cli("device", "list")
    assert device.id in one.cli("device", "list", "--state", "deleted")
    one.cli("device", "restore", device.id)
    assert generation(device.token()) == 3
    one.cli("device", "remove", device.id, "--purge", code=1)
    one.cli("device", "remove", device.id, "--purge", role="admin")
    one.cli("device", "restore", device.id, code=1)


def test_clients(one, tmp_path):
    secret = tmp_path / "c.secret"
    one.cli("client", "add", "monitor", "--id", "grafana", "--secret-out", str(secret),
            role="admin")
    first = secret.read_text().strip()
    one.cli("client", "suspend", "grafana", role="admin")
    one.cli("token", "get", role=None, env=as_client("grafana", first), code=1)
    one.cli("client", "resume", "grafana", role="admin")
    one.cli("token", "get", role=None, env=as_client("grafana", first))
    out = one.cli("client", "rotate", "grafana", "--json", role="admin")
    one.cli("token", "get", role=None, env=as_client("grafana", first), code=1)
    one.cli("token", "get", role=None, env=as_client("grafana", json.loads(out)["secret"]))
    one.cli("client", "remove", "grafana", role="admin")
    one.cli("client", "show", "grafana", role="admin", code=1)


def test_revoke_a_token(one, tmp_path):
    device = one.device("sensor")
    answer, me = one.post_token(device.id, device.secret).json(), as_client(device.id,
                                                                           device.secret)
    for token in (answer["access_token"], answer["refresh_token"], device.token(token_format="cwt")):
        one.cli("token", "revoke", role=None, env=me, input=token + "\n")
        assert one.last.stdout == ""
    assert one.post_token(device.id, device.secret, grant_type="refresh_token",
                          refresh_token=answer["refresh_token"]).status_code == 400
    file = tmp_path / "token"
    file.write_text(device.token())
    other = one.device("sensor")
    one.cli("token", "revoke", f"@{file}", role=None, env=as_client(other.id, other.secret), code=1)
    assert "another client" in one.last.stderr
    one.cli("token", "revoke", f"@{file}", role=None, env=me)
    one.cli("token", "revoke", role=None, env=me, input="no token\n&", code=2)
    one.cli("token", "revoke", role=None, env=me, input="", code=2)


def test_keys(one):
    kid = one.jwks()[0]["kid"]
    assert kid in one.cli("key", "list", role="admin") and "signs" in one.last.stdout
    listed = json.loads(one.cli("key", "rotate", "--json", role="admin"))
    assert [k["state"] for k in listed] == ["signs", "next"] and listed[0]["kid"] == kid
    one.cli("key", "rotate", "--compromised", kid, role="admin")
    assert {k["kid"] for k in one.jwks()} == {listed[1]["kid"]}
    one.cli("key", "rotate", "--compromised", kid, role="admin", code=1)
    one.cli("key", "list", role="manager", code=1)
