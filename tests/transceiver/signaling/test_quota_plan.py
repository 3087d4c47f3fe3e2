from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.config import UNLIMITED, QuotaSettings
from transceiver.signaling.quota_plan import merged, plan_quotas

ALL = QuotaSettings(requests_per_s=2, requests_burst=4, live_calls=3)


def defaults(names: int, room: int) -> Iterator[int]:
    plan = plan_quotas(QuotaSettings(), {}, {f"key-{number}": number for number in range(names)}, room)
    for quota in plan.values():
        yield quota.own.pending_calls
        yield quota.own.live_calls


@pytest.mark.parametrize(
    ("names", "room", "pending", "live"),
    [(2, 400, 200, 360), (256, 100, 50, 90), (2, 9, 8, 9), (2, 1, 8, 8), (1, 400, UNLIMITED, UNLIMITED)],
)
def test_one_key_of_several_cannot_have_it_all(names: int, room: int, pending: int, live: int) -> None:
    assert set(defaults(names, room)) == {pending, live}


def test_a_key_has_what_it_was_given_and_else_what_all_have() -> None:
    own = QuotaSettings(live_calls=7, requests_per_s=UNLIMITED)
    settings = merged(ALL, own, {"live_calls": 7, "requests_per_s": "unlimited"})
    plan = plan_quotas(ALL, {"shop": settings}, {"shop": 0, "desk": 1}, 100)
    assert (plan["shop"].own.live_calls, plan["desk"].own.live_calls) == (7, 3)
    assert (plan["shop"].own.requests_per_s, plan["shop"].own.requests_burst) == (UNLIMITED, 4)
