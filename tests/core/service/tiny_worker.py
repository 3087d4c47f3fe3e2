"""A worker of the tiny daemon: says what it is told, and does what files in a folder say.

It is ready when there is no `hold`, has work as long as there is a `busy`, and dies for good where there is a
`broken`. It ends its work by removing `busy`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.service import handover
from core.service.handover import DRAIN, DRAIN_NUMBER, DRAINED, EXPEL, SETTINGS, STOP, UNDRAIN
from core.service.supervisor import ControlChannel, Message
from core.service.worker import WorkerArguments, run

MODULE = "tests.core.service.tiny_worker"
POLL_S = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class TinyArguments(WorkerArguments):
    folder: Path


async def work(arguments: TinyArguments, control: ControlChannel) -> None:
    tasks: list[asyncio.Task[None]] = []
    stopped = asyncio.Event()

    async def start() -> None:
        await gone(arguments.folder / "hold")
        if (arguments.folder / "broken").exists():
            os._exit(1)
        control.ready()

    async def drain(number: object) -> None:
        await gone(arguments.folder / "busy")
        control.send({"type": DRAINED, DRAIN_NUMBER: number})

    def begin_drain(number: object) -> None:
        tasks.append(asyncio.create_task(drain(number)))

    def adopt(message: Message) -> None:
        relay, keyring = handover.decode_config(message).relay, handover.decode_keyring(message)
        assert relay is not None
        say(f"idle_timeout_s {relay.idle_timeout_s:g}, keys {keyring.key_ids}")
        if not tasks:
            tasks.append(asyncio.create_task(start()))
            if message[DRAIN_NUMBER]:
                say("begins in a drain")
                begin_drain(message[DRAIN_NUMBER])

    def stop() -> None:
        say("goodbye")
        stopped.set()

    obeys: dict[object, Callable[[Message], None]] = {
        SETTINGS: adopt,
        DRAIN: lambda message: begin_drain(message[DRAIN_NUMBER]),
        UNDRAIN: lambda _: say("drains no more"),
        EXPEL: lambda _: (arguments.folder / "busy").unlink(missing_ok=True),
        STOP: lambda _: stop(),
    }

    def obey(message: Message) -> None:
        obeys[message["type"]](message)

    listening = asyncio.create_task(control.listen(obey))
    await asyncio.wait({listening, asyncio.create_task(stopped.wait())}, return_when=asyncio.FIRST_COMPLETED)


def say(text: str) -> None:
    sys.stderr.write(f"worker: {text}\n")


async def gone(path: Path) -> None:
    while path.exists():  # noqa: ASYNC110, ASYNC240 - what the test tells it by
        await asyncio.sleep(POLL_S)


if __name__ == "__main__":
    run(TinyArguments, sys.argv[1:], work)
