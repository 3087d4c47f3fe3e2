"""The sockets of a transceiver host, opened once by the supervisor and inherited by its processes."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from core.addr import Endpoint, IpFamily
from core.errors import UnavailableError
from core.service.exhausted import reason
from transceiver.signaling.siblings import socket_path
from transceiver.transport.mux import open_udp_port

HTTP_BACKLOG = 512
SIBLING_BACKLOG = 64
HINTS = {
    errno.EADDRINUSE: "it is in use, perhaps by a transceiver that still drains",
    errno.EADDRNOTAVAIL: "no interface of this host has that address",
    errno.EACCES: "ports under 1024 need CAP_NET_BIND_SERVICE",
}


@dataclass(frozen=True, slots=True)
class ProcessSockets:
    """What one process inherits."""

    udp: tuple[socket.socket, ...]
    """The same port number in each address family that the host has."""
    http: socket.socket
    siblings: socket.socket


def open_sockets(
    addresses: Sequence[str], first_port: int, http: Endpoint, folder: Path, count: int
) -> list[ProcessSockets]:
    """Sockets for `count` processes. Raises UnavailableError that names the setting.

    The kernel spreads HTTP connections over the SO_REUSEPORT group by a hash of their addresses; a
    process that dies leaves its socket, and the connections waiting there, to its successor.
    """
    _check_free(http)
    with ExitStack() as until_all_are_open:

        def keep(opened: socket.socket) -> socket.socket:
            return until_all_are_open.enter_context(opened)

        processes = [
            ProcessSockets(
                udp=tuple(map(keep, _open_udp(addresses, first_port + index))),
                http=keep(_open_http(http)),
                siblings=keep(_open_unix(socket_path(folder, index))),
            )
            for index in range(count)
        ]
        until_all_are_open.pop_all()
    return processes


def _check_free(http: Endpoint) -> None:
    """Binding without SO_REUSEPORT fails where joining someone's group would share their connections."""
    with socket.socket(http.af, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _bind(probe, http)


def _open_udp(addresses: Sequence[str], port: int) -> tuple[socket.socket, ...]:
    try:
        return tuple(open_udp_port(addresses, port))
    except UnavailableError as error:
        raise UnavailableError(f"transceiver.port: {error}; behind a NAT, set transceiver.listen") from None


def _open_http(http: Endpoint) -> socket.socket:
    opened = socket.socket(http.af, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    _bind(opened, http)
    opened.listen(HTTP_BACKLOG)
    return opened


def _open_unix(path: Path) -> socket.socket:
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        opened.bind(os.fspath(path))
    except OSError as error:
        opened.close()
        raise UnavailableError(f"{path}: cannot listen there: {reason(error)}") from None
    opened.listen(SIBLING_BACKLOG)
    return opened


def _bind(opened: socket.socket, http: Endpoint) -> None:
    try:
        if http.family is IpFamily.V6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind(http)
    except OSError as error:
        opened.close()
        hint = HINTS.get(error.errno or 0, error.strerror or str(error))
        raise UnavailableError(f"transceiver.http: cannot listen on {http}: {hint}") from None
