"""What netlink tells of changes, and how soon, in a network namespace of the test's own."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from statistics import median

import pytest

from ebpf.net import netns
from ebpf.net.snapshot import STORM_PAUSE_S, Netlink

pytestmark = pytest.mark.netns

PATIENCE_S = 5


@pytest.fixture
def namespace() -> Iterator[str]:
    if os.geteuid() != 0:
        pytest.skip("needs root: makes a network namespace")
    name = f"voxpop-test-{os.getpid()}"
    netns.create(name)
    for words in ("link add near type veth peer name far", "link set near up", "link set far up"):
        subprocess.run(["ip", "-n", name, *words.split()], check=True)
    yield name
    netns.remove(name)


def change(number: int) -> None:
    words = f"neigh replace 192.0.2.{number} lladdr 02:00:00:00:00:01 dev near nud permanent"
    subprocess.run(["ip", *words.split()], check=True)


def test_of_two_changes_in_a_row_the_second_is_told_as_soon(namespace: str) -> None:
    """A client's address, then the answer of the host that it is led to: packets wait for that."""

    async def run() -> list[float]:
        loop, waited = asyncio.get_running_loop(), []
        async with Netlink() as netlink:
            changes = netlink.changes()

            async def told() -> None:
                await asyncio.wait_for(anext(changes), PATIENCE_S)

            await told()
            for number in range(5):
                await asyncio.sleep(2 * STORM_PAUSE_S)  # no storm of these
                change(2 * number + 1)
                await told()
                change(2 * number + 2)
                began = loop.time()
                await told()
                waited.append(loop.time() - began)
        return waited

    with netns.inside(namespace):
        assert median(asyncio.run(run())) < STORM_PAUSE_S / 2
