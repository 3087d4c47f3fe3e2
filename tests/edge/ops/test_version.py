"""`voxpop version`, for people and for playbooks."""

from __future__ import annotations

import json
import os
import platform
import sys

from core.service.build import VERSION
from ebpf.layout import SCHEMA_VERSION
from tests.core.service.cli.kit import voxpop
from tests.paths import ROOT


def told_by(*options: str) -> str:
    done = voxpop("version", *options, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_tells_version_commit_layout_python_and_kernel() -> None:
    told = json.loads(told_by("--json"))
    assert told == {
        "version": VERSION,
        "commit": "unknown",
        "schema": SCHEMA_VERSION,
        "python": platform.python_version(),
        "prefix": sys.prefix,
        "kernel": os.uname().release,
    }
    lines = told_by().splitlines()
    assert lines == [
        f"voxpop {VERSION}, commit unknown",
        f"maps of the fast path: v{SCHEMA_VERSION}",
        f"Python {told['python']} in {sys.prefix}, Linux {told['kernel']}",
    ]
