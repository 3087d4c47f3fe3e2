"""Fuzz `parse_endpoint`, which reads addresses of operators, Redis records and headers.

Invariant: any text either raises ValueError, or gives an endpoint that is spelled as a socket would, and
is read back from its own text.
"""

from __future__ import annotations

import socket

from core.addr import from_sockaddr, parse_endpoint


def test_one_input(data: bytes) -> None:
    """Read the input as UTF-8 text."""
    text = data.decode(errors="surrogateescape")
    try:
        endpoint = parse_endpoint(text)
    except ValueError:
        return
    assert 0 < endpoint.port < 65536
    packed = socket.inet_pton(endpoint.af, endpoint.host)
    assert socket.inet_ntop(endpoint.af, packed) == endpoint.host
    assert parse_endpoint(str(endpoint)) == endpoint
    assert from_sockaddr(endpoint) == endpoint
    assert not (endpoint.is_loopback and endpoint.is_wildcard)
