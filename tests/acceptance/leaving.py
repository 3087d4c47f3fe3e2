"""The step by which hosts are given back, compared with what they had before anything of ours was there."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.errors import UnmetError
from tests.acceptance.leftovers import PROBE, findings, left
from tests.acceptance.playing import variables
from tests.acceptance.scene import Scene

PROBE_S = 900.0


def look(scene: Scene) -> None:
    """Remember what the hosts have now, for the end."""
    for name, host in scene.hosts.items():
        _before(scene, name).write_text(host.run(PROBE, PROBE_S) + "\n")


def _before(scene: Scene, name: str) -> Path:
    return scene.folders.run / f"{name}.before"


def decommission(scene: Scene) -> str:
    """Nothing is left but Debian's packages and what they bring."""
    hosts = scene.hosts
    scene.playbooks.play("voxpop.edge.decommission", hosts, *variables(decommission=",".join(hosts)))
    wrong, compared = [], 0
    for name, host in hosts.items():
        said = host.run(PROBE, PROBE_S)
        (scene.folders.run / f"{name}.after").write_text(said + "\n")
        after = findings(said)
        compared += sum(map(len, after.values()))
        wrong += [f"{name}: {each}" for each in left(findings(_before(scene, name).read_text()), after)]
    if wrong:
        raise UnmetError("this is left:\n" + "\n".join(wrong))
    return f"both hosts as before provision but for Debian's packages, by {compared} findings"
