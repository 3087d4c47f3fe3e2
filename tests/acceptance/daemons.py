"""What the daemons of hosts say of themselves, read as values."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance import wires
from tests.acceptance.errors import UnmetError
from tests.acceptance.machine import Machine
from tests.acceptance.scene import POP, REGION, Scene

ADDRESSES = {POP: f"{wires.POP_BACKBONE}:9464", REGION: f"{wires.REGION}:9465"}
"""Of their metrics."""
ROLES = {POP: "edge", REGION: "transceiver"}
_GET = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=30).read().decode())"


@dataclass(frozen=True, slots=True)
class Keys:
    """What a daemon accepts, and mints with."""

    ids: tuple[int, ...]
    mint_with: int


@dataclass(frozen=True, slots=True)
class Status:
    """Of `voxpop drain status --json`."""

    state: str
    left: int
    """Flows or calls."""
    keys: Keys


@dataclass(frozen=True, slots=True)
class Versions:
    """Of a host: which is in use, and which was before."""

    current: str
    previous: str


def status(said: str) -> Status:
    """Of its one line. Raises UnmetError for another text."""
    try:
        plain = json.loads(said)
        keys = Keys(tuple(plain["keys"]["ids"]), plain["keys"]["mint_with"])
        return Status(plain["state"], plain["left"], keys)
    except (ValueError, KeyError, TypeError):
        raise UnmetError(f"this is no status: {said[:1000]}") from None


def version(exposition: str) -> str:
    """Of the build that a daemon is, by its metrics. Raises UnmetError where they do not say."""
    samples = (each for family in text_string_to_metric_families(exposition) for each in family.samples)
    found = next((each.labels["version"] for each in samples if each.name == "voxpop_build_info"), None)
    if found is None:
        raise UnmetError(f"there is no voxpop_build_info in {exposition[:1000]}")
    return found


def status_of(scene: Scene, name: str) -> Status:
    """How the relay or the transceiver of a host is."""
    config = f"/etc/voxpop/{ROLES[name]}/voxpop.toml"
    command = f"/opt/voxpop/current/bin/voxpop drain status --config {config} --json"
    return status(scene.hosts[name].run(command))


def version_of(scene: Scene, name: str) -> str:
    """What runs on a host."""
    get = f"python3 -c {shlex.quote(_GET)} http://{ADDRESSES[name]}/metrics"
    return version(scene.hosts[name].run(get) + "\n")


def versions_on(host: Machine) -> Versions:
    """What a host would start."""
    return Versions(*host.run("readlink /opt/voxpop/current /opt/voxpop/previous").splitlines())
