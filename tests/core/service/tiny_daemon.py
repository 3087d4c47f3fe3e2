"""A daemon that has nothing but what every daemon has: `python -m tests.core.service.tiny_daemon CONFIG`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from core.config import Config
from core.errors import VoxpopError
from core.keyring import Keyring
from core.service import handover, log
from core.service.daemon import Daemon
from core.service.handover import DRAIN
from core.service.supervisor import Message
from core.service.worker import spec
from tests.core.service.tiny_worker import MODULE, TinyArguments

WORKERS = 2


@dataclass(frozen=True)
class TinySettings:
    config: Config
    keyring: Keyring


def decode(message: Message) -> TinySettings:
    return TinySettings(handover.decode_config(message), handover.decode_keyring(message))


def load(path: Path) -> handover.Loaded[TinySettings]:
    return handover.load(path, lambda config, path: {}, decode)


class TinyDaemon(Daemon[TinySettings]):
    name = "relay"
    work = "things"
    status_headers: ClassVar[Mapping[str, str]] = {"X-Tiny": "yes"}

    def __init__(self, config: Path) -> None:
        cpu = min(os.sched_getaffinity(0))
        arguments = [
            TinyArguments(
                name=f"tiny-{index}",
                index=index,
                count=WORKERS,
                cpu=cpu,
                log_level="info",
                log_format="text",
                folder=config.parent,
            )
            for index in range(WORKERS)
        ]
        super().__init__(config, load, load(config), [spec(MODULE, a) for a in arguments])
        self._drained: set[int] = set()
        self._all_drained = asyncio.Event()

    def ready_line(self) -> str:
        return f"tiny is ready, pid {os.getpid()}"

    def summary(self) -> Mapping[str, object]:
        pids = [worker.process.pid for worker in self.supervisor.workers if worker.process is not None]
        return {"state": self.lifecycle.state, "ready": self.supervisor.ready, "workers": pids}

    async def exposition(self) -> bytes:
        reloads = self.lifecycle.reloads
        return f"done {reloads['done']} refused {reloads['refused']}\n".encode()

    def hear(self, index: int, message: Message) -> None:
        assert message["type"] == "drained"
        self._drained.add(index)
        if len(self._drained) == WORKERS:
            self._all_drained.set()

    async def drain(self, timeout_s: float) -> None:
        self.supervisor.broadcast({"type": DRAIN})
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._all_drained.wait(), timeout_s)

    async def end(self) -> None:
        await self.supervisor.stop({"type": "stop"}, 5.0)


async def main(config: Path) -> int:
    return await TinyDaemon(config).run()


if __name__ == "__main__":
    log.set_up()
    try:
        sys.exit(asyncio.run(main(Path(sys.argv[1]))))
    except VoxpopError as error:
        sys.exit(str(error))
