"""Fuzz what a server says of the PoPs that it has named, which any server may write.

Invariant: any text is read as nothing, or as some PoPs whose words are printable.
"""

from __future__ import annotations

from tests.fuzz.mutation import changed
from transceiver.caller.steering import MAX_POPS, describe, parse_steering_untrusted

GOOD = '"nrt";source=database;why=nearest;km=12, "fra";km=9302'


def test_one_input(data: bytes) -> None:
    """Read the input as it is; then as changes to a good one."""
    _check(data.decode("utf-8", "surrogateescape"))
    _check(changed(GOOD, data))


def _check(text: str) -> None:
    read = parse_steering_untrusted(text)
    if read is not None:
        assert 1 <= len(read.pops) <= MAX_POPS
        assert describe(read).isprintable()
