"""TUN devices: interfaces of the kernel whose other end is a file of ours.

What the kernel sends through one is read from its file, an IP packet at a time, checksums whole; what is
written to the file, the kernel receives by the interface (Documentation/networking/tuntap.rst of Linux).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
from contextlib import AbstractContextManager
from pathlib import Path

from ebpf.errors import DataplaneError

DEVICE = "/dev/net/tun"
QUEUE_PACKETS = 8192
"""What waits in the kernel to be read, before it drops. Its own default is 500."""
_TUNSETIFF, _TUNSETPERSIST, _TUNGETIFF = 0x400454CA, 0x400454CB, 0x800454D2
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCSIFTXQLEN = 0x8913, 0x8914, 0x8943
"""linux/sockios.h"""
_IFF_UP = 0x1
"""linux/if.h"""
_IFF_TUN, _IFF_NO_PI, _IFF_TUN_EXCL = 0x0001, 0x1000, 0x8000
"""linux/if_tun.h"""
_TX_DROPPED = 11
"""The column of /proc/net/dev after its name (net/core/net-procfs.c of Linux)."""


def create(namespace: str | None, interface: str) -> None:
    """Make a device in a namespace, which stays until it or the namespace is removed. Without a process that
    has it open it has no carrier. Raises DataplaneError.
    """
    os.close(open_device(namespace, interface, persistent=True))


def open_device(
    namespace: str | None, interface: str, *, persistent: bool = False, exclusive: bool = False
) -> int:
    """The file of a device, non-blocking, and the device with it where there is none; that one ends with
    the file, unless it is `persistent`. Raises DataplaneError: where another process has it open or, with
    `exclusive`, where there is one of that name.
    """
    flags = _IFF_TUN | _IFF_NO_PI | (_IFF_TUN_EXCL if exclusive else 0)
    name_and_length = struct.pack("16si20x", interface.encode(), QUEUE_PACKETS)
    request = struct.pack("16sH22x", interface.encode(), flags)
    try:
        with _inside(namespace):
            opened = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                fcntl.ioctl(opened, _TUNSETIFF, request)
                with socket.socket() as any_socket:
                    fcntl.ioctl(any_socket, _SIOCSIFTXQLEN, name_and_length)
                if persistent:
                    fcntl.ioctl(opened, _TUNSETPERSIST, 1)
            except OSError:
                os.close(opened)
                raise
    except OSError as error:
        where = "" if namespace is None else f" in {namespace}"
        raise DataplaneError(f"cannot open the TUN device {interface}{where}: {error.strerror}") from error
    return opened


def name_of(file: int) -> str:
    """The interface of a device's file. Raises DataplaneError for another file."""
    try:
        answer = fcntl.ioctl(file, _TUNGETIFF, bytes(40))
    except OSError as error:
        raise DataplaneError(f"file {file} is no TUN device: {error.strerror}") from error
    return answer[:16].rstrip(b"\0").decode()


def dropped(namespace: str | None, interface: str) -> int:
    """Packets that the kernel dropped since nobody read them in time; 0 of a device that is gone."""
    with _inside(namespace):
        lines = Path("/proc/thread-self/net/dev").read_text().splitlines()
    columns = next(
        (
            rest.split()
            for name, _, rest in (line.partition(":") for line in lines)
            if name.strip() == interface
        ),
        None,
    )
    return 0 if columns is None else int(columns[_TX_DROPPED])


def switch_on(interface: str) -> None:
    """Switch an interface of our own namespace on. Raises DataplaneError."""
    try:
        with socket.socket() as any_socket:
            request = struct.pack("16sh22x", interface.encode(), 0)
            flags = struct.unpack("16sh22x", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request))[1]
            fcntl.ioctl(
                any_socket, _SIOCSIFFLAGS, struct.pack("16sh22x", interface.encode(), flags | _IFF_UP)
            )
    except OSError as error:
        raise DataplaneError(f"cannot switch {interface} on: {error.strerror}") from error


def _inside(namespace: str | None) -> AbstractContextManager[None]:
    if namespace is None:
        return contextlib.nullcontext()
    from ebpf.net.netns import inside  # with pyroute2, which takes a third of a second: not for everyone

    return inside(namespace)
