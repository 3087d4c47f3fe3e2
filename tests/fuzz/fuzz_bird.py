"""Fuzz what BIRD says on its control socket: `ReplyReader.feed_untrusted` and the readers of its tables.

Invariant: any bytes are replies and tables of what BIRD may say, or a BirdError, whichever way they are cut.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from edge.lab.bird.replies import (
    BirdError,
    Line,
    ReplyReader,
    read_bfd_untrusted,
    read_protocols_untrusted,
    read_routes_untrusted,
)


def test_one_input(data: bytes) -> None:
    """The input is a stream, cut where its first byte says."""
    cut = data[0] if data else 0
    replies = _replies(data)
    assert replies == _replies(data[:cut], data[cut:])
    for reply in replies:
        try:
            assert all(read_protocols_untrusted(reply))
            for session in read_bfd_untrusted(reply):
                ip_address(session.address)
            for route in read_routes_untrusted(reply):
                ip_network(route.prefix)
        except BirdError:
            pass


def _replies(*chunks: bytes) -> list[list[Line]]:
    """Those until the stream is no stream of BIRD's any more."""
    reader, found = ReplyReader(), list[list[Line]]()
    try:
        for chunk in chunks:
            for reply in reader.feed_untrusted(chunk):
                found.append(reply)
    except BirdError:
        pass
    return found
