"""The lab's network as a measuring bench: generator, sink and echo at the ends, and ways to be the PoP.

Frames are those of lab_harness.c. The NAPI of the interfaces that packets come to is moved into kernel
threads, so what the PoP spends is the CPU time of one, whatever else the machine does.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from core.addr import Endpoint
from ebpf import loader, pins
from ebpf.ids import EgressId
from ebpf.kernel import bpffs
from ebpf.kernel.bpfmap import BpfMap, MapSpec
from ebpf.kernel.libbpf import F_MMAPABLE, MapKind, TestRunOptions, check, library
from ebpf.loader import Program
from ebpf.net import netns
from ebpf.net.attach import Mode, Netdev
from ebpf.net.netns import Wiring
from ebpf.tables import REST_S, Adjacency, Tables
from edge.lab import network
from edge.lab.plan import LabPlan, Place
from tests.bench.bench_fastpath import DOWN, PEER, PORT, RTP, UP, VIP, client_of, install, populate
from tests.builders import UdpFrame
from tests.processes import cpu_ns

HARNESS = Path(__file__).with_name("lab_harness.c")
MAX_FLOWS = 50_000
PACKETS = 400_000
WARM_UP = 5
"""Packets per flow, on average, before any is counted: so that but one flow in 150 was never seen."""
BATCH = 64
PROGRAMS = ("generate", "flood", "limit", "limit_record", "limit_back", "drop", "pass", "sink", "echo")
LIVE_FRAMES = 1 << 1
"""BPF_F_TEST_XDP_LIVE_FRAMES of linux/bpf.h."""
FIFO_PRIORITY = 10
TO_BACKBONE, TO_PUBLIC = EgressId(0), EgressId(1)
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
        ("back_macs", ctypes.c_uint8 * 12),
        ("random_base", ctypes.c_uint64),
        ("random_mask", ctypes.c_uint64),
        ("random_at", ctypes.c_uint32),
        ("first_source", ctypes.c_uint32),
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
    """One way to be a PoP: programs on its interfaces, what is sent, what must arrive."""

    public: str | None
    backbone: str
    sent_to: Endpoint
    arrives_at: Endpoint
    rules: str = ""


RECEIVE = Row("lab_drop", "lab_pass", VIP, VIP)
LIMIT = Row("lab_limit", "lab_limit_back", VIP, VIP)
LIMIT_RECORD = Row("lab_limit_record", "lab_limit_back", VIP, VIP)
VOXPOP = Row(Program.PUBLIC, Program.BACKBONE, VIP, PEER)
FORWARDING = Row(None, "lab_pass", PEER, PEER)
NFTABLES = Row(None, "lab_pass", VIP, PEER, RULES)
"""A frame that XDP_TX sends to a veth is lost where the other end has no program: hence lab_pass."""


class Cost(NamedTuple):
    """CPU time of a packet, ns."""

    pop: float
    total: float
    """Generator, PoP and sink."""


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

    def work_inline(self) -> None:
        """NAPI runs where packets are sent from, as it does by itself: nothing has to wake up."""
        for place, end in ((Place.POP, self.plan.public), (Place.REGION, self.plan.region)):
            _switch_threads(self.plan.namespaces[place], end.interface, is_on=False)

    @contextlib.contextmanager
    def row(self, row: Row, at_region: str) -> Iterator[None]:
        """The PoP as that row has it, and a program in the region."""
        plan, names = self.plan, self.plan.namespaces
        programs = [
            (Place.POP, plan.public.interface, row.public),
            (Place.POP, plan.backbone.interface, row.backbone),
            (Place.REGION, plan.region.interface, at_region),
        ]
        with contextlib.ExitStack() as undo:
            for place, interface, program in programs:
                if program is not None:
                    undo.enter_context(self._attached(names[place], interface, self.fds[program]))
            undo.enter_context(_nft(names[Place.POP], row.rules))
            yield

    @contextlib.contextmanager
    def _attached(self, namespace: str | None, interface: str, fd: int) -> Iterator[None]:
        with netns.inside(namespace), Netdev() as netdev:
            netdev.attach(interface, fd, mode=Mode.NATIVE)
        try:
            yield
        finally:
            with netns.inside(namespace), Netdev() as netdev:
                netdev.detach(interface, fd)

    def measure(self, row: Row, flows: int) -> Cost:
        """What a packet costs that arrives."""
        frame = bytes(UdpFrame(Endpoint("100.0.0.0", PORT), row.sent_to, RTP))
        self._expect(row, frame, flows)
        with self.row(row, "lab_sink"), netns.inside(self.plan.namespaces[Place.CLIENT]):
            self.send(
                "lab_generate", frame, max(PACKETS // 20, WARM_UP * flows)
            )  # the kernel learns its flows
            before = self._reading()
            self.send("lab_generate", frame, PACKETS)
            arrived, pop, total = (b - a for a, b in zip(before, self._reading(), strict=True))
        if self.state["wrong"] or not arrived:
            raise RuntimeError(f"{row}: {arrived} packets arrived, {self.state['wrong']} wrong ones")
        return Cost(pop / arrived, total / arrived)

    def _reading(self) -> tuple[int, int, int]:
        """(packets arrived, CPU time of the PoP, and of all) so far, ns."""
        time.sleep(0.02)  # what is in the rings
        pop = cpu_ns(self.pop_thread)
        return int(self.state["arrived"]), pop, pop + cpu_ns(self.sink_thread) + time.thread_time_ns()

    def _expect(self, row: Row, frame: bytes, flows: int) -> None:
        state = self.state
        state["flows"], state["wrong"] = flows, 0
        for name, endpoint in (("dst", row.sent_to), ("sink_dst", row.arrives_at)):
            state[name] = int.from_bytes(bytes(map(int, endpoint.host.split("."))), "little")
        state["dst_port"] = int.from_bytes(row.sent_to.port.to_bytes(2, "big"), "little")
        state["sink_port"] = int.from_bytes(row.arrives_at.port.to_bytes(2, "big"), "little")
        state["ip_check"] = int.from_bytes(frame[24:26], "little")
        state["udp_check"] = int.from_bytes(frame[40:42], "little")

    def send(self, program: str, frame: bytes, packets: int) -> None:
        """Live frames of a generator, from the client's interface; in the client's namespace."""
        send_live(self.fds[program], frame, packets, self.client_index)


def send_live(program: int, frame: bytes, packets: int, interface: int) -> None:
    """Frames that a generator makes of a template, on their way out of an interface."""
    data = ctypes.create_string_buffer(frame, len(frame))
    context = Context(data_end=len(frame), ingress_ifindex=interface)
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
    check(library().bpf_prog_test_run_opts(program, ctypes.byref(options)), "send live frames")


@contextlib.contextmanager
def _nft(namespace: str | None, rules: str) -> Iterator[None]:
    if not rules:
        yield
        return
    with netns.inside(namespace):
        subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
    try:
        yield
    finally:
        with netns.inside(namespace):
            subprocess.run(["nft", "delete", "table", "ip", "bench"], check=True)


@contextlib.contextmanager
def scene(flows: int = MAX_FLOWS) -> Iterator[Scene]:
    """The lab's network, so many flows in the tables, programs loaded, NAPI in threads."""
    plan = LabPlan(name=f"b{os.getpid()}")
    with contextlib.ExitStack() as undo:
        undo.callback(os.sched_setaffinity, 0, os.sched_getaffinity(0))
        undo.callback(network.remove, plan)
        network.build(plan)
        plan.bpffs.mkdir(parents=True)
        undo.callback(plan.directory.rmdir)
        undo.callback(plan.bpffs.rmdir)
        bpffs.mount(plan.bpffs)
        undo.callback(bpffs.unmount, plan.bpffs)
        yield _set_up(plan, undo, flows)


def _set_up(plan: LabPlan, undo: contextlib.ExitStack, flows: int) -> Scene:
    directory = pins.pin_dir(plan.bpffs)
    pins.ensure_maps(directory, pins.Sizes(flows + 1, 1, 1, 1))
    bench = BpfMap.create(BENCH, 1)
    bench.pin(directory / "lab_bench")
    tables = Tables(directory)
    undo.callback(tables.close)
    populate(tables, 1)
    names = (*Program, *(f"lab_{name}" for name in PROGRAMS))
    loaded = loader.load(directory, extra=HARNESS.read_text(), names=names)
    undo.callback(loaded.close)
    made = Scene(plan, loaded.fds, bench.view(writable=True)[0], 0, 0, 0)
    own_client = Endpoint(plan.client_hosts[0], PORT)
    clients = [*map(client_of, range(flows)), own_client]
    install(directory, loaded.fds, tables, clients)
    return _connect(made, tables)


def _connect(made: Scene, tables: Tables) -> Scene:
    """MACs, egresses, routes, and the threads that work for PoP and sink."""
    plan, names = made.plan, made.plan.namespaces
    with Wiring(names[Place.CLIENT]) as wiring:
        wiring.veth("spare0", "spare1", names[Place.CLIENT])
        for host in (VIP.host, PEER.host):
            wiring.route(f"{host}/32", plan.gateways[0], source=plan.client_hosts[0])
    with netns.inside(names[Place.CLIENT]), Netdev() as netdev:
        client = netdev.link(plan.client.interface)
        netdev.attach(client.name, made.fds["lab_pass"], mode=Mode.NATIVE)
        # So that the generators are in the kernel's dispatcher, and no run need put them there.
        netdev.attach("spare0", made.fds["lab_generate"], mode=Mode.NATIVE)
        netdev.attach("spare1", made.fds["lab_flood"], mode=Mode.NATIVE)
    with netns.inside(names[Place.REGION]), Netdev() as netdev:
        region = netdev.link(plan.region.interface)
    with Wiring(names[Place.POP]) as wiring:
        wiring.route(f"{PEER.host}/32", plan.region_hosts[0])
    with netns.inside(names[Place.POP]), Netdev() as netdev:
        public = netdev.link(plan.public.interface)
        backbone = netdev.link(plan.backbone.interface)
        tables.set_egress(TO_BACKBONE, backbone.number)
        tables.set_egress(TO_PUBLIC, public.number)
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    made.state["macs"] = list(public.mac + client.mac)
    made.state["way_macs"] = list(region.mac + backbone.mac)
    made.state["back_macs"] = list(client.mac + public.mac)
    time.sleep(REST_S)  # after what `populate` has written there
    tables.set_nexthop(UP, Adjacency(region.mac, backbone.mac, 1500, TO_BACKBONE))
    tables.set_nexthop(DOWN, Adjacency(client.mac, public.mac, 1500, TO_PUBLIC))
    return replace(
        made,
        client_index=client.number,
        pop_thread=_threaded(names[Place.POP], public.name),
        sink_thread=_threaded(names[Place.REGION], region.name),
    )


def _threaded(namespace: str | None, interface: str) -> int:
    """Move an interface's NAPI into a thread; its id."""
    before = set(_napi_threads(interface))
    _switch_threads(namespace, interface, is_on=True)
    (thread,) = set(_napi_threads(interface)) - before
    os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(FIFO_PRIORITY))
    return thread


def _switch_threads(namespace: str | None, interface: str, *, is_on: bool) -> None:
    switch = f"echo {is_on:d} > /sys/class/net/{interface}/threaded"
    subprocess.run(["ip", "netns", "exec", str(namespace), "sh", "-c", switch], check=True)


def _napi_threads(interface: str) -> Iterator[int]:
    for comm in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            if comm.read_text().startswith(f"napi/{interface}-"):
                yield int(comm.parent.name)
