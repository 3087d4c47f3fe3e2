"""core.service.privileges: what a process has given up is gone, for its children too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.service import launch
from core.service.privileges import Capability, kernel_release, missing
from tests.paths import ROOT
from tests.rights import Rights, only, rights

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: has rights to give up")
KEEP = """\
import ctypes, os, subprocess, sys, threading
from core.service.privileges import WHILE_OPENING, Capability, keep_only
kept = [Capability[name] for name in sys.argv[1:]]
keep_only([*kept, *WHILE_OPENING])
keep_only(kept)
stay = threading.Event()
threading.Thread(target=stay.wait, daemon=True).start()
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), os.stat("/proc/self/mem").st_uid, flush=True)
child = subprocess.Popen(["sleep", "60"])
print(child.pid, flush=True)
sys.stdin.read()
child.kill()
"""
ALL = "from core.service.privileges import *; print(*missing(Capability))"
NOBODY = 65534


def given_up(*kept: str, prefix: tuple[str, ...] = ()) -> tuple[list[str], Rights, Rights]:
    """Whether it can be dumped and whose its files in /proc are, and the rights of it and of a child."""
    command = [*prefix, *launch.python("-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{KEEP}", *kept)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        dumpable, child = process.stdout.readline().split(), process.stdout.readline()
        try:
            return dumpable, rights(process.pid), rights(int(child))
        finally:
            process.communicate()


@needs_root
@pytest.mark.parametrize("kept", [(), ("NET_ADMIN", "BPF")], ids=["none", "some"])
def test_root_has_what_it_keeps_and_no_more(kept: tuple[str, ...]) -> None:
    """In all threads and sets, by whatever it executes."""
    dumpable, own, of_child = given_up(*kept)
    assert own == of_child == only([Capability[name] for name in kept])
    assert dumpable[0] == "0"


@needs_root
@pytest.mark.parametrize("kept", [(), ("NET_ADMIN", "BPF")], ids=["none", "some"])
def test_a_user_hands_on_what_it_keeps_by_the_ambient_set(kept: tuple[str, ...]) -> None:
    """As a unit of systemd starts a relay, without CAP_SETPCAP."""
    given = "+net_admin,+net_raw,+bpf"
    as_user = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", f"--inh-caps={given}")
    bounding = ("--bounding-set=-all,+net_admin,+net_raw,+bpf", f"--ambient-caps={given}")
    dumpable, own, of_child = given_up(*kept, prefix=(*as_user, *bounding))
    given_all = [Capability.NET_ADMIN, Capability.NET_RAW, Capability.BPF]
    assert own == of_child == only([Capability[name] for name in kept], given_all)
    assert dumpable == ["0", "0"], "its memory is root's to read"


def test_without_any_right_there_is_no_fault() -> None:
    """As in a container that has dropped all, under a filter of system calls that knows no capset."""
    prefix = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()
    assert given_up(prefix=prefix)[1].capabilities == set()


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
        ((), "CAP_SETPCAP CAP_NET_BIND_SERVICE CAP_NET_ADMIN CAP_NET_RAW CAP_SYS_ADMIN CAP_PERFMON CAP_BPF"),
        (("net_admin", "net_raw"), "CAP_SETPCAP CAP_NET_BIND_SERVICE CAP_SYS_ADMIN CAP_PERFMON CAP_BPF"),
        (
            ("sys_admin",),
            "CAP_SETPCAP CAP_NET_BIND_SERVICE CAP_NET_ADMIN CAP_NET_RAW",
        ),  # it includes two others
    ],
)
def test_what_is_missing_is_named(kept: tuple[str, ...], lacking: str) -> None:
    assert missing_with(*kept) == lacking


def test_who_wants_nothing_misses_nothing() -> None:
    assert missing(()) == []


def test_the_kernel_has_a_release() -> None:
    release = Path("/proc/sys/kernel/osrelease").read_text()
    assert release.startswith("{}.{}".format(*kernel_release()))
