"""Flows as an operator asks for them."""

from __future__ import annotations

import time

import pytest

from ebpf import layout
from ebpf.ids import BackboneIndex
from edge.fastpath.flow import XdpFlow
from edge.ops.flow_query import Filter, Idle, Selection, parse_idle, parse_side, select
from tests.edge.fastpath.rig import (
    BACKBONES,
    V4,
    V6,
    VIPS,
    Rig,
)


def show(rig: Rig, limit: int | None) -> Selection:
    return select(rig.pin_dir, Filter(), limit, time.monotonic_ns)


def test_the_list_shows_what_records_say(rig: Rig) -> None:
    for vip in (0, 1):
        rig.tables.set_vip(VIPS[vip].id, VIPS[vip].endpoint)
        rig.tables.set_backbone(BackboneIndex(0), BACKBONES[V6 if vip else V4][BackboneIndex(0)])
        flow = rig.install(2, vip=vip)
        assert isinstance(flow, XdpFlow)
        upstream, downstream = (records["common"] for records in rig.tables.records[flow.family])
        upstream["counts"][flow.slot] = 11 + vip | 100 << layout.COUNT_BITS
        rig.tables.aux[flow.family][["packets", "bytes"]][flow.slot] = 255, 1000
        downstream["packets"][flow.slot], downstream["bytes"][flow.slot] = 5, 500 + vip
    found = show(rig, None)
    assert (found.total, found.matching) == (2, {V4: 1, V6: 1})
    four, six = found.shown
    assert (four.client, four.vip) == ("203.0.113.3:5000", "198.51.100.1:3478")
    assert (four.transceiver, four.nat_port) == ("127.0.0.1:40001", "192.0.2.10:20000")
    assert (six.client, six.vip) == ("[2001:db8:c::3]:5000", "[2001:db8:f::1]:3478")
    assert (six.transceiver, six.nat_port) == ("[::1]:40001", "[2001:db8:b::10]:20000")
    assert (four.packets_up, four.bytes_up, four.packets_down, four.bytes_down) == (266, 1100, 5, 500)
    assert (six.packets_up, six.bytes_up, six.packets_down, six.bytes_down) == (267, 1100, 5, 501)
    assert 0 <= four.idle_s < 20
    assert four.answered_s is not None
    assert 0 <= four.answered_s < 20
    six_records = rig.tables.records[V6][layout.DOWNSTREAM]["common"]
    six_records["packets"][six_records["state"] == layout.SLOT_LIVE] = 0
    assert show(rig, None).shown[1].answered_s is None
    unconfirmed = select(rig.pin_dir, Filter(is_unconfirmed=True), None, time.monotonic_ns)
    assert [flow.client for flow in unconfirmed.shown] == [six.client]
    assert show(rig, 1).shown[0].client == four.client
    assert show(rig, 0).shown == []


@pytest.mark.parametrize(
    ("text", "prefix", "port"),
    [
        ("192.0.2.0/24", "192.0.2.0/24", None),
        ("192.0.2.7/24", "192.0.2.0/24", None),
        ("192.0.2.1", "192.0.2.1/32", None),
        ("192.0.2.1:3478", "192.0.2.1/32", 3478),
        ("2001:db8::/32", "2001:db8::/32", None),
        ("2001:db8::1", "2001:db8::1/128", None),
        ("[2001:db8::1]:3478", "2001:db8::1/128", 3478),
    ],
)
def test_sides(text: str, prefix: str, port: int | None) -> None:
    side = parse_side(text)
    assert (str(side.prefix), side.port) == (prefix, port)


@pytest.mark.parametrize("text", ["", "here", "192.0.2.1:", "192.0.2.1:99999", "[2001:db8::1", "1.2.3:4"])
def test_what_is_no_side(text: str) -> None:
    with pytest.raises(ValueError, match="is no address, prefix or ADDRESS:PORT"):
        parse_side(text)


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        (">30s", Idle(True, 30 * 10**9)),
        ("< 500ms", Idle(False, 500 * 10**6)),
        (">1.5m", Idle(True, 90 * 10**9)),
        (">2h", Idle(True, 7200 * 10**9)),
    ],
)
def test_idle_bounds(text: str, bound: Idle) -> None:
    assert parse_idle(text) == bound


@pytest.mark.parametrize("text", ["30s", ">30", ">s", "=3s", ">-3s"])
def test_what_is_no_idle_bound(text: str) -> None:
    with pytest.raises(ValueError, match="is no bound"):
        parse_idle(text)
