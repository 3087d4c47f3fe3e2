"""Making network namespaces and the veth pairs between them: what the lab is built of.

Names are those of `ip netns`, so its commands work on them as well.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from core.addr import IpFamily, family_of
from ebpf.errors import DataplaneError
from ebpf.net.netlink import IPRoute, NetlinkError, netns

DIRECTORY = Path("/run/netns")
_NO_DUPLICATE_DETECTION = 0x02
"""IFA_F_NODAD of linux/if_addr.h: an IPv6 address that can be used at once."""
_OPTIONS = Path("/proc/sys")
_ADDRESS_SETTINGS = Path("/proc/sys/net/ipv6/conf")
_SIOCETHTOOL, _SET_TX_CHECKSUM, _SET_GRO = 0x8946, 0x17, 0x2C
"""linux/sockios.h, linux/ethtool.h"""


def exists(name: str) -> bool:
    """Whether there is a namespace of that name."""
    return (DIRECTORY / name).exists()


def create(name: str) -> None:
    """Make a namespace, with its loopback up. Raises DataplaneError.

    No address in it is looked for on its link before it is used: nobody else is there to have it. The kernel
    would not ask for neighbours for the second or two that this takes.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    with _returning():
        if libc.unshare(netns.CLONE_NEWNET) != 0:
            raise DataplaneError(
                f"cannot make a network namespace: {os.strerror(ctypes.get_errno())}; root can"
            )
        try:
            netns.attach(name, threading.get_native_id())
        except OSError as error:
            raise _failed(f"give the network namespace {name} its name", error) from error
        _detect_no_duplicates()
    with Wiring(name) as wiring:
        wiring.up("lo")


def _detect_no_duplicates() -> None:
    """In the namespace of this thread, for interfaces that are made from now on (RFC 4862 §5.4)."""
    for each in ("all", "default"):
        try:
            (_ADDRESS_SETTINGS / each / "accept_dad").write_text("0")
        except FileNotFoundError:  # a kernel without IPv6
            return
        except OSError as error:
            raise _failed(f"set net.ipv6.conf.{each}.accept_dad", error) from error


def set_option(name: str, option: str, value: int) -> None:
    """Set a sysctl of a namespace, `net/ipv4/ip_forward`. Raises DataplaneError."""
    with inside(name):
        try:
            (_OPTIONS / option).write_text(str(value))
        except OSError as error:
            raise _failed(f"set {option.replace('/', '.')} in {name}", error) from error


def remove(name: str) -> None:
    """Remove a namespace; what is in it ends with its last process. Raises DataplaneError."""
    try:
        netns.remove(name)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _failed(f"remove the network namespace {name}", error) from error


def enter(name: str) -> None:
    """Move this thread, and the processes that it starts from now on. Raises DataplaneError."""
    try:
        netns.setns(str(DIRECTORY / name), flags=0)
    except OSError as error:
        raise _failed(f"enter the network namespace {name}", error) from error


@contextlib.contextmanager
def inside(name: str | None) -> Iterator[None]:
    """Be in a namespace, for sockets and processes that are made meanwhile; None: where one is."""
    if name is None:
        yield
        return
    with _returning():
        enter(name)
        yield


@contextlib.contextmanager
def _returning() -> Iterator[None]:
    """Be back in this thread's namespace at the end."""
    own = os.open(_own(), os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        netns.setns(own)
        os.close(own)


def _own() -> Path:
    return Path(f"/proc/self/task/{threading.get_native_id()}/ns/net")


def identity(name: str) -> tuple[int, int] | None:
    """What tells a namespace from every other; None where there is none of that name."""
    return _identity(DIRECTORY / name)


def identity_of_process(pid: int) -> tuple[int, int] | None:
    """The same of the namespace that a process is in; None where it is gone."""
    return _identity(Path(f"/proc/{pid}/ns/net"))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    return found.st_dev, found.st_ino


class Wiring:
    """Interfaces of one namespace, None being our own. A context manager; raises DataplaneError."""

    def __init__(self, name: str | None) -> None:
        self._name = name
        with inside(name):
            self._route = IPRoute()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._route.close()

    def veth(self, name: str, peer: str, peer_namespace: str | None) -> None:
        """A pair, one end here, the other in a namespace."""
        where = _own() if peer_namespace is None else DIRECTORY / peer_namespace
        descriptor = os.open(where, os.O_RDONLY | os.O_CLOEXEC)
        with self._doing(f"make the pair {name}–{peer}"):
            try:
                self._route.link(
                    "add", ifname=name, kind="veth", peer={"ifname": peer, "net_ns_fd": descriptor}
                )
            finally:
                os.close(descriptor)

    def bridge(self, name: str) -> None:
        """A bridge, still without ports."""
        with self._doing(f"make the bridge {name}"):
            self._route.link("add", ifname=name, kind="bridge")

    def join(self, port: str, bridge: str) -> None:
        """Make an interface a port of a bridge."""
        with self._doing(f"join {port} to {bridge}"):
            self._route.link("set", index=self._index(port), master=self._index(bridge))

    def delete(self, name: str) -> None:
        """Remove an interface, and with it the other end of its pair, where there is one."""
        with self._doing(f"remove {name}"):
            for index in self._route.link_lookup(ifname=name):
                self._route.link("del", index=index)

    def exists(self, name: str) -> bool:
        """Whether there is an interface of that name."""
        return bool(self._route.link_lookup(ifname=name))

    def up(self, name: str) -> None:
        """Switch an interface on."""
        with self._doing(f"switch {name} on"):
            self._route.link("set", index=self._index(name), state="up")

    def down(self, name: str) -> None:
        """Switch an interface off."""
        with self._doing(f"switch {name} off"):
            self._route.link("set", index=self._index(name), state="down")

    def address(self, name: str, address: str) -> None:
        """Give an interface an address, `HOST/LENGTH`."""
        host, _, length = address.partition("/")
        with self._doing(f"give {name} {address}"):
            self._route.addr(
                "add",
                index=self._index(name),
                address=host,
                prefixlen=int(length),
                family=family_of(host).af,
                **({"flags": _NO_DUPLICATE_DETECTION} if family_of(host) is IpFamily.V6 else {}),
            )

    def route(self, destination: str, gateway: str, source: str | None = None) -> None:
        """Send a prefix to a gateway; `source` is what to send from where a sender does not choose."""
        preferred = {} if source is None else {"prefsrc": source}
        with self._doing(f"route {destination} to {gateway}"):
            self._route.route(
                "add", dst=destination, gateway=gateway, family=family_of(gateway).af, **preferred
            )

    def prepare_for_xdp(self, name: str) -> None:
        """Make the end of a pair fit for an XDP program on the other end.

        Checksums must be whole before the program changes them, and a frame that is redirected to a veth
        is lost where the other end has neither a program nor GRO, which is what starts its NAPI. It must
        be up by then: the other end learns that it may be redirected to when GRO is switched on, not when
        an interface with GRO comes up.
        """
        request = ctypes.create_string_buffer(8)
        with self._doing(f"set offloads of {name}"), inside(self._name), socket.socket() as control:
            for command, value in ((_SET_TX_CHECKSUM, 0), (_SET_GRO, 1)):
                request.raw = struct.pack("=II", command, value)
                fcntl.ioctl(
                    control, _SIOCETHTOOL, struct.pack("16sP", name.encode(), ctypes.addressof(request))
                )

    def _index(self, name: str) -> int:
        found = self._route.link_lookup(ifname=name)
        if not found:
            raise DataplaneError(f"there is no interface {name}")
        return int(found[0])

    @contextlib.contextmanager
    def _doing(self, what: str) -> Iterator[None]:
        try:
            yield
        except NetlinkError as error:
            raise DataplaneError(f"cannot {what}: {os.strerror(error.code)}") from error
        except OSError as error:
            raise _failed(what, error) from error


def _failed(what: str, error: OSError) -> DataplaneError:
    return DataplaneError(f"cannot {what}: {error.strerror or error}")
