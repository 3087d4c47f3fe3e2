"""A place of a planet that is up, and what can be done in any: run commands, end processes."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from core.errors import UnavailableError
from core.service import launch
from core.service.process import Child
from ebpf.net import netns
from edge.lab import processes
from edge.lab.planet.layout import Site

END_TIMEOUT_S = 10.0
COMMAND_TIMEOUT_S = 60.0


class Place:
    """Somebody's network namespace. Everything here waits in the thread that calls it."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.name = site.name
        """As `voxpop lab exec` takes it: `city-tokyo`, `pop-frankfurt` (its router), `pop-frankfurt-1`,
        `region-europe`, `region-europe-1`, `redis-europe`."""
        self.namespace = site.namespace
        self.directory: Path = site.directory
        """Configuration, logs and sockets of this place."""
        self._started: list[Child] = []

    @property
    def environment(self) -> Mapping[str, str]:
        """What commands there find in theirs, besides what every child does."""
        return {}

    def inside(self) -> AbstractContextManager[None]:
        """Be there, with this thread, for sockets and processes that are made meanwhile."""
        return netns.inside(self.namespace)

    def run(
        self, command: Sequence[str], timeout_s: float = COMMAND_TIMEOUT_S
    ) -> subprocess.CompletedProcess[str]:
        """Run a command there and wait; `voxpop` as its first word is this one. stdout and stderr are text.

        Raises UnavailableError where it cannot be run or does not end in time; its exit status is to be
        looked at.
        """
        try:
            with self.inside():
                return subprocess.run(
                    _command(command),
                    env=launch.environment(self.environment),
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    timeout=timeout_s,
                    check=False,
                )
        except OSError as error:
            raise UnavailableError(f"cannot run {command[0]}: {error.strerror}") from None
        except subprocess.TimeoutExpired:
            raise UnavailableError(f"{' '.join(command)} did not end within {timeout_s:g} s") from None

    def popen(self, command: Sequence[str], log: Path | None = None) -> subprocess.Popen[bytes]:
        """Start a command there; what it prints goes to a log, or comes by two pipes. Raises OSError."""
        with contextlib.ExitStack() as stack:
            output = subprocess.PIPE if log is None else stack.enter_context(log.open("ab"))
            stack.enter_context(self.inside())
            return subprocess.Popen(
                _command(command),
                env=launch.environment(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def start_program(self, command: Sequence[str], log: Path) -> None:
        """Start a program that stays, until `kill_all` or the planet's end. Raises UnavailableError."""
        try:
            self._started.append(Child(Path(command[0]).name, self.popen(command, log), log))
        except OSError as error:
            raise UnavailableError(f"cannot run {command[0]}: {error.strerror}") from None

    def reap(self) -> None:
        """Take the status of what `start_program` has started and that has ended."""
        self._started = [each for each in self._started if each.popen.poll() is None]

    def children(self) -> list[Child]:
        """All that we have started there."""
        return self._started

    def processes(self) -> list[processes.Process]:
        """All that run there, but for this one."""
        return processes.running_in([self.namespace])[self.namespace]

    def kill_all(self) -> None:
        """SIGKILL to every process there, at once; waits until they are gone."""
        processes.end_all([self.namespace], [signal.SIGKILL] * 3)
        self.reap()


def _command(words: Sequence[str]) -> list[str]:
    return launch.module(*words) if words[0] == "voxpop" else list(words)


@contextlib.contextmanager
def handles(pids: Sequence[int]) -> Iterator[list[int]]:
    """Handles of those processes that have not ended, for as long as the block."""
    with contextlib.ExitStack() as stack:
        opened = []
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                opened.append(os.pidfd_open(pid))
                stack.callback(os.close, opened[-1])
        yield opened


def until_ended(opened: Sequence[int], timeout_s: float = END_TIMEOUT_S) -> None:
    """Wait until the processes of these handles have ended. Raises UnavailableError."""
    deadline = time.monotonic() + timeout_s
    for handle in opened:
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise UnavailableError(f"a process does not end within {timeout_s:g} s")
