"""The relay: first packets through the slow path, and packets of established flows, per worker.

One relay with one worker runs on CPU 1, the generator on CPU 0. A closed loop keeps a bounded number of
packets in flight, so the worker is never idle and nothing is lost: what comes out is what it can do. That
the generator is not the limit shows in the worker's share of its CPU, which is printed beside.
"""

from __future__ import annotations

import os
import resource
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from core.addr import Endpoint
from core.compare import percentile
from tests.bench.result import Figure
from tests.bench.udp_batch import SO_TIMESTAMPNS, Receiver, Sender
from tests.edge.kit import MEDIA, RelayProcess, mint_ufrag, request

GENERATOR_CPU, RELAY_CPU = 0, 1
IN_FLIGHT = 256
BURST = 32
FLOWS = 1000
FORWARD_S = 3.0
OPEN_LOOP_S = 2.0
ROUNDS = 5
TARGET_FIRST = 10_000
TARGET_FORWARD = 30_000
P99_AT_MOST_MS = 2.0
IDLE_TIMEOUT_S = 1.0


class Load(NamedTuple):
    """Shares of the wall clock."""

    running: float
    waiting: float
    """Ready to run, but something else had the CPU: a figure taken then is not the relay's best."""

    def __str__(self) -> str:
        return f"worker at {self.running:.0%} of its CPU, kept waiting for it {self.waiting:.0%}"


def meter(pid: int) -> Callable[[], Load]:
    """Start to watch a worker; the result says what its CPU did since."""
    schedstat = Path(f"/proc/{pid}/schedstat")  # ns on the CPU, ns waiting for it, time slices
    started = time.perf_counter()
    before = [int(text) for text in schedstat.read_text().split()]

    def read() -> Load:
        after = [int(text) for text in schedstat.read_text().split()]
        wall_ns = (time.perf_counter() - started) * 1e9
        return Load((after[0] - before[0]) / wall_ns, (after[1] - before[1]) / wall_ns)

    return read


def only_worker(supervisor: int) -> int:
    """The process id of a daemon's only worker."""
    (worker,) = map(int, Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split())
    return worker


def typical(loads: list[Load]) -> Load:
    """The median of each."""
    return Load(*(statistics.median(column) for column in zip(*loads, strict=True)))


@dataclass
class Rig:
    """A relay, a socket that speaks for all clients, and a transceiver's socket."""

    relay: RelayProcess
    clients: socket.socket
    transceiver: socket.socket
    max_flows: int

    @property
    def vip(self) -> Endpoint:
        return self.relay.vips[0]

    def meter(self) -> Callable[[], Load]:
        """Start to watch the worker."""
        (pid,) = self.relay.worker_pids()
        return meter(pid)

    def first_packets(self, count: int, addresses: Iterator[str]) -> tuple[Sender, list[bytes]]:
        """Checks of `count` new clients, each with its own address and token, and their transaction ids."""
        port = self.transceiver.getsockname()[1]
        checks = [request(mint_ufrag(port)) for _ in range(count)]
        sender = Sender(self.clients, checks, [self.vip] * count, [next(addresses) for _ in checks])
        return sender, [check[8:20] for check in checks]

    def wait_until_empty(self) -> None:
        """All flows have gone idle and been removed."""
        while self.relay.flows():
            time.sleep(0.1)


def addresses() -> Iterator[str]:
    """Client addresses, each once."""
    for index in range(1, 1 << 22):
        yield f"127.{128 + (index >> 16)}.{index >> 8 & 255}.{index & 255}"


@contextmanager
def rig(idle_timeout_s: float) -> Iterator[Rig]:
    """Everything on its CPU."""
    allowed = os.sched_getaffinity(0)
    max_flows = min(18_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 100)
    with tempfile.TemporaryDirectory() as directory:
        relay = RelayProcess(Path(directory), max_flows=max_flows, idle_timeout_s=idle_timeout_s)
        os.sched_setaffinity(0, {RELAY_CPU})
        try:
            relay.start()
            os.sched_setaffinity(0, {GENERATOR_CPU})
            with _socket("0.0.0.0") as clients, _socket("127.77.0.1") as transceiver:
                transceiver.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
                yield Rig(relay, clients, transceiver, max_flows)
        finally:
            os.sched_setaffinity(0, allowed)
            relay.__exit__()


def _socket(host: str) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)
    opened.bind((host, 0))
    return opened


def closed_loop(send: Callable[[int, int], int], receive: Callable[[], int], total: int) -> float:
    """Send `total` datagrams with a bounded number in flight; seconds until the last has arrived."""
    sent = received = 0
    started = time.perf_counter()
    last_arrival = started
    while received < total:
        if sent < total and sent - received < IN_FLIGHT:
            sent += send(sent, min(BURST, total - sent))
        got = receive()
        received += got
        now = time.perf_counter()
        if got:
            last_arrival = now
        elif now - last_arrival > 1.0:
            raise RuntimeError(f"{sent - received} of {sent} packets never came out")
    return last_arrival - started


def first_packet_capacity(rig: Rig, fresh: Iterator[str]) -> tuple[float, Load]:
    """First packets per second, in bursts that fill most of the table."""
    count = rig.max_flows * 3 // 4
    receiver = Receiver(rig.transceiver)
    rates, loads = [], []
    for _ in range(ROUNDS):
        sender, _ = rig.first_packets(count, fresh)
        load = rig.meter()
        rates.append(count / closed_loop(sender.send, receiver.receive, count))
        loads.append(load())
        rig.wait_until_empty()
    return statistics.median(rates), typical(loads)


@dataclass
class OpenLoop:
    """What happened at a fixed rate."""

    lost: int
    load: Load
    latencies_ms: list[float]

    def percentile_ms(self, percent: float) -> float:
        """A percentile of the latencies."""
        return percentile(self.latencies_ms, percent)


def first_packets_at(rig: Rig, fresh: Iterator[str], rate: float) -> OpenLoop:
    """New flows at a steady rate while as many go idle; latency is up to the kernel's stamp on arrival."""
    count = int(rate * OPEN_LOOP_S)
    sender, ids = rig.first_packets(count, fresh)
    receiver = Receiver(rig.transceiver)
    sent_ns, arrived_ns = [0] * count, dict.fromkeys(ids, 0)
    sent = 0
    load, started = rig.meter(), time.perf_counter()
    deadline = started + OPEN_LOOP_S + 0.5
    while (now := time.perf_counter()) < deadline:
        if sent < count and now - started >= sent / rate:
            sent_ns[sent] = time.time_ns()
            sent += sender.send(sent, 1)
        for index in range(receiver.receive()):
            arrived_ns[receiver.payload(index, 20)[8:]] = receiver.time_ns(index)
    loaded = load()
    pairs = zip(sent_ns, (arrived_ns[i] for i in ids), strict=True)
    latencies_ms = [(arrived - left) / 1e6 for left, arrived in pairs if arrived]
    rig.wait_until_empty()
    return OpenLoop(count - len(latencies_ms), loaded, latencies_ms)


def least_disturbed(measure: Callable[[], OpenLoop]) -> list[OpenLoop]:
    """Of twice as many rounds those in which other processes took least of the worker's CPU: what someone
    else's time slice of 3 ms does to a percentile says nothing of the relay.
    """
    rounds = [measure() for _ in range(2 * ROUNDS)]
    return sorted(rounds, key=lambda r: r.load.waiting)[:ROUNDS]


def forwarding(rig: Rig, fresh: Iterator[str]) -> dict[str, tuple[float, Load]]:
    """Direction → packets per second, round robin over many flows."""
    clients = [next(fresh) for _ in range(FLOWS)]
    port = rig.transceiver.getsockname()[1]
    at_transceiver, at_clients = Receiver(rig.transceiver), Receiver(rig.clients)
    upstream_ports = []
    for client in clients:
        Sender(rig.clients, [request(mint_ufrag(port))], [rig.vip], [client]).send(0, 1)
        while not at_transceiver.receive():
            pass
        upstream_ports.append(at_transceiver.source(0))
    up = Sender(rig.clients, [MEDIA] * FLOWS, [rig.vip] * FLOWS, clients)
    down = Sender(rig.transceiver, [MEDIA] * FLOWS, upstream_ports)
    ways = {
        "upstream": [(up, at_transceiver)],
        "downstream": [(down, at_clients)],
        "both ways": [(up, at_transceiver), (down, at_clients)],
    }
    return {name: _measure_forwarding(rig, pairs) for name, pairs in ways.items()}


def _measure_forwarding(rig: Rig, ways: list[tuple[Sender, Receiver]]) -> tuple[float, Load]:
    rates, loads = [], []
    for _ in range(ROUNDS):
        load = rig.meter()
        rates.append(_forward_for(ways, FORWARD_S / ROUNDS))
        loads.append(load())
    return statistics.median(rates), typical(loads)


def _forward_for(ways: list[tuple[Sender, Receiver]], duration_s: float) -> float:
    sent, received = [0] * len(ways), [0] * len(ways)
    started = time.perf_counter()
    while time.perf_counter() - started < duration_s:
        for index, (sender, receiver) in enumerate(ways):
            if sent[index] - received[index] < IN_FLIGHT:
                sent[index] += sender.send(sent[index] % FLOWS, BURST)
            received[index] += receiver.receive()
    rate = sum(received) / (time.perf_counter() - started)
    settled = time.perf_counter() + 0.2
    while received != sent and time.perf_counter() < settled:
        for index, (_, receiver) in enumerate(ways):
            received[index] += receiver.receive()
    if received != sent:
        raise RuntimeError(f"sent {sent}, received {received}: packets were lost")
    return rate


def _open_loop_figures(rate: int, rounds: list[OpenLoop], p99_at_most_ms: float | None) -> list[Figure]:
    """The median of the rounds, and all losses."""
    sent = int(rate * OPEN_LOOP_S) * len(rounds)
    note = (
        f"the {len(rounds)} least disturbed of {2 * len(rounds)} rounds; {typical([r.load for r in rounds])}"
    )
    p50, p99 = (statistics.median(r.percentile_ms(percent) for r in rounds) for percent in (50, 99))
    return [
        Figure(f"lost of {sent:,} at {rate:,}/s", sum(r.lost for r in rounds), "packets", at_most=0),
        Figure(f"in to out at {rate:,}/s, p50", p50, "ms"),
        Figure(f"in to out at {rate:,}/s, p99", p99, "ms", at_most=p99_at_most_ms, note=note),
    ]


def run() -> list[Figure]:
    """Every figure of the relay; takes about a minute."""
    fresh = addresses()
    with rig(IDLE_TIMEOUT_S) as short:
        capacity, load = first_packet_capacity(short, fresh)
        steady = least_disturbed(lambda: first_packets_at(short, fresh, TARGET_FIRST))
        half = least_disturbed(lambda: first_packets_at(short, fresh, TARGET_FIRST / 2))
    with rig(60.0) as long:
        forwarded = forwarding(long, fresh)
    return [
        Figure(
            "first packets per worker", capacity, "/s", at_least=TARGET_FIRST,
            note=f"until the table is three quarters full; {load}",
        ),
        *_open_loop_figures(TARGET_FIRST, steady, p99_at_most_ms=None),
        *_open_loop_figures(TARGET_FIRST // 2, half, p99_at_most_ms=P99_AT_MOST_MS),
        *(
            Figure(
                f"forwarded per worker, {way}", pps, "pps", at_least=TARGET_FORWARD,
                note=f"{FLOWS} flows, {len(MEDIA)} bytes; {load}",
            )
            for way, (pps, load) in forwarded.items()
        ),
    ]  # fmt: skip


def main() -> None:
    """Print the table."""
    for figure in run():
        target = {True: "met", False: "MISSED", None: ""}[figure.meets_target]
        print(f"{figure.name:<34} {figure.value:>12,.3f} {figure.unit:<8} {target:<7} {figure.note}")  # noqa: T201


if __name__ == "__main__":
    main()
