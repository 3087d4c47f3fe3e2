"""`voxpop version`, for people and for playbooks."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys

from core.service.build import VERSION
from ebpf.layout import SCHEMA_VERSION
from tests.paths import ROOT


def voxpop(*arguments: str) -> str:
    command = [sys.executable, "-m", "voxpop", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_it_tells_version_commit_layout_python_and_kernel() -> None:
    told = json.loads(voxpop("version", "--json"))
    assert told == {
        "version": VERSION,
        "commit": "unknown",
        "schema": SCHEMA_VERSION,
        "python": platform.python_version(),
        "prefix": sys.prefix,
        "kernel": os.uname().release,
    }
    lines = voxpop("version").splitlines()
    assert lines == [
        f"voxpop {VERSION}, commit unknown",
        f"maps of the fast path: v{SCHEMA_VERSION}",
        f"Python {told['python']} in {sys.prefix}, Linux {told['kernel']}",
    ]
