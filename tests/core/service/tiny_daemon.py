"""A daemon that has nothing but what every daemon has: `python -m tests.core.service.tiny_daemon CONFIG`."""

from __future__ import annotations

import asyncio
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
from core.service.drain import Load
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
    stop_margin_s = 5.0
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
        self._folder = config.parent

    def ready_line(self) -> str:
        return f"tiny is ready, pid {os.getpid()}"

    def summary(self) -> Mapping[str, object]:
        pids = [worker.process.pid for worker in self.supervisor.workers if worker.process is not None]
        return {
            "state": self.lifecycle.state,
            "ready": self.supervisor.ready,
            "workers": pids,
            **self.drain_summary(),
        }

    async def exposition(self) -> bytes:
        reloads = self.lifecycle.reloads
        return f"done {reloads['done']} refused {reloads['refused']}\n".encode()

    def carried(self) -> Load:
        return Load(int((self._folder / "busy").exists()))


async def main(config: Path) -> int:
    return await TinyDaemon(config).run()


if __name__ == "__main__":
    log.set_up()
    try:
        sys.exit(asyncio.run(main(Path(sys.argv[1]))))
    except VoxpopError as error:
        sys.exit(str(error))
