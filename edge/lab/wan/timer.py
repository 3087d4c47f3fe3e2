"""A timer of the kernel as a file, exact to microseconds where the timeouts of `poll` are whole milliseconds.

timerfd_create(2); Python has it from 3.13.
"""

from __future__ import annotations

import ctypes
import os
import time
from types import TracebackType
from typing import Self

_TFD_NONBLOCK, _TFD_CLOEXEC, _TFD_TIMER_ABSTIME = os.O_NONBLOCK, os.O_CLOEXEC, 1
_NS_PER_S = 1_000_000_000


class _TimeSpec(ctypes.Structure):
    _fields_ = (("s", ctypes.c_long), ("ns", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _TimeSpec), ("value", _TimeSpec))


class Timer:
    """Readable from a time on, of the monotonic clock, until it is set to another. A context manager."""

    def __init__(self) -> None:
        """Raises OSError."""
        libc = ctypes.CDLL(None, use_errno=True)
        self._settime = libc.timerfd_settime
        self._spec = _TimerSpec()
        self._spec_at = ctypes.byref(self._spec)
        self._at_ns: int | None = None
        self._fd: int = libc.timerfd_create(time.CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "cannot make a timer")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)

    def fileno(self) -> int:
        """For a poller."""
        return self._fd

    def set(self, at_ns: int | None) -> None:
        """When to be readable, at once where that is over; None is never. Raises OSError."""
        if at_ns == self._at_ns:
            return
        value = self._spec.value
        # All zero would disarm it.
        value.s, value.ns = (0, 0) if at_ns is None else divmod(max(at_ns, 1), _NS_PER_S)
        if self._settime(self._fd, _TFD_TIMER_ABSTIME, self._spec_at, None) != 0:
            raise OSError(ctypes.get_errno(), "cannot set a timer")
        self._at_ns = at_ns
