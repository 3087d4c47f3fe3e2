"""Whole calls between real processes: hosts, callers, and what the kernel says about their sockets."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from yarl import URL

from core.addr import Endpoint, IpFamily, family_of
from core.service import process
from core.service.process import Child
from tests.sound import Samples, frames, likeness_in_pieces, speech
from transceiver.caller.api import Placed, SignalingClient, calls_url
from transceiver.caller.call import Call
from transceiver.caller.ice import Nomination
from transceiver.caller.sound import is_audible
from transceiver.demo.host import Daemon, LocalHost, plan_host
from transceiver.media import SAMPLE_RATE
from transceiver.media.ticker import Ticker
from transceiver.transport.certificate import Certificate

PATIENCE_S = 30.0
PATIENT_HOST = {"max_loop_lag_ms": 10_000}
"""On a machine that runs other things too, lateness is no reason to refuse a test's call."""


@asynccontextmanager
async def running(
    folder: Path,
    relay: Mapping[str, object] | None = None,
    transceiver: Mapping[str, object] | None = None,
    processes: int = 2,
) -> AsyncIterator[LocalHost]:
    """A relay of so many workers and a transceiver of so many processes, started and ready."""
    plan = plan_host(
        processes=processes,
        workers=processes,
        relay_settings=relay or {},
        transceiver_settings=PATIENT_HOST | dict(transceiver or {}),
    )
    host = LocalHost(plan, folder)
    try:
        await host.start()
        yield host
    finally:
        await host.stop()


@contextmanager
def backend(name: str, folder: Path, *options: str) -> Iterator[tuple[Child, str]]:
    """`voxpop backend NAME`, and its URL. Its log is in `folder`, under its name."""
    command = ["voxpop", "backend", name, "--listen", "127.0.0.1:0", *options]
    child = process.spawn(name, command, folder / f"{name}.log", stdout=subprocess.PIPE, ends_with_us=True)
    try:
        url = process.first_line(child, PATIENCE_S).decode().strip()
        assert url.startswith("ws://"), child.text()
        yield child, url
    finally:
        process.end(child)
        if child.popen.stdout is not None:
            child.popen.stdout.close()


class OneFamily(SignalingClient):
    """Signaling for a client whose network has one IP version: to the other's candidates there is no way."""

    def __init__(self, http: aiohttp.ClientSession, url: URL, family: IpFamily) -> None:
        super().__init__(http, url, None)
        self._family = family

    async def place(self, offer_sdp: str, session: Mapping[str, object]) -> Placed:
        """As it is answered, without those."""
        placed = await super().place(offer_sdp, session)
        lines = placed.answer_sdp.splitlines(keepends=True)
        return replace(placed, answer_sdp="".join(line for line in lines if self._has_a_way(line)))

    def _has_a_way(self, line: str) -> bool:
        return not line.startswith("a=candidate:") or family_of(line.split()[4]) is self._family


class Callers:
    """Places calls from this process, all on one clock."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self._url = calls_url(url)
        self._http = http
        self._ticker = Ticker()
        self._certificate = Certificate.generate()
        self.calls: list[Call] = []

    def call(self, nomination: Nomination = Nomination.ALWAYS, family: IpFamily | None = None) -> Call:
        """A call that is still to be connected, and will be hung up in the end; from a network that has only
        one IP version, if one is named.
        """
        api = SignalingClient(self._http, self._url, None)
        if family is not None:
            api = OneFamily(self._http, self._url, family)
        self.calls.append(Call(api, self._ticker, self._certificate, nomination=nomination))
        return self.calls[-1]

    async def hang_up(self) -> None:
        """All calls. Idempotent."""
        await asyncio.gather(*(call.hang_up() for call in self.calls))

    def close(self) -> None:
        """Stop the clock."""
        self._ticker.close()


@asynccontextmanager
async def callers(host: LocalHost) -> AsyncIterator[Callers]:
    """Callers of a host; their calls are hung up whatever happens."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=8)) as http:
        crowd = Callers(host.plan.url, http)
        try:
            yield crowd
        finally:
            await crowd.hang_up()
            crowd.close()


async def is_answered(call: Call) -> None:
    """Says the test sentence and hears it."""
    already = len(call.record.heard)
    await call.converse(SPEECH_FRAMES, 1, PATIENCE_S)
    assert call.conversation is not None
    assert call.conversation.is_answered
    assert likeness_in_pieces(speech(), samples(call.record.heard[already:])) > LEAST_LIKENESS


def samples(heard: Iterable[bytes]) -> Samples:
    """What a caller heard, in one piece."""
    return np.frombuffer(b"".join(heard), "<i2")


SPEECH_FRAMES = frames(speech())
LEAST_LIKENESS = 0.5
"""Two passes of Opus leave more than that of speech; other speech comes to 0.2."""
WINDOW = SAMPLE_RATE // 10
"""100 ms tell tones apart that are more than 10 Hz from each other, and are whole between two skips of a
jitter buffer that a busy machine keeps late.
"""


def loudest_pitches(heard: Samples, pitches: Sequence[float]) -> Counter[float]:
    """In how many windows of the audible part each of `pitches` was the loudest."""
    windows = heard[: len(heard) // WINDOW * WINDOW].reshape(-1, WINDOW).astype(float)
    audible = windows[[is_audible(window.astype("<i2").tobytes()) for window in windows]]
    turns = np.outer(np.arange(WINDOW) / SAMPLE_RATE, pitches)
    shape = np.hanning(WINDOW)[:, None]
    loudest = np.abs(audible @ (shape * np.exp(-2j * np.pi * turns))).argmax(axis=1)
    return Counter(pitches[index] for index in loudest)


async def until(holds: Callable[[], bool], what: str) -> None:
    """Wait for something that no event tells of: the state of another process."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:g} s: {what}"
        await asyncio.sleep(0.05)


def process_tree(daemon: Daemon) -> list[int]:
    """A daemon's process and its descendants."""
    assert daemon.child is not None
    return process.tree(daemon.child.popen.pid)


def open_files(pids: Iterable[int]) -> dict[int, int]:
    """How many files each process has open."""
    return {pid: len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids}


@dataclass(frozen=True, slots=True)
class Socket:
    """One line of ss."""

    state: str
    local: Endpoint
    peer: Endpoint | None
    pids: frozenset[int]

    @property
    def is_open(self) -> bool:
        """Whether anyone may send to it."""
        return self.state in ("UNCONN", "LISTEN")


def sockets(protocol: str, pids: Iterable[int]) -> list[Socket]:
    """The sockets of some processes, by ss; `protocol` is `udp` or `tcp`."""
    wanted = frozenset(pids)
    command = ["ss", f"--{protocol}", "--no-header", "--numeric", "--all", "--processes"]
    listing = subprocess.run(command, check=True, capture_output=True, text=True)
    found = [_parse_socket(line.split()) for line in listing.stdout.splitlines()]
    return [socket for socket in found if socket.pids & wanted]


def _parse_socket(columns: Sequence[str]) -> Socket:
    """State, two queue lengths, local and peer address, and users:((…,pid=N,fd=M),…)."""
    state, _, _, local, peer = columns[:5]
    users = "".join(columns[5:]).split("pid=")[1:]
    at = _endpoint(local)
    assert at is not None
    return Socket(state, at, _endpoint(peer), frozenset(int(user.split(",")[0]) for user in users))


def _endpoint(text: str) -> Endpoint | None:
    host, _, port = text.rpartition(":")
    return None if port == "*" else Endpoint(host.strip("[]").partition("%")[0], int(port))


async def metric(endpoint: Endpoint, name: str, **labels: str) -> float:
    """The sum of a metric's samples that have these labels, as Prometheus would read it."""
    async with aiohttp.ClientSession() as http, http.get(f"http://{endpoint}/metrics") as response:
        text = await response.text()
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )
