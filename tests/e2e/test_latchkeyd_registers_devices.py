"""The registry: devices, clients, who may, and that nothing is done twice."""

import json
import re
import uuid

import pytest


@pytest.fixture(scope="module")
def manager(stack):
    return stack.api("manager")


@pytest.fixture(scope="module")
def admin(stack):
    return stack.api("admin")


def new_id():
    return "d-" + uuid.uuid4().hex[:12]


def test_a_device_gets_an_id_and_a_secret_once(stack, manager):
    answer = manager.post("/v1/devices", json={"type": "sensor", "name": "Boiler",
                                               "location": "cellar", "tags": ["floor=2"]})
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert re.fullmatch(r"sensor-[A-Za-z0-9._-]+", body["device"]["id"])
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", body["secret"])
    assert body["psk_identity"].startswith(body["device"]["id"])
    assert answer.headers.get("Cache-Control") == "no-store"
    shown = manager.get("/v1/devices/" + body["device"]["id"])
    assert shown.status_code == 200 and body["secret"] not in shown.text
    assert shown.json()["name"] == "Boiler" and shown.json()["type"] == "sensor"
    for file in stack.dir.rglob("*"):
        if file.is_file() and not file.is_symlink() and file.name != "env":
            assert body["secret"].encode() not in file.read_bytes(), f"the secret stands in {file}"


BAD = {
    "unknown type": {"type": "toaster"}, "no type": {"name": "x"}, "type is a number": {"type": 5},
    "unknown member": {"type": "sensor", "colour": "red"}, "empty id": {"type": "sensor", "id": ""},
    "id with a slash": {"type": "sensor", "id": "a/b"}, "id with a plus": {"type": "sensor", "id": "a+"},
    "id with a hash": {"type": "sensor", "id": "#"}, "id begins with a dot": {"type": "sensor", "id": ".a"},
    "id of 65": {"type": "sensor", "id": "a" * 65}, "id with a tilde": {"type": "sensor", "id": "x~y"},
    "id not ASCII": {"type": "sensor", "id": "büro"},
    "name too long": {"type": "sensor", "name": "x" * 10000}, "name is a list": {"type": "sensor", "name": []},
}


@pytest.mark.parametrize("row", BAD)
def test_what_is_no_device(manager, row):
    answer = manager.post("/v1/devices", json=BAD[row])
    assert answer.status_code in (400, 422), answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["errors"][0]["pointer"].startswith("/")


def test_an_id_is_given_once_for_devices_and_clients_alike(manager, admin):
    name = new_id()
    assert manager.post("/v1/devices", json={"type": "sensor", "id": name}).status_code == 201
    assert manager.post("/v1/devices", json={"type": "actuator", "id": name}).status_code == 409
    assert admin.post("/v1/clients", json={"role": "monitor", "id": name}).status_code == 409
    assert manager.post("/v1/devices", json={"type": "sensor", "id": "monitor"}).status_code == 409


def test_an_idempotency_key_makes_one_device(manager):
    key, body = uuid.uuid4().hex, {"type": "sensor", "name": "once"}
    one, two = (manager.post("/v1/devices", json=body, headers={"Idempotency-Key": key})
                for _ in range(2))
    assert one.status_code == two.status_code == 201 and one.json() == two.json()
    other = manager.post("/v1/devices", json={"type": "actuator"}, headers={"Idempotency-Key": key})
    assert other.status_code in (409, 422), "the same key for something else"


def test_an_idempotency_key_belongs_to_its_caller(manager, admin):
    key = uuid.uuid4().hex
    one = manager.post("/v1/devices", json={"type": "sensor"}, headers={"Idempotency-Key": key})
    two = admin.post("/v1/devices", json={"type": "sensor"}, headers={"Idempotency-Key": key})
    assert two.status_code != 201 or one.json()["device"]["id"] != two.json()["device"]["id"]


def test_lists_come_in_pages(manager):
    tag = "t-" + uuid.uuid4().hex[:8]
    made = {manager.post("/v1/devices", json={"type": "sensor", "tags": [tag]})
            .json()["device"]["id"] for _ in range(7)}
    found, cursor, pages = set(), None, 0
    while True:
        params = {"tag": tag, "limit": 3, **({"cursor": cursor} if cursor else {})}
        page = manager.get("/v1/devices", params=params).json()
        assert len(page["items"]) <= 3
        found |= {item["id"] for item in page["items"]}
        cursor, pages = page.get("next_cursor"), pages + 1
        if not cursor:
            break
    assert found == made and pages == 3
    assert manager.get("/v1/devices", params={"cursor": "AAAA"}).status_code == 400


def test_suspend_and_resume(stack, manager):
    device = stack.device("sensor")
    assert manager.post(f"/v1/devices/{device.id}/suspend").status_code == 200
    assert manager.get("/v1/devices/" + device.id).json()["state"] == "suspended"
    answer = stack.post_token(device.id, device.secret)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert manager.post(f"/v1/devices/{device.id}/resume").status_code == 200
    assert stack.post_token(device.id, device.secret).status_code == 200
    assert manager.post("/v1/devices/nobody/suspend").status_code == 404


WHO = [
    ("monitor", "GET", "/v1/devices", 200), ("monitor", "POST", "/v1/devices", 403),
    ("monitor", "GET", "/v1/clients", 403), ("manager", "GET", "/v1/clients", 403),
    ("manager", "POST", "/v1/clients", 403), ("admin", "GET", "/v1/clients", 200),
    ("admin", "GET", "/v1/devices", 200),
]


@pytest.mark.parametrize("who, method, path, status", WHO)
def test_who_may(stack, who, method, path, status):
    body = {"type": "sensor"} if path == "/v1/devices" else {"role": "monitor"}
    answer = stack.api(who).request(method, path, json=body if method == "POST" else None)
    assert answer.status_code == status, answer.text


def test_the_api_takes_only_its_own_tokens(stack):
    import requests
    device = stack.device("sensor")
    wrong = {
        "no token": None, "garbage": "hunter2", "for the broker": stack.token(
            *stack.credentials("manager"), audience="mqtt"), "a device's": device.token(),
        "a device's for the api": device.token(audience="latchkey-api"),
    }
    for name, token in wrong.items():
        headers = {"Authorization": "Bearer " + token} if token else {}
        answer = requests.get(stack.url + "/v1/devices", headers=headers, verify=stack.ca,
                              timeout=10)
        assert answer.status_code == (403 if name.endswith("the api") else 401), name
        assert "WWW-Authenticate" in answer.headers


def test_nobody_can_grant_what_he_does_not_hold(admin, stack):
    name = new_id()
    answer = admin.post("/v1/clients", json={"role": "monitor", "id": name,
                                             "scopes": ["desk:use"]})
    assert answer.status_code in (400, 403, 422), answer.text
    answer = admin.post("/v1/clients", json={"role": "desk", "id": name})
    assert answer.status_code in (400, 403, 422), answer.text


def test_a_request_id_comes_back(manager):
    answer = manager.get("/v1/devices/nobody", headers={"X-Request-Id": "abc-123"})
    assert answer.headers["X-Request-Id"] == "abc-123" == answer.json()["request_id"]


def test_health(stack):
    import requests
    for path in ("/healthz", "/readyz"):
        assert requests.get(stack.url + path, verify=stack.ca, timeout=10).status_code == 200


def test_a_wrong_secret_waits_and_the_right_one_never(stack):
    device = stack.device("sensor")
    codes = [stack.post_token(device.id, "A" * 43).status_code for _ in range(12)]
    assert 429 in codes and set(codes) <= {401, 429}
    assert stack.post_token(device.id, device.secret).status_code == 200


def test_what_configuration_says_about_types(fresh_stack):
    stack = fresh_stack(settings=["type weather.scopes=telemetry:send",
                                  "type weather.access_lifetime=120s"])
    device = stack.device("weather")
    answer = stack.post_token(device.id, device.secret).json()
    assert answer["expires_in"] == 120
    with device.connected() as c:
        assert c.publish(device.topic("telemetry"), "{}") == 0


def test_check_config_finds_what_is_wrong(stack, tmp_path):
    import subprocess
    from installation import program
    conf = stack.dir / "latchkeyd" / "latchkeyd.conf"
    good = subprocess.run([program("latchkeyd"), "check-config", "--config", str(conf)],
                          capture_output=True, text=True, check=False)
    assert good.returncode == 0, good.stderr
    bad = stack.dir / "latchkeyd" / "bad.conf"
    bad.write_text(conf.read_text() + "\n[server]\ncolour = red\n")
    lines = len(bad.read_text().splitlines())
    answer = subprocess.run([program("latchkeyd"), "check-config", "--config", str(bad)],
                            capture_output=True, text=True, check=False)
    assert answer.returncode != 0 and "colour" in answer.stderr and str(lines) in answer.stderr
    bad.unlink()
    assert json and tmp_path
