"""Within what time systemd hears of checks, however rare they are."""

from __future__ import annotations

import pytest

from core.config import AnnounceSettings
from edge.health.service import HANG_S, longer_watchdog_s


@pytest.mark.parametrize(
    ("interval_ms", "timeout_ms", "allowed_s", "wanted_s"),
    [
        (500, 500, 5.0, None),
        (2000, 2000, 5.0, 4.0 + HANG_S),
        (60_000, 500, 5.0, 60.5 + HANG_S),
        (60_000, 500, None, None),
    ],
)
def test_the_watchdog_bears_what_the_configuration_asks_for(
    interval_ms: int, timeout_ms: int, allowed_s: float | None, wanted_s: float | None
) -> None:
    settings = AnnounceSettings(interval_ms=interval_ms, timeout_ms=timeout_ms)
    assert longer_watchdog_s(settings, allowed_s) == wanted_s
