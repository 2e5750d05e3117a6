"""kill -9 while devices are registered: every 201 that was answered is there afterwards.

LATCHKEY_SOAK_ROUNDS sets the rounds (tools/soak kill: 50).
"""

import os
import random
import signal
import threading
import time
import uuid

import requests

ROUNDS = int(os.environ.get("LATCHKEY_SOAK_ROUNDS", "5"))
WRITERS = 4


class Writer(threading.Thread):
    """Registers devices over keep-alive until the server goes away."""

    def __init__(self, stack, token, number):
        super().__init__(daemon=True)
        self.stack, self.number = stack, number
        self.session = requests.Session()
        self.session.verify = stack.ca
        self.session.headers["Authorization"] = "Bearer " + token
        self.answered, self.open = {}, None

    def run(self):
        while True:
            body = {"type": "sensor", "id": f"w{self.number}-{uuid.uuid4().hex[:16]}"}
            key = uuid.uuid4().hex
            self.open = (key, body)
            try:
                answer = self.session.post(self.stack.url + "/v1/devices", json=body, timeout=10,
                                           headers={"Idempotency-Key": key})
                secret = answer.json().get("secret")
            except requests.RequestException:           # gone, or killed in mid-answer
                return
            if answer.status_code == 201:
                self.answered[body["id"]] = secret
                self.open = None
            elif answer.status_code != 503:
                raise AssertionError(f"{answer.status_code}: {answer.text}")


def test_kill_9_in_a_loop(fresh_stack):
    stack = fresh_stack()
    pace, kept, retried = random.Random(7), {}, 0
    for number in range(ROUNDS):
        token = stack.token(*stack.credentials("manager"), audience="latchkey-api")
        writers = [Writer(stack, token, n) for n in range(WRITERS)]
        for writer in writers:
            writer.start()
        time.sleep(pace.uniform(0.1, 0.6))
        stack.signal("latchkeyd", signal.SIGKILL)
        for writer in writers:
            writer.join(30)
        stack.restart("latchkeyd")
        api = stack.api()
        for writer in writers:
            kept.update(writer.answered)
            for name in writer.answered:
                answer = api.get("/v1/devices/" + name)
                assert answer.status_code == 200, f"round {number}: {name} was answered and is lost"
            if writer.open:
                # The lost answer, asked for again: one device, one secret, the same each time.
                key, body = writer.open
                again = [api.post("/v1/devices", json=body, headers={"Idempotency-Key": key})
                         for _ in range(2)]
                assert [a.status_code for a in again] == [201, 201], [a.text for a in again]
                assert again[0].json()["secret"] == again[1].json()["secret"]
                kept[body["id"]] = again[0].json()["secret"]
                retried += 1
    assert len(kept) > ROUNDS, "nothing was registered"
    for name, secret in random.Random(1).sample(sorted(kept.items()), min(50, len(kept))):
        assert stack.post_token(name, secret).status_code == 200, name
    print(f"{ROUNDS} kills, {len(kept)} devices answered, none lost; "
          f"{retried} lost answers asked for again")
