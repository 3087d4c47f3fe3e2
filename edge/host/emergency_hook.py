"""The program that an operator has run when the emergency level rises or falls: to blackhole, to withdraw."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import stat
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping
from pathlib import Path

from core.service import launch
from edge.relay.emergency import EmergencyCause

logger = logging.getLogger(__name__)

TIMEOUT_S = 30.0
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class EmergencyHook:
    """One call at a time. Of changes that come meanwhile the latest is told, after it."""

    def __init__(self, identity: Mapping[str, str], timeout_s: float = TIMEOUT_S) -> None:
        """`identity`: who we are, for the environment."""
        self.path: str | None = None
        """What is run; it may change at any time."""
        self._identity = identity
        self._timeout_s = timeout_s
        self._wanted: tuple[str, dict[str, str]] | None = None
        self._news = asyncio.Event()

    def call(self, cause: EmergencyCause | None, before: EmergencyCause | None, overrun_pps: int) -> None:
        """Have it run: the level was raised for `cause`, or that of `before` was lowered."""
        level = "lowered" if cause is None else "raised"
        self._wanted = (
            level,
            {
                "PATH": SEARCH_PATH,
                **self._identity,
                "VOXPOP_EMERGENCY": level,
                "VOXPOP_EMERGENCY_BY": str(cause or before),
                "VOXPOP_OVERRUN_PPS": str(overrun_pps),
            },
        )
        self._news.set()

    async def run(self) -> None:
        """Run what is wanted, until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            wanted, self._wanted = self._wanted, None
            if wanted is not None and self.path is not None:
                await self._run(self.path, *wanted)

    async def _run(self, path: str, level: str, environment: dict[str, str]) -> None:
        try:
            _check_is_trusted(Path(path))
            process = await asyncio.create_subprocess_exec(
                path,
                level,
                stdin=DEVNULL,
                stdout=DEVNULL,
                env=launch.environment(environment),
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            logger.error("dataplane.emergency_hook %s cannot be run: %s", path, error.strerror or error)
            return
        try:
            async with asyncio.timeout(self._timeout_s):
                status = await process.wait()
        except TimeoutError:
            logger.error("dataplane.emergency_hook %s %s: killed after %g s", path, level, self._timeout_s)
        else:
            logger.log(
                logging.ERROR if status else logging.INFO,
                "dataplane.emergency_hook %s %s: exit status %d", path, level, status,
            )  # fmt: skip
        finally:
            if process.returncode is None:
                await _kill(process)


def _check_is_trusted(path: Path) -> None:
    """Raises OSError where somebody else than root and our own user could have written it."""
    told = path.stat()
    if told.st_uid not in (0, os.geteuid()) or told.st_mode & _OTHERS_WRITE:
        raise PermissionError(f"others than root and user {os.geteuid()} can write it")


async def _kill(process: Process) -> None:
    """With all that it has started in its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
