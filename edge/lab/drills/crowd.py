"""A crowd of callers that runs: `voxpop call --calls N --json`, and what it has told so far.

Its lines go to a file, which is read again whenever something is waited for: nothing has to keep up with it
meanwhile, and who wonders at a drill's figures finds every call there.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

from core.errors import UnavailableError
from core.service import interrupt, process
from core.service.process import LOG_LINES_SHOWN, Child
from edge.lab.drills.heard import Event, Heard, parse

POLL_S = 0.05
END_TIMEOUT_S = 60.0
"""From Ctrl-C to the last line: all are hung up, some at a server that does not answer any more."""


class Crowd:
    """Started by `Stage`; ends with `end`, or with `close`."""

    def __init__(self, child: Child, calls: int) -> None:
        """`child`'s log is what it prints."""
        self._child = child
        self._calls = calls

    @property
    def events(self) -> list[Event]:
        """Until now."""
        return parse(self._child.text())

    def until(self, holds: Callable[[list[Event]], bool], timeout_s: float, what: str) -> list[Event]:
        """Wait until its events are so. Raises UnavailableError when they are not in time, or cannot be any
        more.
        """
        deadline = time.monotonic() + timeout_s
        while not holds(events := self.events):
            is_over = bool(process.ended([self._child], POLL_S))
            if is_over and not holds(self.events):
                raise UnavailableError(f"the callers ended before {what}:\n{self._said()}")
            if time.monotonic() > deadline:
                raise UnavailableError(f"{what}: not within {timeout_s:g} s:\n{self._said()}")
        return events

    def until_told(self, kind: str, timeout_s: float = 60.0, count: int = 1) -> list[Event]:
        """Wait for so many events of a kind."""
        return self.until(lambda events: _count(events, kind) >= count, timeout_s, f"{count} × {kind}")

    def until_connected(self, timeout_s: float = 60.0) -> None:
        """Wait until every call was tried. Raises UnavailableError, also when one was not set up."""
        told = self.until_told("all_connected", timeout_s)[-1]
        if told.get("connected") != self._calls:
            first = next((event["error"] for event in self.events if event["event"] == "failed"), "")
            up = f"{told.get('connected')} of {self._calls} calls"
            raise UnavailableError(f"{up} were set up before anything happened: {first}")

    def rebind(self) -> int:
        """All calls get other ports; when that was, monotonic ns."""
        before = _count(self.events, "rebound")
        self._child.popen.send_signal(signal.SIGUSR1)
        events = self.until_told("rebound", count=before + 1)
        return int([event["at_ns"] for event in events if event["event"] == "rebound"][-1])

    def end(self) -> Heard:
        """Hang all up, and what they heard. Raises UnavailableError where it does not end by itself."""
        self._child.popen.send_signal(signal.SIGINT)
        return self.finish(END_TIMEOUT_S)

    def finish(self, timeout_s: float) -> Heard:
        """Wait until all calls have ended by themselves, and what they heard. Raises UnavailableError."""
        if not process.ended([self._child], timeout_s):
            raise UnavailableError(f"the callers did not end within {timeout_s:g} s:\n{self._said()}")
        events = self.events
        if not _count(events, "summary"):
            raise UnavailableError(f"the callers crashed:\n{self._said()}")
        return Heard(events, self._calls)

    def _said(self) -> str:
        """The end of what it has said in words."""
        lines = [line for line in self._child.text().splitlines() if not line.startswith("{")]
        return "\n".join(f"    {line}" for line in lines[-LOG_LINES_SHOWN:])

    def close(self) -> None:
        """Whatever it is doing. Idempotent."""
        with interrupt.ignored():
            process.end(self._child, signal.SIGINT, timeout_s=5.0)


def log_of(directory: Path, number: int) -> Path:
    """Where the lines of a drill's crowd are."""
    return directory / f"callers-{number}.jsonl"


def _count(events: list[Event], kind: str) -> int:
    return sum(event["event"] == kind for event in events)
