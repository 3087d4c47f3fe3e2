"""core.addr: endpoints as operators write them and as sockets report them."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.addr import (
    Endpoint,
    IpFamily,
    family_of,
    family_of_packed,
    from_sockaddr,
    host_in_prefix,
    pack_address,
    parse_address,
    parse_endpoint,
    unpack_address,
)


def is_no_mapped_ipv4(address: IPv4Address | IPv6Address) -> bool:
    return isinstance(address, IPv4Address) or address.ipv4_mapped is None


addresses = st.ip_addresses(v=4) | st.ip_addresses(v=6).filter(is_no_mapped_ipv4)
ports = st.integers(1, 65535)


@given(addresses, ports)
def test_what_is_written_is_read_back(address: IPv4Address | IPv6Address, port: int) -> None:
    endpoint = Endpoint(parse_address(str(address)), port)
    assert parse_endpoint(str(endpoint)) == endpoint
    assert ip_address(endpoint.host) == address


@given(addresses)
def test_families_agree_and_packing_is_undone(address: IPv4Address | IPv6Address) -> None:
    host = parse_address(str(address))
    family, packed = family_of(host), pack_address(host)
    assert family == address.version
    assert family is family_of_packed(packed) is Endpoint(host, 1).family
    assert packed == address.packed
    assert (len(packed), f"{family}") == (family.address_bytes, str(address.version))
    assert unpack_address(packed) == host


def test_a_family_is_a_key_of_its_own_and_no_number_of_sockets() -> None:
    assert [*IpFamily] == [4, 6]
    assert [family.af for family in IpFamily] == [socket.AF_INET, socket.AF_INET6]
    for packed in (b"", bytes(5), bytes(15)):
        with pytest.raises(ValueError, match="length"):
            unpack_address(packed)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_endpoint_equals_what_a_socket_reports(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with (
        socket.socket(family, socket.SOCK_DGRAM) as server,
        socket.socket(family, socket.SOCK_DGRAM) as client,
    ):
        server.bind((host, 0))
        client.connect(server.getsockname()[:2])
        client.send(b"x")
        _, source = server.recvfrom(10)
        mine = Endpoint(host, client.getsockname()[1])
    assert from_sockaddr(source) == mine == parse_endpoint(str(mine))
    assert (mine.family, mine.family.af, mine.af) == (family_of(host), family, family)
    assert mine.is_loopback


def test_odd_spellings_come_out_as_the_kernel_has_them() -> None:
    assert parse_endpoint("[2001:DB8:0:0:0:0:0:1]:3478") == ("2001:db8::1", 3478)
    assert parse_endpoint("[::c000:201]:1") == ("::192.0.2.1", 1)  # ipaddress says ::c000:201
    assert from_sockaddr(("fe80::1%eth0", 9, 0, 2)) == ("fe80::1", 9)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is not ADDRESS:PORT"),
        ("192.0.2.1", "is not ADDRESS:PORT"),
        ("192.0.2.1:", "is not ADDRESS:PORT"),
        ("192.0.2.1:http", "is not ADDRESS:PORT"),
        ("192.0.2.1:-1", "is not ADDRESS:PORT"),
        ("192.0.2.1:３４７８", "is not ADDRESS:PORT"),
        ("192.0.2.1:0", "the port must be"),
        ("192.0.2.1:65536", "the port must be"),
        ("192.0.2.1:" + "9" * 5000, "the port must be"),
        ("example.com:3478", "is not an IP address"),
        (":3478", "is not an IP address"),
        ("[]:3478", "is not an IP address"),
        ("192.0.2.256:3478", "is not an IP address"),
        ("2001:db8::1:3478", "brackets"),
        ("[192.0.2.1]:3478", "brackets"),
        ("[fe80::1%eth0]:3478", "scope"),
        ("[::ffff:192.0.2.1]:3478", "write IPv4 as 192.0.2.1"),
    ],
)
def test_an_endpoint_that_cannot_be_used_is_refused_with_the_reason(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_endpoint(text)


@pytest.mark.parametrize(
    ("host", "is_loopback", "is_wildcard"),
    [
        ("127.0.0.1", True, False),
        ("127.9.9.9", True, False),
        ("::1", True, False),
        ("0.0.0.0", False, True),
        ("::", False, True),
        ("192.0.2.1", False, False),
        ("2001:db8::1", False, False),
    ],
)
def test_kinds_of_addresses(host: str, is_loopback: bool, is_wildcard: bool) -> None:
    endpoint = Endpoint(host, 1)
    assert (endpoint.is_loopback, endpoint.is_wildcard) == (is_loopback, is_wildcard)
    loopback = Endpoint("::1" if ":" in host else "127.0.0.1", 1)
    assert endpoint.from_here == (loopback if is_wildcard else endpoint)


@pytest.mark.parametrize(
    ("prefix", "host", "expected"),
    [
        (IPv4Network("10.1.0.0/16"), 0, "10.1.0.0"),
        (IPv4Network("10.1.0.0/16"), 0xFFFF, "10.1.255.255"),
        (IPv4Network("10.1.0.0/16"), 0x10000, None),
        (IPv4Network("192.0.2.7/32"), 0, "192.0.2.7"),
        (IPv4Network("192.0.2.7/32"), 1, None),
        (IPv6Network("2001:db8::/64"), 0xFFFFFFFF, "2001:db8::ffff:ffff"),
        (IPv6Network("2001:db8::/112"), 0x10000, None),
    ],
)
def test_a_host_number_never_leaves_its_prefix(
    prefix: IPv4Network | IPv6Network, host: int, expected: str | None
) -> None:
    assert host_in_prefix(prefix, host) == expected


@given(st.integers(0, 0xFFFFFFFF), st.integers(0, 32), st.integers(0, 0xFFFFFFFF))
def test_every_resolved_address_lies_in_the_prefix(base: int, length: int, host: int) -> None:
    prefix = IPv4Network((base >> (32 - length) << (32 - length), length))
    address = host_in_prefix(prefix, host)
    if address is None:
        assert host >= prefix.num_addresses
    else:
        assert ip_address(address) in prefix
        assert int(ip_address(address)) - int(prefix.network_address) == host
