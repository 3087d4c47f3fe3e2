"""When a router's routes changed: what `ip -tshort monitor route` says, as it says it."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from ebpf.net import netns
from tests.acceptance.errors import UnmetError
from tests.processes import end

MARK = "203.0.113.255/32"
"""Of no host: a route to it is made and taken away to see that the monitor listens."""
START_S, READ_BYTES = 10.0, 65536
_EVENT = re.compile(
    r"^\[(?P<at>[-0-9T:.]+)\](?P<gone> Deleted)? (?P<type>[a-z]+ )?(?P<prefix>[0-9.]+(?:/\d+)?)(?P<rest>.*)$"
)
_VIA = re.compile(r"\bvia (\S+)")
_DEVICE = re.compile(r"\bdev \S+")


@dataclass(frozen=True, slots=True)
class Change:
    """Of the route to a prefix."""

    at_s: float
    """Unix time."""
    prefix: str
    via: tuple[str, ...]
    """Next hops from now on, or the device; none: packets to it go nowhere."""


def changes(said: str) -> list[Change]:
    """In their order; a line that is not whole yet is left out. Times are UTC."""
    found: list[Change] = []
    for line in said.splitlines(keepends=True):
        if not line.endswith("\n"):
            break
        if match := _EVENT.match(line):
            at_s = datetime.fromisoformat(match["at"]).replace(tzinfo=UTC).timestamp()
            is_somewhere = not match["gone"] and not match["type"]  # unreachable, blackhole, …
            via = (_VIA.findall(match["rest"]) or _DEVICE.findall(match["rest"])) if is_somewhere else []
            found.append(Change(at_s, match["prefix"], tuple(via)))
        elif found and (more := _VIA.search(line)):  # several next hops are a line each
            last = found.pop()
            found.append(Change(last.at_s, last.prefix, (*last.via, more[1])))
    return found


def changed(events: Sequence[Change], prefix: str, since_s: float, via: tuple[str, ...]) -> Change | None:
    """The first change of a prefix since then that leads there."""
    wanted = (each for each in events if each.prefix == prefix and each.at_s >= since_s and each.via == via)
    return next(wanted, None)


class Monitor:
    """Of one namespace, while it is entered; all it hears is kept in a file."""

    def __init__(self, namespace: str, log: Path) -> None:
        self._namespace = namespace
        self._log = log
        self._said = ""
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Raises UnmetError where there is nothing to be heard."""
        words = ["setpriv", "--pdeathsig", "KILL", "ip", "-4", "-tshort", "monitor", "route"]
        with netns.inside(self._namespace):
            self._process = subprocess.Popen(
                words, env=os.environ | {"TZ": "UTC"}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
            )
        self._stack.callback(end, self._process, signal.SIGTERM)
        assert self._process.stdout is not None
        self._stack.enter_context(self._process.stdout)
        self._file = self._stack.enter_context(self._log.open("ab", buffering=0))
        try:
            self._until_it_listens()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _until_it_listens(self) -> None:
        deadline = time.monotonic() + START_S
        while not any(each.prefix == MARK.partition("/")[0] for each in changes(self._said)):
            if time.monotonic() > deadline:
                raise UnmetError(f"no change of a route is heard in {self._namespace}")
            for verb in ("replace", "del"):
                words = ["ip", "-n", self._namespace, "route", verb, "unreachable", MARK]
                subprocess.run(words, check=True)
            self._hear(0.1)

    def until(self, wanted: Callable[[list[Change]], Change | None], told: str, patience_s: float) -> Change:
        """The change that is wanted of all that were heard, waited for. Raises UnmetError with `told`."""
        deadline = time.monotonic() + patience_s
        while (found := wanted(self.heard())) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise UnmetError(f"after {patience_s:.0f} s not: {told}; see {self._log}")
            self._hear(left)
        return found

    def heard(self) -> list[Change]:
        """All so far."""
        while self._hear(0.0):
            pass
        return changes(self._said)

    def _hear(self, seconds: float) -> bool:
        """Whether it has said more within the time. Raises UnmetError when it is not there any more."""
        assert self._process.stdout is not None
        number = self._process.stdout.fileno()
        if not select.select([number], [], [], seconds)[0]:
            return False
        data = os.read(number, READ_BYTES)
        if not data:
            raise UnmetError(f"the monitor of routes in {self._namespace} has ended")
        self._file.write(data)
        self._said += data.decode()
        return True
