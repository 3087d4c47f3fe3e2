"""Which transactions a client's checks have had: a Bloom filter, so that a replay is known for the length of
a call in 8 KiB. Sans-IO.

A client that has sent 4,096 checks, three hours of them, has one in 400 taken for a repeat, which is
answered like any other and merely says nothing new. A repeat is never taken for new.
"""

from __future__ import annotations

import hashlib
import struct

_BITS = 1 << 16
_INDICES = struct.Struct("!4H")


class SeenTransactions:
    """Of one session. `salt`, 16 bytes, is nobody else's: ids that some clients count up spread evenly."""

    def __init__(self, salt: bytes) -> None:
        self._salt = salt
        self._bits = bytearray(_BITS // 8)

    def add(self, transaction_id: bytes) -> bool:
        """Whether it is the first time. Only for ids of authentic checks."""
        digest = hashlib.blake2b(transaction_id, digest_size=_INDICES.size, key=self._salt).digest()
        is_new = False
        for index in _INDICES.unpack(digest):
            place, bit = index >> 3, 1 << (index & 7)
            if not self._bits[place] & bit:
                self._bits[place] |= bit
                is_new = True
        return is_new
