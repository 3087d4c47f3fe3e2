"""Being on time: what a process asks of kernel and interpreter so that nothing comes before it."""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Iterator

PRIORITY = 1
"""The lowest that is before all that has none. The kernel keeps 5 % of the time for the others
(sched_rt_runtime_us)."""
_MCL_CURRENT, _MCL_FUTURE = 1, 2
"""asm-generic/mman.h"""


def be_prompt() -> Iterator[str]:
    """Run before all else, stay in memory, and never stop to collect garbage; a sentence for each of these
    that is refused. Who calls this must make no reference cycles, for nothing removes them any more.
    """
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    except OSError as error:
        yield f"cannot run before other processes (SCHED_FIFO): {error.strerror}"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE) != 0:
        yield f"cannot stay in memory (mlockall): {os.strerror(ctypes.get_errno())}"
