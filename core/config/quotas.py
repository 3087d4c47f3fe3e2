"""The table of quotas, whose keys may also stand with a key in the file of API keys."""

from __future__ import annotations

from dataclasses import dataclass

from core.schema import Kind, integer_or, setting

UNLIMITED = (1 << 63) - 1
"""What `"unlimited"` stands for: more than there can be."""


def _most(high: int, unit: str = "") -> Kind:
    return integer_or("unlimited", UNLIMITED, 1, high, unit)


@dataclass(frozen=True, slots=True)
class QuotaSettings:
    """[quotas]: what each API key may use of a host, unless it has the same key in the API-key file."""

    requests_per_s: int = setting(
        _most(1_000_000, "/s"), "requests that carry the key, but hang-ups", default=50, reloadable=True
    )
    requests_burst: int = setting(_most(1_000_000), "and so many at once", default=200, reloadable=True)
    pending_calls: int | None = setting(
        _most(1_000_000),
        "calls that are asked for, or whose client has not arrived; not set, half of the host's room, at "
        "least 8, and unlimited for the only key",
        default=None,
        reloadable=True,
    )
    live_calls: int | None = setting(
        _most(1_000_000),
        "all its calls; not set, nine tenths of the host's room, at least 8, and unlimited for the only key",
        default=None,
        reloadable=True,
    )
    sidebands: int = setting(_most(1_000_000), "its open WebSockets", default=512, reloadable=True)
    events_per_s: int = setting(
        _most(1_000_000, "/s"),
        "events of one call, over its channel and its sidebands; one of over 16 KiB is as many as it has of "
        "those",
        default=50,
        reloadable=True,
    )
    events_burst: int = setting(_most(1_000_000), "and so many at once", default=500, reloadable=True)
    secret_requests_per_s: int = setting(
        _most(1_000_000, "/s"),
        "of one client secret that the key has made, by each process",
        default=10,
        reloadable=True,
    )
    secret_requests_burst: int = setting(_most(1_000_000), "and so many at once", default=50, reloadable=True)
    secret_pending_calls: int = setting(
        _most(1_000_000), "of one client secret, by each process", default=10, reloadable=True
    )
    secret_live_calls: int = setting(
        _most(1_000_000), "of one client secret, by each process", default=20, reloadable=True
    )
    secret_sidebands: int = setting(
        _most(1_000_000), "of one client secret, by each process", default=16, reloadable=True
    )
