"""What the kernel knows of a socket that Python has no name for."""

from __future__ import annotations

import socket
import struct

SO_MEMINFO = 55
"""<asm-generic/socket.h>."""
_MEMINFO = struct.Struct("=9L")
_DROPS = 8
"""SK_MEMINFO_DROPS of <linux/sock_diag.h>."""


def kernel_drops(opened: socket.socket) -> int:
    """Datagrams that the kernel dropped because this socket's buffer was full; wraps at 2³²."""
    told = opened.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, _MEMINFO.size)
    return int(_MEMINFO.unpack(told)[_DROPS])
