"""Refresh tokens: a chain of successors, a grace for lost answers, death for a stolen link."""

import os
import threading
import time

import pytest
import requests


def first(device):
    return device.stack.post_token(device.id, device.secret).json()["refresh_token"]


def refresh(device, token, **form):
    return device.stack.post_token(device.id, device.secret, grant_type="refresh_token",
                                   refresh_token=token, **form)


def successor(device, token):
    answer = refresh(device, token)
    assert answer.status_code == 200, answer.text
    return answer.json()["refresh_token"]


def refused(device, token):
    answer = refresh(device, token)
    assert (answer.status_code, answer.json().get("error")) == (400, "invalid_grant"), answer.text


@pytest.fixture
def device(stack):
    return stack.device("sensor")


@pytest.fixture(scope="module")
def quick(workdir):
    """Grace of two seconds."""
    import installation
    one = installation.Stack(workdir / "refresh", settings=["tokens.refresh_grace=2s"]).up()
    yield one
    one.down()


def test_every_refresh_gives_a_new_one(device):
    seen = [first(device)]
    for _ in range(5):
        seen.append(successor(device, seen[-1]))
    assert len(set(seen)) == 6


def test_the_same_successor_inside_the_grace(device):
    token = first(device)
    assert successor(device, token) == successor(device, token) == successor(device, token)


def test_the_grace_ends_when_the_successor_is_used(device):
    one = first(device)
    two = successor(device, one)
    three = successor(device, two)
    refused(device, one)
    refused(device, three)              # the family is dead
    refused(device, two)


def test_the_grace_ends_with_time(quick):
    device = quick.device("sensor")
    one = first(device)
    two = successor(device, one)
    time.sleep(2.5)
    refused(device, one)
    refused(device, two)


def test_a_family_dies_alone(device):
    one, other = first(device), first(device)
    two = successor(device, one)
    successor(device, two)
    refused(device, one)
    assert successor(device, other)


def test_it_is_bound_to_its_device(stack, device):
    thief = stack.device("sensor")
    token = first(device)
    refused(thief, token)
    answer = requests.post(stack.url + "/oauth/token", verify=stack.ca, timeout=10, data={
        "grant_type": "refresh_token", "refresh_token": token, "client_id": device.id})
    assert answer.status_code == 401
    assert successor(device, token), "a stranger's try must not kill the owner's family"


def test_a_refresh_cannot_widen(device):
    token = device.stack.post_token(device.id, device.secret,
                                    scope="telemetry:send").json()["refresh_token"]
    answer = refresh(device, token, scope="telemetry:send config:read")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")
    narrow = refresh(device, token).json()
    assert narrow.get("scope", "telemetry:send") == "telemetry:send"


def test_suspending_ends_the_family(stack, device):
    token = first(device)
    api = stack.api()
    assert api.post(f"/v1/devices/{device.id}/suspend").status_code == 200
    assert refresh(device, token).status_code in (400, 401)
    assert api.post(f"/v1/devices/{device.id}/resume").status_code == 200
    refused(device, token)


def test_at_most_four_families(device):
    families = [first(device) for _ in range(5)]
    refused(device, families[0])
    for token in families[1:]:
        assert successor(device, token)


def test_a_changed_token_is_nothing(device):
    token = first(device)
    for at in range(0, len(token), 7):
        wrong = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1:]
        refused(device, wrong)
    for wrong in ("", "x", token[:-1], token + "A", token * 50):
        assert refresh(device, wrong).status_code == 400
    assert successor(device, token)


def test_a_hundred_races_of_two_with_one_token(device):
    """Both ask at once with the same token: both get the same successor, and it works."""
    token = first(device)
    sessions = [requests.Session(), requests.Session()]
    for session in sessions:
        session.verify, session.auth = device.stack.ca, (device.id, device.secret)
    barrier = threading.Barrier(2)

    def ask(session, out):
        barrier.wait()
        out.append(session.post(device.stack.url + "/oauth/token", timeout=30, data={
            "grant_type": "refresh_token", "refresh_token": token}))

    for race in range(100 * int(os.environ.get("LATCHKEY_SOAK_ROUNDS", "1"))):
        answers = []
        threads = [threading.Thread(target=ask, args=(s, answers)) for s in sessions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [a.status_code for a in answers] == [200, 200], \
            f"race {race}: {[a.text for a in answers]}"
        tokens = {a.json()["refresh_token"] for a in answers}
        assert len(tokens) == 1, f"race {race}: two successors"
        token = tokens.pop()


def test_a_chain_survives_a_restart(fresh_stack):
    stack = fresh_stack()
    device = stack.device("sensor")
    one = first(device)
    two = successor(device, one)
    stack.restart("latchkeyd")
    assert successor(device, one) == two, "the same successor, recomputed"
    assert successor(device, two) != two
