"""The processes of a lab: sockets for them where they belong, and ending all that run in its namespaces."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.addr import Endpoint
from core.errors import UnavailableError
from core.service import launch
from ebpf.net import netns

END_TIMEOUT_S = 3.0
"""What a process has between being asked to end and being killed."""


@dataclass(frozen=True, slots=True)
class Process:
    """One that runs in a namespace."""

    pid: int
    command: str


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
    """Its command line, from the module on where it is one of ours; None where it has ended."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return None
    start = os.fsencode(launch.START)
    if start in words:
        words = words[words.index(start) + 1 :]
    return b" ".join(words).decode(errors="replace").strip() or None


ASK_THEN_KILL = (signal.SIGINT, signal.SIGKILL, signal.SIGKILL)
"""SIGINT ends every daemon of Voxpop at once, where SIGTERM would begin a drain. Some are born meanwhile."""


def end_all(names: Sequence[str], numbers: Sequence[signal.Signals] = ASK_THEN_KILL) -> int:
    """End every process in these namespaces, by one signal after the other until none is left; how many
    there were. Raises UnavailableError for those that stay.
    """
    ended = set()
    for number in numbers:
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
