"""The control socket of a BIRD that runs, as `birdc` speaks it."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from core.service.admin.path import address
from edge.lab.bird.replies import (
    BfdSession,
    BirdError,
    Line,
    Protocol,
    ReplyReader,
    Route,
    check,
    read_bfd_untrusted,
    read_protocols_untrusted,
    read_routes_untrusted,
)

TIMEOUT_S = 5.0
READ_BYTES = 65_536


def command(config: Path, control: Path) -> list[str]:
    """What to run: BIRD in the foreground, its log on standard error."""
    return ["bird", "-f", "-c", str(config), "-s", str(control)]


class BirdControl:
    """One BIRD. Every method connects anew, and raises BirdError."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def protocols(self) -> dict[str, Protocol]:
        """Everything that its configuration has, by name."""
        return read_protocols_untrusted(self.ask("show protocols"))

    def bfd_sessions(self) -> list[BfdSession]:
        """By its neighbours' addresses."""
        return read_bfd_untrusted(self.ask("show bfd sessions"))

    def routes(self, version: int) -> list[Route]:
        """What it knows of a family, of all protocols."""
        return read_routes_untrusted(self.ask(f"show route table master{version:d}"))

    def enable(self, protocol: str) -> None:
        """Switch on what `disable` has switched off."""
        self.ask(f"enable {_word(protocol)}")

    def disable(self, protocol: str) -> None:
        """Switch a protocol off: routes of a static one are gone, a session is closed."""
        self.ask(f"disable {_word(protocol)}")

    def configure(self) -> None:
        """Read the configuration again; sessions and routes that stay the same are not touched."""
        self.ask("configure")

    def ask(self, line: str) -> Sequence[Line]:
        """The reply to one command."""
        with self._connected() as connection:
            replies = _replies(connection)
            check(next(replies))  # a greeting
            connection.sendall(line.encode() + b"\n")
            reply = next(replies)
        check(reply)
        return reply

    @contextmanager
    def _connected(self) -> Iterator[socket.socket]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(TIMEOUT_S)
            try:
                with address(self._path) as name:
                    connection.connect(name)
                yield connection
            except OSError as error:
                raise BirdError(f"BIRD does not answer at {self._path}: {error}") from None


def _replies(connection: socket.socket) -> Iterator[Sequence[Line]]:
    reader = ReplyReader()
    while data := connection.recv(READ_BYTES):
        yield from reader.feed_untrusted(data)
    raise BirdError("BIRD closed the connection in the middle of a reply")


def _word(text: str) -> str:
    """A name, which is all that a command may have of others."""
    if not text.replace("_", "").isalnum():
        raise BirdError(f"{text!r} is no name of a protocol")
    return text
