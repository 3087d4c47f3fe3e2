"""The systemd units of the roles, as systemd reads them: settings by section, lists that add up."""

from __future__ import annotations

import subprocess
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from tests.paths import ROOT

ROLES = ROOT / "ansible" / "roles"
UNITS = {path.stem: path for path in sorted(ROLES.glob("*/files/*.service"))}
"""By their names."""

Settings = Mapping[str, Sequence[str]]
"""Of a section: every value that a setting was given, in their order."""


def read(path: Path) -> dict[str, dict[str, list[str]]]:
    """Sections of a unit file."""
    sections: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    section = ""
    for line in path.read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            name, _, value = line.partition("=")
            sections[section][name].append(value)
    return sections


def words(service: Settings, name: str) -> list[str]:
    """Of a setting that is a list."""
    return [word for value in service.get(name, ()) for word in value.split()]


def system_calls(service: Settings) -> set[str]:
    """Those that SystemCallFilter lets through: what later lines name is added or, after `~`, taken away."""
    allowed: set[str] = set()
    for line in service["SystemCallFilter"]:
        named = {call for word in line.removeprefix("~").split() for call in _members(word)}
        allowed = allowed - named if line.startswith("~") else allowed | named
    return allowed


@cache
def _members(word: str) -> frozenset[str]:
    """System calls of a set of systemd's, or the one of that name."""
    if not word.startswith("@"):
        return frozenset([word])
    command = ["systemd-analyze", "syscall-filter", "--no-pager", word]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    members = [line.strip() for line in told.splitlines()[1:] if line.strip() and "#" not in line]
    return frozenset(call for member in members for call in _members(member))
