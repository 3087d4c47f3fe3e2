"""Daemons of a lab under a drill: another configuration, and what they say of it."""

from __future__ import annotations

import signal
import time

from core.errors import UnavailableError
from core.service import interrupt
from core.service.process import Child

ADOPTED, REFUSED = "reloaded: ", "reload refused, the old configuration stays: "
PATIENCE_S = 20.0
POLL_S = 0.05


def reload(child: Child) -> list[str]:
    """SIGHUP; why it was refused, nothing where it was adopted. Raises UnavailableError."""
    before = child.text()
    child.popen.send_signal(signal.SIGHUP)
    said = until_said(child, len(before), ADOPTED, REFUSED)
    return [line.partition(REFUSED)[2] for line in said if REFUSED in line]


def until_said(child: Child, since: int, *words: str) -> list[str]:
    """Wait until its log has one of these words after its first `since` characters; the lines that have.
    Raises UnavailableError.
    """
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        lines = [
            line for line in child.text()[since:].split("\n")[:-1] if any(each in line for each in words)
        ]
        if lines:
            return lines
        interrupt.wait((), POLL_S)
    raise UnavailableError(f"{child.name} has not said {words[0]!r} within {PATIENCE_S:g} s:\n{child.tail()}")
