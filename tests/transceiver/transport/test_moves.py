from __future__ import annotations

import pytest

from transceiver.transport.moves import MOVES, Needs, Sign, is_due

NOW = 1_000_000_000_000


def test_each_sign_has_its_row() -> None:
    assert set(MOVES) == set(Sign)


@pytest.mark.parametrize("sign", Sign)
def test_a_row_is_due_from_its_silence_on_and_not_before(sign: Sign) -> None:
    """Of media and nominations alone, or of everything: what the other is does not matter."""
    needs, silence_ns = MOVES[sign]
    for short_ns in (0, 1):
        since_ns = NOW - silence_ns + short_ns
        used_ns, heard_ns = (since_ns, NOW) if needs is Needs.USE else (NOW - 10 * silence_ns, since_ns)
        assert is_due(sign, used_ns, heard_ns, NOW) == (needs is Needs.NOTHING or not short_ns)


def test_what_the_client_says_itself_waits_for_nobody() -> None:
    at_once = {sign for sign in Sign if is_due(sign, NOW, NOW, NOW)}
    assert at_once == {
        Sign.MEDIA, Sign.RESTARTED, Sign.FIRST_NOMINATED, Sign.RENOMINATED, Sign.BETTER_NOMINATED,
    }  # fmt: skip
