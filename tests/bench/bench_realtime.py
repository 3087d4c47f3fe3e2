"""What stands between a backend behind a WebSocket and the wire: of an answer, of its end, of a call's start.

Of 20 calls at once, and of set-ups one after the other, each of ours and of a bridge as one writes it
with stock aiortc (`aiortc_bridge`), with the same backend (`talker`) and the same callers:

- from a backend's first delta to the first packet with sound in it;
- from the backend's word that the caller speaks to the last packet with sound, and to the first silent one;
- from the POST to the first audio packet, and to the first sound of a backend that greets.

Both ends are timed by the kernel, as what the backend sends and as what the caller gets passes loopback
(`wire`), so neither a late backend nor a late caller counts. Who bridges has a CPU for itself; backend,
callers and capture have the other. Needs root and two CPUs.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from yarl import URL

from core.compare import percentile
from tests.bench.realtime_callers import Caller, SetUp
from tests.bench.result import Figure
from tests.bench.wire import Conversation, Stream, capturing
from tests.paths import ROOT
from tests.processes import end
from tests.transceiver.host_kit import Host
from transceiver.media.ticker import Ticker
from transceiver.transport.certificate import Certificate
from transceiver.transport.warmup import warm_up

CALLS = 20
TALK_S = 60.0
SETTLE_NS = 1_000_000_000
SET_UPS, WARM_UPS = 30, 3
LATENCY_P50_MS, LATENCY_P99_MS, SILENCE_MS = 12.0, 25.0, 40.0
GREETED_S = 0.5
"""After the first audio, a greeting of 0.2 s is over: what silence is on the wire is seen as well."""
OPEN = {"open": "true", "api_keys_file": ""}
MS = 1_000_000
AIORTC = "stock aiortc"
NAME = rb'"instructions": ?"call \d+"'
CREATED, DELTA, STARTED = (
    b"response.created",
    b"response.output_audio.delta",
    b"input_audio_buffer.speech_started",
)
EVENTS = b"|".join(map(re.escape, (CREATED, DELTA, STARTED)))


def run() -> list[Figure]:
    """All figures; takes about three minutes."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2 or os.geteuid() != 0:
        return []
    try:
        return asyncio.run(_measure(cpus))
    finally:
        os.sched_setaffinity(0, set(cpus))


async def _measure(cpus: Sequence[int]) -> list[Figure]:
    await warm_up()
    bench = Bench(cpus)
    figures = []
    for name, bridged in (("ours", _ours), (AIORTC, _aiortc)):
        figures += _talk_figures(name, await bench.talk(bridged))
        figures += _set_up_figures(name, await bench.set_up(bridged))
    return [*figures, *_set_up_figures("the parrot in process", await bench.set_up(_parrot))]


# What stands between


class Program:
    """A Python module as a process; the first line that it prints is its URL."""

    def __init__(self, module: str, *arguments: str) -> None:
        command = [sys.executable, "-m", module, *arguments]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._output = self._process.stdout
        self.url = self._output.readline().strip()

    def stop(self) -> None:
        """By SIGINT."""
        end(self._process)
        self._output.close()


Bridged = Callable[[str, Path], AbstractContextManager[str]]
"""Given a backend's URL and a directory: what callers call, as a URL, while the block runs."""


@contextmanager
def _ours(backend_url: str, folder: Path) -> Iterator[str]:
    tables = f'[backend.realtime]\nurl = "{backend_url}"\nturns = "backend"\n'
    settings = {**OPEN, "backend": '"realtime"'}
    with Host(folder, settings, processes=1, tables=tables, is_reachable=True) as host:
        yield f"http://127.0.0.1:{host.http}"


@contextmanager
def _parrot(backend_url: str, folder: Path) -> Iterator[str]:
    with Host(folder, OPEN, processes=1, is_reachable=True) as host:
        yield f"http://127.0.0.1:{host.http}"


@contextmanager
def _aiortc(backend_url: str, folder: Path) -> Iterator[str]:
    program = Program("tests.bench.aiortc_bridge", backend_url)
    try:
        yield program.url
    finally:
        program.stop()


class Bench:
    """Measures one bridge after the other: it has the last CPU, all else the first."""

    def __init__(self, cpus: Sequence[int]) -> None:
        self._ours, self._theirs = {cpus[0]}, {cpus[-1]}
        os.sched_setaffinity(0, self._ours)
        self._ticker = Ticker()
        self._certificate = Certificate.generate()

    async def talk(self, bridged: Bridged) -> Measured:
        """All calls at once, for a while."""
        return await self._run(bridged, self._talk)

    async def set_up(self, bridged: Bridged) -> Measured:
        """Calls one after the other."""
        return await self._run(bridged, self._set_up)

    async def _run(self, bridged: Bridged, scenario: Callable[[str], Awaitable[Sequence[Call]]]) -> Measured:
        with tempfile.TemporaryDirectory(prefix="voxpop-bench-") as name:
            folder = Path(name)
            talker = Program("tests.bench.talker")
            try:
                with capturing(folder / "wire.pcap", int(URL(talker.url).port or 0)) as capture:
                    os.sched_setaffinity(0, self._theirs)
                    with bridged(talker.url, folder) as url:
                        os.sched_setaffinity(0, self._ours)
                        calls = await scenario(url)
            finally:
                talker.stop()
            return measure(calls, capture.streams(), capture.conversations())

    async def _talk(self, url: str) -> Sequence[Call]:
        callers = [Caller(url, f"call {number}", self._ticker, self._certificate) for number in range(CALLS)]
        try:
            calls = [await _connected(caller) for caller in callers]
            await asyncio.sleep(TALK_S)
            return calls
        finally:
            await asyncio.gather(*(caller.hang_up() for caller in callers))

    async def _set_up(self, url: str) -> Sequence[Call]:
        calls = []
        for number in range(WARM_UPS + SET_UPS):
            caller = Caller(url, f"call {number}", self._ticker, self._certificate)
            try:
                calls.append(await _connected(caller))
                await asyncio.sleep(GREETED_S)
            finally:
                await caller.hang_up()
        return calls[WARM_UPS:]


async def _connected(caller: Caller) -> Call:
    set_up = await caller.connect()
    return Call(caller.name, caller.port, set_up)


# What was measured


@dataclass(frozen=True, slots=True)
class Call:
    """One that was made."""

    name: str
    port: int
    """Where its audio came to."""
    set_up: SetUp


@dataclass(slots=True)
class Measured:
    """ms, of each answer, interruption or call."""

    latency: list[float] = field(default_factory=list)
    last_sound: list[float] = field(default_factory=list)
    silence: list[float] = field(default_factory=list)
    first_audio: list[float] = field(default_factory=list)
    greeting: list[float] = field(default_factory=list)


def measure(calls: Sequence[Call], heard: Mapping[int, Stream], said: Mapping[int, Conversation]) -> Measured:
    """What was said by a talker came to on the wire."""
    found = Measured()
    by_name = {call.name: call for call in calls}
    for call in calls:
        found.first_audio.append((call.set_up.audio_ns - call.set_up.posted_ns) / MS)
        greeted_ns = heard[call.port].first_sound(call.set_up.posted_ns)
        if greeted_ns is not None:
            found.greeting.append((greeted_ns - call.set_up.posted_ns) / MS)
    for conversation in said.values():
        names = {match.partition(b":")[2].decode().strip(' "') for _, match in conversation.find(NAME)}
        for name in names & by_name.keys():
            call = by_name[name]
            _measure_call(found, heard[call.port], conversation, call.set_up.audio_ns + SETTLE_NS)
    return found


def _measure_call(found: Measured, stream: Stream, conversation: Conversation, from_ns: int) -> None:
    is_first = False
    for at_ns, event in conversation.find(EVENTS):
        if at_ns < from_ns:
            continue
        if event == STARTED and (silence := stream.silence(at_ns)) is not None:
            found.last_sound.append((silence[0] - at_ns) / MS)
            found.silence.append((silence[1] - at_ns) / MS)
        elif event == DELTA and is_first and (sound_ns := stream.first_sound(at_ns)) is not None:
            found.latency.append((sound_ns - at_ns) / MS)
        is_first = event == CREATED


def _talk_figures(name: str, measured: Measured) -> list[Figure]:
    seen: list[tuple[str, Sequence[float], Mapping[int, float]]] = [
        ("delta to first packet", measured.latency, {50: LATENCY_P50_MS, 99: LATENCY_P99_MS}),
        ("speech noticed to last packet with sound", measured.last_sound, {50: SILENCE_MS, 99: SILENCE_MS}),
        ("speech noticed to first silent packet", measured.silence, {}),
    ]
    return [
        Figure(
            f"{name}: {what}, p{percent}",
            percentile(values, percent),
            "ms",
            at_most=None if name == AIORTC else limits.get(percent),
            note=f"{CALLS} calls, {len(values)} times",
        )
        for what, values, limits in seen
        for percent in (50, 99)
    ]


def _set_up_figures(name: str, measured: Measured) -> list[Figure]:
    seen = (("first audio", measured.first_audio), ("greeting heard", measured.greeting))
    return [
        Figure(f"{name}: POST to {what}, p{percent}", percentile(values, percent), "ms")
        for what, values in seen
        for percent in (50, 95)
        if values
    ]
