"""The model of docs/scale.md beside what is measured: figures are ratios, measured by predicted.

The crowd of 20,000 of a dead PoP comes to one host, and the lab carries 50 calls. The model is given what
`recall` has measured a moment before, how much of the CPUs the workers got, on a machine that has the crowd,
the store and the test too, and how many packets came up.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import aiohttp

from core.addr import IpFamily
from core.scale.assumptions import Plan, PopHost, Traffic
from core.scale.failure import Media, Recovery, Spare, restore
from core.scale.figures import Figures, from_bench
from core.scale.fleet import bits_per_s, packets_per_s
from ebpf.net import netns
from edge.lab import lab
from edge.lab.lab import Running
from edge.lab.plan import LabPlan, Place
from tests.bench import bench_recall
from tests.bench.bench_calls import audio_packets
from tests.bench.result import Figure
from tests.bench.run import as_json
from tests.e2e.kit import PATIENT_HOST, SPEECH_FRAMES, Callers
from tests.edge.dead_pop import BEHIND_ONE_NAT, FLOWS, WORKERS, drill
from transceiver.caller.call import Call
from transceiver.caller.ice import CONSENT_INTERVAL_NS
from transceiver.media.sender import BITRATE

WITHIN = 2.0
"""By what factor the model may be off."""
CALLS, AT_ONCE, SETTLE_S, TALK_S = 50, 8, 3.0, 12.0
UNSEEN_BYTES = 24
"""Of Ethernet's 38, what no program sees: check sequence, preamble and gap."""


def run() -> list[Figure]:
    """Every figure, in about a minute; none without root and two CPUs."""
    if os.geteuid() != 0 or len(os.sched_getaffinity(0)) < 2:
        return []
    return [_dead_pop(), *_lab()]


def _dead_pop() -> Figure:
    problems: list[str] = []
    measured = from_bench(as_json({"recall": bench_recall.run()}), problems)
    if problems:
        raise RuntimeError(problems[0])
    figures = replace(Figures(), **measured)
    with tempfile.TemporaryDirectory(prefix="voxpop-bench-") as folder:
        outcome = drill(Path(folder))

    came_up = outcome.samples["fastpath_packets_total", "ipv4", "punt_media"] / outcome.took_s
    media = Media(2 * came_up / FLOWS, BEHIND_ONE_NAT / FLOWS)

    def predicted(cores: float) -> Recovery:
        spare = Spare(cores, figures.commands_per_server_s)
        return restore(FLOWS, media, PopHost(workers=WORKERS), spare, figures)

    here, apart = predicted(outcome.cores), predicted(WORKERS)
    return Figure(
        f"{FLOWS:,} flows of a dead PoP", outcome.took_s / here.seconds, "× model",
        at_least=1 / WITHIN, at_most=WITHIN,
        note=f"{outcome.took_s:.1f} s; {here.seconds:.1f} s of {outcome.cores:.1f} cores, by {here.limit}; "
        f"on a core each, {apart.seconds:.1f} s, by {apart.limit}",
    )  # fmt: skip


class Seen(NamedTuple):
    """In some seconds of the lab's calls."""

    packets: int
    """That the fast path forwarded."""
    octets: int
    audio: int
    """Packets of audio that callers sent and received: fewer than they should where a machine is busy."""

    def since(self, before: Seen) -> Seen:
        """What came between."""
        return Seen(*(now - then for now, then in zip(self, before, strict=True)))


def _lab() -> list[Figure]:
    plan = LabPlan(name=f"b{os.getpid()}", families=(IpFamily.V4,), transceiver=PATIENT_HOST)
    running = lab.up(plan, start=True, tell=lambda _: None)
    try:
        with netns.inside(running.plan.namespaces[Place.CLIENT]):
            seen = asyncio.run(_talk(running))
    finally:
        running.remove()
    traffic = Traffic(
        calls=CALLS, pops_named=1, families=1, ip_bytes=20, audio_bits_per_s=BITRATE,
        check_s=CONSENT_INTERVAL_NS / 1e9,
    )  # fmt: skip
    model, audio_per_s = Plan(traffic), CALLS * traffic.packets_per_s * 2
    others = (packets_per_s(model) - audio_per_s) * TALK_S
    bits = (seen.octets + seen.packets * UNSEEN_BYTES) * 8
    note = f"{seen.audio / TALK_S:,.0f} packets/s of audio, of {audio_per_s:,.0f}"
    return [
        Figure(
            "packets of the lab's calls", seen.packets / (seen.audio + others), "× model",
            at_least=0.95, at_most=1.05, note=note,
        ),
        Figure(
            "bits of the lab's calls", bits / seen.audio * audio_per_s / bits_per_s(model), "× model",
            at_least=0.5, at_most=1.05, note="for each packet of audio; in the model all talk all the time",
        ),
    ]  # fmt: skip


async def _talk(running: Running) -> Seen:
    """All of them for a while."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=AT_ONCE)) as http:
        crowd = Callers(running.plan.url, http)
        try:
            calls = [crowd.call() for _ in range(CALLS)]
            for first in range(0, CALLS, AT_ONCE):
                await asyncio.gather(*(call.connect() for call in calls[first : first + AT_ONCE]))
            talking = asyncio.gather(
                *(call.converse(SPEECH_FRAMES, None, SETTLE_S + TALK_S + 2) for call in calls)
            )
            await asyncio.sleep(SETTLE_S)
            before = await _look(running, calls)
            await asyncio.sleep(TALK_S)
            seen = (await _look(running, calls)).since(before)
            await talking
        finally:
            await crowd.hang_up()
            crowd.close()
    return seen


async def _look(running: Running, calls: Sequence[Call]) -> Seen:
    """So far."""
    packets, octets = await asyncio.to_thread(_forwarded, running)
    return Seen(packets, octets, audio_packets(calls))


def _forwarded(running: Running) -> tuple[int, int]:
    """Packets and bytes so far, as `voxpop stats` has them."""
    command = [sys.executable, "-m", "voxpop", "stats", "--json", "--config", str(running.plan.config_path)]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    rows = [row for row in told["counters"] if row["verdict"].startswith("forward_")]
    return sum(row["packets"] for row in rows), sum(row["bytes"] for row in rows)
