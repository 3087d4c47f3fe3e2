"""A database of where addresses are, in MaxMind's format: the cities of a planet and nothing else.

MaxMind DB File Format Specification 2.0: a binary tree over the bits of an address, whose nodes are two
records of 32 bits; data that records point to; metadata. IPv4 is in the IPv6 tree as ::/96.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from ipaddress import IPv6Network, ip_network

from core.geo import Position

_ADDRESS_BITS, _IPV4_AT = 128, 96
_RECORD_BYTES = 4
_SEPARATOR = bytes(16)
_METADATA_BEGINS = b"\xab\xcd\xefMaxMind.com"
_TEXT, _DOUBLE, _UINT16, _UINT32, _MAP = 2, 3, 5, 6, 7
_UINT64, _ARRAY = 9, 11
_EXTENDED = 7
"""From this type number on, less 7, the number is in a byte of its own."""
_MAX_SIZE = 28
"""What fits into the five bits that a field's size has."""

Value = str | float | tuple[int, int] | Mapping[str, "Value"] | list["Value"]
"""Whole numbers come with their type: (_UINT32, 5)."""


def write(places: Iterable[tuple[str, Position]], built_s: int) -> bytes:
    """The file that has each prefix at its position. `built_s` is Unix time. No prefix may be in another."""
    nodes: list[list[int | None]] = [[None, None]]
    data = bytearray()
    for prefix, position in places:
        location: Mapping[str, Value] = {"latitude": position.latitude, "longitude": position.longitude}
        _insert(nodes, _bits(prefix), -1 - len(data))
        data += _encode({"location": location})
    tree = b"".join(_record(record, len(nodes)) for node in nodes for record in node)
    return tree + _SEPARATOR + bytes(data) + _METADATA_BEGINS + _encode(_metadata(len(nodes), built_s))


def _bits(prefix: str) -> str:
    """The bits of a prefix, from the root of the tree on."""
    network = ip_network(prefix)
    length = network.prefixlen + (0 if isinstance(network, IPv6Network) else _IPV4_AT)
    return f"{int(network.network_address):0{_ADDRESS_BITS}b}"[:length]


def _insert(nodes: list[list[int | None]], bits: str, leaf: int) -> None:
    """A record is the number of a node, a negative leaf, or None for nothing."""
    at = 0
    for bit in map(int, bits[:-1]):
        below = nodes[at][bit]
        if below is None:
            below = nodes[at][bit] = len(nodes)
            nodes.append([None, None])
        if below < 0:
            raise ValueError("a prefix is in another")
        at = below
    last = int(bits[-1])
    if nodes[at][last] is not None:
        raise ValueError("a prefix is in another")
    nodes[at][last] = leaf


def _record(record: int | None, nodes: int) -> bytes:
    if record is None:
        record = nodes
    elif record < 0:
        record = nodes + len(_SEPARATOR) - 1 - record
    return record.to_bytes(_RECORD_BYTES, "big")


def _metadata(nodes: int, built_s: int) -> Mapping[str, Value]:
    return {
        "binary_format_major_version": (_UINT16, 2),
        "binary_format_minor_version": (_UINT16, 0),
        "build_epoch": (_UINT64, built_s),
        "database_type": "Voxpop-Lab-City",
        "description": {"en": "The cities of a lab"},
        "ip_version": (_UINT16, 6),
        "languages": ["en"],
        "node_count": (_UINT32, nodes),
        "record_size": (_UINT16, _RECORD_BYTES * 8),
    }


def _encode(value: Value) -> bytes:
    if isinstance(value, str):
        text = value.encode()
        return _control(_TEXT, len(text)) + text
    if isinstance(value, float):
        return _control(_DOUBLE, 8) + struct.pack(">d", value)
    if isinstance(value, tuple):
        kind, number = value
        packed = number.to_bytes((number.bit_length() + 7) // 8, "big")
        return _control(kind, len(packed)) + packed
    if isinstance(value, list):
        return _control(_ARRAY, len(value)) + b"".join(map(_encode, value))
    pairs = b"".join(_encode(key) + _encode(of_key) for key, of_key in value.items())
    return _control(_MAP, len(value)) + pairs


def _control(kind: int, size: int) -> bytes:
    assert size <= _MAX_SIZE
    if kind > _EXTENDED:
        return bytes([size, kind - _EXTENDED])
    return bytes([kind << 5 | size])
