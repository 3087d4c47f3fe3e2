"""Processes of Voxpop's that another starts and looks after: a lab, a demo, a test.

Everything here waits in the thread that calls it. An event loop calls what waits in a thread of its own
(`asyncio.to_thread`), which returns when the process has ended, whatever becomes of the task; `spawn` does
not wait, and belongs into a thread that lives as long as the child is to.
"""

from __future__ import annotations

import contextlib
import http.client
import math
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from core.addr import Endpoint
from core.errors import UnavailableError
from core.service import interrupt, launch

READY_TIMEOUT_S = 30.0
READY_POLL_S = 0.05
ANSWER_TIMEOUT_S = 2.0
END_TIMEOUT_S = 10.0
"""What a process has between being asked to end and being killed."""
LOG_LINES_SHOWN = 12

Inside = Callable[[], AbstractContextManager[None]]
"""Where sockets and processes are made, such as a network namespace."""


@dataclass(frozen=True, slots=True)
class Child:
    """One that we started."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path | None
    """None where its log is ours."""

    def text(self) -> str:
        """All of its log."""
        return "" if self.log is None else self.log.read_text(errors="replace")

    def tail(self) -> str:
        """The end of its log."""
        return "\n".join(f"    {line}" for line in self.text().splitlines()[-LOG_LINES_SHOWN:])


def spawn(
    name: str,
    command: Sequence[str],
    log: Path | None,
    fds: Sequence[int] = (),
    inside: Inside = nullcontext,
    *,
    stdout: int | None = None,
    ends_with_us: bool = False,
) -> Child:
    """Start a Python module in a session of its own, so that a Ctrl-C is for us to act on.

    It writes to the end of `log`, or to our own output for None; with `stdout=subprocess.PIPE` what it
    prints comes to us. It outlives us, except with `ends_with_us`: then it gets SIGTERM when this thread
    ends, even by a kill.
    """
    prefix = _ending_with_us() if ends_with_us else []
    with contextlib.ExitStack() as stack:
        output = None if log is None else stack.enter_context(log.open("ab"))
        stack.enter_context(inside())
        popen = subprocess.Popen(
            [*prefix, *launch.module(*command)],
            env=launch.environment(),
            stdin=subprocess.DEVNULL,
            stdout=output if stdout is None else stdout,
            stderr=output,
            pass_fds=fds,
            start_new_session=True,
        )
    return Child(name, popen, log)


def _ending_with_us() -> list[str]:
    """What comes before a command that is to get SIGTERM when its parent's thread ends.

    The kernel sends it to who has asked for it already. So the child looks, after it has asked, whether its
    parent is still there: one that ended meanwhile, or before, has left it to another process (prctl(2)).
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return []
    unless_left = f'[ "$PPID" = {os.getpid()} ] && exec "$@"'
    return [setpriv, "--pdeathsig", "TERM", "--", "/bin/sh", "-c", unless_left, "sh"]


def until_ready(child: Child, at: Endpoint, inside: Inside = nullcontext) -> None:
    """Wait until its /readyz says 200. Raises UnavailableError."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline:
        if ended([child], READY_POLL_S):
            raise UnavailableError(
                f"{child.name} ended with status {child.popen.returncode}:\n{child.tail()}"
            )
        if _is_ready(at, inside):
            return
    raise UnavailableError(f"{child.name} was not ready within {READY_TIMEOUT_S:g} s:\n{child.tail()}")


def _is_ready(at: Endpoint, inside: Inside) -> bool:
    connection = http.client.HTTPConnection(at.host, at.port, timeout=ANSWER_TIMEOUT_S)
    with contextlib.closing(connection), inside():
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False


def first_line(child: Child, timeout_s: float) -> bytes:
    """What one with `stdout=subprocess.PIPE` prints first; nothing where it has closed it, as one that ends
    does. Raises UnavailableError when that takes too long.
    """
    assert child.popen.stdout is not None
    if not interrupt.wait([child.popen.stdout.fileno()], timeout_s):
        raise UnavailableError(f"the {child.name} was not up within {timeout_s:g} s")
    return child.popen.stdout.readline()


def finish(child: Child) -> None:
    """Wait for one that does its work and ends. Raises UnavailableError with what it said."""
    if not ended([child], READY_TIMEOUT_S):
        raise UnavailableError(f"{child.name} did not end within {READY_TIMEOUT_S:g} s")
    if child.popen.returncode != 0:
        raise UnavailableError(f"{child.name} failed:\n{child.tail()}")


def ended(children: Sequence[Child], timeout_s: float = math.inf) -> list[Child]:
    """Wait until some of these have ended; none when it is time before. Raises KeyboardInterrupt when a
    postponed signal comes.
    """
    with contextlib.ExitStack() as open_pids:
        handles: dict[int, Child] = {}
        for child in children:
            try:
                if child.popen.poll() is None:
                    handle = os.pidfd_open(child.popen.pid)
                    handles[handle] = child
                    open_pids.callback(os.close, handle)
            except ProcessLookupError:  # another thread has just seen it end
                child.popen.wait()
        for handle in interrupt.wait([*handles], timeout_s if len(handles) == len(children) else 0.0):
            handles[handle].popen.wait()  # at once; poll() would say None while another thread does the same
    return [child for child in children if child.popen.returncode is not None]


def end(child: Child, number: int = signal.SIGINT, timeout_s: float = END_TIMEOUT_S) -> None:
    """Ask it to end, and kill it when it does not. Idempotent."""
    child.popen.send_signal(number)  # not to one that has ended, whose number may be another's
    if not ended([child], timeout_s):
        child.popen.kill()
        child.popen.wait()


def tree(pid: int) -> list[int]:
    """A process and its descendants, those of ended ones excepted."""
    found = [pid]
    for each in found:
        for children in Path(f"/proc/{each}/task").glob("*/children"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found += map(int, children.read_text().split())
    return found
