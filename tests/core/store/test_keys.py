"""Names of keys."""

from __future__ import annotations

from core.addr import parse_endpoint
from core.store.keys import EPOCH, POPS, SCHEMA, HostKind, flow_key


def test_a_key_says_schema_kind_vip_and_client() -> None:
    assert SCHEMA == 1
    v4 = flow_key(parse_endpoint("192.0.2.1:3478"), parse_endpoint("198.51.100.7:50000"))
    assert v4 == b"voxpop:1:flow:192.0.2.1:3478:198.51.100.7:50000"
    v6 = flow_key(parse_endpoint("[2001:db8::1]:3478"), parse_endpoint("[2001:db8::2]:50000"))
    assert v6 == b"voxpop:1:flow:[2001:db8::1]:3478:[2001:db8::2]:50000"
    assert EPOCH == b"voxpop:1:epoch"
    assert b"{" not in v4 + v6 + EPOCH  # no hash tags: a Cluster spreads flows over all of its nodes


def test_a_host_has_a_key_of_its_own_and_a_name_on_the_list_of_its_kind() -> None:
    assert HostKind.POP.heartbeat_key(b"fra:fra-1") == b"voxpop:1:pop:fra:fra-1"
    assert HostKind.TRANSCEIVER.heartbeat_key(b"1:12:40000") == b"voxpop:1:transceiver:1:12:40000"
    assert {kind.list_key for kind in HostKind} == {b"voxpop:1:pop-hosts", b"voxpop:1:transceiver-hosts"}
    assert POPS == b"voxpop:1:pops"
