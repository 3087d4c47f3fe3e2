"""A lab of the test's own, calls in it, and what was seen at both of its ends."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from core.addr import IpFamily
from ebpf.net import netns
from edge.lab import lab
from edge.lab.lab import Running
from edge.lab.plan import LabPlan, Place
from tests.e2e.kit import PATIENT_HOST, Callers
from tests.lab.capture import Capture, capturing, read
from tests.pcap import Datagram
from transceiver.caller.call import Call

AT_ONCE = 8


@contextmanager
def a_lab(families: Iterable[IpFamily] = IpFamily, **relay: object) -> Iterator[Running]:
    """A lab with everything running. Without the rights that it takes, the test fails."""
    plan = LabPlan(name=f"t{os.getpid()}", families=tuple(families), relay=relay, transceiver=PATIENT_HOST)
    running = lab.up(plan, start=True, tell=lambda _: None)
    try:
        yield running
    finally:
        running.remove()


def in_client(running: Running) -> AbstractContextManager[None]:
    """The block, and what it starts, is in the client's network namespace."""
    return netns.inside(running.plan.namespaces[Place.CLIENT])


@asynccontextmanager
async def callers(running: Running) -> AsyncIterator[Callers]:
    """Callers, in the client's namespace; their calls are hung up whatever happens."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=AT_ONCE)) as http:
        crowd = Callers(running.plan.url, http)
        try:
            yield crowd
        finally:
            await crowd.hang_up()
            crowd.close()


async def connect(calls: Sequence[Call]) -> None:
    """All of them, a few at a time."""
    free = asyncio.Semaphore(AT_ONCE)

    async def one(call: Call) -> None:
        async with free:
            await call.connect()

    await asyncio.gather(*map(one, calls))


async def talk(calls: Sequence[Call], seconds: float) -> None:
    """Stay in all calls. Raises CallError when one breaks off."""
    await asyncio.gather(*(call.run_for(seconds) for call in calls))


def voxpop(running: Running, *words: str) -> Any:
    """What a command says as JSON."""
    command = [sys.executable, "-m", "voxpop", *words, "--json", "--config", str(running.plan.config_path)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def carried(running: Running) -> dict[tuple[str, str], int]:
    """Packets that the fast path has counted, by verdict and IP version, as `voxpop stats` has it."""
    return {(row["verdict"], row["family"]): row["packets"] for row in voxpop(running, "stats")["counters"]}


def clients(running: Running) -> set[str]:
    """The clients that have a flow, as `voxpop flows list` has it."""
    return {flow["client"] for flow in voxpop(running, "flows", "list", "--limit", "0")["flows"]}


@dataclass(frozen=True)
class Seen:
    """Datagrams at both ends of the lab, by direction."""

    sent_up: list[Datagram]
    received_up: list[Datagram]
    sent_down: list[Datagram]
    received_down: list[Datagram]

    def of(self, family: IpFamily) -> Seen:
        """Those of an IP version."""
        of_family = ([d for d in each if d.source.family is family] for way in self.ways for each in way)
        return Seen(*of_family)

    @property
    def ways(self) -> tuple[tuple[list[Datagram], list[Datagram]], ...]:
        """(sent, received) of upstream and downstream."""
        return (self.sent_up, self.received_up), (self.sent_down, self.received_down)


@dataclass(frozen=True)
class Ends:
    """Captures at the client and in the region; read when they have ended."""

    running: Running
    at_client: Capture
    at_region: Capture

    def read(self) -> Seen:
        """Every datagram; all checksums were computed anew, and were right."""
        vips = set(self.running.plan.vips)
        backbones = set(self.running.plan.backbone_hosts)
        client, region = read(self.at_client), read(self.at_region)
        return Seen(
            sent_up=[d for d in client if d.destination in vips],
            received_up=[d for d in region if d.source.host in backbones],
            sent_down=[d for d in region if d.destination.host in backbones],
            received_down=[d for d in client if d.source in vips],
        )


@contextmanager
def watching(running: Running, folder: Path) -> Iterator[Ends]:
    """Capture at both ends."""
    names = running.plan.namespaces
    with (
        capturing(folder / "client.pcap", names[Place.CLIENT]) as client,
        capturing(folder / "region.pcap", names[Place.REGION]) as region,
    ):
        yield Ends(running, client, region)
