"""Every exception that Voxpop raises on purpose.

    VoxpopError
    ├── ConfigError        what an operator wrote is wrong; lists every problem at once
    ├── WireError          what a stranger sent is wrong; carries a `reason`, never packet contents
    │   ├── StunError
    │   ├── TokenError
    │   ├── SdpError
    │   ├── MediaError     RTP and RTCP
    │   ├── SteeringError  a header that is to tell where a client is
    │   └── BackendError   a message of a backend over the network
    └── UnavailableError   the machine lacks something we need; says what and how to get it

A `WireError.reason` is a member of a closed enum, so it can be a metric label as it stands.
"""

from __future__ import annotations

from enum import StrEnum


class VoxpopError(Exception):
    """Base of the tree; a command line prints it as one line and exits non-zero."""


class ConfigError(VoxpopError):
    """The configuration cannot be used. `problems` has one sentence per fault, each naming its key."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class WireError(VoxpopError):
    """Bytes from the network broke a rule; the only exception that a `*_untrusted` function raises."""

    def __init__(self, reason: StrEnum) -> None:
        super().__init__(str(reason))
        self.reason = reason


class StunError(WireError):
    """Not a STUN message that we accept (RFC 8489)."""


class TokenError(WireError):
    """A ufrag that is not a token of ours, or that leads nowhere."""


class SdpError(WireError):
    """An offer or a trickle fragment that cannot be answered.

    Unlike a packet, an offer has an author who wants to know, so `detail` may say more.
    """

    def __init__(self, reason: StrEnum, detail: str) -> None:
        super().__init__(reason)
        self.detail = detail


class MediaError(WireError):
    """A malformed RTP or RTCP packet (RFC 3550)."""


class SteeringError(WireError):
    """A header that is to tell where a client is, and does not."""


class BackendError(WireError):
    """A message of a backend over the network that cannot be used."""


class UnavailableError(VoxpopError):
    """Something outside the process is missing: a library, a right, a port."""
