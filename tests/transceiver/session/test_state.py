"""Where sessions can stand, and the reasons that are labels."""

from __future__ import annotations

import itertools

import pytest

from transceiver.session.state import (
    PACKET_REASONS,
    TRANSITIONS,
    IllegalTransitionError,
    SessionEvent,
    SessionState,
    advance,
)


@pytest.mark.parametrize(("state", "event"), list(itertools.product(SessionState, SessionEvent)))
def test_only_the_steps_of_the_table_are_possible(state: SessionState, event: SessionEvent) -> None:
    following = TRANSITIONS.get((state, event))
    if following is None:
        with pytest.raises(IllegalTransitionError):
            advance(state, event)
    else:
        assert advance(state, event) is following


def test_nothing_leaves_the_closed_state_and_all_others_reach_it() -> None:
    assert not any(state is SessionState.CLOSED for state, _ in TRANSITIONS)
    for state in set(SessionState) - {SessionState.CLOSED}:
        assert advance(state, SessionEvent.ENDED) is SessionState.CLOSED


def test_reasons_are_labels_and_none_means_two_things() -> None:
    labels = [str(reason) for reason in PACKET_REASONS]
    assert len(set(labels)) == len(labels)
    assert all(label.replace("_", "").isalnum() and label.islower() for label in labels)
