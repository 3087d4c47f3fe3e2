"""Fuzz what answers for a relay: `read_answer_untrusted`, and what a standing makes of it.

Invariant: any response is one of the outcomes, and whatever comes, a relay is announced only by a row of
answers that say that it is ready.
"""

from __future__ import annotations

from edge.health.answers import Outcome, read_answer_untrusted
from edge.health.standing import Policy, Standing

_SEPARATOR = b"\n"
_STATUSES = {ord("2"): 200, ord("5"): 503, ord("4"): 404}
_POLICY = Policy(rise=2, fall=2, hold_down_ns=3, hold_down_max_ns=9)


def test_one_input(data: bytes) -> None:
    """Each line of the input is a response, whose first byte stands for the status."""
    standing, row = Standing(_POLICY, 0), 0
    for number, line in enumerate(data.split(_SEPARATOR)):
        outcome = read_answer_untrusted(_STATUSES.get(line[0] if line else 0, 500), line[1:])
        assert outcome in Outcome
        row = row + 1 if outcome is Outcome.READY else 0
        was_announced = standing.is_announced
        standing.hear(outcome, number)
        assert was_announced or not standing.is_announced or row >= _POLICY.rise
        assert not (standing.is_announced and outcome is Outcome.DRAINING)
