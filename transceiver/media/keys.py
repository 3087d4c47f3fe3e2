"""The hand-over from DTLS to SRTP."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SrtpKeys:
    """Keying material of one DTLS-SRTP handshake (RFC 5764 §4.2), key and salt joined per direction.

    Who has it keeps the only copy, in bytes that can be overwritten, and wipes it when the session ends.
    """

    profile: str
    """The negotiated profile by its RFC name, such as SRTP_AES128_CM_SHA1_80."""
    receive: bytearray = field(repr=False)
    send: bytearray = field(repr=False)

    def wipe(self) -> None:
        """Overwrite the keys; they decrypt nothing after this. Idempotent."""
        for key in (self.receive, self.send):
            wipe(key)


def wipe(secret: bytearray) -> None:
    """Overwrite it where it is, with zeros."""
    memoryview(secret)[:] = bytes(len(secret))
