"""What is asked of the kernel, by what the kernel says of a process that has asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

ASK = """
import gc, json, os, sys
from pathlib import Path
from edge.lab.wan.prompt import be_prompt
if len(sys.argv) > 1:
    os.setuid(65534)
refused = list(be_prompt())
locked = int(Path("/proc/self/status").read_text().partition("VmLck:")[2].split()[0])
print(json.dumps([refused, os.sched_getscheduler(0), locked, gc.isenabled()]))
"""


def ask(*words: str) -> tuple[list[str], int, int, bool]:
    command = [sys.executable, "-c", ASK, *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    refused, scheduler, locked, collects = json.loads(done.stdout)
    return refused, scheduler, locked, collects


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: runs before other processes")
def test_root_is_before_others_and_in_memory() -> None:
    refused, scheduler, locked_kib, collects = ask()
    assert refused == []
    assert scheduler == os.SCHED_FIFO
    assert locked_kib > 1000
    assert not collects


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: becomes somebody else")
def test_others_are_told_what_they_may_not() -> None:
    refused, scheduler, locked_kib, _ = ask("nobody")
    assert "SCHED_FIFO" in refused[0]
    assert scheduler == os.SCHED_OTHER
    assert (locked_kib > 0) == (len(refused) == 1), "a small process may be let"
