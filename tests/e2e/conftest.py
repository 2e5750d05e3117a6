"""Fixtures, and the watch over every log: a sanitizer's report fails the test that caused it."""

import os
import re
import resource
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

import installation

# What the user's environment says about proxies and trust is not about our servers on loopback.
for _name in list(os.environ):
    if _name.lower().endswith("_proxy") or _name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
                                                     "SSL_CERT_FILE", "SSL_CERT_DIR"):
        del os.environ[_name]

os.environ.setdefault("LATCHKEY_BUILD", str(installation.BUILD))

REPORT = re.compile(r"(ERROR|WARNING): \w+Sanitizer|runtime error:|LeakSanitizer: detected")
HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="session", autouse=True)
def room_for_many_sockets():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    enough = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))


@pytest.fixture(scope="session")
def workdir():
    """A short path of our own; kept when something failed, for a look."""
    folder = Path(tempfile.mkdtemp(prefix="latchkey-e2e-"))
    yield folder
    if os.environ.get("LATCHKEY_KEEP") != "1":
        shutil.rmtree(folder, ignore_errors=True)


def ours(report):
    """What of a sanitizer's report is not the broker's own leak. Mosquitto frees little of what it
    has when it ends. Frames of the plugin are those of an unknown module by then, or bear its name.
    """
    if "LeakSanitizer" not in report:
        return report.strip()
    leaks = [block for block in report.split("\n\n") if " leak of " in block]
    return "\n\n".join(block for block in leaks if "/usr/sbin/mosquitto" not in block
                       or "unknown module" in block or "latchkey" in block)


@pytest.fixture(scope="session", autouse=True)
def sanitizer_reports(workdir):
    """Every program of the run writes what a sanitizer finds into this folder."""
    folder = workdir / "sanitizer"
    folder.mkdir()
    common = f"log_path={folder}/report:exitcode=99:abort_on_error=0"
    os.environ["ASAN_OPTIONS"] = common + ":detect_leaks=1:alloc_dealloc_mismatch=1"
    os.environ["UBSAN_OPTIONS"] = common + ":print_stacktrace=1"
    os.environ["LSAN_OPTIONS"] = f"suppressions={HERE}/lsan.supp:print_suppressions=0"
    yield folder
    left = [found for found in map(take_report, sorted(folder.iterdir())) if found]
    assert not left, "sanitizer reports:\n" + "\n".join(left)


def take_report(path):
    text = ours(path.read_text(errors="replace"))
    path.unlink()
    return f"{path.name}:\n{text[:6000]}" if text else ""


@pytest.fixture(autouse=True)
def no_sanitizer_report(sanitizer_reports):
    """A report belongs to the test during which it appeared."""
    yield
    found = [text for text in map(take_report, sorted(sanitizer_reports.iterdir())) if text]
    if found:
        pytest.fail("sanitizer report " + "\n".join(found), pytrace=False)


def check_logs(folder):
    for log in folder.rglob("*.log"):
        text = log.read_text(errors="replace")
        found = REPORT.search(text)
        assert not found, f"{log.name}:\n{text[max(0, found.start() - 500):found.start() + 5000]}"


@pytest.fixture(scope="session")
def stack(workdir, sanitizer_reports):
    """The installation most tests share. Whoever stops a part of it starts it again."""
    # Refusals beyond the rate are not logged one by one, and tests refuse in quick succession.
    one = installation.Stack(workdir / "stack", plugin_opts=["auth_fail_rate 100000"]).up()
    yield one
    one.down()
    check_logs(one.dir)


@pytest.fixture
def fresh_stack(workdir, request):
    """fresh_stack(plugin_opts=[...], settings=[...]): an installation of the test's own."""
    made = []

    def make(**options):
        folder = Path(tempfile.mkdtemp(prefix="stack-", dir=workdir))
        made.append(installation.Stack(folder, **options))
        return made[-1].up()
    yield make
    for one in made:
        one.down()
        check_logs(one.dir)


@pytest.fixture
def broker(workdir):
    """broker(options=[...], start=True): Mosquitto with the plugin and our own issuer's keys."""
    made = []

    def make(options=(), start=True, **more):
        folder = Path(tempfile.mkdtemp(prefix="broker-", dir=workdir))
        made.append(installation.Broker(folder, options, **more))
        return made[-1].start() if start else made[-1]
    yield make
    for one in made:
        one.stop()
        check_logs(one.dir)


@pytest.fixture(scope="module")
def shared_broker(workdir):
    """One for all rows of a table."""
    one = installation.Broker(Path(tempfile.mkdtemp(prefix="broker-", dir=workdir))).start()
    yield one
    one.stop()
    check_logs(one.dir)


@pytest.fixture(scope="session")
def count_verifications(workdir):
    """A library for LD_PRELOAD that counts signature verifications of the process it is in.
    @return (library, read) where read(folder) gives the count so far."""
    library = workdir / "count_verifications.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", str(library),
                    str(HERE / "count_verifications.c"), "-ldl"], check=True)
    return library
