"""Ctrl-C and its like, where a process can act on them.

Python's own way raises KeyboardInterrupt between any two bytecodes. In a `finally` it leaves undone what was
to be undone there; in the callback of a weak reference, of which importing a module runs some, it is printed
and lost, and the process goes on. So imports have `at_once`, what must be undone has `postponed`, and undoing
has `ignored`. All three are for the main thread; daemons have their event loop's signal handlers.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What ends a process: a person, a supervisor, a terminal that is closed."""

_arrived: int | None = None
"""The pipe that signals are written to while they are postponed."""


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """SIGINT ends this process on the spot, as the others do anyway: there is nothing to undo yet."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # whose it is, or ignored: so be it
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def postponed() -> Iterator[None]:
    """Signals that end a process raise KeyboardInterrupt in `check` and `wait`, at the latest at the end of
    the block, and nowhere else. May be nested.
    """
    global _arrived
    if _arrived is not None:
        yield
        check()
        return
    arrived, wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    before = signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    _arrived = arrived
    try:
        with _handled_by(_nothing):
            yield
        check()
    finally:
        _arrived = None
        signal.set_wakeup_fd(before)
        os.close(wakeup)
        os.close(arrived)


def check() -> None:
    """Raises KeyboardInterrupt when a postponed signal has come since the last time."""
    if _arrived is None:
        return
    with contextlib.suppress(BlockingIOError):
        if set(os.read(_arrived, select.PIPE_BUF)) & set(ENDING):
            raise KeyboardInterrupt


def wait(handles: Sequence[int], timeout_s: float = math.inf) -> list[int]:
    """Until some of these file descriptors are readable, or it is time; which they are. Raises
    KeyboardInterrupt as soon as a postponed signal comes.
    """
    poller = select.poll()
    for handle in (*handles, *(() if _arrived is None else (_arrived,))):
        poller.register(handle, select.POLLIN)
    deadline = time.monotonic() + timeout_s
    while True:
        rest_s = max(deadline - time.monotonic(), 0.0)
        readable = {handle for handle, _ in poller.poll(None if rest_s == math.inf else rest_s * 1000)}
        check()
        found = [handle for handle in handles if handle in readable]
        if found or not readable:
            return found


def ignored() -> contextlib.AbstractContextManager[None]:
    """Signals that end a process are lost: for undoing things, which must not be left half done."""
    return _handled_by(signal.SIG_IGN)


@contextlib.contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], object] | signal.Handlers) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in ENDING}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _nothing(*_: object) -> None:
    """The interpreter has written the signal to the pipe already."""
