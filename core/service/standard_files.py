"""Standard input, output and error, which a process may be started without.

A descriptor that is closed at the start is given to the next file that is opened. Were that 2, every message
for people would go into that file: a traceback has been written over a table of counters.
"""

from __future__ import annotations

import os
import sys

from core.errors import UnavailableError

STANDARD = (0, 1, 2)


def ensure_open() -> None:
    """Put /dev/null in place of those that are closed. To be called before anything else is opened."""
    for descriptor in STANDARD:
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest that is free, which is this one
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
            os.set_inheritable(descriptor, True)
    # Python leaves them None when it starts without; `print` and logging would fall over that, or be mute.
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - for the rest of the process
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False, buffering=1)  # noqa: SIM115


def report(done: str) -> None:
    """Print what was done that cannot be done again. Raises UnavailableError, which says it too, when
    standard output takes nothing: a full disk must not hide what has changed.
    """
    try:
        print(done, flush=True)  # noqa: T201 - for the command line
    except OSError as error:
        give_up_output()
        raise UnavailableError(
            f"standard output cannot be written to: {os.strerror(error.errno or 0)}; done nonetheless: {done}"
        ) from None


def give_up_output() -> None:
    """What standard output still holds is not tried again when the interpreter ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
