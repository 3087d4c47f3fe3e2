"""A call that goes on while machines are changed under it, and what it says of itself at its end."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tests.acceptance import wires
from tests.acceptance.errors import UnmetError
from tests.acceptance.scene import POP, REGION, VOXPOP, Scene
from tests.processes import end

SET_UP_S, HANG_UP_S, LONGEST_S = 180.0, 60.0, 3600
ANNOUNCED_S = 120.0
READ_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Told:
    """Of one call, from its first audio to its end."""

    seconds: float
    error: str | None
    """Why it broke off by itself."""
    received: int
    sent: int
    lost: int
    """Of those that were sent to us."""
    remote_lost: int
    """Of ours, as the server counts them."""
    moves: int
    restarts: int
    longest_gap_ms: float


def told(lines: Sequence[str]) -> Told:
    """Of what `voxpop call --calls 1 --json` prints. Raises UnmetError where it does not tell of one call."""
    events = {event["event"]: event for event in map(json.loads, lines)}
    try:
        connected, report = events["connected"], events["report"]
        quality: dict[str, Any] = report["quality"]
        return Told(
            seconds=(report["at_ns"] - connected["at_ns"]) / 1e9,
            error=report["error"],
            received=quality["packets_received"],
            sent=quality["packets_sent"],
            lost=quality["packets_lost"],
            remote_lost=quality["remote_lost"],
            moves=report["moves"],
            restarts=report["restarts"],
            longest_gap_ms=quality["longest_gap_ms"],
        )
    except (KeyError, TypeError):
        raise UnmetError(f"this tells of no call: {' '.join(lines)[:2000]}") from None


def without_loss(call: Told) -> str:
    """In words for the table. Raises UnmetError where the call has missed anything, or had to move."""
    lost = max(call.lost, 0) + max(call.remote_lost, 0)
    if call.error or lost or call.moves or call.restarts or not call.received:
        raise UnmetError(f"the call that went on meanwhile was disturbed: {call}")
    heard = f"{call.received} packets heard, {call.sent} sent, none lost"
    return f"a call of {call.seconds:.0f} s: {heard}"


class Calling:
    """A call that has been set up."""

    def __init__(self, process: subprocess.Popen[str], lines: list[str]) -> None:
        self._process = process
        self._lines = lines

    @property
    def is_up(self) -> bool:
        """Whether it goes on."""
        return self._process.poll() is None

    def hang_up(self) -> Told:
        """As Ctrl-C does. Raises UnmetError where the call has ended before, or cannot end."""
        if not self.is_up:
            raise UnmetError(f"the call has ended by itself: {' '.join(self._lines)}{self._complaints()}")
        self._process.send_signal(signal.SIGINT)
        try:
            out, _ = self._process.communicate(timeout=HANG_UP_S)
        except subprocess.TimeoutExpired:
            raise UnmetError(f"the call cannot be ended within {HANG_UP_S:.0f} s") from None
        self._lines += out.splitlines()
        return told(self._lines)

    def _complaints(self) -> str:
        assert self._process.stderr is not None
        return self._process.stderr.read()


def until_reachable(scene: Scene) -> None:
    """Wait until whoever calls comes to the PoP, both hosts being on. HTTPS is announced by a checker of its
    own, later than the VIP or before it. Raises UnmetError.
    """
    scene.switched_on(POP, REGION)
    for prefix in (wires.VIP_PREFIX, wires.SIGNALING_PREFIX):
        scene.speakers.until_announced(prefix, ANNOUNCED_S)


@contextlib.contextmanager
def calling(scene: Scene) -> Iterator[Calling]:
    """A call from where the client is, set up by signaling, until it is hung up. Raises UnmetError."""
    until_reachable(scene)
    key = ("--api-key-file", str(scene.playbooks.api_key))
    words = ("call", wires.SIGNALING, "--calls", "1", "--seconds", str(LONGEST_S), "--json", *key)
    process = scene.begin(wires.CLIENT, *VOXPOP, *words)
    try:
        lines = _until_connected(process)
        yield Calling(process, lines)
    finally:
        end(process)


def _until_connected(process: subprocess.Popen[str]) -> list[str]:
    """The lines up to that, read past the process's own buffer, which is for what comes later."""
    assert process.stdout is not None
    number, said = process.stdout.fileno(), b""
    deadline = time.monotonic() + SET_UP_S
    while b'"event": "connected"' not in said.rpartition(b"\n")[0]:
        left = deadline - time.monotonic()
        data = os.read(number, READ_BYTES) if select.select([number], [], [], max(left, 0.0))[0] else b""
        if not data:
            process.kill()
            raise UnmetError(f"no call is set up: {said.decode()}{process.communicate()[1]}")
        said += data
    return said.decode().splitlines()


def placed(scene: Scene) -> Told:
    """A call that says a sentence and hears it back. Raises UnmetError."""
    until_reachable(scene)
    key = ("--api-key-file", str(scene.playbooks.api_key))
    words = ("call", wires.SIGNALING, "--calls", "1", "--turns", "1", "--json", *key)
    return told(scene.in_client(*VOXPOP, *words, seconds=SET_UP_S).splitlines())
