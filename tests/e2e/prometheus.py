"""The text format of Prometheus, version 0.0.4, read strictly: what promtool would complain about
raises. Written from the format's description, not from what our pages look like."""

import math
import re

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')
TYPES = {"counter", "gauge", "histogram", "summary", "untyped"}


def _labels(text, line):
    out, at = {}, 0
    while at < len(text):
        found = LABEL.match(text, at)
        assert found, f"label: {line}"
        name, value = found.groups()
        assert not name.startswith("__") and name not in out, f"label {name}: {line}"
        out[name] = re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), value)
        at = found.end()
        if at < len(text):
            assert text[at] == ",", f"no comma: {line}"
            at += 1
    return out


def _value(text, line):
    special = {"+Inf": math.inf, "-Inf": -math.inf, "NaN": math.nan}
    if text in special:
        return special[text]
    assert re.fullmatch(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", text), f"value: {line}"
    return float(text)


def _family(name, types):
    """The family a sample belongs to: histograms have three names."""
    if name in types:
        return name
    for suffix in ("_bucket", "_sum", "_count"):
        base = name.removesuffix(suffix)
        if base != name and types.get(base) == "histogram":
            return base
    raise AssertionError(f"a sample without a TYPE: {name}")


def parse(text):
    """@return {(name, ((label, value), ...)): number}."""
    assert text.endswith("\n") and "\r" not in text, "the last line has to end"
    samples, types, helped, families, last = {}, {}, set(), set(), None
    for line in text.split("\n")[:-1]:
        assert line == line.strip() and line, f"blanks: {line!r}"
        if line.startswith("#"):
            kind, name, rest = re.fullmatch(r"# (HELP|TYPE) (\S+) (.+)", line).groups()
            assert NAME.fullmatch(name), line
            if kind == "HELP":
                assert name not in helped, f"HELP twice: {line}"
                helped.add(name)
            else:
                assert name not in types and name not in families, f"TYPE twice or late: {line}"
                assert rest in TYPES, line
                types[name] = rest
            continue
        found = re.fullmatch(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)", line)
        assert found, f"not a sample: {line}"
        name, labels, value = found[1], _labels(found[2] or "", line), _value(found[3], line)
        family = _family(name, types)
        assert family in helped, f"no HELP: {line}"
        assert family == last or family not in families, f"lines of {family} are apart"
        families.add(family)
        last = family
        if types[family] == "counter":
            assert name.endswith("_total") and value >= 0, f"a counter: {line}"
        key = (name, tuple(sorted(labels.items())))
        assert key not in samples, f"twice: {line}"
        samples[key] = value
    for name, kind in types.items():
        assert name in families, f"{name} has no sample"
        if kind == "histogram":
            _check_histogram(name, samples)
    return samples


def _check_histogram(name, samples):
    buckets = [(float("inf") if dict(labels)["le"] == "+Inf" else float(dict(labels)["le"]), n)
               for (sample, labels), n in samples.items() if sample == name + "_bucket"]
    assert buckets == sorted(buckets), f"{name}: bounds or counts go down"
    assert [n for _, n in buckets] == sorted(n for _, n in buckets), f"{name}: not cumulative"
    assert buckets[-1] == (math.inf, samples[(name + "_count", ())]), f"{name}: +Inf is not count"
    assert (name + "_sum", ()) in samples


def get(samples, name, **labels):
    """Sum of the samples that have these labels."""
    return sum(value for (sample, have), value in samples.items()
               if sample == name and labels.items() <= dict(have).items())
