"""ebpf.net.solicit: requests byte by byte; what the kernel makes of answers is in test_monitor_neighbours."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from ebpf.net.solicit import arp_request, neighbour_solicitation, solicited_node

MAC = bytes.fromhex("020000000001")


def test_an_arp_request_is_that_of_rfc_826() -> None:
    assert arp_request(MAC, "192.0.2.1", "192.0.2.2") == bytes.fromhex(
        "0001080006040001020000000001c0000201000000000000c0000202"
    )


def test_a_solicitation_is_that_of_rfc_4861_and_says_whom_to_answer() -> None:
    assert neighbour_solicitation(MAC, "2001:db8::2") == bytes.fromhex(
        "870000000000000020010db80000000000000000000000020101020000000001"
    )


@given(st.ip_addresses(v=6))
def test_the_group_of_an_address_has_its_last_three_bytes(address: ipaddress.IPv6Address) -> None:
    """RFC 4291 §2.7.1: ff02::1:ff00:0/104."""
    group = ipaddress.IPv6Address(solicited_node(str(address)))
    assert group in ipaddress.IPv6Network("ff02::1:ff00:0/104")
    assert group.packed[13:] == address.packed[13:]
