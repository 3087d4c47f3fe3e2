"""One soak: calls over a backend's WebSocket, for as long as is wanted, and what is left of them."""

from __future__ import annotations

import asyncio
import math
import random
import re
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp

from core.service.process import tree
from core.service.tasks import until_one_ends
from tests.e2e.kit import metric
from tests.soak.callers import Crowd, Tally
from tests.soak.resources import Held, Sample, held, pss_kib
from tests.soak.scene import Scene, playing
from transceiver.media.ticker import PHASES

SESSIONS, TASKS = "voxpop_transceiver_sessions", "voxpop_transceiver_tasks"
FLOWS = "voxpop_relay_flows"
LOSSES, MISSED = "voxpop_transceiver_backend_losses_total", "voxpop_transceiver_missed_ticks_total"
PATIENCE_S: Final = 60.0
"""For what is over to be gone: consent of a relay's flow, connections that say goodbye."""
POLL_S: Final = 0.5
WARM_UP_CALL_S: Final = 4.0
SAMPLES: Final = 120
"""Of memory, in all."""
EXPECTED: Final = (
    re.compile(r"session \S+ lost its backend: closed, "),
    re.compile(r"session \S+ has no backend: "),
    re.compile(r"no connection to 127\.0\.0\.1: "),
    re.compile(r"PoP \S+ is doubtful \(starting, "),
    re.compile(r"PoP \S+ is doubtful \(silent, forwarder unknown\)"),  # of which nothing was ever heard
)
"""Of the log, what cutting connections leads to, and starting all at once."""
WORRYING: Final = re.compile(r"\b(WARNING|ERROR|CRITICAL)\b|^Traceback|^\w*Error: ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is played."""

    seconds: float
    calls: int
    """At once."""
    cut_every_s: float
    processes: int = 2
    seed: int = 1


@dataclass(slots=True)
class Found:
    """What was seen, as far as it went."""

    plan: Plan
    samples: list[Sample] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    cuts: int = 0
    losses: int = 0
    """Of sessions: a connection in the pool may be cut as well."""
    skipped_frames: int = 0
    """That the clock left out, of each session of a process, because it came too late for them."""
    left: dict[str, int] = field(default_factory=dict)
    """More than before the first call: descriptors, sockets, threads, tasks, sessions."""
    log: list[str] = field(default_factory=list)
    """Lines that nothing explains."""
    is_whole: bool = False
    """It was not broken off."""


Tell = Callable[[str], None]


async def soak(plan: Plan, tell: Tell) -> Found:
    """Play it; `tell` gets a line now and then. What was found until a Ctrl-C is found as well."""
    found = Found(plan)
    try:
        with tempfile.TemporaryDirectory(prefix="voxpop-soak-") as folder:
            async with playing(Path(folder), plan.processes) as scene, _http() as http:
                await _look_on(scene, http, found, tell)
    except asyncio.CancelledError:
        found.is_whole = False  # before the first call or after the last: there was nobody to hang up
        _go_on()
    return found


async def _look_on(scene: Scene, http: aiohttp.ClientSession, found: Found, tell: Tell) -> None:
    crowd = Crowd(scene.host.plan.url, http, found.plan.seed)
    found.tally = crowd.tally
    try:
        await _Watch(found.plan, scene, crowd, found, tell).run()
    finally:
        crowd.close()
        found.log = unexplained(scene.logs())


def _go_on() -> None:
    """A cancellation was heeded, and what waits from here on is not to be cancelled by it."""
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()


def _http() -> aiohttp.ClientSession:
    """A connection for each request, as callers have who know nothing of each other: one that is kept is
    something that a host holds without a call.
    """
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))


class _Watch:
    """Plays and looks at once."""

    def __init__(self, plan: Plan, scene: Scene, crowd: Crowd, found: Found, tell: Tell) -> None:
        self._plan = plan
        self._scene = scene
        self._crowd = crowd
        self._found = found
        self._tell = tell
        self._pids = {name: tree(pid) for name, pid in scene.parents.items()}
        self._random = random.Random(plan.seed)
        self._began_s = 0.0

    async def run(self) -> None:
        """From the first call to after the last."""
        await asyncio.gather(*(self._crowd.call(WARM_UP_CALL_S) for _ in range(self._plan.processes * 2)))
        baseline = await self._settled()
        self._tell("what there is without calls is known; calls begin")
        await self._play()
        await self._look_back(baseline)

    async def _play(self) -> None:
        """Until the time is over. A cancellation ends it sooner, and is done with by that."""
        self._began_s = time.monotonic()
        sitting = asyncio.ensure_future(self._crowd.sit(self._plan.calls, self._plan.seconds))
        looking = asyncio.ensure_future(until_one_ends(self._sample(), self._cut()))
        try:
            await until_one_ends(_result(sitting), _result(looking))
            await sitting
            self._found.is_whole = True
        except asyncio.CancelledError:
            self._tell("broken off; everybody hangs up")
            _go_on()
        finally:
            sitting.cancel()
            looking.cancel()
            await asyncio.gather(sitting, looking, return_exceptions=True)

    async def _metric(self, name: str, **labels: str) -> float:
        return await metric(self._scene.host.plan.transceiver_metrics, name, **labels)

    def _held(self) -> Held:
        return held(pid for pids in self._pids.values() for pid in pids)

    async def _tasks(self) -> int:
        return int(await self._metric(TASKS))

    async def _is_busy(self) -> bool:
        """Whether there is a call, or a relay's flow of one that is over."""
        flows = await metric(self._scene.host.plan.relay_metrics, FLOWS)
        return bool(flows or await self._metric(SESSIONS))

    async def _settled(self) -> tuple[Held, int]:
        """What is held without calls, once nothing changes any more."""
        before: tuple[Held, int] | None = None
        deadline_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline_s:
            now = None if await self._is_busy() else (self._held(), await self._tasks())
            if now is not None and now == before:
                return now
            before = now
            await asyncio.sleep(POLL_S)
        raise AssertionError("a host without calls does not come to rest")

    async def _sample(self) -> None:
        every_s = self._plan.seconds / SAMPLES
        for number in range(1, SAMPLES + 1):
            await asyncio.sleep(max(0.0, self._began_s + number * every_s - time.monotonic()))
            kib = await asyncio.to_thread(self._memory)
            self._found.samples.append(Sample(time.monotonic() - self._began_s, kib))
            if number % max(1, math.ceil(60 / every_s)) == 0:
                self._tell(self._line())
        await asyncio.Event().wait()

    def _memory(self) -> Mapping[str, int]:
        return {name: sum(map(pss_kib, pids)) for name, pids in self._pids.items()}

    def _line(self) -> str:
        sample, tally = self._found.samples[-1], self._crowd.tally
        memory = ", ".join(f"{name} {kib / 1024:.1f}" for name, kib in sample.kib.items())
        return (
            f"{sample.at_s / 60:6.1f} min  {self._crowd.now} calls; so far {tally.calls}, "
            f"{tally.answers} answers, {tally.interruptions} broken into, {self._scene.cutter.cuts} cuts, "
            f"{len(tally.failed)} failed; MiB: {memory}"
        )

    async def _cut(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(self._plan.cut_every_s)
            self._scene.cutter.cut(self._random)

    async def _look_back(self, baseline: tuple[Held, int]) -> None:
        found = self._found
        found.cuts = self._scene.cutter.cuts
        found.losses = int(await self._metric(LOSSES))
        found.skipped_frames = math.ceil(await self._metric(MISSED, outcome="skipped") / PHASES)
        held_before, tasks_before = baseline
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            found.left = self._held().excess(held_before)
            more = {
                "tasks": await self._tasks() - tasks_before,
                "sessions": int(await self._metric(SESSIONS)),
            }
            found.left |= {name: count for name, count in more.items() if count > 0}
            if not found.left or time.monotonic() > deadline_s:
                return
            await asyncio.sleep(POLL_S)


async def _result(task: asyncio.Future[None]) -> None:
    await asyncio.shield(task)


def unexplained(logs: Mapping[str, str]) -> list[str]:
    """Lines of warnings and errors that cutting connections does not explain, with who has logged them."""
    return [
        f"{name}: {line}"
        for name, text in logs.items()
        for line in text.splitlines()
        if WORRYING.search(line) and not any(pattern.search(line) for pattern in EXPECTED)
    ]
