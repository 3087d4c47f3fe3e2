"""A flow's first packet on its way through a whole PoP: how long it takes, and how many a worker can do.

A lab with native XDP, the dataplane and a relay of one worker. In the client's namespace a packet socket
sends prepared frames: connectivity checks with token and integrity, each from an address of its own, so
each is a new flow, which the program punts, the worker installs, and the worker sends on. In the region a
UDP socket takes them; the kernel stamps each on arrival. Send and arrival are of one clock.

The limit is the same frames sent again, by and to the same sockets, while their flows are there: the
program forwards them, and no process sees them. What sender, receiver and pairs cost is in both.

Flows go idle and end all the while, at the rate at which they begin: a worker has to do both.
"""

from __future__ import annotations

import gc
import math
import os
import socket
import statistics
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import NamedTuple, TypeVar

from prometheus_client.parser import text_string_to_metric_families

from core.addr import Endpoint
from core.compare import percentile
from core.keyring import Keyring
from core.service import interrupt
from core.service.files import load_masters
from core.service.sockets import kernel_drops
from core.stun import Attribute, MessageType, encode, encode_u32
from core.token import Token, expiry_after, mint
from ebpf.net import netns
from ebpf.net.attach import Netdev
from edge.lab import lab
from edge.lab.lab import Running
from edge.lab.plan import LabPlan, Place
from tests.bench.bench_relay import Load, closed_loop, meter, only_worker, typical
from tests.bench.result import Figure
from tests.bench.udp_batch import SO_TIMESTAMPNS, Receiver, Sender
from tests.builders import UdpFrame

RATE, P50_AT_MOST_MS, P99_AT_MOST_MS = 2_000, 0.3, 1.0
ROUNDS, ROUND_S = 20, 1.0
SUSTAINED_AT_LEAST = 10_000
SUSTAINED_FLOWS = 150_000
OPEN_LOOP_S = 5.0
STRETCHES = 10
IDLE_TIMEOUT_S = 5.0
LATE_S = 1.0
"""When nothing has arrived for so long, what is missing is lost."""
MAX_FLOWS = 150_000
BACKBONES = 5
"""A NAT port rests for 30 s, so all flows of the run need one of their own."""
NAT_PORTS = (4096, 65535)
FIRST_CLIENT = int(IPv4Address("100.64.0.0"))
CLIENT_PORT = 50_000
TRANSCEIVER_PORT = 40_000
INSTALLED = ("voxpop_relay_flow_installs", "installed")
ENDED = ("voxpop_relay_flow_removals", "idle")
RECEIVER = "receiver's buffer"
MACHINERY = ("voxpop_relay_kernel_drops", "voxpop_relay_refusals", "voxpop_relay_send_failures", RECEIVER)
"""Counters of what is lost; beside them, the program's by verdict."""


class Frames(NamedTuple):
    """First packets of as many flows, ready to be sent."""

    sender: Sender
    ids: list[bytes]
    """Transaction ids, by which they are known again."""


class Flight(NamedTuple):
    """What became of packets sent at a steady rate."""

    latencies_ms: list[float]
    lost: int
    load: Load


class Stretch(NamedTuple):
    """Packets sent as fast as they came out."""

    seconds: float
    load: Load


D = TypeVar("D", Flight, Stretch)


@dataclass
class Rig:
    """A lab, the sockets at its ends, and an endless supply of clients."""

    running: Running
    client: socket.socket
    region: socket.socket
    worker: int
    macs: bytes
    keyring: Keyring
    numbers: Iterator[int]

    def prepare(self, count: int) -> Frames:
        """Frames of `count` clients that were not there before."""
        vip = self.running.plan.vips[0]
        checks = [self._check(next(self.numbers)) for _ in range(count)]
        frames = [
            bytes(UdpFrame(Endpoint(str(IPv4Address(FIRST_CLIENT + n)), CLIENT_PORT), vip, check, self.macs))
            for n, check in checks
        ]
        return Frames(Sender(self.client, frames, None), [check[8:20] for _, check in checks])

    def _check(self, number: int) -> tuple[int, bytes]:
        """A connectivity check as a client sends it (RFC 8445 §7.2), with a token of its own."""
        expiry = expiry_after(int(time.time() // 60), 60)
        token = Token(self.keyring.mint_with, 1, 0, TRANSCEIVER_PORT, expiry, number & 0xFFFF)
        ufrag = mint(token, self.keyring).encode()
        attributes = [
            (Attribute.USERNAME, ufrag + b":h6vY"),
            (Attribute.ICE_CONTROLLING, os.urandom(8)),
            (Attribute.PRIORITY, encode_u32(0x6E7F1EFF)),
        ]
        password = self.keyring.ice_password(token.key_id, ufrag)
        return number, encode(MessageType.BINDING_REQUEST, os.urandom(12), attributes, password)

    def fly(self, frames: Frames, rate: float) -> Flight:
        """Send all at a steady rate."""
        interrupt.check()
        count = len(frames.ids)
        receiver = Receiver(self.region)
        sent_ns, arrived_ns = [0] * count, dict.fromkeys(frames.ids, 0)
        sent = received = 0
        load, started = meter(self.worker), time.perf_counter()
        last = started
        while received < count and (now := time.perf_counter()) < max(last, started + count / rate) + LATE_S:
            if sent < count and now - started >= sent / rate:
                sent_ns[sent] = time.time_ns()
                sent += frames.sender.send(sent, 1)
            got = receiver.receive()
            for index in range(got):
                arrived_ns[receiver.payload(index, 20)[8:]] = receiver.time_ns(index)
            if got:
                received, last = received + got, now
        loaded = load()
        pairs = zip(sent_ns, (arrived_ns[i] for i in frames.ids), strict=True)
        latencies_ms = [(arrived - left) / 1e6 for left, arrived in pairs if arrived]
        return Flight(latencies_ms, count - len(latencies_ms), loaded)

    def samples(self) -> dict[tuple[str, ...], int]:
        """Every sample of the relay's /metrics: (name, label values…) → value."""
        with netns.inside(self.running.plan.namespaces[Place.POP]):
            address = self.running.plan.relay_status
            with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
                text = answer.read().decode()
        found = {
            (family.name, *sample.labels.values()): int(sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if not sample.name.endswith(("_bucket", "_created", "_sum", "_count"))
            and not math.isnan(sample.value)
        }
        return found | {(RECEIVER,): kernel_drops(self.region)}

    def losses(self, before: dict[tuple[str, ...], int]) -> str:
        """Where packets were dropped since, by everybody's own count."""
        after = self.samples()
        grown = {key: after[key] - before.get(key, 0) for key in after if after[key] > before.get(key, 0)}
        lost = [
            f"{' '.join(key[1:2]) or key[0]} {count:,}"
            for key, count in grown.items()
            if key[0] in MACHINERY or (key[1:2] and key[1].startswith("drop_"))
        ]
        return "drops counted: " + (", ".join(lost) or "none")

    def wait_until_empty(self) -> None:
        """All flows have gone idle and been removed."""
        deadline = time.monotonic() + 10 * IDLE_TIMEOUT_S
        while sum(value for key, value in self.samples().items() if key[0] == "voxpop_relay_flows"):
            if time.monotonic() > deadline:
                raise RuntimeError("flows do not end")
            interrupt.wait((), 0.2)


@contextmanager
def rig(cpus: list[int]) -> Iterator[Rig]:
    """The worker on one CPU, all else on the other."""
    with ExitStack() as undo:
        undo.enter_context(interrupt.postponed())
        undo.callback(os.sched_setaffinity, 0, os.sched_getaffinity(0))
        plan = LabPlan(
            name=f"b{os.getpid()}", workers=1, backbones=BACKBONES, processes=1,
            relay={"max_flows": MAX_FLOWS, "idle_timeout_s": IDLE_TIMEOUT_S},
            dataplane={"nat_ports": NAT_PORTS},
        )  # fmt: skip
        running = lab.up(plan, start=False, tell=lambda _: None)
        undo.callback(running.remove)
        running.load_dataplane()
        os.sched_setaffinity(0, {cpus[1]})
        relay = running.start_relay().popen.pid
        os.sched_setaffinity(0, {cpus[0]})
        worker = only_worker(relay)
        keyring = Keyring(*load_masters(running.plan.directory / "keys.toml"))
        client, macs = undo.enter_context(_client(running.plan))
        region = undo.enter_context(_region(running.plan))
        numbers = iter(range(1 << 22))
        yield Rig(running, client, region, worker, macs, keyring, numbers)


@contextmanager
def _client(plan: LabPlan) -> Iterator[tuple[socket.socket, bytes]]:
    """A socket for whole frames, and the MAC addresses of the frames that it is for."""
    with netns.inside(plan.namespaces[Place.POP]), Netdev() as netdev:
        public = netdev.link(plan.public.interface)
    with netns.inside(plan.namespaces[Place.CLIENT]), Netdev() as netdev:
        own = netdev.link(plan.client.interface)
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # receives nothing
    with opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)
        opened.bind((own.name, 0))
        yield opened, public.mac + own.mac


@contextmanager
def _region(plan: LabPlan) -> Iterator[socket.socket]:
    with netns.inside(plan.namespaces[Place.REGION]):
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        opened.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        opened.bind((plan.region_hosts[0], TRANSCEIVER_PORT))
        yield opened


def run() -> list[Figure]:
    """Latency at a steady rate, then what a worker can do; takes about two minutes."""
    cpus = sorted(os.sched_getaffinity(0))
    if os.geteuid() != 0 or len(cpus) < 2:
        return []
    with rig(cpus) as made:
        made.fly(made.prepare(100), RATE)  # neighbours are known after this
        gc.disable()
        try:
            return [*_latency(made), *_sustained(made), *_at_target(made)]
        finally:
            gc.enable()


def _least_disturbed(rounds: Sequence[D]) -> list[D]:
    """The half in which other processes took least of the worker's CPU: what someone else's time slice of
    3 ms does to a percentile says nothing of the relay.
    """
    return sorted(rounds, key=lambda r: r.load.waiting)[: len(rounds) // 2]


def _latency(made: Rig) -> list[Figure]:
    """Rounds of first packets, each followed by a round of the limit."""
    before = made.samples()
    first, limit = [], []
    for _ in range(ROUNDS):
        frames = made.prepare(int(RATE * ROUND_S))
        first.append(made.fly(frames, RATE))
        limit.append(made.fly(frames, RATE))
    lost, count = sum(f.lost for f in first), int(RATE * ROUND_S) * ROUNDS
    best = _least_disturbed(first)
    note = f"the {len(best)} least disturbed of {ROUNDS} rounds; {typical([f.load for f in best])}"
    return [
        Figure(
            f"first packets lost of {count:,} at {RATE:,}/s", lost, "packets", at_most=0,
            note=f"of the same again, {sum(f.lost for f in limit)}; {made.losses(before)}",
        ),
        Figure(
            f"first packet at {RATE:,}/s, p50", _median_ms(best, 50), "ms", at_most=P50_AT_MOST_MS,
            note=f"of a known flow, by XDP alone: {_median_ms(limit, 50):.4f} ms",
        ),
        Figure(
            f"first packet at {RATE:,}/s, p99", _median_ms(best, 99), "ms", at_most=P99_AT_MOST_MS,
            note=f"of a known flow: {_median_ms(limit, 99):.4f} ms; {note}",
        ),
    ]  # fmt: skip


def _median_ms(flights: list[Flight], percent: float) -> float:
    return statistics.median(percentile(flight.latencies_ms, percent) for flight in flights)


def _sustained(made: Rig) -> list[Figure]:
    """As many first packets as come out, a bounded number in flight; counted once flows end as well."""
    frames = made.prepare(SUSTAINED_FLOWS)
    made.wait_until_empty()
    half, length = SUSTAINED_FLOWS // 2, SUSTAINED_FLOWS // 2 // STRETCHES
    warm_up = _carry(made, frames, 0, half)
    before = made.samples()
    stretches = [_carry(made, frames, half + length * number, length) for number in range(STRETCHES)]
    after = made.samples()
    limit = [_carry(made, frames, SUSTAINED_FLOWS - length, length) for _ in range(STRETCHES)]
    installed, removed = (after[key] - before[key] for key in (INSTALLED, ENDED))
    if installed != half:
        raise RuntimeError(f"{half} first packets came out, but {installed} flows were installed")
    seconds = sum(stretch.seconds for stretch in stretches)
    best = _least_disturbed(stretches)
    return [
        Figure(
            "new flows per worker, sustained", length / statistics.median(s.seconds for s in best), "/s",
            at_least=SUSTAINED_AT_LEAST,
            note=f"none lost; {half:,} in {seconds:.1f} s after {warm_up.seconds:.1f} s, while {removed:,} "
            f"ended; the {len(best)} least disturbed of {STRETCHES} parts; {typical([s.load for s in best])}",
        ),
        Figure(
            "CPU of the worker for a new flow",
            statistics.median(s.load.running * s.seconds / length * 1e6 for s in best), "µs",
        ),
        Figure(
            "the same frames, of known flows", length / statistics.median(s.seconds for s in limit), "/s",
            note="by XDP alone: what this sender and receiver can do",
        ),
    ]  # fmt: skip


def _carry(made: Rig, frames: Frames, first: int, count: int) -> Stretch:
    """Send a stretch of frames, a bounded number in flight. Raises RuntimeError when any is lost."""
    interrupt.check()
    receiver, load = Receiver(made.region), meter(made.worker)
    try:
        seconds = closed_loop(
            lambda at, burst: frames.sender.send(first + at, burst), receiver.receive, count
        )
    except RuntimeError as error:
        raise RuntimeError(f"{error}; since the relay began, {made.losses({})}") from error
    return Stretch(seconds, load())


def _at_target(made: Rig) -> list[Figure]:
    """At the wanted rate, come what may."""
    frames = made.prepare(int(SUSTAINED_AT_LEAST * OPEN_LOOP_S))
    made.wait_until_empty()
    before = made.samples()
    flight = made.fly(frames, SUSTAINED_AT_LEAST)
    p50, p99 = (percentile(flight.latencies_ms, percent) for percent in (50, 99))
    return [
        Figure(
            f"first packets lost of {len(frames.ids):,} at {SUSTAINED_AT_LEAST:,}/s", flight.lost, "packets",
            at_most=0, note=made.losses(before),
        ),
        Figure(f"first packet at {SUSTAINED_AT_LEAST:,}/s, p50", p50, "ms"),
        Figure(f"first packet at {SUSTAINED_AT_LEAST:,}/s, p99", p99, "ms", note=str(flight.load)),
    ]  # fmt: skip
