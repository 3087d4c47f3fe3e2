"""What ends a run."""

from __future__ import annotations


class UnmetError(Exception):
    """Something was not as it has to be; the message says what, and where to look."""
