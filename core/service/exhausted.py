"""When the machine has run out of something: a sentence that says of what, where, and what to do.

What an administrator mends and not a programmer: a traceback would say less. Python has many words for it,
and libraries more, of which this knows those that were met.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

ADVICE = {
    errno.ENOSPC: "`df` shows which disk is full, `df -i` which has no inode left",
    errno.EDQUOT: "`quota` shows whose disk quota is used up",
    errno.EROFS: "choose a place that can be written to",
    errno.EIO: "`dmesg` may say why",
    errno.ENOMEM: "free some, or raise the limit: MemoryMax= of a unit, `ulimit -v`",
    errno.EAGAIN: "raise the limit of processes and threads: TasksMax= of a unit, `ulimit -u`",
    errno.EMFILE: "raise the limit of open files: LimitNOFILE= of a unit, `ulimit -n`",
    errno.ENFILE: "raise the sysctl fs.file-max",
}
"""What to do about an error that is no mistake of ours."""
NO_MEMORY = f"there is not enough memory; {ADVICE[errno.ENOMEM]}"
_NO_THREAD = "can't start new thread"
_NOT_MAPPED = ("failed to map segment", "cannot allocate memory", "cannot create shared object descriptor")
"""What ld.so says, in lower case, of a library that there was no memory for."""

_NO_EXCEPTION = ("without exception set", "without setting an exception")
"""What the interpreter says of C code that failed and did not say why: there was no memory to say it in."""


def reason(error: OSError) -> str:
    """What the system says, and what to do about it where that is known."""
    told = str(error) if error.errno is None else os.strerror(error.errno)
    advice = ADVICE.get(error.errno or 0)
    return told if advice is None else f"{told}; {advice}"


def lack(error: BaseException) -> str | None:
    """The sentence for an exception, or for what it came from; None where the machine lacks nothing."""
    for each in _chain(error):
        if isinstance(each, MemoryError):
            return NO_MEMORY
        if isinstance(each, OSError) and each.errno in ADVICE:
            where = "" if each.filename is None else f"{each.filename}: "
            return f"{where}{reason(each)}"
        if isinstance(each, RuntimeError) and _NO_THREAD in str(each):
            return f"no thread can be started; free memory, or {ADVICE[errno.EAGAIN]}"
        if isinstance(each, SystemError) and any(words in str(each) for words in _NO_EXCEPTION):
            return NO_MEMORY
        is_of_a_library = isinstance(each, (ImportError, OSError))  # ctypes raises one without a number
        if is_of_a_library and any(words in str(each).lower() for words in _NOT_MAPPED):
            return NO_MEMORY
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and those that it was raised from, or while handling; an ImportError often hides one."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__
