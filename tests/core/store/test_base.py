"""How a store's failure is told."""

from __future__ import annotations

from core.errors import VoxpopError
from core.store.base import StoreError, StoreReason


def test_a_failure_has_a_reason_for_the_metric_and_a_detail_for_the_log() -> None:
    error = StoreError(StoreReason.SLOW, "no answer within 100 ms")
    assert isinstance(error, VoxpopError)
    assert error.reason is StoreReason.SLOW
    assert str(error) == "slow: no answer within 100 ms"
