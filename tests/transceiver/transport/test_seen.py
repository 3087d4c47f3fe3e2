from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from transceiver.transport.seen import SeenTransactions

SALT = bytes(16)
CHECKS = 4_096
"""Of a call of three hours."""


def numbered(number: int) -> bytes:
    return hashlib.sha256(number.to_bytes(4, "big")).digest()[:12]


@given(st.lists(st.binary(min_size=12, max_size=12)), st.binary(min_size=16, max_size=16))
def test_a_repeat_is_never_taken_for_new(ids: list[bytes], salt: bytes) -> None:
    seen = SeenTransactions(salt)
    for each in ids:
        seen.add(each)
    assert not any(seen.add(each) for each in ids)


def test_few_are_taken_for_repeats_in_three_hours() -> None:
    """For ids that are random, and for those that a client counts up."""
    for ids in (map(numbered, range(CHECKS)), (n.to_bytes(12, "big") for n in range(CHECKS))):
        seen = SeenTransactions(SALT)
        assert sum(not seen.add(each) for each in ids) <= CHECKS // 200


def test_whoever_knows_no_salt_cannot_choose_what_collides() -> None:
    """What one call takes for a repeat is new to another."""
    one, other = SeenTransactions(SALT), SeenTransactions(b"another salt 16B")
    taken = [each for each in map(numbered, range(4 * CHECKS)) if not one.add(each)]
    assert taken
    assert sum(other.add(each) for each in taken) >= 0.9 * len(taken)
