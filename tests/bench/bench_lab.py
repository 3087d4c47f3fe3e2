"""The PoP's work per packet between veth pairs, beside the limit and what people would use instead.

A generator in the client's namespace sends live frames of random flows (lab_harness.c) through the PoP to
a sink in the region, which checks addresses and header checksum of each. By rows: a bare XDP redirect that
writes MACs only (the limit), Voxpop's program, kernel forwarding without NAT, nftables DNAT and SNAT.

Every interface's NAPI is a kernel thread, so what the PoP spends is that thread's CPU time, whatever
else the machine does. Rows are interleaved round by round; figures are medians of the rounds' ratios.

    per CPU-second   generator and sink on one CPU, the PoP on another, as much sent as can be
    path             all on one CPU: the PoP's time per packet, less that of receiving and dropping it
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np

from core.addr import Endpoint
from ebpf import bpffs, loader, netns, pins
from ebpf.bpfmap import BpfMap, MapSpec
from ebpf.flows import FlowRecord, upstream_deltas
from ebpf.libbpf import F_MMAPABLE, MapKind, TestRunOptions, check, library
from ebpf.loader import Program
from ebpf.netdev import Mode, Netdev
from ebpf.netns import Wiring
from ebpf.tables import Tables, WayOut
from edge.lab import network
from edge.lab.plan import LabPlan, Place
from tests.bench.bench_fastpath import CLIENTS, NAT_FIRST, PEER, PORT, RTP, VIP, populate
from tests.bench.result import Figure
from tests.builders import UdpFrame

HARNESS = Path(__file__).with_name("lab_harness.c")
ROUNDS = int(os.environ.get("LAB_ROUNDS", "5"))
FLOWS = (1, 1_000, 50_000)
PACKETS = 400_000
BATCH = 64
LIVE_FRAMES = 1 << 1
"""BPF_F_TEST_XDP_LIVE_FRAMES of linux/bpf.h."""
FIFO_PRIORITY = 10
LEAST_OF_LIMIT, LEAST_OF_NFTABLES, MOST_PATH = 0.65, 3.5, 1.7
RULES = f"""
add table ip bench
add chain ip bench before {{ type nat hook prerouting priority -100; }}
add rule ip bench before ip daddr {VIP.host} udp dport {VIP.port} dnat to {PEER.host}:{PEER.port}
add chain ip bench after {{ type nat hook postrouting priority 100; }}
add rule ip bench after oifname backbone snat to 10.1.0.1
"""


class Bench(ctypes.Structure):
    """struct lab_bench of the harness."""

    _fields_ = (
        ("seed", ctypes.c_uint64),
        ("arrived", ctypes.c_uint64),
        ("wrong", ctypes.c_uint64),
        ("flows", ctypes.c_uint32),
        ("dst", ctypes.c_uint32),
        ("sink_dst", ctypes.c_uint32),
        ("dst_port", ctypes.c_uint16),
        ("sink_port", ctypes.c_uint16),
        ("ip_check", ctypes.c_uint16),
        ("udp_check", ctypes.c_uint16),
        ("macs", ctypes.c_uint8 * 12),
        ("way_macs", ctypes.c_uint8 * 12),
        ("pad", ctypes.c_uint8 * 4),
    )


class Context(ctypes.Structure):
    """struct xdp_md: what a live run says of where its frames come from."""

    _fields_ = tuple(
        (name, ctypes.c_uint32)
        for name in ("data", "data_end", "data_meta", "ingress_ifindex", "rx_queue", "egress_ifindex")
    )


BENCH = MapSpec("lab_bench", MapKind.ARRAY, ctypes.c_uint32, Bench, 1, F_MMAPABLE)


@dataclass(frozen=True)
class Row:
    """One way to be a PoP: the program on its public interface, what is sent, what must arrive."""

    program: str | None
    sent_to: Endpoint
    arrives_at: Endpoint
    rules: str = ""


RECEIVE = Row("lab_drop", VIP, VIP)
LIMIT = Row("lab_limit", VIP, VIP)
VOXPOP = Row(Program.PUBLIC, VIP, PEER)
FORWARDING = Row(None, PEER, PEER)
NFTABLES = Row(None, VIP, PEER, RULES)
ROWS = {"receive": RECEIVE, "limit": LIMIT, "voxpop": VOXPOP, "forwarding": FORWARDING, "nftables": NFTABLES}


@dataclass
class Scene:
    """A lab with nothing in it but the programs."""

    plan: LabPlan
    fds: dict[str, int]
    state: np.void
    client_index: int
    pop_thread: int
    sink_thread: int

    def place(self, generator: int, pop: int) -> None:
        """Which CPU does what; the sink is with the generator."""
        os.sched_setaffinity(0, {generator})
        os.sched_setaffinity(self.sink_thread, {generator})
        os.sched_setaffinity(self.pop_thread, {pop})

    @contextlib.contextmanager
    def row(self, row: Row) -> Iterator[None]:
        """The PoP as that row has it."""
        pop = self.plan.namespaces[Place.POP]
        public = self.plan.public.interface
        with netns.inside(pop), Netdev() as netdev:
            if row.program is not None:
                netdev.attach(public, self.fds[row.program], mode=Mode.NATIVE)
            _nft(row.rules)
        try:
            yield
        finally:
            with netns.inside(pop), Netdev() as netdev:
                if row.program is not None:
                    netdev.detach(public, self.fds[row.program])
                _nft("delete table ip bench" if row.rules else "")

    def measure(self, row: Row, flows: int) -> float:
        """Nanoseconds of the PoP per packet that arrived."""
        frame = UdpFrame(Endpoint("100.0.0.0", PORT), row.sent_to, RTP)
        self._expect(row, bytes(frame), flows)
        with self.row(row), netns.inside(self.plan.namespaces[Place.CLIENT]):
            self._send(bytes(frame), PACKETS // 20)  # the kernel learns its flows
            time.sleep(0.02)
            arrived, spent = int(self.state["arrived"]), _cpu_ns(self.pop_thread)
            self._send(bytes(frame), PACKETS)
            time.sleep(0.02)  # what is in the rings
            arrived, spent = int(self.state["arrived"]) - arrived, _cpu_ns(self.pop_thread) - spent
        if self.state["wrong"] or not arrived:
            raise RuntimeError(f"{row}: {arrived} packets arrived, {self.state['wrong']} wrong ones")
        return spent / arrived

    def _expect(self, row: Row, frame: bytes, flows: int) -> None:
        state = self.state
        state["flows"], state["wrong"] = flows, 0
        for name, endpoint in (("dst", row.sent_to), ("sink_dst", row.arrives_at)):
            state[name] = int.from_bytes(bytes(map(int, endpoint.host.split("."))), "little")
        state["dst_port"] = int.from_bytes(row.sent_to.port.to_bytes(2, "big"), "little")
        state["sink_port"] = int.from_bytes(row.arrives_at.port.to_bytes(2, "big"), "little")
        state["ip_check"] = int.from_bytes(frame[24:26], "little")
        state["udp_check"] = int.from_bytes(frame[40:42], "little")

    def _send(self, frame: bytes, packets: int) -> None:
        data = ctypes.create_string_buffer(frame, len(frame))
        context = Context(data_end=len(frame), ingress_ifindex=self.client_index)
        options = TestRunOptions(
            sz=ctypes.sizeof(TestRunOptions),
            data_in=ctypes.addressof(data),
            data_size_in=len(frame),
            ctx_in=ctypes.addressof(context),
            ctx_size_in=ctypes.sizeof(context),
            repeat=packets,
            flags=LIVE_FRAMES,
            batch_size=BATCH,
        )
        result = library().bpf_prog_test_run_opts(self.fds["lab_generate"], ctypes.byref(options))
        check(result, "send live frames")


def run() -> list[Figure]:
    """Every number of flows, placed on two CPUs and on one."""
    cpus = sorted(os.sched_getaffinity(0))
    if os.geteuid() != 0 or len(cpus) < 2:
        return []
    with scene() as made:
        return [figure for flows in FLOWS for figure in _compare(made, flows, cpus)]


def _compare(made: Scene, flows: int, cpus: list[int]) -> list[Figure]:
    made.place(cpus[0], cpus[1])
    apart = _rounds(lambda row: made.measure(row, flows))
    made.place(cpus[0], cpus[0])
    together = _rounds(lambda row: made.measure(row, flows))

    def ratio(one: str, other: str) -> float:
        return median(b / a for a, b in zip(apart[one], apart[other], strict=True))

    def path(name: str) -> list[float]:
        return [all_ - some for all_, some in zip(together[name], together["receive"], strict=True)]

    paths = {name: median(path(name)) for name in ROWS if name != "receive"}
    rates = ", ".join(f"{name} {1e3 / median(times):.2f}" for name, times in apart.items())
    costs = ", ".join(f"{name} {ns:.0f}" for name, ns in paths.items())
    relative = median(own / bare for own, bare in zip(path("voxpop"), path("limit"), strict=True))
    return [
        Figure(
            f"packets per CPU-second of the PoP, {flows:,} flows", ratio("voxpop", "limit"), "× limit",
            at_least=LEAST_OF_LIMIT, note=f"M packets: {rates}",
        ),
        Figure(
            f"the same beside nftables, {flows:,} flows", ratio("voxpop", "nftables"), "× nftables",
            at_least=LEAST_OF_NFTABLES,
        ),
        Figure(
            f"path on one CPU, {flows:,} flows", relative, "× limit", at_most=MOST_PATH, note=f"ns: {costs}"
        ),
    ]  # fmt: skip


def _rounds(measure: Callable[[Row], float]) -> dict[str, list[float]]:
    """Every row in every round, in reversed order every other one."""
    times: dict[str, list[float]] = {name: [] for name in ROWS}
    for number in range(ROUNDS):
        for name, row in ROWS.items() if number % 2 else reversed(ROWS.items()):
            times[name].append(measure(row))
    return times


def _cpu_ns(thread: int) -> int:
    return int(Path(f"/proc/{thread}/schedstat").read_text().split()[0])


def _nft(rules: str) -> None:
    if rules:
        subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)


@contextlib.contextmanager
def scene() -> Iterator[Scene]:
    """The lab's network, flows in the tables, programs loaded, NAPI in threads."""
    plan = LabPlan(name=f"b{os.getpid()}")
    with contextlib.ExitStack() as undo:
        undo.callback(network.remove, plan)
        network.build(plan)
        plan.bpffs.mkdir(parents=True)
        undo.callback(plan.directory.rmdir)
        undo.callback(plan.bpffs.rmdir)
        bpffs.mount(plan.bpffs)
        undo.callback(bpffs.unmount, plan.bpffs)
        yield _set_up(plan, undo)


def _set_up(plan: LabPlan, undo: contextlib.ExitStack) -> Scene:
    directory = pins.pin_dir(plan.bpffs)
    pins.ensure_maps(directory, pins.Sizes(1 << 16, 1, 1, 1))
    bench = BpfMap.create(BENCH, 1)
    bench.pin(directory / "lab_bench")
    tables = Tables(directory)
    undo.callback(tables.close)
    populate(tables, max(FLOWS), 1)
    _right_checksums(tables, max(FLOWS))
    names = (Program.PUBLIC, "lab_generate", "lab_limit", "lab_drop", "lab_sink")
    loaded = loader.load(directory, extra=HARNESS.read_text(), names=names)
    undo.callback(loaded.close)
    made = Scene(plan, loaded.fds, bench.view(writable=True)[0], 0, 0, 0)
    return _connect(made, tables)


def _right_checksums(tables: Tables, flows: int) -> None:
    """Each flow's own deltas, in place of one for all."""
    slots = np.arange(NAT_FIRST, NAT_FIRST + flows)
    deltas = [upstream_deltas(_flow(number)) for number in range(flows)]
    for column, name in enumerate(("l3_delta", "l4_delta")):
        tables.slots[4]["flow"][name][slots] = [delta[column] for delta in deltas]


def _flow(number: int) -> FlowRecord:
    """As the harness numbers them."""
    host = ".".join(map(str, (CLIENTS + (number >> 2)).to_bytes(4, "big")))
    client = Endpoint(host, PORT + (number & 3))
    return FlowRecord(NAT_FIRST + number, client, 1, VIP, "10.1.0.1", PEER, 1, 2)


def _connect(made: Scene, tables: Tables) -> Scene:
    """MACs, egress, routes, programs at the ends, and the threads that do the PoP's and the sink's work."""
    plan, names = made.plan, made.plan.namespaces
    with netns.inside(names[Place.CLIENT]), Netdev() as netdev:
        client = netdev.interface(plan.client.interface)
        netdev.attach(client.name, made.fds["lab_sink"], mode=Mode.NATIVE)
    with Wiring(names[Place.CLIENT]) as wiring:
        wiring.veth("spare0", "spare1", names[Place.CLIENT])
    with netns.inside(names[Place.CLIENT]), Netdev() as netdev:
        # So that the program is in the kernel's dispatcher, and each run need not put it there.
        netdev.attach("spare0", made.fds["lab_generate"], mode=Mode.NATIVE)
    with netns.inside(names[Place.REGION]), Netdev() as netdev:
        region = netdev.interface(plan.region.interface)
        netdev.attach(region.name, made.fds["lab_sink"], mode=Mode.NATIVE)
    with Wiring(names[Place.POP]) as wiring:
        wiring.route(f"{PEER.host}/32", plan.region_hosts[0])
    with netns.inside(names[Place.POP]), Netdev() as netdev:
        public = netdev.interface(plan.public.interface)
        backbone = netdev.interface(plan.backbone.interface)
        netdev.attach(backbone.name, made.fds["lab_sink"], mode=Mode.NATIVE)
        tables.set_egress(0, backbone.index)
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    made.state["macs"] = list(public.mac + client.mac)
    made.state["way_macs"] = list(region.mac + backbone.mac)
    time.sleep(0.1)  # a next hop's other half rests
    tables.set_nexthop(1, WayOut(region.mac, backbone.mac, 1500, 0))
    return replace(
        made,
        client_index=client.index,
        pop_thread=_threaded(names[Place.POP], public.name),
        sink_thread=_threaded(names[Place.REGION], region.name),
    )


def _threaded(namespace: str | None, interface: str) -> int:
    """Move an interface's NAPI into a thread; its id."""
    before = set(_napi_threads(interface))
    switch = f"echo 1 > /sys/class/net/{interface}/threaded"
    subprocess.run(["ip", "netns", "exec", str(namespace), "sh", "-c", switch], check=True)
    (thread,) = set(_napi_threads(interface)) - before
    os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(FIFO_PRIORITY))
    return thread


def _napi_threads(interface: str) -> Iterator[int]:
    for comm in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            if comm.read_text().startswith(f"napi/{interface}-"):
                yield int(comm.parent.name)
