"""Nanoseconds per packet in the fast path, as multiples of a bare XDP_TX in the same run.

The whole program runs, counters and stamps included, by BPF_PROG_TEST_RUN on one CPU; the packet is
restored and the flow drawn at random each time (fastpath_harness.c). Times are of the thread's CPU,
so that neighbours cost caches, not waiting. Programs are interleaved round by
round, in reversed order every other round; figures are medians of the rounds' ratios. One core, warm
packet data, no driver: use the ratios.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt

from core.addr import Endpoint, IpFamily, pack_address
from core.keyring import Keyring
from core.stun import Attribute, MessageType, encode
from core.token import Token, mint
from ebpf import layout, loader, pins
from ebpf.clock import SeenClock
from ebpf.flows import FlowRecord, ufrag_mark
from ebpf.ids import BackboneIndex, EgressId, NatSlot, NextHopId, TransceiverId, VipId
from ebpf.index import Index
from ebpf.kernel.bpfmap import BpfMap, MapSpec
from ebpf.kernel.libbpf import F_MMAPABLE, MapKind
from ebpf.kernel.testrun import run as test_run
from ebpf.tables import Adjacency, LocalAddress, Rates, Tables
from edge.fastpath.nat_slots import Slots, share_ports
from tests.bench.result import Figure
from tests.builders import UdpFrame

HARNESS = Path(__file__).with_name("fastpath_harness.c")
LOOPBACK = 1
ROUNDS = int(os.environ.get("FASTPATH_ROUNDS", "15"))
REPEAT = 200_000
CLIENTS, PORT = 0x64000000, 40000
V4 = IpFamily.V4
VIP, VIP_ID = Endpoint("10.0.0.1", 3478), VipId(1)
PEER = Endpoint("10.2.0.1", 40007)
UP, DOWN = NextHopId(1), NextHopId(2)
NAT_FIRST, NAT_PORTS = 4096, 61440
TRANSCEIVERS = 256
"""Numbers that stand for PEER, as if flows led to so many: what they take in the caches is theirs."""
SIZES = {1: 16384, 10_000: 16384, 100_000: 131_072, 1_000_000: 1_000_000}
"""Flows → how many the tables are made for."""

KEYRING = Keyring({1: bytes(range(32))}, mint_with=1)
NOW_MIN = 29_900_000
UFRAG = mint(Token(1, 1, 1, 40007, (NOW_MIN + 60) & 0xFFFF, 1), KEYRING).encode()
FORGED = UFRAG[:5] + (b"A" if UFRAG[5:6] != b"A" else b"B") + UFRAG[6:]
RTP = bytes.fromhex("806f1234000003c0deadbeef") + bytes(148)


def _request(ufrag: bytes) -> bytes:
    username = (Attribute.USERNAME, ufrag + b":abcd")
    attributes: list[tuple[int, bytes]] = [
        username,
        (Attribute.PRIORITY, bytes(4)),
        (Attribute.ICE_CONTROLLING, bytes(8)),
    ]
    return encode(MessageType.BINDING_REQUEST, b"transaction!", attributes, b"password")


@dataclass(frozen=True)
class PathRow:
    """One row: the harness's program, the payload, and at most how many bare TXs it may cost by flows."""

    program: str
    payload: bytes
    at_most: tuple[float, ...] = ()


PATHS = {
    "harness alone": PathRow("bench_nothing", RTP),
    "harness and a flow's cache line": PathRow("bench_record", RTP),
    "upstream RTP": PathRow("bench_forward", RTP, (4.5, 5.2, 20, 28)),
    "downstream RTP": PathRow("bench_downstream", RTP, (3.3, 3.6, 6, 10)),
    "known STUN": PathRow("bench_forward", _request(UFRAG)),
    "new STUN, valid token": PathRow("bench_new_valid", _request(UFRAG)),
    "new STUN, forged token": PathRow("bench_new_forged", _request(FORGED)),
}
BARE = "bench_tx"


class Bench(ctypes.Structure):
    """struct bench of the harness."""

    _fields_ = (
        ("seed", ctypes.c_uint64),
        ("wrong", ctypes.c_uint64),
        ("flows", ctypes.c_uint32),
        ("pad", ctypes.c_uint32),
    )


BENCH = MapSpec("bench", MapKind.ARRAY, ctypes.c_uint32, Bench, 1, F_MMAPABLE)


def run() -> list[Figure]:
    """Every path at every number of flows."""
    if os.geteuid() != 0:
        return []
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    figures = []
    for position, flows in enumerate(SIZES):
        with scene(flows) as (fds, state):
            times = measure(fds, state)
        figures.append(_of_both(times, flows))
        for name, path in PATHS.items():
            ratios = [ns / bare for ns, bare in zip(times[name], times[BARE], strict=True)]
            figures.append(
                Figure(
                    f"{name}, {flows:,} flows",
                    median(ratios),
                    "× bare XDP_TX",
                    at_most=path.at_most[position] if path.at_most else None,
                    note=f"{median(times[name]):.0f} ns, bare {median(times[BARE]):.1f} ns",
                )
            )
    return figures


def _of_both(times: dict[str, list[float]], flows: int) -> Figure:
    """What a packet of a flow costs, either way: for docs/scale.md, which compares numbers of flows."""
    both = [(up + down) / 2 for up, down in zip(times["upstream RTP"], times["downstream RTP"], strict=True)]
    return Figure(f"either way, {flows:,} flows", median(both), "ns", note=f"bare {median(times[BARE]):.1f}")


def measure(fds: dict[str, int], state: np.void) -> dict[str, list[float]]:
    """Nanoseconds per packet of every round, by path."""
    rows = [(BARE, BARE, RTP), *((name, path.program, path.payload) for name, path in PATHS.items())]
    times: dict[str, list[float]] = {name: [] for name, _, _ in rows}
    for number in range(ROUNDS + 1):
        for name, program, payload in rows if number % 2 else reversed(rows):
            frame = bytes(UdpFrame(Endpoint("100.0.0.0", PORT), VIP, payload))
            began = time.thread_time_ns()
            test_run(fds[program], frame, REPEAT)
            if number:  # the first round warms up
                times[name].append((time.thread_time_ns() - began) / REPEAT)
        if state["wrong"]:
            raise RuntimeError(f"{state['wrong']} packets did not take the path that is measured")
    return times


@contextlib.contextmanager
def scene(flows: int) -> Iterator[tuple[dict[str, int], np.void]]:
    """A fast path with that many flows; yields the harness's programs and its state."""
    with tempfile.TemporaryDirectory(prefix="voxpop-bench-") as mount:
        subprocess.run(["mount", "-t", "bpf", "voxpop-bench", mount], check=True)
        try:
            directory = pins.pin_dir(Path(mount))
            backbones = -(-flows // NAT_PORTS)
            sizes = pins.Sizes(SIZES[flows], 1, backbones, 1)
            pins.ensure_maps(directory, sizes)
            bench = BpfMap.create(BENCH, 1)
            bench.pin(directory / "bench")
            state: np.void = bench.view(writable=True)[0]
            state["flows"], state["seed"] = flows, 1
            tables = Tables(directory)
            populate(tables, backbones)
            names = (BARE, *loader.Program, *{path.program for path in PATHS.values()})
            loaded = loader.load(directory, extra=HARNESS.read_text(), names=names)
            install(directory, loaded.fds, tables, [client_of(number) for number in range(flows)])
            yield loaded.fds, state
            loaded.close()
            tables.close()
            bench.close()
        finally:
            subprocess.run(["umount", mount], check=True)


def populate(tables: Tables, backbones: int) -> None:
    """Addresses, a next hop each way, and the token key."""
    hosts = {BackboneIndex(index): f"10.1.{index}.1" for index in range(backbones)}
    tables.set_vip(VIP_ID, VIP)
    for index, host in hosts.items():
        tables.set_backbone(index, host)
    locals_ = [LocalAddress(host, backbone=index) for index, host in hosts.items()]
    tables.set_locals([LocalAddress(VIP.host, {VIP.port: VIP_ID}), *locals_])
    tables.set_egress(EgressId(0), LOOPBACK)
    for nexthop in (UP, DOWN):
        tables.set_nexthop(nexthop, Adjacency(b"\x02" * 6, b"\x04" * 6, 1500, EgressId(0)))
    tables.config["default_nexthop"] = [[UP, DOWN], [UP, DOWN]]
    for number in range(1, TRANSCEIVERS + 1):
        tables.set_transceiver(TransceiverId(number), PEER, UP)
    tables.set_keys(KEYRING)
    tables.set_clock(NOW_MIN)
    for punt_class in range(layout.PUNT_CLASSES):
        tables.set_rates(punt_class, Rates(1e9, 1_000_000_000, 1e9, 1_000_000_000))


def client_of(number: int) -> Endpoint:
    """As the harness numbers them."""
    host = ".".join(map(str, (CLIENTS + (number >> 2)).to_bytes(4, "big")))
    return Endpoint(host, PORT + (number & 3))


def install(directory: Path, fds: dict[str, int], tables: Tables, clients: list[Endpoint]) -> list[NatSlot]:
    """A flow for each client; in the slots that are told, which are chosen as a relay does it."""
    for program in (loader.Program.INDEX, loader.Program.CLOCK):
        pins.pin_program(fds[program], directory / program)
    index, clock = Index(directory), SeenClock(directory, time.monotonic_ns)
    backbones = [*map(BackboneIndex, range(len(tables.records[V4][0]) // layout.PORTS))]
    ranges = share_ports(backbones, NAT_FIRST, layout.PORTS - 1, 0, 1)
    free = Slots(tables.records[V4], ranges, frozenset(), clock)
    free.adopt(tables.marks[V4], 1)
    taken = [free.take(index.groups(client), 0, 1) for client in clients]
    slots = [slot for slot in taken if slot is not None]
    assert len(slots) == len(clients), "there is a NAT port for each"
    anyone = Endpoint("100.0.0.0", PORT)
    model = FlowRecord(NatSlot(NAT_FIRST), anyone, VIP_ID, PEER, TransceiverId(1), DOWN)
    tables.write_slot(model)
    for records in tables.records[V4]:
        written = np.repeat(records[NAT_FIRST : NAT_FIRST + 1], len(clients))
        records[_in_a_row(len(clients))] = written
        written["client"] = np.frombuffer(b"".join(pack_address(c.host) for c in clients), "=u4")
        written["common"]["client_port"] = np.array([c.port for c in clients], ">u2").view("=u2")
        records[slots] = written
    upstream, _ = tables.records[V4]
    upstream["common"]["transceiver"][slots] = np.arange(len(slots)) % TRANSCEIVERS + 1
    tables.marks[V4][slots] = ufrag_mark(UFRAG)
    for slot in slots:
        index.link(V4, slot)
    index.close()
    clock.close()
    return slots


def _in_a_row(flows: int) -> npt.NDArray[np.uint32]:
    """The slots that the harness draws where no client says which: by flow, one after the other."""
    number = np.arange(flows, dtype=np.uint32)
    return ((number // NAT_PORTS << 16) + NAT_FIRST + number % NAT_PORTS).astype(np.uint32)
