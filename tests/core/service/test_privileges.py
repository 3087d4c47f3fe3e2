"""core.service.privileges: what a process has given up is gone, for its children too."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from core.service import launch
from core.service.privileges import Capability, kernel_release, missing
from tests.paths import ROOT
from tests.rights import Rights, only, rights

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: has rights to give up")
KEEP = """\
import subprocess, sys, threading
from core.service.privileges import Capability, keep_only, keep_while_opening
kept = [Capability[name] for name in sys.argv[1:]]
keep_while_opening(kept)
keep_only(kept)
stay = threading.Event()
threading.Thread(target=stay.wait, daemon=True).start()
child = subprocess.Popen(["sleep", "60"])
print(child.pid, flush=True)
sys.stdin.read()
child.kill()
"""
ALL = "from core.service.privileges import *; print(*missing(Capability))"
NOBODY = 65534


def given_up(*kept: str, prefix: tuple[str, ...] = (), code: Path = ROOT) -> tuple[Rights, Rights]:
    """Of a process, and of a child of it."""
    command = [*prefix, *launch.python("-c", f"import sys; sys.path.insert(0, {str(code)!r})\n{KEEP}", *kept)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        try:
            return rights(process.pid), rights(child)
        finally:
            process.communicate()


@needs_root
@pytest.mark.parametrize("kept", [(), ("NET_ADMIN", "BPF")], ids=["none", "some"])
def test_root_has_what_it_keeps_and_no_more(kept: tuple[str, ...]) -> None:
    """In all threads and sets, by whatever it executes."""
    own, of_child = given_up(*kept)
    assert own == only([Capability[name] for name in kept])
    assert of_child == replace(own, is_seen=True), "what it executes says that for itself"


@needs_root
@pytest.mark.parametrize("kept", [(), ("NET_ADMIN", "BPF")], ids=["none", "some"])
def test_a_user_hands_on_what_it_keeps_by_the_ambient_set(kept: tuple[str, ...]) -> None:
    """As a unit of systemd starts a relay, without CAP_SETPCAP."""
    given = "+net_admin,+net_raw,+bpf"
    as_user = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", f"--inh-caps={given}")
    bounding = ("--bounding-set=-all,+net_admin,+net_raw,+bpf", f"--ambient-caps={given}")
    own, of_child = given_up(*kept, prefix=(*as_user, *bounding))
    given_all = [Capability.NET_ADMIN, Capability.NET_RAW, Capability.BPF]
    assert own == only([Capability[name] for name in kept], given_all)
    assert of_child == replace(own, is_seen=True)


@needs_root
def test_root_can_go_on_reading_its_code_in_the_home_of_another() -> None:
    """A checkout, which root runs from there: the folder is its owner's alone."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as home:
        shutil.copytree(ROOT / "core", Path(home) / "core", ignore=shutil.ignore_patterns("__pycache__"))
        for path in (Path(home), Path(home) / "core"):
            os.chown(path, NOBODY, NOBODY)
            path.chmod(0o700)
        own, of_child = given_up(code=Path(home))
        assert own.capabilities == of_child.capabilities == {Capability.DAC_READ_SEARCH}


def test_without_any_right_there_is_no_fault() -> None:
    """As in a container that has dropped all, under a filter of system calls that knows no capset."""
    prefix = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()
    assert given_up(prefix=prefix)[0].capabilities == set()


def missing_with(*kept: str) -> str:
    """What a process without all but these capabilities misses."""
    keep = ["-all", *(f"+{name}" for name in kept)]
    command = ["setpriv", f"--bounding-set={','.join(keep)}", "--inh-caps=-all", sys.executable, "-c", ALL]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@needs_root
@pytest.mark.parametrize(
    ("kept", "lacking"),
    [
        ((), "NET_BIND_SERVICE NET_ADMIN NET_RAW SYS_ADMIN PERFMON BPF"),
        (("net_admin", "net_raw"), "NET_BIND_SERVICE SYS_ADMIN PERFMON BPF"),
        (("sys_admin",), "NET_BIND_SERVICE NET_ADMIN NET_RAW"),  # it includes two others
    ],
    ids=["without any", "for sockets", "for all of the system"],
)
def test_what_is_missing_is_named(kept: tuple[str, ...], lacking: str) -> None:
    assert missing_with(*kept).split()[2:] == [f"CAP_{name}" for name in lacking.split()]


def test_who_wants_nothing_misses_nothing() -> None:
    assert missing(()) == []


def test_the_kernel_has_a_release() -> None:
    release = Path("/proc/sys/kernel/osrelease").read_text()
    assert release.startswith("{}.{}".format(*kernel_release()))
