"""The interface that says to the routing daemon of this host that its VIPs are to be announced.

It is a TUN device that this process has open. The kernel removes it when the file is closed: by us, or
because we have ended, however that came. So there is nothing that a checker which was killed leaves behind,
and nobody has to find out that it is dead. BIRD hears of it from the kernel at once, and withdraws what it
has `via` it (decision 336).
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Self

from core.errors import UnavailableError
from ebpf.errors import DataplaneError
from ebpf.net import tun


class Presence:
    """There or not. A context manager: not there in the end."""

    def __init__(self, interface: str, file: int | None = None) -> None:
        """`file` is that of an interface that is there already, and ours from now on."""
        self._interface = interface
        self._file = file

    def __enter__(self) -> Self:
        """Makes sure that it can be. Raises UnavailableError."""
        if self._file is None:
            self.set(is_there=True, is_up=False)
            self.set(is_there=False)
        return self

    @property
    def file(self) -> int | None:
        """Which keeps it there; None: it is not there."""
        return self._file

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.set(is_there=False)

    def set(self, *, is_there: bool, is_up: bool = True) -> None:
        """Idempotent. Raises UnavailableError, and it is not there then."""
        if is_there and self._file is None:
            self._file = self._open(is_up=is_up)
        elif not is_there and self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self, *, is_up: bool) -> int:
        try:
            file = tun.open_device(None, self._interface, exclusive=True)
            try:
                if is_up:
                    tun.switch_on(self._interface)
            except DataplaneError:
                os.close(file)
                raise
        except DataplaneError as error:
            raise UnavailableError(
                f"announce.interface: {error}; it takes CAP_NET_ADMIN, the kernel's module tun, and a name "
                "that no other interface has"
            ) from None
        return file
