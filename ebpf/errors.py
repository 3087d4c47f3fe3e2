"""What can be wrong with the fast path; each says what to do about it.

core.errors.UnavailableError
└── DataplaneError
    ├── HeadersError      no kernel headers to compile against
    ├── CompileError      the C was refused by the compiler; carries its output
    ├── VerifierError     the program was refused by the kernel; carries its log
├── CacheError        what was compiled before cannot be used, or not be kept
    ├── PinError          no bpffs, nothing pinned, or pinned by another version
    │   └── ReplacedError what was pinned is so no longer
    ├── HeldError         another process uses it
    ├── AttachError       the interface, or its driver, refuses the program
    └── MapError          the kernel refuses an operation on a map
        └── MapFullError
"""

from __future__ import annotations

from core.errors import UnavailableError


class DataplaneError(UnavailableError):
    """The fast path cannot be had, or not as asked."""


class HeadersError(DataplaneError):
    """There are no kernel headers to compile against."""


class CompileError(DataplaneError):
    """The compiler refused the program. `output` is what it printed."""

    def __init__(self, message: str, output: str) -> None:
        super().__init__(f"{message}\n{output}".rstrip())
        self.output = output


class VerifierError(DataplaneError):
    """The kernel refused the program. `log` is the verifier's, of which the message shows the end."""

    def __init__(self, message: str, log: str) -> None:
        super().__init__("\n".join([message, *log.splitlines()[-12:]]))
        self.log = log


class CacheError(DataplaneError):
    """A program that was compiled before cannot be used, or one cannot be kept."""


class PinError(DataplaneError):
    """What is pinned is absent, or not what this version works with."""


class ReplacedError(PinError):
    """Maps that we have open are no longer those that are pinned."""


class HeldError(DataplaneError):
    """Another process has what only one may have. `holder` says who, for people."""

    def __init__(self, message: str, holder: object) -> None:
        super().__init__(f"{message}: {holder} has it")
        self.holder = holder


class AttachError(DataplaneError):
    """An interface does not take the program."""


class MapError(DataplaneError):
    """An operation on a map failed; `errno` says how."""

    def __init__(self, message: str, errno: int) -> None:
        super().__init__(message)
        self.errno = errno


class MapFullError(MapError):
    """A map has no room for another entry."""
