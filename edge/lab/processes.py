"""The processes of a lab: starting them where they belong, and ending all that run in its namespaces."""

from __future__ import annotations

import contextlib
import http.client
import math
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.addr import Endpoint
from core.errors import UnavailableError
from core.service import interrupt
from ebpf.net import netns

READY_TIMEOUT_S = 30.0
READY_POLL_S = 0.05
ANSWER_TIMEOUT_S = 2.0
END_TIMEOUT_S = 3.0
"""What a process has between being asked to end and being killed."""
LOG_LINES_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Process:
    """One that runs in a namespace."""

    pid: int
    command: str


@dataclass(frozen=True, slots=True)
class Daemon:
    """One that we started."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    def tail(self) -> str:
        """The end of its log."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(f"    {line}" for line in lines[-LOG_LINES_SHOWN:])


def spawn(
    name: str, namespace: str | None, command: Sequence[str], logs: Path, fds: Sequence[int] = ()
) -> Daemon:
    """Start a Python module in a namespace; it outlives us."""
    path = logs / f"{name}.log"
    with path.open("ab") as log, netns.inside(namespace):
        popen = subprocess.Popen(
            [sys.executable, "-m", *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=fds,
            start_new_session=True,
        )
    return Daemon(name, popen, path)


def finish(daemon: Daemon) -> None:
    """Wait for one that does its work and ends. Raises UnavailableError with what it said."""
    if not ended([daemon], READY_TIMEOUT_S):
        raise UnavailableError(f"{daemon.name} did not end within {READY_TIMEOUT_S:g} s")
    if daemon.popen.returncode != 0:
        raise UnavailableError(f"{daemon.name} failed:\n{daemon.tail()}")


def until_ready(daemon: Daemon, namespace: str | None, at: Endpoint) -> None:
    """Wait until its /readyz says 200. Raises UnavailableError."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline:
        if ended([daemon], READY_POLL_S):
            raise UnavailableError(
                f"{daemon.name} ended with status {daemon.popen.returncode}:\n{daemon.tail()}"
            )
        if _is_ready(namespace, at):
            return
    raise UnavailableError(f"{daemon.name} was not ready within {READY_TIMEOUT_S:g} s:\n{daemon.tail()}")


def ended(daemons: Sequence[Daemon], timeout_s: float = math.inf) -> list[Daemon]:
    """Wait until some of these have ended; none when it is time before. Raises KeyboardInterrupt when a
    postponed signal comes.
    """
    with contextlib.ExitStack() as open_pids:
        handles = []
        for daemon in daemons:
            if daemon.popen.poll() is None:
                handles.append(os.pidfd_open(daemon.popen.pid))
                open_pids.callback(os.close, handles[-1])
        interrupt.wait(handles, timeout_s if len(handles) == len(daemons) else 0.0)
    return [daemon for daemon in daemons if daemon.popen.poll() is not None]


def _is_ready(namespace: str | None, at: Endpoint) -> bool:
    connection = http.client.HTTPConnection(at.host, at.port, timeout=ANSWER_TIMEOUT_S)
    with contextlib.closing(connection), netns.inside(namespace):
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False


def listen(namespace: str | None, at: Endpoint) -> socket.socket:
    """A listening socket in a namespace. Raises UnavailableError."""
    with netns.inside(namespace):
        listener = socket.socket(at.af, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((at.host, at.port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise UnavailableError(f"cannot listen on {at}: {error.strerror}") from None
    return listener


def running_in(names: Sequence[str]) -> dict[str, list[Process]]:
    """The processes of each namespace, but for ourselves and those that wait for us."""
    wanted = {netns.identity(name): name for name in names}
    wanted.pop(None, None)
    found: dict[str, list[Process]] = {name: [] for name in names}
    spared = set(_ancestry())
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in spared:
            where = wanted.get(netns.identity_of_process(int(entry.name)))
            command = None if where is None else _command(int(entry.name))
            if where is not None and command is not None:
                found[where].append(Process(int(entry.name), command))
    return found


def _ancestry() -> Iterator[int]:
    """Our process, its parent, and so on."""
    pid = os.getpid()
    while pid > 0:
        yield pid
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            return


def _command(pid: int) -> str | None:
    """Its command line; None where it has ended."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return b" ".join(words).decode(errors="replace").strip() or None


def end_all(names: Sequence[str]) -> int:
    """End every process in these namespaces, by force where asking does not help; how many there were.

    Asked with SIGINT, which ends every daemon of Voxpop at once, where SIGTERM would begin a drain.
    """
    ended = set()
    for number in (signal.SIGINT, signal.SIGKILL, signal.SIGKILL):  # some are born meanwhile
        with contextlib.ExitStack() as open_pids:
            handles = {}
            for process in _flat(running_in(names)):
                handle = _open(process.pid, names)
                if handle is not None:
                    open_pids.callback(os.close, handle)
                    handles[handle] = process.pid
            for handle in handles:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, number)
            _wait(set(handles), END_TIMEOUT_S)
            ended |= set(handles.values())
            if not handles:
                break
    left = [process.pid for process in _flat(running_in(names))]
    if left:
        raise UnavailableError(f"processes {', '.join(map(str, left))} do not end")
    return len(ended)


def _flat(found: Mapping[str, Sequence[Process]]) -> list[Process]:
    return [process for processes in found.values() for process in processes]


def _open(pid: int, names: Sequence[str]) -> int | None:
    """A handle on the process, not on another that has got its number meanwhile."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    if netns.identity_of_process(pid) in {netns.identity(name) for name in names}:
        return handle
    os.close(handle)
    return None


def _wait(handles: set[int], timeout_s: float) -> None:
    """Until all have ended, or it is time."""
    deadline = time.monotonic() + timeout_s
    poller = select.poll()
    for handle in handles:
        poller.register(handle, select.POLLIN)
    left = set(handles)
    while left and (rest := deadline - time.monotonic()) > 0:
        for handle, _ in poller.poll(rest * 1000):
            poller.unregister(handle)
            left.discard(handle)
