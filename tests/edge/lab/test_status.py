"""What is said of a lab."""

from __future__ import annotations

import os
import subprocess
from ipaddress import ip_address

import pytest

from ebpf.net import netns
from edge.lab import network
from edge.lab.plan import LabPlan, Place
from edge.lab.processes import Process
from edge.lab.status import InterfaceStatus, LabStatus, PlaceStatus, examine, render
from tests.edge.kit import eventually

SLEEP = "300.5"


def shown(plan: LabPlan, place: str) -> list[str]:
    """The interfaces of a place, by name."""
    (found,) = (each for each in examine(plan).places if each.place == place)
    return [each.name for each in found.interfaces]


@pytest.mark.netns
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces")
def test_interfaces_and_processes_are_the_kernels_word() -> None:
    plan = LabPlan(name=f"s{os.getpid()}")
    client, region = plan.namespaces[Place.CLIENT], plan.namespaces[Place.REGION]
    try:
        network.build(plan)
        assert region is not None
        with netns.inside(client), subprocess.Popen(["sleep", SLEEP]) as sleeper:
            try:
                netns.remove(region)
                eventually(lambda: shown(plan, "pop") == ["public"], "the other pair goes with its end")
                found = {place.place: place for place in examine(plan).places}
            finally:
                sleeper.kill()
        assert found["client"].processes == [Process(sleeper.pid, f"sleep {SLEEP}")]
        (interface,) = found["client"].interfaces
        hosts = {ip_address(address.partition("/")[0]) for address in plan.client.addresses}
        assert hosts <= set(map(ip_address, interface.addresses))
        assert (interface.is_up, interface.xdp) == (True, None)
        assert (found["region"].exists, found["region"].interfaces) == (False, [])
    finally:
        network.remove(plan)


def test_for_people_there_is_a_line_for_everything() -> None:
    status = LabStatus(
        name="x",
        url="http://127.0.0.1:8080",
        vips=["198.51.100.1:3478"],
        config="/x/voxpop.toml",
        pin_dir="/x/bpf",
        places=[
            PlaceStatus(
                "client", None, True, [InterfaceStatus("vp-x", "02", 1500, True, ["1.2.3.4"], None)], []
            ),
            PlaceStatus(
                "pop",
                "voxpop-x-pop",
                True,
                [InterfaceStatus("public", "02", 1500, False, ["5.6.7.8", "::5"], "native")],
                [Process(77, "voxpop relay " + "x" * 200)],
            ),
            PlaceStatus("region", "voxpop-x-region", False, [], []),
        ],
    )
    lines = render(status).splitlines()
    assert lines[0] == "lab x: call http://127.0.0.1:8080 from the client, VIPs 198.51.100.1:3478"
    assert [line.split() for line in lines[2:4]] == [["client", "this", "machine"], ["vp-x", "1.2.3.4"]]
    assert lines[5].split() == ["public", "5.6.7.8", "::5,", "XDP", "native,", "down"]
    assert lines[6].startswith("    77        voxpop relay xxx")
    assert len(lines[6]) < 110
    assert lines[7].endswith("namespace voxpop-x-region, which is gone")
