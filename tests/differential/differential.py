#!/usr/bin/python3
"""Random tokens for the library and for the judge: they must say the same.

Each case is a token made by cbor2, cryptography and PyJWT and half of the time spoilt in some way;
driver.c says what the library makes of it, judge.py what the standards do. They must agree on
accept or refuse, on a refusal's kind, and on every claim.
"""

import argparse
import collections
import json
import random
import subprocess
import sys

try:
    import cwt_cases
    import jwt_cases
    from judge import Refused, agrees, judge
    from keys import Issuer, Settings, random_settings
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

CHUNK = 500  # cases with one set of keys, and for one run of the driver


def frames(pairs):
    return b"".join(letter + len(data).to_bytes(4, "big") + data for letter, data in pairs)


def make_case(kind, rng, settings):
    luck = rng.random()
    make = cwt_cases.make if kind == "cwt" else jwt_cases.make
    data, names = make(rng, settings, 0.5 < luck < 0.94)
    if luck >= 0.94:
        change, data = cwt_cases.spoil(rng, data)
        names = [f"bytes: {change}"]
    return data, names


def run_driver(driver, stream):
    done = subprocess.run([driver], input=stream, stdout=subprocess.PIPE)
    return done.returncode, done.stdout.decode().splitlines()


class Tally:
    def __init__(self):
        self.made = collections.Counter()
        self.accepted = collections.Counter()
        self.rules = collections.Counter()
        self.sorts = collections.Counter()  # of disagreements
        self.disagreements = 0

    def count(self, kind, names, accepted, rule):
        for name in names or ["nothing wrong"]:
            self.made[kind, name] += 1
            self.accepted[kind, name] += accepted
        self.made[kind] += 1
        self.accepted[kind] += accepted
        if rule is not None:
            self.rules[kind, rule] += 1

    def show(self, kind):
        total, accepted = self.made[kind], self.accepted[kind]
        print(f"{kind}: {total} tokens, {accepted} accepted ({100 * accepted // total} %)")

    def show_all(self, kind):
        for key in sorted(k for k in self.made if isinstance(k, tuple) and k[0] == kind):
            print(f"  {self.made[key]:7} {self.accepted[key]:7} accepted  {key[1]}")
        print("  refused because:")
        for (k, rule), n in self.rules.most_common():
            if k == kind:
                print(f"  {n:7}  {rule}")


def opinion(settings, data):
    try:
        return judge(settings, data), None
    except Refused as no:
        return None, no


def compare(settings, data, line):
    """(accepted, rule, what is not the same)"""
    token, no = opinion(settings, data)
    if token is not None:
        return True, None, agrees(token, line)
    if line.startswith("A"):
        return False, no.rule, [f"refused by the judge: {no.rule}"]
    if line[2:] not in no.errors:
        return False, no.rule, [f"refused by the judge: {no.rule}, {sorted(no.errors)}"]
    return False, no.rule, []


def complain(settings, where, names, data, line, what):
    print(f"DISAGREE {where}: {', '.join(names) or 'nothing wrong'}")
    for text in what:
        print(f"    {text}")
    print(f"    library: {line[:300]}")
    print(f"    token: {data.hex()}")
    print(f"    replay: {frames(settings.frames()).hex()}")


def run_chunk(args, kind, chunk, count, tally):
    rng = random.Random(f"{args.seed} {kind} {chunk}")
    settings = random_settings(rng)
    cases = [make_case(kind, rng, settings) for _ in range(count)]
    stream = frames(settings.frames()) + frames((b"T", data) for data, _ in cases)
    code, lines = run_driver(args.driver, stream)
    if code != 0 or len(lines) != len(cases):
        data, names = cases[min(len(lines), len(cases) - 1)]
        complain(settings, f"{kind} {args.seed} {chunk}/{len(lines)}", names, data, "died", [])
        tally.disagreements += 1
        return
    for n, ((data, names), line) in enumerate(zip(cases, lines)):
        accepted, rule, what = compare(settings, data, line)
        tally.count(kind, names, accepted, rule)
        if what:
            tally.disagreements += 1
            sort = what[0] if what[0].startswith("refused") else what[0].split(":")[0]
            tally.sorts[f"{kind}: {sort} / {line[:30].split(' alg')[0]}"] += 1
            if tally.disagreements <= args.show:
                where = f"{kind} seed {args.seed} chunk {chunk} case {n}"
                complain(settings, where, names, data, line, what)


def replay(args):
    """`TOKEN-HEX SETTINGS-HEX`, as a disagreement prints them: what the library says."""
    token, settings = (bytes.fromhex(text) for text in args.replay)
    code, lines = run_driver(args.driver, settings + frames([(b"T", token)]))
    print(lines[0] if lines else f"died: {code}")
    return code


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--driver", required=True, help="the built differential_driver")
    parser.add_argument("--count", type=int, default=3000, help="tokens of each kind")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--kind", choices=["cwt", "jwt"], action="append")
    parser.add_argument("--show", type=int, default=5, help="disagreements printed in full")
    parser.add_argument("--statistics", action="store_true", help="by what was wrong, and by rule")
    parser.add_argument("--replay", nargs=2, metavar=("TOKEN", "SETTINGS"))
    args = parser.parse_args()
    if args.replay:
        return replay(args)
    tally = Tally()
    for kind in args.kind or ["cwt", "jwt"]:
        for chunk, start in enumerate(range(0, args.count, CHUNK)):
            run_chunk(args, kind, chunk, min(CHUNK, args.count - start), tally)
        if tally.made[kind]:
            tally.show(kind)
        if args.statistics:
            tally.show_all(kind)
    print(f"{tally.disagreements} disagreements")
    for sort, n in tally.sorts.most_common():
        print(f"  {n:7}  {sort}")
    return 1 if tally.disagreements else 0


if __name__ == "__main__":
    sys.exit(main())
