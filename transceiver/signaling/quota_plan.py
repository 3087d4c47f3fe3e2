"""What each API key, and each client secret below it, may have: worked out of the configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from core.config import UNLIMITED, QuotaSettings

LEAST: Final = 8
"""Calls that a key may have, however small its host is."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one may have. `UNLIMITED` is more than there can be."""

    requests_per_s: int
    requests_burst: int
    pending_calls: int
    live_calls: int
    sidebands: int


@dataclass(frozen=True, slots=True)
class KeyQuota:
    """Of one key."""

    own: Allowance
    secret: Allowance
    """Of each of its client secrets."""
    events_per_s: int
    events_burst: int
    slot: int
    """Of the ledger."""


QuotaPlan = Mapping[str, KeyQuota]
"""By the name of the key; empty where there are none."""


def plan_quotas(
    settings: QuotaSettings, own: Mapping[str, QuotaSettings], slots: Mapping[str, int], room: int
) -> QuotaPlan:
    """The quotas of all keys, whose names are those of `slots`. `own` has those that have settings of their
    own; `room` is how many calls the host takes.
    """
    is_alone = len(slots) == 1
    pending = UNLIMITED if is_alone else max(LEAST, room // 2)
    live = UNLIMITED if is_alone else max(LEAST, room - room // 10)
    return {
        name: _key_quota(own.get(name, settings), slot, pending=pending, live=live)
        for name, slot in slots.items()
    }


def merged(settings: QuotaSettings, own: QuotaSettings, given: Mapping[str, object]) -> QuotaSettings:
    """The settings of a key: of what it was `given` its own, else those of all."""
    return dataclasses.replace(settings, **{name: getattr(own, name) for name in given})


def _key_quota(settings: QuotaSettings, slot: int, *, pending: int, live: int) -> KeyQuota:
    own = Allowance(
        settings.requests_per_s,
        settings.requests_burst,
        pending if settings.pending_calls is None else settings.pending_calls,
        live if settings.live_calls is None else settings.live_calls,
        settings.sidebands,
    )
    secret = Allowance(
        settings.secret_requests_per_s,
        settings.secret_requests_burst,
        settings.secret_pending_calls,
        settings.secret_live_calls,
        settings.secret_sidebands,
    )
    return KeyQuota(own, secret, settings.events_per_s, settings.events_burst, slot)
