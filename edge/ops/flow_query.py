"""The flows as the pinned maps have them: selected by what an operator asks for, as values to show."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from core.addr import Endpoint, IpFamily, unpack_address
from ebpf import layout
from ebpf.clock import SeenClock
from ebpf.tables import Tables

Prefix = IPv4Network | IPv6Network
Mask = npt.NDArray[np.bool_]

_IDLE = re.compile(r"([<>])(\d+(?:\.\d+)?)(ms|s|m|h)")
_UNITS_NS = {"ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


@dataclass(frozen=True, slots=True)
class Side:
    """An address, or a prefix of them, and perhaps a port."""

    prefix: Prefix
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Idle:
    """How long a client must have been silent, more or less."""

    is_more: bool
    than_ns: int


@dataclass(frozen=True, slots=True)
class Filter:
    """What a flow must be to be shown; None: anything."""

    client: Side | None = None
    vip: Side | None = None
    transceiver: Side | None = None
    idle: Idle | None = None
    is_unconfirmed: bool | None = None


@dataclass(frozen=True, slots=True)
class ShownFlow:
    """One flow."""

    client: str
    vip: str
    transceiver: str
    nat_port: str
    """With the backbone address that it is a port of."""
    idle_s: float
    """Since the client was last heard."""
    answered_s: float | None
    """Since the transceiver was last heard; None: never, the flow is unconfirmed."""
    packets_up: int
    packets_down: int
    bytes_up: int
    bytes_down: int
    """Of the IP layer, as carried by the fast path."""

    def to_json(self) -> dict[str, object]:
        """Keys are those of the fields."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Selection:
    """What was found."""

    matching: dict[IpFamily, int]
    """Number of flows, shown or not."""
    total: int
    shown: list[ShownFlow] = field(default_factory=list)


def parse_side(text: str) -> Side:
    """`192.0.2.0/24`, `192.0.2.1`, `192.0.2.1:3478`, `2001:db8::/32`, `[2001:db8::1]:3478`.

    Raises ValueError with a sentence.
    """
    try:
        return Side(ip_network(text, strict=False))
    except ValueError:
        host, colon, port = text.rpartition(":")
        if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise ValueError(f"{text!r} is no address, prefix or ADDRESS:PORT") from None
    try:
        return Side(ip_network(host.removeprefix("[").removesuffix("]")), int(port))
    except ValueError:
        raise ValueError(f"{text!r} is no address, prefix or ADDRESS:PORT") from None


def parse_idle(text: str) -> Idle:
    """`>30s`, `<500ms`. Raises ValueError with a sentence."""
    match = _IDLE.fullmatch(text.replace(" ", ""))
    if match is None:
        raise ValueError(f"{text!r} is no bound such as '>30s' or '<500ms'")
    return Idle(match[1] == ">", round(float(match[2]) * _UNITS_NS[match[3]]))


def select(pin_dir: Path, wanted: Filter, limit: int | None, monotonic_ns: Callable[[], int]) -> Selection:
    """The flows that match, of which up to `limit` are shown; none at 0. Raises PinError."""
    tables = Tables(pin_dir, writable=False)
    try:
        clock = SeenClock(pin_dir, monotonic_ns)
        try:
            return _select(_View(tables, clock, monotonic_ns()), wanted, limit)
        finally:
            clock.close()
    finally:
        tables.close()


class _View(NamedTuple):
    """The maps at one time."""

    tables: Tables
    clock: SeenClock
    now_ns: int


def _select(view: _View, wanted: Filter, limit: int | None) -> Selection:
    matching, total = {}, 0
    shown: list[ShownFlow] = []
    for family in IpFamily:
        live = view.tables.live(family)
        total += len(live)
        found = live[_matches(view, family, live, wanted)]
        matching[family] = len(found)
        room = len(found) if limit is None else max(limit - len(shown), 0)
        shown.extend(_show(view, family, found[:room]))
    return Selection(matching, total, shown)


def _matches(view: _View, family: IpFamily, slots: npt.NDArray[np.intp], wanted: Filter) -> Mask:
    tables, clock, now_ns = view
    up, down = (records[slots] for records in tables.records[family])
    record = up["common"]
    mask: Mask = np.ones(len(slots), bool)
    if wanted.client is not None:
        mask &= _is_within(wanted.client, family, up["client"], record["client_port"])
    if wanted.transceiver is not None:
        mask &= _is_within(
            wanted.transceiver, family, down["transceiver"], down["common"]["transceiver_port"]
        )
    if wanted.vip is not None:
        vips = tables.config["vip"]
        addresses = vips["addr"] if family is IpFamily.V6 else vips["addr"][:, 0]
        mask &= _is_within(wanted.vip, family, addresses, vips["port"])[record["vip"]]
    if wanted.idle is not None:
        idle_ns = clock.idle(record["seen"], now_ns) * np.int64(clock.unit_ns)
        mask &= idle_ns > wanted.idle.than_ns if wanted.idle.is_more else idle_ns < wanted.idle.than_ns
    if wanted.is_unconfirmed is not None:
        mask &= (down["common"]["packets"] == 0) == wanted.is_unconfirmed
    return mask


def _is_within(
    side: Side, family: IpFamily, addresses: npt.NDArray[np.uint32], ports: npt.NDArray[np.uint16]
) -> Mask:
    """Whether each of the addresses and ports, in network order, is on that side."""
    if side.prefix.version != family:
        return np.zeros(len(ports), bool)
    network = np.frombuffer(side.prefix.network_address.packed, np.uint32)
    netmask = np.frombuffer(side.prefix.netmask.packed, np.uint32)
    columns = addresses.reshape(len(ports), len(network))
    mask: Mask = ((columns & netmask) == network).all(axis=1)
    if side.port is not None:
        mask &= ports == socket.htons(side.port)
    return mask


def _show(view: _View, family: IpFamily, slots: npt.NDArray[np.intp]) -> Iterator[ShownFlow]:
    tables, clock, now_ns = view
    if not len(slots):
        return
    up, down = (records[slots] for records in tables.records[family])
    record, vips = up["common"], tables.config["vip"]  # by columns: many times faster than record by record
    zeros = np.zeros(layout.BACKBONES, np.uint16)
    backbones = [e.host for e in _endpoints(family, tables.config[f"backbone{family}"]["addr"], zeros)]
    vip_names = [str(endpoint) for endpoint in _endpoints(family, vips["addr"], vips["port"])]
    columns = zip(
        slots.tolist(),
        _endpoints(family, up["client"], record["client_port"]),
        _endpoints(family, down["transceiver"], down["common"]["transceiver_port"]),
        record["vip"].tolist(),
        record["seen"].tolist(),
        down["common"]["seen"].tolist(),
        *(column.tolist() for traffic in tables.traffic(family, slots) for column in traffic),
        strict=True,
    )
    for number, client, transceiver, vip, seen, answered, *traffic in columns:
        packets_up, bytes_up, packets_down, bytes_down = traffic
        yield ShownFlow(
            client=str(client),
            vip=vip_names[vip],
            transceiver=str(transceiver),
            nat_port=str(Endpoint(backbones[number // layout.PORTS], number % layout.PORTS)),
            idle_s=_since_s(clock, seen, now_ns),
            answered_s=_since_s(clock, answered, now_ns) if packets_down else None,
            packets_up=packets_up,
            packets_down=packets_down,
            bytes_up=bytes_up,
            bytes_down=bytes_down,
        )


def _since_s(clock: SeenClock, seen: int, now_ns: int) -> float:
    return round((now_ns - clock.time_of(seen, now_ns)) / 1e9, 3)


def _endpoints(
    family: IpFamily, words: npt.NDArray[np.uint32], ports: npt.NDArray[np.uint16]
) -> Iterator[Endpoint]:
    """The address in each row of `words` with each of `ports`, both in network order."""
    size, packed = family.address_bytes, words.tobytes()
    row = len(packed) // len(ports)  # IPv4 may be in the first word of several
    for at, port in zip(range(0, len(packed), row), ports.byteswap().tolist(), strict=True):
        yield Endpoint(unpack_address(packed[at : at + size]), port)
