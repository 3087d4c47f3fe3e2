"""What the clients of other makers do, each in a process of its own, and what came of it.

A scene is a list of steps, one an argument:

    say:FILE    the caller says a WAV file and hears all of the answer
    over:FILE   the caller says it over the answer to the step before, once a second of that was heard
    type:WORDS  the caller writes words and hears all of the answer
    reconnect   the connection is another one from here on
    rewrite     the conversation is another one: without its first message, and with one in the middle

Nothing here is of Voxpop, or of any package: the environments of the clients have neither.
"""

from __future__ import annotations

import asyncio
import sys
import wave
from collections.abc import Sequence
from typing import Any, Protocol

HEARD_BEFORE_S = 1.0


class Call:
    """What happens, in lists by what it is, and a way to wait for more of it. Standard error has it at once,
    for who has to find out where a scene hangs.
    """

    def __init__(self) -> None:
        self.seen: dict[str, list[Any]] = {}
        self._changed = asyncio.Event()

    def note(self, what: str, of: Any = None) -> None:
        self.seen.setdefault(what, []).append(of)
        sys.stderr.write(f"{what}: {of}\n")
        self._changed.set()

    async def until(self, what: str, times: int) -> None:
        while len(self.seen.get(what, [])) < times:
            self._changed.clear()
            await self._changed.wait()


class Client(Protocol):
    """Notes `playing` when an answer begins, `played` when all of it was heard, `interrupted` when not."""

    def say(self, path: str) -> None: ...

    async def type(self, words: str) -> None: ...

    async def reconnect(self) -> None: ...

    async def rewrite(self) -> None: ...


async def perform(steps: Sequence[str], call: Call, client: Client) -> None:
    """All steps, each when the one before is over."""
    answers = cut = 0
    for at, step in enumerate(steps):
        kind, _, what = step.partition(":")
        if kind in ("reconnect", "rewrite"):
            await (client.reconnect() if kind == "reconnect" else client.rewrite())
            continue
        answers += 1
        if kind == "type":
            await client.type(what)
        else:
            client.say(what)
        await call.until("playing", answers)
        if at + 1 < len(steps) and steps[at + 1].startswith("over:"):
            await asyncio.sleep(HEARD_BEFORE_S)
            cut += 1
        else:
            await call.until("interrupted", cut)
            await call.until("played", answers - cut)


def read_pcm(path: str) -> tuple[int, bytes]:
    """Rate and samples of a 16-bit mono WAV file."""
    with wave.open(path) as file:
        return file.getframerate(), file.readframes(file.getnframes())


class Said:
    """What a microphone is still to give out, frame by frame; silence when there is no more."""

    def __init__(self, frame_bytes: int) -> None:
        self._frame_bytes = frame_bytes
        self._rest = bytearray()

    def append(self, pcm: bytes) -> None:
        self._rest += pcm

    def frame(self) -> bytes:
        frame = bytes(self._rest[: self._frame_bytes])
        del self._rest[: self._frame_bytes]
        return frame.ljust(self._frame_bytes, b"\0")
