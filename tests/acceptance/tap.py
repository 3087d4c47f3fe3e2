"""TAP devices with several queues, opened where their interface is to be, for a process elsewhere."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from collections.abc import Iterator

from ebpf.net import netns

DEVICE = "/dev/net/tun"
_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR, _IFF_MULTI_QUEUE = 0x0002, 0x1000, 0x4000, 0x0100
"""linux/if_tun.h"""


@contextlib.contextmanager
def opened(namespace: str, interface: str, queues: int) -> Iterator[tuple[int, ...]]:
    """Descriptors of the queues of a device in a namespace, to be inherited by who is started meanwhile. The
    device ends with the last of them. Raises OSError.
    """
    flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR | _IFF_MULTI_QUEUE
    request = struct.pack("16sH22x", interface.encode(), flags)
    with contextlib.ExitStack() as stack:
        descriptors = []
        with netns.inside(namespace):
            for _ in range(queues):
                descriptor = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
                stack.callback(os.close, descriptor)
                fcntl.ioctl(descriptor, _TUNSETIFF, request)
                descriptors.append(descriptor)
        yield tuple(descriptors)
