"""A storm of forged tokens with a kid that everybody knows: those who are in lose nothing, those who
were here before come in, and what it costs the broker has a bound."""

import os
import socket
import threading
import time

import pytest

import tokens
from installation import free_ports
from mqtt_raw import V5, V311, Client, connect_packet, swarm
from prometheus import get
from test_plugin_counts_what_it_decides import page

PER_S = 512             # FORGED_PER_S of broker-plugin/limits.h
A_SECOND, SECONDS = 500, 4


@pytest.fixture
def port():
    return free_ports(1)


@pytest.fixture
def one(broker, port):
    return broker(options=["auth_fail_rate 10", f"metrics 127.0.0.1:{port}",
                           "max_connections_per_subject 100"])


class Storm(threading.Thread):
    """So many forged logins a second, from 127.0.0.1, for so long."""

    def __init__(self, one, a_second=A_SECOND, seconds=SECONDS):
        super().__init__()
        self.one, self.a_second, self.seconds = one, a_second, seconds
        self.head = one.jwt().rsplit(".", 1)[0]
        self.answers, self.problem = [], None

    def forged(self, _index):
        return connect_packet("sensor-1", self.head + "." + tokens.b64(os.urandom(64)),
                              version=V311)

    def run(self):
        try:
            for second in range(self.seconds):
                began = time.monotonic()
                for sock, code in swarm(self.one.port, self.a_second, self.forged):
                    self.answers.append(code)
                    sock.close()
                time.sleep(max(0, 1 - (time.monotonic() - began)))
        except BaseException as problem:
            self.problem = problem

    def finish(self):
        self.join()
        if self.problem:
            raise self.problem
        assert self.answers == [5] * (self.a_second * self.seconds)


def refusals(samples):
    auth = "latchkey_auth_total"
    return {reason: get(samples, auth, reason=reason) for reason in ("SIGNATURE", "BUSY")}


def test_a_bystander_loses_nothing(one, port):
    known = one.jwt("sensor-2")
    with one.connected("monitor-1", one.monitor()) as monitor, \
            one.connected("sensor-2", known) as bystander:
        assert monitor.subscribe("devices/+/telemetry/#") == (1,)
        before, began = page(port), time.monotonic()
        storm = Storm(one)
        storm.start()
        sent = 0
        while storm.is_alive():
            assert bystander.publish("devices/sensor-2/telemetry", str(sent)) == 0
            assert monitor.message().payload == str(sent).encode(), "nothing lost, nothing twice"
            sent += 1
            # A token that was verified before never waits for the budget: from the same address.
            if sent % 20 == 0:
                with one.connected("sensor-2", known, client_id=f"sensor-2:{sent}") as again:
                    assert again.is_open()
        storm.finish()
        took_s = time.monotonic() - began
        after = page(port)
        refused = refusals(after)
        assert sum(refused.values()) == A_SECOND * SECONDS, "every one of them is accounted for"
        assert refused["BUSY"] > 0
        assert refused["SIGNATURE"] <= PER_S * (took_s + 1)
        assert get(after, "latchkey_acl_total", action="publish", outcome="ok") \
            - get(before, "latchkey_acl_total", action="publish", outcome="ok") == sent
        print(f"{sent} publishes beside {A_SECOND * SECONDS} forged logins in {took_s:.1f} s; "
              f"{refused['SIGNATURE']:.0f} cost a signature, {refused['BUSY']:.0f} did not")


def test_a_stranger_at_another_address_comes_in(one, port):
    """With a right token that was never seen: the flood leaves half of the budget to the others."""
    storm = Storm(one, seconds=3)
    storm.start()
    came = 0
    while storm.is_alive():
        with Elsewhere(one.port) as c:
            assert c.connect("sensor-3", one.jwt("sensor-3")).code == 0
        came += 1
        time.sleep(0.02)
    storm.finish()
    assert came > 20 and refusals(page(port))["BUSY"] > 0


class Elsewhere(Client):
    """A client that comes from 127.0.0.2."""

    def __init__(self, port):
        connect = socket.create_connection

        def from_there(address, timeout):
            return connect(address, timeout=timeout, source_address=("127.0.0.2", 0))
        socket.create_connection = from_there
        try:
            super().__init__(port, V5)
        finally:
            socket.create_connection = connect


def test_forged_tokens_cost_the_address_its_rate(one):
    mark = one.log.mark()
    storm = Storm(one, a_second=100, seconds=1)
    storm.start()
    storm.finish()
    one.log.wait("address=127.0.0.1 more than 10 refused logins a second", mark)


def test_after_the_storm_all_is_as_before(one, port):
    storm = Storm(one, a_second=1000, seconds=1)
    storm.start()
    storm.finish()
    time.sleep(1.1)                                 # the budget is full again, the address clean
    before = refusals(page(port))
    for n in range(5):
        with one.connected(f"fresh-{n}", one.jwt(f"fresh-{n}")) as c:
            assert c.is_open()
        with one.client(V5) as c:
            assert c.connect("sensor-1", storm.head + "." + tokens.b64(os.urandom(64))).code != 0
    after = refusals(page(port))
    assert after["BUSY"] == before["BUSY"] and after["SIGNATURE"] == before["SIGNATURE"] + 5
