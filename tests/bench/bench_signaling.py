"""Signaling: how many calls a second one process answers, and how long an answer takes.

A transceiver of one process on one CPU, the client on the other, over HTTP connections that are kept alive.
A call is what a browser does: POST of its offer, 201 with the answer, and a DELETE in the end; nothing of it
goes by UDP. The limit is GET /readyz, by the same client of the same process. A relay is asked for its status
as transceiver hosts ask for it.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

from core.addr import Endpoint
from core.compare import percentile
from tests.bench.bench_relay import meter, only_worker, typical
from tests.bench.result import Figure
from tests.paths import ROOT
from transceiver.demo.host import LocalHost, plan_host

OFFER = (ROOT / "tests/captures/chromium-stock.offer.sdp").read_bytes()
WARM_UP, ALONE, CALLS, ROUNDS = 50, 300, 400, 5
AT_ONCE = 8
T = TypeVar("T")
CALLS_PATH = "/v1/realtime/calls"


class Response(NamedTuple):
    """Of HTTP."""

    status: int
    location: str
    body: bytes


@dataclass(slots=True)
class Connection:
    """One that is kept alive, a request at a time."""

    host: Endpoint
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, method: str, path: str, body: bytes = b"") -> Response:
        """One request. Raises RuntimeError when it fails."""
        head = f"{method} {path} HTTP/1.1\r\nHost: {self.host}\r\nContent-Length: {len(body)}\r\n"
        head += "Content-Type: application/sdp\r\n\r\n" if body else "\r\n"
        self.writer.write(head.encode() + body)
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        answer = await self.reader.readexactly(int(fields.get("content-length", 0)))
        status = int(lines[0].split()[1])
        if status >= 400:
            raise RuntimeError(f"{method} {path}: {status} {answer.decode()}")
        # of ids, case matters
        location = next((line.split(": ", 1)[1] for line in lines if line.lower().startswith("location")), "")
        return Response(status, location, answer)

    async def call(self) -> float:
        """A call begins and is hung up; ms until it was answered."""
        began = time.perf_counter()
        answer = await self.ask("POST", CALLS_PATH, OFFER)
        took_ms = (time.perf_counter() - began) * 1e3
        if b"a=ice-ufrag:" not in answer.body:
            raise RuntimeError(f"no answer: {answer}")
        await self.ask("DELETE", answer.location)
        return took_ms

    async def ready(self) -> None:
        """The least that can be asked for."""
        await self.ask("GET", "/readyz")


def run() -> list[Figure]:
    """Every figure; takes about ten seconds."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        return []
    try:
        return asyncio.run(_measure(cpus))
    finally:
        os.sched_setaffinity(0, set(cpus))


async def _measure(cpus: list[int]) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="voxpop-bench-") as folder:
        host = LocalHost(
            plan_host(processes=1, workers=1, transceiver_settings={"max_loop_lag_ms": 10_000}), Path(folder)
        )
        try:
            os.sched_setaffinity(0, {cpus[1]})
            await host.start()
            os.sched_setaffinity(0, {cpus[0]})
            assert host.transceiver.child is not None
            assert host.relay.child is not None
            return [
                *await _figures(host.plan.http, host.transceiver.child.popen.pid),
                await _status(host.plan.relay_metrics, host.relay.child.popen.pid),
            ]
        finally:
            await host.stop()


async def _figures(http: Endpoint, supervisor: int) -> list[Figure]:
    streams = [await asyncio.open_connection(*http) for _ in range(AT_ONCE)]
    connections = [Connection(http, *stream) for stream in streams]
    for _ in range(WARM_UP):
        await connections[0].call()
    alone_ms = [await connections[0].call() for _ in range(ALONE)]
    rates, loads = [], []
    for _ in range(ROUNDS):
        load = meter(only_worker(supervisor))
        rates.append(await _rate(connections, Connection.call))
        loads.append(load())
    own = [rate / load.running for rate, load in zip(rates, loads, strict=True)]
    limit = [await _rate(connections, Connection.ready) for _ in range(ROUNDS)]
    for connection in connections:
        connection.writer.close()
        await connection.writer.wait_closed()
    return [
        Figure(
            "calls answered and hung up per process", statistics.median(own), "/s",
            note=f"of a core; {statistics.median(rates):.0f} by the clock, by {AT_ONCE} connections, of "
            f"/readyz {statistics.median(limit):,.0f}; {typical(loads)}",
        ),
        Figure("offer to answer, p50", percentile(alone_ms, 50), "ms", note="one after the other"),
        Figure("offer to answer, p99", percentile(alone_ms, 99), "ms"),
    ]  # fmt: skip


async def _status(at: Endpoint, supervisor: int) -> Figure:
    """By a new connection each, as transceiver hosts ask (transceiver/host/pop_watch.py)."""

    async def ask(_: object) -> None:
        reader, writer = await asyncio.open_connection(*at)
        await Connection(at, reader, writer).ask("GET", "/readyz")
        writer.close()
        await writer.wait_closed()

    own, loads = [], []
    for _ in range(ROUNDS):
        load = meter(supervisor)
        rate = await _rate([None] * AT_ONCE, ask)
        loads.append(load())
        own.append(rate / loads[-1].running)
    return Figure(
        "status requests answered per relay", statistics.median(own), "/s",
        note=f"of a core, by the supervisor; {typical(loads)}",
    )  # fmt: skip


async def _rate(connections: Sequence[T], ask: Callable[[T], Awaitable[object]]) -> float:
    """How many a second, over all connections at once."""
    left = iter(range(CALLS))

    async def one(connection: T) -> None:
        for _ in left:
            await ask(connection)

    began = time.perf_counter()
    await asyncio.gather(*map(one, connections))
    return CALLS / (time.perf_counter() - began)
