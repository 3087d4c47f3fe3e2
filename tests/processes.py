"""Ending the processes of tests, so that one failure stays one: none outlives its test."""

from __future__ import annotations

import signal
import subprocess

PATIENCE_S = 60.0


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
