"""A million flows in the maps, and how fast one worker makes, finds, sweeps, lists and adopts them.

No interface is involved: the maps are those of a loaded fast path, first packets go to the loopback.
Needs root.
"""

from __future__ import annotations

import gc
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from ipaddress import IPv4Network
from pathlib import Path

import numpy as np

from core.addr import Endpoint, IpFamily
from core.cluster import Cluster
from core.compare import percentile
from core.keyring import Keyring
from core.service.supervisor import Message
from core.stun import Attribute, MessageType, encode
from core.token import Token, mint
from ebpf import layout, loader, pins
from ebpf.ids import BackboneIndex, NextHopId, VipId
from ebpf.kernel import bpffs
from ebpf.kernel.libbpf import library
from ebpf.tables import Tables
from edge.fastpath.flow import XdpFlow
from edge.fastpath.forwarder import XdpForwarder
from edge.fastpath.open import Identities, open_store
from edge.forwarders.sweep import Patience
from edge.nexthops.messages import SpreadLeg, spread_number
from edge.ops import flow_query as flows
from edge.relay.counters import create
from edge.relay.decide import Relay
from edge.relay.forwarder import Stranger, VipIndex
from edge.relay.slowpath import SlowPath
from edge.relay.verdict import RelayReason
from tests.bench.result import Figure
from tests.edge.kit import Vip
from tests.edge.nexthops.kit import one_view

FLOWS = 1_000_000
ADDRESSES = 17
"""Backbone addresses; 61,440 flows each."""
PORTS = (4096, 65535)
VIP = Vip(VipId(1), Endpoint("198.51.100.1", 3478))
AT = VipIndex(0)
KEYRING = Keyring({1: bytes(range(32))}, 1)
NOW_MIN = 29_900_000
LOOPBACK_HOST = 1
FIRST_PACKETS = 20_000
SWEPT = 1 << 16
ROUNDS = 15
MOVED, TRANSCEIVERS = 100_000, 500
"""Flows that are spread over legs, and whom they lead to."""


def run() -> list[Figure]:
    """Every figure; none without root."""
    if os.geteuid() != 0:
        return []
    with _pinned(FLOWS, ADDRESSES) as pin_dir:
        figures = _million(pin_dir) + _first_packets(pin_dir)
    with _pinned(MOVED, 2) as pin_dir:
        return figures + _uplink_dies(pin_dir)


@contextmanager
def _pinned(max_flows: int, addresses: int) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as root:
        bpffs.mount(Path(root))
        try:
            directory = Path(root) / "v1"
            pins.ensure_maps(directory, pins.Sizes(max_flows, 1, addresses, 0, 1024))
            loaded = loader.load(directory)
            loader.pin(loaded, directory)
            loaded.close()
            yield directory
        finally:
            bpffs.unmount(Path(root))


def _open(pin_dir: Path, max_flows: int = FLOWS, addresses: int = ADDRESSES) -> XdpForwarder:
    hosts = {BackboneIndex(number): f"127.0.0.{number + 10}" for number in range(addresses)}
    tables = Tables(pin_dir)
    tables.set_vip(VIP.id, VIP.endpoint)
    for number, host in hosts.items():
        tables.set_backbone(number, host)
    tables.close()
    identities = Identities(pin_dir, [VIP.id], {IpFamily.V4: hosts}, PORTS)
    store = open_store(identities, [VIP.endpoint], (0, 1), time.monotonic_ns)
    counters, _ = create()
    forwarder = XdpForwarder(store, max_flows, 30_000_000_000, counters, lambda _: None)
    routes = one_view({family: [(0, NextHopId(1))] for family in IpFamily})
    forwarder.hops.learn_routes(routes, time.monotonic_ns())
    return forwarder


def _client(number: int) -> tuple[str, int]:
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", 1024 + (number >> 24)


def _install(forwarder: XdpForwarder, number: int, ufrag: bytes, to: Endpoint) -> None:
    """A flow, which is answered at once."""
    made = forwarder.install(Stranger(AT, _client(number)), ufrag, to, time.monotonic_ns())
    assert isinstance(made, XdpFlow), made
    forwarder._families[made.family].columns.carried_down[made.slot] = 1


def _million(pin_dir: Path) -> list[Figure]:
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    forwarder = _open(pin_dir)
    ufrags = [mint(Token(1, 1, LOOPBACK_HOST, 40000, 1, n), KEYRING).encode() for n in range(1 << 16)]
    to = Endpoint("127.0.0.1", 40000)
    gc.disable()  # as a worker does
    began = time.perf_counter()
    for number in range(FLOWS):
        _install(forwarder, number, ufrags[number & 0xFFFF], to)
    rate = FLOWS / (time.perf_counter() - began)
    refused = forwarder.install(Stranger(AT, _client(FLOWS)), b"x" * 28, to, time.monotonic_ns())
    assert refused is RelayReason.TABLE_FULL, refused
    slots = forwarder._families[IpFamily.V4].slots
    patience = Patience(forwarder.idle_timeout_ns, forwarder.answer_timeout_ns)
    sweep_ms = _median_ms(lambda: slots.ended(0, SWEPT, time.monotonic_ns(), patience))
    find_ms = _median_ms(lambda: [forwarder.find(_client(n), AT, time.monotonic_ns()) for n in range(1000)])
    own_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) / 1024
    count_ms = _median_ms(lambda: _select(pin_dir, 0), 5)
    list_ms = _median_ms(lambda: _select(pin_dir, 100), 5)
    list_all_s = _median_ms(lambda: _select(pin_dir, None), 1) / 1000
    forwarder.close()
    began = time.perf_counter()
    successor = _open(pin_dir)
    adopt_s = time.perf_counter() - began
    assert len(successor) == FLOWS
    successor.close()
    gc.enable()
    return [
        Figure("flows installed per worker", rate, "/s", note="record, entry and bookkeeping; no packet"),
        Figure("sweep of 65,536 flows", sweep_ms, "ms", at_most=5, note="a million in the maps, none idle"),
        Figure("find a flow by its client", find_ms, "µs"),
        Figure("adopt a million flows", adopt_s, "s", note="at the start of a worker, routes included"),
        Figure("flows count, of a million", count_ms, "ms"),
        Figure("flows list, the first hundred of a million", list_ms, "ms"),
        Figure("flows list --limit 0, a million", list_all_s, "s"),
        Figure("maps for a million flows", _maps_mib(pin_dir), "MiB", note=f"{ADDRESSES} backbone addresses"),
        Figure("memory of the worker's process", own_mib, "MiB", note="growth, mapped records included"),
    ]  # fmt: skip


def _select(pin_dir: Path, limit: int | None) -> flows.Selection:
    return flows.select(pin_dir, flows.Filter(), limit, time.monotonic_ns)


def _median_ms(action: Callable[[], object], rounds: int = ROUNDS) -> float:
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        action()
        taken.append((time.perf_counter() - began) * 1e3)
    return percentile(taken, 50)


def _maps_mib(pin_dir: Path) -> float:
    """As the kernel accounts for them."""
    total = 0
    for path in (pin_dir / spec.name for spec in pins.ALL):
        fd = library().bpf_obj_get(bytes(path))
        info = Path(f"/proc/self/fdinfo/{fd}").read_text()
        total += int(next(line.split()[1] for line in info.splitlines() if line.startswith("memlock")))
        os.close(fd)
    return total / (1 << 20)


def _first_packets(pin_dir: Path) -> list[Figure]:
    """The whole slow path of new flows: parse, token, integrity, record, entry, packet."""
    tables = Tables(pin_dir)
    for record in (each["common"] for each in tables.records[IpFamily.V4]):
        record["state"], record["seen"] = layout.SLOT_OFF, 0
    tables.buckets[IpFamily.V4][:] = 0
    tables.groups[IpFamily.V4][:] = 0
    tables.close()
    forwarder = _open(pin_dir)
    counters, _ = create()
    relay = Relay(KEYRING, {1: Cluster(1, IPv4Network("127.0.0.0/24"), None, 1024, 65535)}, 5_000_000_000)
    slow_path = SlowPath(relay, forwarder, counters, time.monotonic_ns)
    checks = [_check(number) for number in range(FIRST_PACKETS)]
    taken = np.empty(FIRST_PACKETS)
    gc.disable()
    for number, check in enumerate(checks):
        began = time.perf_counter()
        slow_path.receive_untrusted(
            memoryview(check), _client(number), AT, IpFamily.V4, time.monotonic_ns(), NOW_MIN
        )
        taken[number] = time.perf_counter() - began
    gc.enable()
    assert len(forwarder) == FIRST_PACKETS, len(forwarder)
    forwarder.close()
    return [
        Figure("new flows per worker", 1 / float(taken.mean()), "/s", at_least=10_000, note="packet sent on"),
        Figure("a new flow in the slow path, p50", percentile(taken.tolist(), 50) * 1e6, "µs"),
        Figure("a new flow in the slow path, p99", percentile(taken.tolist(), 99) * 1e6, "µs", at_most=1000),
    ]  # fmt: skip


def _uplink_dies(pin_dir: Path) -> list[Figure]:
    """One of the legs that all flows are spread over is gone, and back: what that keeps a worker busy."""
    forwarder = _open(pin_dir, MOVED, addresses=2)
    legs = [SpreadLeg(NextHopId(n), 1, seed) for n, seed in ((1, 0x1111), (2, 0x2222), (3, 0x3333))]
    rows = [(0, spread_number(0))]
    two, one, three = (one_view({IpFamily.V4: rows}, [part]) for part in (legs[:2], legs[:1], legs))
    learn = partial(_learn, forwarder)
    learn(two)
    ufrags = [mint(Token(1, 1, LOOPBACK_HOST, 40000, 1, n), KEYRING).encode() for n in range(1 << 16)]
    for number in range(MOVED):
        to = Endpoint(f"127.0.{number % 250}.1", 40000 + number % 4)
        _install(forwarder, number, ufrags[number & 0xFFFF], to)
    gc.disable()
    died, back, third = [], [], []
    for _ in range(ROUNDS):
        died.append(learn(one))
        back.append(learn(two))
        third.append(learn(three))
        learn(two)
    gc.enable()
    forwarder.close()
    note = f"to {TRANSCEIVERS} transceivers; one worker"
    return [
        Figure("100,000 flows moved off a leg that dies", percentile(died, 50), "ms", at_most=100, note=note),
        Figure("the same when it is back", percentile(back, 50), "ms"),
        Figure("the same when a third one comes", percentile(third, 50), "ms", note="a third of them move"),
    ]


def _learn(forwarder: XdpForwarder, routes: Message) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    forwarder.hops.learn_routes(routes, time.monotonic_ns())
    return (time.perf_counter() - began) * 1e3


def _check(number: int) -> bytes:
    ufrag = mint(
        Token(1, 1, LOOPBACK_HOST, 40000, (NOW_MIN + 60) & 0xFFFF, number & 0xFFFF), KEYRING
    ).encode()
    attributes = [(Attribute.USERNAME, ufrag + b":abcd"), (Attribute.PRIORITY, bytes(4))]
    return encode(MessageType.BINDING_REQUEST, os.urandom(12), attributes, KEYRING.ice_password(1, ufrag))
