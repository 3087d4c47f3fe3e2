"""The verdicts; that the C has the same ones is in test_layout.py, with all else that it has."""

from __future__ import annotations

import pytest

from ebpf.verdict import COUNTERS, FAMILIES, KNOWN, REASON_STRIDE, REASONS, Action, Reason


def test_each_reason_begins_with_its_action() -> None:
    words = {"forward": Action.REDIRECT, "punt": Action.PASS, "pass": Action.PASS, "drop": Action.DROP}
    for reason in KNOWN:
        assert reason.action is words[reason.partition("_")[0]]
    with pytest.raises(KeyError):
        _ = Reason.UNKNOWN.action


def test_all_reasons_fit_into_their_block() -> None:
    assert len(KNOWN) == len(REASONS) - 1 <= REASON_STRIDE
    assert len(FAMILIES) * REASON_STRIDE == COUNTERS
