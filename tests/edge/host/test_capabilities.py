"""Capabilities, as a process really has them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from edge.host.capabilities import DATAPLANE, RELAY, Capability, missing
from tests.paths import ROOT

CODE = "from edge.host.capabilities import *; print(*missing(sorted({*DATAPLANE, *RELAY})))"


def missing_with(*kept: str) -> str:
    """What a process without all but these capabilities misses."""
    keep = ["-all", *(f"+{name}" for name in kept)]
    command = ["setpriv", f"--bounding-set={','.join(keep)}", "--inh-caps=-all", sys.executable, "-c", CODE]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: gives capabilities up")
@pytest.mark.parametrize(
    ("kept", "lacking"),
    [
        ((), "CAP_NET_ADMIN CAP_NET_RAW CAP_PERFMON CAP_BPF"),
        (("net_admin", "net_raw"), "CAP_PERFMON CAP_BPF"),
        (("bpf", "perfmon", "net_admin"), "CAP_NET_RAW"),
        (("sys_admin",), "CAP_NET_ADMIN CAP_NET_RAW"),  # it includes the other two
    ],
)
def test_what_is_missing_is_named(kept: tuple[str, ...], lacking: str) -> None:
    assert missing_with(*kept) == lacking


def test_who_wants_nothing_misses_nothing() -> None:
    assert missing(()) == []
    assert Capability.SYS_ADMIN not in {*DATAPLANE, *RELAY}
