"""How a lab tells its WAN what to do: JSON lines over a Unix socket, one answer for each.

    {"do": "set", "link": "tokyo-frankfurt", "sender": null, "changes": {"delay_ms": 80}}
    {"do": "cut", "link": "tokyo-frankfurt", "sender": "tokyo"}      restore the same; null is both directions
    {"do": "state"}

The answer is `{}`, the state, or `{"error": SENTENCE}`.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, Unpack

from core.errors import UnavailableError
from core.service.admin.path import address
from edge.lab.wan.delay import Conditions, Counts
from edge.lab.wan.links import Wan, WanError

MAX_LINE_BYTES = 4096
TIMEOUT_S = 10.0

Drops = Callable[[], dict[str, dict[str, int]]]
"""Packets that the kernel dropped before they were read, by link and by the place that sends."""


class Changes(TypedDict, total=False):
    """What may be changed of the conditions of a direction."""

    delay_ms: float
    jitter_ms: float
    loss: float
    burst: float
    reorder: bool


def answer(wan: Wan, line: bytes, drops: Drops) -> bytes:
    """Do what a line says; the line to answer with, as any client is answered."""
    try:
        return _line(_do(wan, json.loads(line), drops))
    except WanError as error:
        return _line({"error": str(error)})
    except (ValueError, RecursionError, AttributeError, KeyError, TypeError):
        return _line({"error": "not a request: see edge/lab/wan/control.py"})


def _do(wan: Wan, request: Any, drops: Drops) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    if (verb := request["do"]) == "state":
        dropped = drops()
        return {
            "links": {
                name: {place: {**state, "unread": dropped[name][place]} for place, state in pair.items()}
                for name, pair in wan.state().items()
            }
        }
    link, sender = request["link"], request.get("sender")
    if verb == "set":
        wan.set(link, sender, request["changes"])
    elif verb == "cut":
        wan.cut(link, sender)
    elif verb == "restore":
        wan.restore(link, sender)
    else:
        raise WanError(f"{verb}: set, cut, restore and state are what can be done")
    return {}


def _line(told: dict[str, Any]) -> bytes:
    return json.dumps(told).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class DirectionState:
    """How a direction is, and what became of its packets.

    offered = delivered + lost + cut + overflowed + refused + queued; what is unread was never offered.
    """

    conditions: Conditions
    is_cut: bool
    queued: int
    counts: Counts
    unread: int
    """Packets that the kernel dropped, since they came faster than the process reads."""


class WanControl:
    """The WAN of a lab, for whoever plays in it. Every method raises UnavailableError, with what is wrong
    about the request or where nobody listens. May be used by several threads.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def set(self, link: str, *, sender: str | None = None, **changes: Unpack[Changes]) -> None:
        """Change what is named of a link's conditions, of both directions or of that from `sender`."""
        self._ask({"do": "set", "link": link, "sender": sender, "changes": changes})

    def cut(self, link: str, *, sender: str | None = None) -> None:
        """Let nothing through, and lose what is under way. Idempotent."""
        self._ask({"do": "cut", "link": link, "sender": sender})

    def restore(self, link: str, *, sender: str | None = None) -> None:
        """Let packets through again. Idempotent."""
        self._ask({"do": "restore", "link": link, "sender": sender})

    def state(self) -> dict[str, dict[str, DirectionState]]:
        """Every direction, by link and by the place that sends."""
        links = self._ask({"do": "state"})["links"]
        return {
            name: {place: _read(told) for place, told in directions.items()}
            for name, directions in links.items()
        }

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(TIMEOUT_S)
            try:
                with address(self._path) as name:
                    connection.connect(name)
                connection.sendall(_line(request))
                with connection.makefile("rb") as answers:
                    line = answers.readline()
            except OSError as error:
                raise UnavailableError(f"no WAN answers at {self._path}: {error}") from None
        if not line.endswith(b"\n"):
            raise UnavailableError(f"the WAN at {self._path} has ended in the middle of an answer")
        told: dict[str, Any] = json.loads(line)
        if "error" in told:
            raise UnavailableError(told["error"])
        return told


def _read(told: dict[str, Any]) -> DirectionState:
    conditions, counts = Conditions(**told["conditions"]), Counts(**told["counts"])
    return DirectionState(conditions, told["is_cut"], told["queued"], counts, told["unread"])
