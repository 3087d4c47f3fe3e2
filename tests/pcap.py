"""The UDP datagrams of a pcap file: enough of the format for the captures beside the tests.

Classic pcap (draft-ietf-opsawg-pcap), Ethernet link type, IPv4 and IPv6 without extension headers;
anything else is an error, so that a new capture cannot be skipped in silence.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from core.addr import Endpoint

CAPTURES = Path(__file__).parent / "captures"
LINKTYPE_ETHERNET = 1
_MAGICS = {b"\xd4\xc3\xb2\xa1": "<", b"\xa1\xb2\xc3\xd4": ">"}


class Datagram(NamedTuple):
    """One UDP datagram; `time_us` is microseconds since the Unix epoch."""

    time_us: int
    source: Endpoint
    destination: Endpoint
    payload: bytes


def read_datagrams(path: Path) -> list[Datagram]:
    """Every UDP datagram of a capture, in its order. ValueError for what this reader does not know."""
    return [read_frame(frame, time_us) for time_us, frame in read_frames(path)]


def read_frames(path: Path) -> Iterator[tuple[int, bytes]]:
    """Every frame of a capture, with its time in microseconds since the Unix epoch. Raises ValueError."""
    data = path.read_bytes()
    order = _MAGICS.get(data[:4])
    if order is None:
        raise ValueError(f"{path} is not a classic pcap file with microseconds")
    (linktype,) = struct.unpack_from(order + "L", data, 20)
    if linktype != LINKTYPE_ETHERNET:
        raise ValueError(f"{path} has link type {linktype}, not Ethernet")
    position = 24
    while position < len(data):
        seconds, micros, kept, length = struct.unpack_from(order + "4L", data, position)
        position += 16
        if kept != length:
            raise ValueError(f"{path} has a packet cut from {length} to {kept} bytes")
        yield seconds * 1_000_000 + micros, data[position : position + kept]
        position += kept


def read_frame(frame: bytes, time_us: int = 0) -> Datagram:
    """The datagram of an Ethernet frame. Raises ValueError."""
    ethertype = int.from_bytes(frame[12:14], "big")
    packet = frame[14:]
    if ethertype == 0x0800:
        header, protocol = (packet[0] & 15) * 4, packet[9]
        addresses = [socket.inet_ntop(socket.AF_INET, packet[at : at + 4]) for at in (12, 16)]
    elif ethertype == 0x86DD:
        header, protocol = 40, packet[6]
        addresses = [socket.inet_ntop(socket.AF_INET6, packet[at : at + 16]) for at in (8, 24)]
    else:
        raise ValueError(f"ethertype {ethertype:#06x} is not IP")
    if protocol != socket.IPPROTO_UDP:
        raise ValueError(f"IP protocol {protocol} is not UDP")
    source, destination, length, _ = struct.unpack_from("!4H", packet, header)
    return Datagram(
        time_us,
        Endpoint(addresses[0], source),
        Endpoint(addresses[1], destination),
        packet[header + 8 : header + length],
    )


def read_sdp_value(path: Path, attribute: str) -> str:
    """The first value of an attribute, such as `ice-pwd`, in an SDP file."""
    prefix = f"a={attribute}:"
    for line in path.read_text().splitlines():
        if line.startswith(prefix):
            return line.removeprefix(prefix)
    raise ValueError(f"{path} has no {prefix}")
