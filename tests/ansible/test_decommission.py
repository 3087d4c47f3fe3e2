"""Whatever a role puts on a host its decommission takes away: compared by what the YAML of both says."""

from __future__ import annotations

import pytest
import yaml

from tests.ansible import traces
from tests.ansible.units import ROLES
from tests.paths import ROOT

DEBIANS = {"/etc/bird", "/etc/haproxy", "/etc/prometheus", "/var/lib/prometheus/node-exporter"}
"""Folders that come with a package of Debian's, and stay or go with it."""
PLAYBOOKS = ROOT / "ansible" / "playbooks"


@pytest.mark.parametrize("role", traces.roles())
def test_nothing_of_a_role_is_forgotten(role: str) -> None:
    taken = traces.removed(role) | traces.removed("base")
    assert traces.forgotten(traces.made(role) - DEBIANS, taken) == set()


def test_what_would_be_forgotten_is_found() -> None:
    """One for each kind, so that the reading of the YAML is not what passes."""
    left = traces.made("edge") | traces.made("bgp") | traces.made("kernel") | traces.made("monitoring")
    for each in (
        "/etc/systemd/system/voxpop-announce.service.d/50-host.conf",
        "/etc/systemd/system/bird.service.d/50-voxpop.conf",
        "/etc/bird/bird.conf",
        "/etc/default/prometheus-node-exporter",
        "/etc/sysctl.d/60-voxpop.conf",
        "/run/voxpop/edge",
        "/var/cache/voxpop",
        "user voxpop-announce",
        "package prometheus",
        "package bird2",
    ):
        assert each in traces.forgotten(left, traces.removed("transceiver")), each


def test_every_role_is_taken_off_base_last_and_by_an_entry_point_of_its_own() -> None:
    (task,) = [
        each
        for play in yaml.safe_load((PLAYBOOKS / "decommission.yml").read_text())
        for each in play["tasks"]
        if "loop" in each
    ]
    order = task["loop"]
    assert sorted(order) == traces.roles()
    assert order[-1] == "base", "it has the book of what was before"
    assert order.index("signaling_ingress") < order.index("edge"), "whose user its checker runs as"
    assert order.index("edge") < order.index("bgp"), "flows go on by what is announced always"
    for role in order:
        specs = yaml.safe_load((ROLES / role / "meta" / "argument_specs.yml").read_text())
        assert "decommission" in specs["argument_specs"], role
