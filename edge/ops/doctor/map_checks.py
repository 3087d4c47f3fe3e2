"""Whether what is pinned is what the configuration wants, and does to known packets what it should."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

from core.addr import Endpoint, IpFamily, family_of, pack_address
from core.keyring import KEY_IDS, Keyring
from core.stun import Attribute, MessageType, encode
from core.token import Token, expiry_after, mint
from ebpf import layout, pins
from ebpf.errors import DataplaneError
from ebpf.kernel.testrun import XdpAction, run
from ebpf.tables import Tables
from edge.fastpath.raw_send import udp_datagram
from edge.host.dataplane import BACKBONE, Plan
from edge.ops.doctor.checks import Check, failed, note, ok, skipped

PROBE_HOSTS = {IpFamily.V4: "192.0.0.8", IpFamily.V6: "100::8"}
"""Whose packets we pretend to see: the dummy address of RFC 7600, the discard prefix of RFC 6666."""
STALE_MIN = 2
TO_OTHERS = "UDP to others is passed"


def check(plan: Plan, keyring: Keyring | None, now_min: int) -> Iterator[Check]:
    """Every check; `keyring` is that of the configuration, None where it cannot be read, `now_min` the wall
    clock in minutes since the Unix epoch.
    """
    maps = _maps(plan)
    yield maps
    yield _other_versions(plan)
    try:
        tables = Tables(plan.directory, writable=False)
    except DataplaneError as error:
        yield skipped("tables", str(error))
        return
    try:
        yield _locals(tables)
        yield _clock(tables, now_min)
        yield _keys(tables, keyring)
        yield _nexthops(tables)
        yield _room(tables, plan)
        yield _emergency(tables)
        if int(tables.config["local_hash"]):
            yield from _probes(plan, keyring, now_min, is_emergency=tables.is_emergency)
    finally:
        tables.close()


def _maps(plan: Plan) -> Check:
    try:
        for spec, count in pins.entries(plan.sizes).values():
            if wrong := pins.misfit(plan.directory, spec, count):
                return failed(
                    "maps",
                    wrong,
                    "drain, `voxpop dataplane detach --unpin`, `voxpop dataplane run`; or set the old sizes",
                )
    except DataplaneError as error:
        return failed("maps", str(error), "`voxpop dataplane run`")
    return ok("maps", f"{plan.directory}: all are there, with the right layout and sizes")


def _other_versions(plan: Plan) -> Check:
    others = [path.name for path in pins.other_versions(plan.directory)]
    if others:
        return note(
            "schema",
            f"this version is v{layout.SCHEMA_VERSION}; {', '.join(others)} of other versions take memory",
            f"when no relay of theirs runs any more, remove them: rm -r {plan.directory.parent}/{others[0]}",
        )
    return ok("schema", f"v{layout.SCHEMA_VERSION}, and no other")


def _locals(tables: Tables) -> Check:
    if not int(tables.config["local_hash"]):
        return failed(
            "addresses",
            "no relay has told the fast path its VIPs yet, so it passes everything",
            "start `voxpop relay`",
        )
    half = int(tables.config["local_hash"]) & 1
    cells = tables.config["local"][half * layout.LOCAL_CELLS :][: layout.LOCAL_CELLS]
    used = cells[cells["family"] != 0]
    vips, backbones = int(used["vips"].sum()), int((used["nat_first"] <= used["nat_last"]).sum())
    return ok("addresses", f"the fast path knows {vips} VIPs and {backbones} backbone addresses")


def _clock(tables: Tables, now_min: int) -> Check:
    told = int(tables.config["clock_min"])
    if not told & layout.CLOCK_SET:
        return failed(
            "clock", "no relay has told the time, so every new flow is refused", "start `voxpop relay`"
        )
    age = (now_min - told) & 0xFFFF
    if STALE_MIN < age < 0x8000:
        return note(
            "clock",
            f"{age} minutes old: no relay is running",
            "start `voxpop relay`; established calls go on",
        )
    return ok("clock", "set within the last minutes")


def _keys(tables: Tables, keyring: Keyring | None) -> Check:
    if keyring is None:
        return skipped("keys", "token.keys_file cannot be read by this user")
    for key_id in KEY_IDS:
        wanted = keyring.tag_key(key_id)
        row = tables.config["token_key"][key_id]
        there = row["k0"].tobytes() + row["k1"].tobytes() if row["set"] else None
        if there != wanted:
            what = "another key" if there and wanted else "a key" if there else "no key"
            return failed(
                "keys",
                f"the fast path has {what} under id {key_id}, unlike token.keys_file",
                "SIGHUP the relay, or start it; see `voxpop keys rotate --help` for the order",
            )
    return ok("keys", f"those of token.keys_file: {', '.join(map(str, keyring.key_ids))}")


def _nexthops(tables: Tables) -> Check:
    records = tables.config["nexthop"]
    live = [
        record["adjacency"][int(record["live"]) & 1]
        for record in records[1:]
        if record["adjacency"]["usable"].any()
    ]
    usable = sum(bool(each["usable"]) for each in live)
    if not usable:
        return note(
            "next hops", "none is usable", "check routes and `ip neigh`; one is made for each router in use"
        )
    return ok("next hops", f"{usable} usable")


def _room(tables: Tables, plan: Plan) -> Check:
    live = [len(tables.live(family)) for family in IpFamily]
    limit = plan.relay.max_flows
    words = f"{live[0]} IPv4 and {live[1]} IPv6 flows, room for {limit}"
    if sum(live) > 0.8 * limit:
        return note("room", words, "raise relay.max_flows; the tables are made anew for that")
    return ok("room", words)


def _emergency(tables: Tables) -> Check:
    if tables.is_emergency:
        return note(
            "emergency",
            "raised: of strangers only valid tokens pass",
            "docs/attack.md; `voxpop dataplane emergency status` says by whom, `off` lowers it",
        )
    return ok("emergency", "not raised")


class _Probe(NamedTuple):
    """A packet, and what has to become of it."""

    name: str
    frame: bytes
    action: XdpAction


def _probes(plan: Plan, keyring: Keyring | None, now_min: int, *, is_emergency: bool) -> Iterator[Check]:
    """Run known packets through the program that is pinned; they show in its counters. In an emergency,
    whether UDP to others passes is for their sockets to say.
    """
    try:
        fd = pins.open_pinned_program(plan.directory, BACKBONE)
    except DataplaneError as error:
        yield skipped("packets", str(error))
        return
    try:
        for probe in _frames(plan, keyring, now_min):
            if is_emergency and probe.name.endswith(TO_OTHERS):
                continue
            action = run(fd, probe.frame).action
            label = f"packet: {probe.name}"
            if action is probe.action:
                yield ok(label, action.name)
            else:
                fix = "`voxpop dataplane run` and a restart of the relay put all of it in place anew"
                yield failed(label, f"{action.name}, not {probe.action.name}", fix)
    except DataplaneError as error:
        yield failed("packets", str(error), "CAP_SYS_ADMIN may be needed for test runs")
    finally:
        os.close(fd)


def _frames(plan: Plan, keyring: Keyring | None, now_min: int) -> Iterator[_Probe]:
    yield _Probe("ARP is passed", b"\xff" * 6 + bytes(6) + b"\x08\x06" + bytes(46), XdpAction.PASS)
    for family in IpFamily:
        vip = next((vip for vip in plan.relay.vips if vip.family is family), None)
        if vip is None:
            continue
        label, stranger = f"IPv{family}", Endpoint(PROBE_HOSTS[family], 40000)
        for what, frame, action in _from_stranger(stranger, vip, keyring, now_min):
            yield _Probe(f"{label}, {what}", frame, action)
        backbone = next((host for host in plan.settings.backbone if family_of(host) is family), None)
        if backbone is not None:
            nat = Endpoint(backbone, plan.settings.nat_ports[0])
            what = "what no transceiver sent to a NAT port is dropped"
            yield _Probe(f"{label}, {what}", _frame(stranger, nat, b"x"), XdpAction.DROP)


def _from_stranger(
    stranger: Endpoint, vip: Endpoint, keyring: Keyring | None, now_min: int
) -> Iterator[tuple[str, bytes, XdpAction]]:
    """What has to become of it, the frame, and how."""
    others = stranger._replace(port=53)
    yield TO_OTHERS, _frame(stranger, others, b"x"), XdpAction.PASS
    yield "TCP to a VIP is passed", _frame(stranger, vip, b"x", socket.IPPROTO_TCP), XdpAction.PASS
    yield f"junk to {vip} is dropped", _frame(stranger, vip, b"\xff junk"), XdpAction.DROP
    if keyring is not None:
        good = _check(keyring, now_min)
        forged = _check(Keyring({keyring.mint_with: os.urandom(32)}, keyring.mint_with), now_min)
        yield "a forged token is dropped", _frame(stranger, vip, forged), XdpAction.DROP
        yield "a valid token goes to the relay", _frame(stranger, vip, good), XdpAction.PASS


def _check(keyring: Keyring, now_min: int) -> bytes:
    """A connectivity check with a fresh token; nothing comes of it, as its integrity is wrong."""
    expiry = expiry_after(now_min, 5)
    ufrag = mint(Token(keyring.mint_with, 0, 0, 1, expiry, 0), keyring).encode()
    return encode(
        MessageType.BINDING_REQUEST, os.urandom(12), [(Attribute.USERNAME, ufrag + b":doctor")], b"-"
    )


def _frame(source: Endpoint, to: Endpoint, payload: bytes, protocol: int = socket.IPPROTO_UDP) -> bytes:
    """An Ethernet frame; the program looks at no IPv4 header checksum of what it does not forward."""
    packed, packed_to = pack_address(source.host), pack_address(to.host)
    body = udp_datagram(packed, source.port, packed_to, to.port, payload)
    if len(packed) == 4:
        total = 20 + len(body)
        header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, total, 0, 0, 64, protocol, 0, packed, packed_to)
        return bytes(12) + b"\x08\x00" + header + body
    header = struct.pack("!LHBB16s16s", 6 << 28, len(body), protocol, 64, packed, packed_to)
    return bytes(12) + b"\x86\xdd" + header + body
