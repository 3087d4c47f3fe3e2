"""Another version of Voxpop: a copy of its sources with something changed."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.paths import ROOT

PARTS = ("core", "ebpf", "edge", "transceiver")

Edit = tuple[str, str]
"""The first text becomes the second; an empty first text begins a new file."""


def copy_of_the_sources(directory: Path, edits: Mapping[str, Edit]) -> Path:
    """The sources in `directory`, with each of these files edited. AssertionError where a text is missing."""
    for part in PARTS:
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
        shutil.copytree(ROOT / part, directory / part, ignore=ignored)
    shutil.copy(ROOT / "voxpop.py", directory)
    for name, (old, new) in edits.items():
        path = directory / name
        if not old:
            assert not path.exists(), f"{name} is there already"
            path.write_text(new)
            continue
        text = path.read_text()
        assert text.count(old) == 1, f"{name} has {old!r} {text.count(old)} times"
        path.write_text(text.replace(old, new))
    return directory
