"""Planets for tests."""

from __future__ import annotations

import contextlib
from pathlib import Path

from ebpf.net import netns
from edge.lab.plan import DIRECTORY
from edge.lab.planet import spec
from edge.lab.planet.layout import Layout

SMALL = """\
[transceiver]
max_loop_lag_ms = 10000

[[city]]
name = "tokyo"
latitude = 35.69
longitude = 139.69

[[city]]
name = "paris"
latitude = 48.85
longitude = 2.35

[[pop]]
name = "frankfurt"
latitude = 50.11
longitude = 8.68
hosts = 2
shared = ["any"]
redis = "europe"

[[pop]]
name = "tokyo"
latitude = 35.69
longitude = 139.69
shared = ["any"]

[[region]]
name = "europe"
latitude = 53.35
longitude = -6.26

[[redis]]
name = "europe"
at = "region-europe"
"""
"""Every kind of place, and little of each."""


def small(name: str = "x") -> Layout:
    return Layout(name, spec.parse(SMALL))


def default(name: str = "x") -> Layout:
    return Layout(name, spec.default())


def largest() -> Layout:
    """As many places of each kind as a file may have."""
    tables = []
    for kind, number in (
        *(("city", spec.MAX_CITIES), ("pop", spec.MAX_POPS), ("region", spec.MAX_REGIONS)),
        ("redis", spec.MAX_REDIS),
    ):
        for n in range(number):
            name = f"{'abcdefgh'[n // 26]}{chr(97 + n % 26)}"
            table = f'[[{kind}]]\nname = "{name}"\n'
            if kind == "redis":
                table += 'at = "pop-aa"\n' if n % 2 else 'at = "region-aa"\n'
            else:
                table += f"latitude = {n}\nlongitude = {-n}\n"
            if kind == "pop":
                table += f"hosts = {spec.MAX_HOSTS}\nuplinks = 2\nbackbones = {spec.MAX_BACKBONES}\n"
                table += f'shared = ["s{n % spec.MAX_SHARED_VIPS}"]\n'
            if kind == "region":
                table += f"hosts = {spec.MAX_TRANSCEIVER_HOSTS}\n"
            tables.append(table)
    return Layout("x", spec.parse("\n".join(tables)))


def assert_nothing_left(name: str) -> None:
    assert not [each.name for each in netns.DIRECTORY.glob(f"voxpop-{name}-*")]
    assert not (DIRECTORY / name).exists()
    assert f"{DIRECTORY / name}/" not in Path("/proc/mounts").read_text()
    assert not processes_of(name)


def processes_of(name: str) -> list[str]:
    """Command lines of processes that have the lab's directory in them."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            words = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            found += [words] if f"{DIRECTORY / name}/" in words else []
    return found
