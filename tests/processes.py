"""The processes of tests: none outlives its test, so that one failure stays one; and what they cost."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

PATIENCE_S = 60.0
ALONE = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
"""Before a command that is to have no network but loopback; needs root."""


def end(process: subprocess.Popen[bytes] | subprocess.Popen[str], number: int = signal.SIGINT) -> int:
    """Ask a process to end and wait for it; its exit status. Idempotent. Who does not end is killed, and
    raises TimeoutExpired.
    """
    try:
        process.send_signal(number)
        return process.wait(PATIENCE_S)
    finally:
        process.kill()
        process.wait()


async def output_of(
    *command: str | Path,
    cwd: Path,
    env: Mapping[str, str],
    timeout_s: float = PATIENCE_S,
    stderr: int = subprocess.PIPE,
) -> str:
    """What a program has printed by its end, which has to be a good one. Killed when it takes too long:
    TimeoutError.
    """
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr
    )
    try:
        async with asyncio.timeout(timeout_s):
            printed, complaints = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, (complaints or printed).decode()
    return printed.decode()


def cpu_ns(task: int) -> int:
    """What a process of one thread, or a thread, has had of CPUs so far."""
    return int(Path(f"/proc/{task}/schedstat").read_text().split()[0])
