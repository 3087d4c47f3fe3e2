"""Whose calls there are."""

from __future__ import annotations

from transceiver.session.counts import CallCounts

WHO = ("shop", "secret:aa")


def test_a_call_counts_to_its_key_and_to_its_secret_until_it_ends() -> None:
    counts, told = CallCounts(), list[str]()
    counts.changed = told.append
    counts.begin("a", WHO)
    counts.begin("b", ("shop",))
    assert [(counts.live(who), counts.pending(who)) for who in (*WHO, "desk")] == [(2, 2), (1, 1), (0, 0)]
    counts.arrive("a", WHO)
    assert [(counts.live(who), counts.pending(who)) for who in WHO] == [(2, 1), (1, 0)]
    assert told == ["shop", "secret:aa", "shop", "shop", "secret:aa"]
    counts.arrive("a", WHO)
    assert len(told) == 5, "nothing has changed"
    counts.end("a", WHO)
    counts.end("b", ("shop",))
    counts.end("b", ("shop",))
    assert [(counts.live(who), counts.pending(who)) for who in WHO] == [(0, 0), (0, 0)]
