"""The store: what flow records cost a worker and a server, and how many commands a million flows are.

The server is Redis on this machine, so its share of the CPU is in what it takes; a worker's cost is its own
CPU time.
"""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from core.addr import Endpoint
from core.keyring import Keyring
from core.store.base import Entry
from core.store.flow_record import decode_untrusted, encode
from core.store.keys import flow_key
from core.store.redis import RedisAccess, RedisStore
from core.store_url import parse_store_url
from core.token import Token, expiry_after, mint
from edge.recall.leases import Leases
from edge.recall.recall import ASKED_AT_ONCE, BUSY_TICK_S, WRITE_TICK_S, WRITTEN_AT_ONCE
from tests.bench.result import Figure
from tests.redis_server import Server, running

RECORDS = 50_000
LEASE_S = 180
FLOWS, WORKERS = 1_000_000, 2
REDIS_COMMANDS = 400_000
S = 1_000_000_000
KEYRING = Keyring({1: bytes(range(32))}, 1)
VIP = Endpoint("192.0.2.1", 3478)


def run() -> list[Figure]:
    """Every figure."""
    with tempfile.TemporaryDirectory() as folder, running(Server(Path(folder) / "redis")) as server:
        return [*asyncio.run(_records(server)), _server_alone(server), *_a_million_flows()]


def _client(number: int) -> Endpoint:
    return Endpoint(f"198.51.{number >> 14 & 255}.{number >> 6 & 255}", 1024 + (number & 63))


def _entries() -> list[Entry]:
    now_s = int(time.time())
    ufrags = [
        mint(Token(1, 1, 1, 40000, expiry_after(now_s // 60, 60), session), KEYRING).encode()
        for session in range(1000)
    ]
    return [
        Entry(
            flow_key(VIP, _client(number)),
            encode(VIP, _client(number), ufrags[number % 1000], now_s + LEASE_S, KEYRING),
            LEASE_S * 1000,
        )
        for number in range(RECORDS)
    ]


async def _records(server: Server) -> list[Figure]:
    cpu = time.process_time()
    entries = _entries()
    encode_us = (time.process_time() - cpu) / RECORDS * 1e6
    keys = [entry.key for entry in entries]
    store = RedisStore(parse_store_url(server.url), RedisAccess(1))
    empty = _memory(server)
    written = await _measure(lambda at: store.set_many(entries[at : at + WRITTEN_AT_ONCE]), WRITTEN_AT_ONCE)
    full = _memory(server)
    asked = await _measure(lambda at: store.get_many(keys[at : at + ASKED_AT_ONCE]), ASKED_AT_ONCE)
    cpu, now_s = time.process_time(), int(time.time())
    for number in range(1000):
        decode_untrusted(entries[number].value, VIP, _client(number), KEYRING, now_s)
    decode_us = (time.process_time() - cpu) / 1000 * 1e6
    await store.close()
    return [
        Figure("records written by one worker", written[0], "/s", note=f"{WRITTEN_AT_ONCE} at once"),
        Figure("CPU of the worker for one written", written[1] + encode_us, "µs"),
        Figure("records asked for by one worker", asked[0], "/s", note=f"{ASKED_AT_ONCE} at once"),
        Figure("CPU of the worker for one asked for", asked[1] + decode_us, "µs"),
        Figure("memory of one record in Redis", (full - empty) / RECORDS, "bytes", at_most=300),
    ]  # fmt: skip


async def _measure(call: Callable[[int], Awaitable[object]], step: int) -> tuple[float, float]:
    """(records a second, µs of our own CPU for each)"""
    await call(0)  # connects
    began, cpu = time.perf_counter(), time.process_time()
    for at in range(0, RECORDS, step):
        await call(at)
    return RECORDS / (time.perf_counter() - began), (time.process_time() - cpu) / RECORDS * 1e6


def _memory(server: Server) -> int:
    info = server.cli("INFO", "memory")
    return int(info.partition("used_memory:")[2].split()[0])


def _server_alone(server: Server) -> Figure:
    """By Redis's own benchmark, with our command, pipelined as ours are."""
    command = [
        "redis-benchmark", "-s", str(server.path), "-n", str(REDIS_COMMANDS), "-r", "1000000", "-c", "8",
        "-P", str(WRITTEN_AT_ONCE), "--csv", "SET", "voxpop:1:flow:192.0.2.1:3478:__rand_int__", "x" * 64,
        "PX", str(LEASE_S * 1000),
    ]  # fmt: skip
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    per_s = float(output.splitlines()[-1].split(",")[-7].strip('"'))
    return Figure(
        "SETs that one Redis takes", per_s, "/s", at_least=50_000, note="redis-benchmark, 8 clients"
    )


def _a_million_flows() -> list[Figure]:
    """By the workers' own plan of when to write, over ten minutes of their time."""
    share = FLOWS // WORKERS
    workers = [Leases(LEASE_S * S) for _ in range(WORKERS)]
    for leases in workers:
        leases.change_all(range(share))
    now_ns, commands, first_round_ns, written = 0, 0, 0, 0
    while now_ns < 600 * S:
        is_busy = False
        for leases in workers:
            places = leases.take(now_ns, WRITTEN_AT_ONCE)
            is_busy |= len(places) == WRITTEN_AT_ONCE
            for place in places:
                leases.settle(place, now_ns, is_live=True)
            written += len(places)
        if first_round_ns:
            commands += written
            written = 0
        elif written >= FLOWS:
            first_round_ns, written = now_ns, 0
        now_ns += int((BUSY_TICK_S if is_busy else WRITE_TICK_S) * S)
    return [
        Figure(
            "commands for a million flows", commands / ((now_ns - first_round_ns) / S), "/s",
            at_most=FLOWS / (LEASE_S * 2 / 3) * 1.1, note=f"leases of {LEASE_S} s, {WORKERS} workers",
        ),
        Figure("all of them written after a wipe", first_round_ns / S, "s", at_most=LEASE_S * 2 / 3),
    ]  # fmt: skip
