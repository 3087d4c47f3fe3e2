"""The VIP sockets of a host, and the descriptors that its flows will need."""

from __future__ import annotations

import errno
import logging
import resource
import socket
from collections.abc import Sequence

from core.addr import Endpoint, IpFamily
from core.errors import ConfigError, UnavailableError

logger = logging.getLogger(__name__)

BUFFER_BYTES = 4 << 20
"""Asked for in each direction of a VIP socket: thousands of voice packets, a tenth of a busy second."""
OTHER_DESCRIPTORS = 64
"""What a worker has open besides its flows, generously."""


def open_vips(vips: Sequence[Endpoint], workers: int) -> list[list[socket.socket]]:
    """One SO_REUSEPORT socket per worker and VIP, as [worker][vip]. Raises UnavailableError.

    The kernel picks the member of the group by a hash over both addresses, so a client stays with its
    worker as long as the group does not change: open all of them before any is used, and close none.
    """
    for vip in vips:
        _check_free(vip)
    groups = [[_open(vip) for vip in vips] for _ in range(workers)]
    granted = min(s.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) for group in groups for s in group)
    if granted < BUFFER_BYTES:
        logger.warning(
            "VIP sockets buffer %d bytes instead of %d; set the sysctls net.core.rmem_max and wmem_max to %d",
            granted, 2 * BUFFER_BYTES, BUFFER_BYTES,
        )  # fmt: skip
    return groups


def _check_free(vip: Endpoint) -> None:
    """Binding without SO_REUSEPORT fails where joining someone's group would silently share its packets."""
    try:
        with socket.socket(vip.af, socket.SOCK_DGRAM) as probe:
            _bind(probe, vip)
    except OSError as error:
        raise UnavailableError(f"relay.vips: cannot listen on {vip}: {_explain(error)}") from None


def _open(vip: Endpoint) -> socket.socket:
    opened = socket.socket(vip.af, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    try:
        _bind(opened, vip)
    except OSError as error:
        opened.close()
        raise UnavailableError(f"relay.vips: cannot listen on {vip}: {_explain(error)}") from None
    return opened


def _bind(opened: socket.socket, vip: Endpoint) -> None:
    if vip.family is IpFamily.V6:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    opened.bind(vip)


def _explain(error: OSError) -> str:
    hints = {
        errno.EADDRINUSE: "it is in use, perhaps by a relay that still drains",
        errno.EADDRNOTAVAIL: "no interface of this host has that address",
        errno.EACCES: "ports under 1024 need CAP_NET_BIND_SERVICE",
    }
    return hints.get(error.errno or 0, error.strerror or str(error))


def reserve_descriptors(max_flows: int, flows_per_worker: int) -> None:
    """Raise the soft limit of open files to the hard one, for workers to inherit. Raises ConfigError."""
    needed = flows_per_worker + OTHER_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise ConfigError(
            [
                f"relay.max_flows = {max_flows} needs {needed} open files per worker, but the limit is "
                f"{hard}: raise it (LimitNOFILE= in the unit, ulimit -Hn), lower relay.max_flows, or add "
                f"relay.workers"
            ]
        )
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
