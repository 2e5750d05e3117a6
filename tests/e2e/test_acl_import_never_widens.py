"""latchkey acl import: what Mosquitto's acl_file and dynamic security deny stays denied.

Tables of single lines first; then random lists in two real brokers at a time: one with the list as
it is, one with our plugin and the imported map. Ours may be stricter only where the report says so.
"""

import base64
import hashlib
import json
import os
import random
import subprocess
from pathlib import Path

import pytest

import mqtt_raw
from installation import free_ports, program, wait_until

pytestmark = pytest.mark.dev_only

DYNSEC = Path("/usr/lib/x86_64-linux-gnu/mosquitto_dynamic_security.so")


def run(text, tmp_path, *options, code=None, name="list"):
    source = tmp_path / name
    source.write_text(text)
    done = subprocess.run([program("latchkey"), "acl", "import", *options, str(source)],
                          capture_output=True, text=True, timeout=60, check=False)
    assert "Sanitizer" not in done.stderr, done.stderr
    if code is not None:
        assert done.returncode == code, done.stderr
    return done


def imported(text, tmp_path):
    done = run(text, tmp_path, "--json")
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


def rules(report):
    """(scope, action, filter) of the map."""
    lines = [line.split() for line in report["map"].splitlines()]
    return {tuple(words) for words in lines if words and words[0] != "#"}


# ------------------------------------------------------------------------------ tables: acl_file

CARRIED = {
    "read": ("user a\ntopic read x/y", {("user:a", "subscribe", "x/y")}),
    "write": ("user a\ntopic write x/y", {("user:a", "publish", "x/y")}),
    "readwrite": ("user a\ntopic readwrite x/y", {("user:a", "both", "x/y")}),
    "no access named": ("user a\ntopic x/y", {("user:a", "both", "x/y")}),
    "a filter called read": ("user a\ntopic read", {("user:a", "both", "read")}),
    "spaces around": ("user a  \ntopic write   x/y \r", {("user:a", "publish", "x/y")}),
    "read and write on two lines": ("user a\ntopic read x\ntopic write x",
                                    {("user:a", "both", "x")}),
    "a section in two parts": ("user a\ntopic read x\nuser b\ntopic read y\nuser a\ntopic read z",
                               {("user:a", "subscribe", "x"), ("user:a", "subscribe", "z"),
                                ("user:b", "subscribe", "y")}),
    "pattern by user": ("pattern write d/%u/#", {("everyone", "publish", "d/{device}/#")}),
    "pattern by client id": ("pattern read d/%c", {("everyone", "subscribe", "d/{client}")}),
    "everything": ("user a\ntopic #", {("user:a", "both", "#")}),
    "the broker's statistics": ("user a\ntopic read $SYS/#", {("user:a", "subscribe", "$SYS/#")}),
    "own name": ("user a\ntopic read d/a/x", {("user:a", "subscribe", "d/{device}/x")}),
    "users who differ in their names only": (
        "user a\ntopic read d/a/x\nuser b\ntopic read d/b/x",
        {("user:a", "subscribe", "d/{device}/x")}),
    "denied altogether": ("user a\ntopic x/#\ntopic deny x/#", set()),
    "a denial of something else": ("user a\ntopic x/#\ntopic deny y/#", {("user:a", "both", "x/#")}),
    "a denial of another user": ("user a\ntopic x/#\nuser b\ntopic deny x/#\ntopic y",
                                 {("user:a", "both", "x/#"), ("user:b", "both", "y")}),
    "a pattern's denial comes after the user's lines": (
        "user a\ntopic x/#\npattern deny x/y", {("user:a", "both", "x/#")}),
    "a denial that only another user's name could meet": (
        "user a\ntopic deny d/b/#\npattern write d/%u/#",
        {("everyone", "publish", "d/{device}/#")}),
}

LEFT_OUT = {
    "anonymous": ("topic read x", 1, "without a user name"),
    "a space in a filter": ("user a\ntopic read x y", 2, "cannot have a space"),
    "part of a level": ("pattern read x-%u/y", 1, "a level of their own"),
    "%u outside of a pattern": ("user a\ntopic read d/%u", 2, "cannot stand for themselves"),
    "braces": ("user a\ntopic read d/{device}", 2, "braces"),
    "tenants' topics": ("user a\ntopic read t/acme/#", 2, "belongs to tenants"),
    "authz-info": ("user a\ntopic write authz-info", 2, "belongs to the plugin"),
    "a shared filter": ("user a\ntopic read $share/g/x", 2, "without $share"),
    "seventeen levels": ("user a\ntopic read " + "/".join("x" * 17), 2, "at most 16 levels"),
    "partly denied": ("user a\ntopic x/#\ntopic deny x/y", 2, "line 3 denies a part of it"),
    "partly denied by a pattern": ("pattern read x/#\npattern deny x/%u", 1, "line 2 denies"),
    "a pattern partly denied to one": ("user a\ntopic deny x/y\npattern read x/#", 3,
                                       "for user a: line 2 denies"),
    "a denial with part of a level": ("pattern read x/#\npattern deny x/y-%u", 1, "line 2 denies"),
    "a name that is no id": ("user joe doe\ntopic read x", 1, "an id is"),
    "a name with a tenant in it": ("user a~b\ntopic read x", 1, "an id is"),
}

NO_ACL_FILE = {
    "another word": ("user a\ntopics x", 2, "topic, pattern or user"),
    "another access": ("user a\ntopic rw x", 2, "read, write, readwrite or deny"),
    "no filter": ("user a\n\ntopic", 3, "a topic filter"),
    "no user": ("user", 1, "a user name"),
}


@pytest.mark.parametrize("row", CARRIED)
def test_acl_file_carried_over(row, tmp_path):
    text, expected = CARRIED[row]
    report = imported(text + "\n", tmp_path)
    assert rules(report) == expected
    assert not report["left_out"]


@pytest.mark.parametrize("row", LEFT_OUT)
def test_acl_file_left_out(row, tmp_path):
    text, line, why = LEFT_OUT[row]
    report = json.loads(run(text, tmp_path, "--json", code=1).stdout)
    assert [(r["line"], why in r["text"]) for r in report["left_out"]] == [(line, True)], report
    assert not rules(report) or "for user a" in why


@pytest.mark.parametrize("row", NO_ACL_FILE)
def test_no_acl_file(row, tmp_path):
    text, line, expected = NO_ACL_FILE[row]
    done = run(text, tmp_path, code=1)
    assert done.stdout == ""
    assert done.stderr == f"{tmp_path / 'list'}:{line}: expected {expected}\n"


def test_who_is_denied_a_part_does_not_get_everyones_scope(tmp_path):
    report = imported("user a\ntopic deny x/y\nuser b\ntopic read z\npattern read x/#\n"
                      "pattern write w/%u\n", tmp_path)
    scopes = {user["user"]: user["scopes"] for user in report["users"]}
    assert scopes == {"a": ["user:a"], "b": ["everyone", "user:b"]} or \
        scopes == {"a": ["user:a"], "b": ["user:b", "everyone"]}
    assert ("user:a", "publish", "w/{device}") in rules(report)
    assert not any(scope == "user:a" and "x" in filter for scope, _, filter in rules(report))


def test_a_thousand_users_of_one_kind_are_one_scope(tmp_path):
    report = imported("".join(f"user d{i}\ntopic write d/d{i}/up\ntopic read d/d{i}/down\n"
                              for i in range(1000)), tmp_path)
    assert len(rules(report)) == 2 and len(report["types"]) == 1
    assert report["types"][0]["users"] == 1000


def test_a_map_the_plugin_would_not_take_is_not_written(tmp_path):
    text = "user a\n" + "".join(f"topic read x/{i}\n" for i in range(257))
    done = run(text, tmp_path, "-o", str(tmp_path / "out"), code=1)
    assert "would not be taken" in done.stderr and "at most" in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_map_goes_where_it_is_told(tmp_path):
    out = tmp_path / "scopes.acl"
    done = run("user a\ntopic read x\n", tmp_path, "-o", str(out), code=0)
    assert "[type imported-1]" in done.stdout and done.stderr == ""
    assert subprocess.run([program("latchkey"), "acl", "check", str(out)], check=False).returncode == 0
    done = run("user a\ntopic read x\n", tmp_path, code=0)
    assert done.stdout == out.read_text() and "[type imported-1]" in done.stderr
    assert run("", tmp_path, "--no-such", code=2).stdout == ""


# --------------------------------------------------------------------------------- tables: dynsec

def dynsec(acls, defaults=None, roles=None, groups=None, client=None, anonymous=None):
    """A configuration with one client a, who has role r of these ACLs."""
    out = {"roles": roles or [{"rolename": "r", "acls": [
               dict(zip(("acltype", "topic", "allow", "priority"), acl)) for acl in acls]}],
           "groups": groups or [],
           "clients": [{"username": "a", "roles": [{"rolename": "r"}], **(client or {})}]}
    if defaults is not None:
        out["defaultACLAccess"] = defaults
    if anonymous:
        out["anonymousGroup"] = anonymous
    return json.dumps(out, indent=1)


NO_RECEIVE = {"publishClientSend": False, "publishClientReceive": False, "subscribe": False,
              "unsubscribe": True}
S, R, L, P, U = ("publishClientSend", "publishClientReceive", "subscribeLiteral",
                 "subscribePattern", "unsubscribePattern")

DYNSEC_CARRIED = {
    "send": (dynsec([(S, "x/#", True, 0)]), {("role:r", "publish", "x/#")}),
    "subscribe": (dynsec([(P, "x/#", True, 0)]), {("role:r", "subscribe", "x/#")}),
    "subscribe to one": (dynsec([(L, "x/y", True, 0)]), {("role:r", "subscribe", "x/y")}),
    "send and subscribe": (dynsec([(S, "x", True, 0), (P, "x", True, 0)]), {("role:r", "both", "x")}),
    "receive by default needs no rule": (dynsec([(R, "x", True, 0)]), set()),
    "nothing received by default": (dynsec([(P, "x/#", True, 0)], NO_RECEIVE), set()),
    "received and subscribed": (dynsec([(P, "x/#", True, 0), (R, "#", True, 0)], NO_RECEIVE),
                                {("role:r", "subscribe", "x/#")}),
    "received less than subscribed": (dynsec([(P, "x/#", True, 0), (R, "x/y", True, 0)], NO_RECEIVE),
                                      {("role:r", "subscribe", "x/y")}),
    "a weaker denial": (dynsec([(S, "x/#", True, 5), (S, "x/y", False, 4)]),
                        {("role:r", "publish", "x/#")}),
    "a stronger denial of all of it": (dynsec([(S, "x/y", True, 4), (S, "x/#", False, 5)]), set()),
    "placeholders": (dynsec([(S, "x/%u/%c", True, 0)]), {("role:r", "publish", "x/{device}/{client}")}),
    "sent by default": (dynsec([], {**NO_RECEIVE, "publishClientSend": True}),
                        {("everyone", "publish", "#")}),
    "all by default": (dynsec([], dict.fromkeys(NO_RECEIVE, True)), {("everyone", "both", "#")}),
    "a role with a space": (dynsec([], roles=[{"acls": [{"acltype": S, "topic": "x", "allow": True}],
                                              "rolename": "r s"}],
                                   client={"roles": [{"rolename": "r s"}]}),
                            {("role:r_s.1", "publish", "x")}),
}

DYNSEC_LEFT_OUT = {
    "as strong a denial": (dynsec([(S, "x/#", True, 5), (S, "x/y", False, 5)]), "denies a part"),
    "a stronger denial": (dynsec([(S, "x/#", True, 4), (S, "x/y", False, 5)]), "denies a part"),
    "a denied literal, however weak": (dynsec([(P, "x/#", True, 9), (L, "x/y", False, 0)]),
                                       "denies a part"),
    "a part is not received": (dynsec([(P, "x/#", True, 9), (R, "x/y", False, 0)]), "denies a part"),
    "received and subscribed in part": (dynsec([(P, "x/+", True, 0), (R, "+/y", True, 0)], NO_RECEIVE),
                                        "only a part of it may be received"),
    "kept from unsubscribing": (dynsec([(U, "x", False, 0)]), "nobody is kept from unsubscribing"),
    "anonymous": (dynsec([], anonymous="g"), "nobody is anonymous"),
    "an unknown type": (dynsec([("publish", "x", True, 0)]), "acltype publish is not known"),
    "no such role": (dynsec([], client={"roles": [{"rolename": "q"}]}), "role q: there is none"),
    "no such client": (dynsec([], groups=[{"groupname": "g", "clients": [{"username": "q"}]}]),
                       "client q: there is none"),
}


@pytest.mark.parametrize("row", DYNSEC_CARRIED)
def test_dynsec_carried_over(row, tmp_path):
    text, expected = DYNSEC_CARRIED[row]
    report = imported(text, tmp_path)
    assert report["format"] == "dynamic-security"
    assert rules(report) == expected, report
    assert not report["left_out"]


@pytest.mark.parametrize("row", DYNSEC_LEFT_OUT)
def test_dynsec_left_out(row, tmp_path):
    text, why = DYNSEC_LEFT_OUT[row]
    report = json.loads(run(text, tmp_path, "--json", code=1).stdout)
    assert any(why in r["text"] for r in report["left_out"]), report["left_out"]
    assert not rules(report)


def test_dynsec_line_numbers(tmp_path):
    text = dynsec([(S, "x/#", True, 0), (S, "t/x", True, 0)])
    report = imported(text, tmp_path)
    line = 1 + next(i for i, l in enumerate(text.splitlines()) if '"t/x"' in l)
    assert [r["line"] for r in report["left_out"]] == [line - 2]  # where its object begins


def test_groups_give_their_roles(tmp_path):
    report = imported(dynsec([(S, "x", True, 0)], client={"roles": []}, groups=[
        {"groupname": "g", "roles": [{"rolename": "r"}], "clients": [{"username": "a"}]}]), tmp_path)
    assert [u["scopes"] for u in report["users"]] == [["role:r"]]


def test_priorities_across_roles_give_a_scope_of_the_users_own(tmp_path):
    roles = [{"rolename": "all", "acls": [{"acltype": S, "topic": "#", "allow": True, "priority": 0},
                                          {"acltype": S, "topic": "y", "allow": True, "priority": 0}]},
             {"rolename": "not", "acls": [{"acltype": S, "topic": "x/#", "allow": False}]}]
    report = imported(json.dumps({"roles": roles, "clients": [
        {"username": "a", "roles": [{"rolename": "all", "priority": 1}, {"rolename": "not", "priority": 2}]},
        {"username": "b", "roles": [{"rolename": "all", "priority": 2}, {"rolename": "not", "priority": 1}]},
    ]}), tmp_path)
    scopes = {user["user"]: user["scopes"] for user in report["users"]}
    assert scopes == {"a": ["user:a"], "b": ["role:all"]}
    assert {r for r in rules(report) if r[0] == "user:a"} == {("user:a", "publish", "y")}


@pytest.mark.parametrize("text", ["{", "{\"roles\": [{]}", "{\"roles\": 1}", "{\"clients\": [1]}", "{} x"])
def test_no_dynsec(text, tmp_path):
    done = run(text, tmp_path, code=1)
    assert done.stdout == "" and ":1: expected a configuration of dynamic security" in done.stderr


# ---------------------------------------------------------------------- two brokers side by side

class Reference:
    """Mosquitto as it comes, with users whose password is `p`."""

    def __init__(self, folder, lines):
        self.port = free_ports(1)
        conf = folder / "reference.conf"
        conf.write_text("\n".join(["user root" if not os.geteuid() else "", "allow_anonymous false",
                                   f"listener {self.port} 127.0.0.1", "log_dest none", *lines]) + "\n")
        self.process = subprocess.Popen(["/usr/sbin/mosquitto", "-c", str(conf)])

        def listens():
            assert self.process.poll() is None
            try:
                mqtt_raw.Client(self.port).close()
                return True
            except OSError:
                return False
        wait_until("the broker listens", listens)

    def connected(self, user):
        client = mqtt_raw.Client(self.port)
        assert client.connect(user, "p", username=user).code == 0
        return client

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


def matches(filter, topic):
    f, t = filter.split("/"), topic.split("/")
    if topic[0] == "$" and filter[0] != "$":
        return False
    for i, level in enumerate(f):
        if level == "#":
            return True
        if i >= len(t) or level not in ("+", t[i]):
            return False
    return len(f) == len(t)


def tries(client, publisher, topics, filters=()):
    """@return (topics it may publish to, topics it hears)."""
    sent = {t for t in topics if client.publish(t, "x") in (0, 0x10)}
    for f in [*topics, *filters]:
        client.subscribe(f)
    client.messages(quiet=0.3)
    for t in topics:
        publisher.publish(t, "probe")
    return sent, {m.topic for m in client.messages(quiet=0.5)}


LEVELS = ["x", "y", "z", "u1", "u2"]
USERS = ["u1", "u2", "u3", "u4", "u5", "u6"]


def some_filter(rng, extra=()):
    levels = [rng.choice([*LEVELS, "+", *extra]) for _ in range(rng.randint(1, 3))]
    return "/".join(levels + (["#"] if rng.random() < 0.4 else []))


def some_topics(rng, count):
    return sorted({"/".join(rng.choice(LEVELS) for _ in range(rng.randint(1, 3))) for _ in range(count)})


def ours(broker, report, user):
    scopes = next(u["scopes"] for u in report["users"] if u["user"] == user)
    return broker.connected(user, broker.jwt(user, scope=" ".join(scopes) or "nothing",
                                             device_type="imported"))


def compare(reference, broker, report, topics, explained, filters=()):
    """Ours may never do more, and less only where the report explains it."""
    stricter = 0
    with reference.connected("boss") as boss, ours(broker, report, "boss") as our_boss:
        for user in USERS:
            with reference.connected(user) as a, ours(broker, report, user) as b:
                theirs, mine = tries(a, boss, topics, filters), tries(b, our_boss, topics)
            for action, may, may_here in zip(("publish", "receive"), theirs, mine):
                assert may_here <= may, f"{user} may {action} {may_here - may} here only"
                for topic in may - may_here:
                    assert explained(user, action, topic), f"{user} may not {action} {topic} here"
                    stricter += 1
    print(f"{len(USERS) * len(topics) * 2} tries, {stricter} stricter here, as the report says")


def some_acl_file(rng):
    lines, where = ["user boss", "topic #"], {}
    for user in USERS[:5]:
        lines.append(f"user {user}")
        for _ in range(rng.randint(0, 5)):
            access = rng.choice(["read", "write", "readwrite", "read", "write", "deny"])
            filter = some_filter(rng)
            lines.append(f"topic {access} {filter}")
            where[len(lines)] = (user, filter)
    for _ in range(rng.randint(0, 4)):
        access = rng.choice(["read", "write", "readwrite", "deny"])
        filter = some_filter(rng, ["%u", "%c", "x%u"])
        lines.append(f"pattern {access} {filter}")
        where[len(lines)] = (None, filter)
    return "\n".join([*lines, "user u6", ""]), where


@pytest.mark.parametrize("seed", range(4))
def test_acl_file_in_two_brokers(seed, tmp_path, broker):
    rng = random.Random(seed)
    text, where = some_acl_file(rng)
    report = imported(text, tmp_path)
    passwords = tmp_path / "passwords"
    passwords.write_text("".join(f"{user}:p\n" for user in [*USERS, "boss"]))
    subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True)
    reference = Reference(tmp_path, [f"password_file {passwords}", f"acl_file {tmp_path / 'list'}"])

    def explained(user, action, topic):
        lines = [r["line"] for r in report["left_out"]]
        return any(where[line][0] in (None, user) and
                   matches(where[line][1].replace("%u", user).replace("%c", user), topic)
                   for line in lines if line in where)
    try:
        compare(reference, broker(scopes=report["map"]), report, some_topics(rng, 40), explained)
    finally:
        reference.stop()


def hashed(password):
    salt = os.urandom(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 101)
    return {"password": base64.b64encode(digest).decode(), "salt": base64.b64encode(salt).decode(),
            "iterations": 101}


def some_dynsec(rng):
    roles, literals = [], []
    for name in "pqrs":
        acls = {}
        for _ in range(rng.randint(1, 5)):
            kind = rng.choice([S, S, P, P, R, L])
            filter = some_filter(rng)
            acls[kind, filter] = {"acltype": kind, "topic": filter, "priority": rng.randint(0, 2),
                                  "allow": rng.random() < 0.75}
            if kind == L:
                literals.append(filter)
        roles.append({"rolename": name, "acls": list(acls.values())})
    roles.append({"rolename": "boss", "acls": [
        {"acltype": kind, "topic": "#", "priority": 0, "allow": True} for kind in (S, P)]})

    def some_roles():
        return [{"rolename": name, "priority": rng.randint(0, 2)}
                for name in rng.sample("pqrs", rng.randint(0, 2))]
    groups = [{"groupname": name, "roles": some_roles(),
               "clients": [{"username": user, "priority": rng.randint(0, 1)}
                           for user in rng.sample(USERS, rng.randint(0, 4))]} for name in ("g", "h")]
    clients = [{"username": user, "roles": some_roles(), **hashed("p")} for user in USERS]
    clients.append({"username": "boss", "roles": [{"rolename": "boss"}], **hashed("p")})
    defaults = {"publishClientSend": rng.random() < 0.2, "publishClientReceive": rng.random() < 0.7,
                "subscribe": rng.random() < 0.2, "unsubscribe": True}
    return {"defaultACLAccess": defaults, "roles": roles, "groups": groups, "clients": clients}, literals


@pytest.mark.skipif(not DYNSEC.exists(), reason="no mosquitto_dynamic_security.so")
@pytest.mark.parametrize("seed", range(4))
def test_dynsec_in_two_brokers(seed, tmp_path, broker):
    rng = random.Random(seed)
    config, literals = some_dynsec(rng)
    text = json.dumps(config, indent=1)
    report = imported(text, tmp_path)
    reference = Reference(tmp_path, [f"plugin {DYNSEC}", f"plugin_opt_config_file {tmp_path / 'list'}"])

    def explained(user, action, topic):
        """Something that matches was left out, for everybody or for this user."""
        for r in report["left_out"]:
            if f" for user {user}:" in r["text"] or " for user " not in r["text"]:
                if matches(r["text"].split(":")[0].split(" for user ")[0], topic):
                    return True
        return False
    try:
        compare(reference, broker(scopes=report["map"]), report, some_topics(rng, 40), explained,
                literals)
    finally:
        reference.stop()
