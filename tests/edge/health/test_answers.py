"""What a relay's status endpoint says, and what others might that listen there."""

from __future__ import annotations

import pytest

from edge.health.answers import Outcome, read_answer_untrusted

DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, b'{"state": "ready", "pop": "here"}', Outcome.READY),
        (503, b'{"state": "draining"}', Outcome.DRAINING),
        (503, b'{"state": "starting"}', Outcome.STARTING),
        (200, b'{"state": "draining"}', Outcome.STRANGE),
        (503, b'{"state": "ready", "problems": ["eth0 runs no XDP program"]}', Outcome.UNFIT),
        (200, b"", Outcome.STRANGE),
        (200, b"welcome", Outcome.STRANGE),
        (200, b"[]", Outcome.STRANGE),
        (200, b'{"state": ["ready"]}', Outcome.STRANGE),
        (200, b'{"status": "ready"}', Outcome.STRANGE),
        (404, b'{"state": "ready"}', Outcome.STRANGE),
        (200, b"\xff\xfe", Outcome.STRANGE),
        (200, DEEP, Outcome.STRANGE),
    ],
    ids=["ready", "draining", "starting", "200-draining", "unfit", "empty", "text", "list", "state-list",
         "no-state", "404", "bytes", "deep"],
)  # fmt: skip
def test_only_a_relays_own_words_count(status: int, body: bytes, outcome: Outcome) -> None:
    assert read_answer_untrusted(status, body) is outcome
