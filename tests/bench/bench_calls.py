"""What a call costs a transceiver: CPU and memory while it lasts, and CPU to set it up.

A transceiver of one process on one CPU; on the other a relay and callers who talk with its parrot, each
saying a sentence, hearing it said back, and so on. Costs are the process's own CPU time, sockets, checks,
DTLS, SCTP, events and backend included, whatever else the machine does; of a call, for as many packets as it
should have.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tests.bench.bench_media import cost_us
from tests.bench.bench_relay import only_worker
from tests.bench.result import Figure
from tests.e2e.kit import SPEECH_FRAMES, Callers
from tests.processes import cpu_ns
from transceiver.caller.call import Call
from transceiver.demo.host import LocalHost, plan_host
from transceiver.media.load import NORMAL_COMPLEXITY

CALLS, AT_ONCE = 40, 4
SETTLE_S, TALK_S = 2.0, 12.0
SET_UPS = 60
PACKETS_PER_S = 50
"""Of a call, each way."""
BUSY = 0.8
"""Where the encoder begins to save (transceiver/media/load.py)."""


@dataclass(frozen=True)
class Process:
    """The transceiver's only worker."""

    pid: int

    def cpu_s(self) -> float:
        """What it has used so far."""
        return cpu_ns(self.pid) / 1e9

    def memory_kib(self) -> int:
        """Resident, of its own."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def run() -> list[Figure]:
    """Every figure; takes about half a minute."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        return []
    try:
        return asyncio.run(_measure(cpus))
    finally:
        os.sched_setaffinity(0, set(cpus))


@asynccontextmanager
async def _scene(cpus: list[int]) -> AsyncIterator[tuple[LocalHost, Process]]:
    """The transceiver on the last CPU, all else on the first."""
    settings = {"max_loop_lag_ms": 10_000, "max_sessions": 4 * CALLS}
    plan = plan_host(processes=1, workers=1, transceiver_settings=settings)
    with tempfile.TemporaryDirectory(prefix="voxpop-bench-") as folder:
        host = LocalHost(plan, Path(folder))
        try:
            os.sched_setaffinity(0, {cpus[1]})
            await host.transceiver.start()
            os.sched_setaffinity(0, {cpus[0]})
            await host.relay.start()
            assert host.transceiver.child is not None
            yield host, Process(only_worker(host.transceiver.child.popen.pid))
        finally:
            await host.stop()


async def _measure(cpus: list[int]) -> list[Figure]:
    async with _scene(cpus) as (host, process), aiohttp.ClientSession() as http:
        set_up_ms = await _set_ups(Callers(host.plan.url, http), process)
        crowd = Callers(host.plan.url, http)
        try:
            empty_mib = process.memory_kib() / 1024
            share, kib = await _talk(crowd, process)
        finally:
            await crowd.hang_up()
            crowd.close()
    alone = cost_us(NORMAL_COMPLEXITY, talking=True)
    return [
        Figure(
            "calls per core", BUSY / share, "calls",
            note=f"at {BUSY:.0%} of it; {CALLS} callers took {share * CALLS:.0%}, each {share * 20e3:.0f} µs "
            f"of 20 ms; the audio path alone, both talking all the time: {alone:.0f} µs",
        ),
        Figure("CPU of a call", share * 1e3, "ms/s", note="each second of it, of one core"),
        Figure("CPU of a set-up", set_up_ms, "ms", note="offer, checks, DTLS, SCTP, first audio, hang-up"),
        Figure("memory of a call", kib, "KiB", note="growth of the process"),
        Figure("memory of a process without calls", empty_mib, "MiB"),
    ]  # fmt: skip


async def _set_ups(crowd: Callers, process: Process) -> float:
    """CPU ms of the process for each of some calls, one after the other."""
    try:
        for number in range(2 * SET_UPS):
            if number == SET_UPS:
                before = process.cpu_s()
            call = crowd.call()
            await call.connect()
            await call.hang_up()
        return (process.cpu_s() - before) / SET_UPS * 1e3
    finally:
        await crowd.hang_up()
        crowd.close()


def audio_packets(calls: Sequence[Call]) -> int:
    """Of all calls, both ways, so far. A busy machine leaves ticks out, and what they would have cost."""
    paths = [call.transport.path for call in calls if call.transport is not None]
    return sum(path.stats.packets_sent + path.stats.packets_received for path in paths if path is not None)


async def _talk(crowd: Callers, process: Process) -> tuple[float, float]:
    """(share of a CPU, KiB) of one call among many, all talking."""
    before_kib = process.memory_kib()
    calls = [crowd.call() for _ in range(CALLS)]
    free = asyncio.Semaphore(AT_ONCE)

    async def connect(call: Call) -> None:
        async with free:
            await call.connect()

    async def talk(number: int) -> None:
        await asyncio.sleep(number * SETTLE_S / CALLS)  # they do not all begin with the same word
        await calls[number].converse(SPEECH_FRAMES, None, SETTLE_S + TALK_S)

    await asyncio.gather(*map(connect, calls))
    talking = asyncio.gather(*map(talk, range(CALLS)))
    await asyncio.sleep(SETTLE_S)
    cpu_s, packets = process.cpu_s(), audio_packets(calls)
    await asyncio.sleep(TALK_S - SETTLE_S)
    share = (process.cpu_s() - cpu_s) / (audio_packets(calls) - packets) * 2 * PACKETS_PER_S
    kib = (process.memory_kib() - before_kib) / CALLS
    await talking
    return share, kib
