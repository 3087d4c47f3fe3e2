"""Asks the PoPs how they are, once for all processes of a host, so that no request ever waits for it."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import aiohttp

from core.clocks import ahead_s_untrusted, describe, http_date, is_off
from core.config import PopSettings
from transceiver.host.status_client import StatusClient
from transceiver.signaling.pops import (
    NOT_ASKED,
    REFUSED,
    UNANSWERED,
    PopReport,
    Standing,
    other_pop_untrusted,
    read_status_untrusted,
)

logger = logging.getLogger(__name__)

PAUSE_S = 2.0
"""Between two rounds."""
SHORT_PAUSE_S, SHORT_PAUSES = 0.25, 40
"""While a PoP has just come into doubt: relay and transceiver may be starting at the same time, and callers
need not wait two seconds to be led through it. One that stays away is nobody's start."""
PATIENCE = 2
"""Rounds in a row without an answer before a PoP is in doubt: one datagram may be lost."""


@dataclass(slots=True)
class _Watched:
    """One PoP."""

    report: PopReport = NOT_ASKED
    silent_rounds: int = 0
    doubtful_rounds: int = 0
    ahead_s: float | None = None
    """How far its clock is ahead of ours, when it last said."""
    is_clock_off: bool = False
    other_pop: str | None = None
    """Who answered in its place."""


class PopWatch:
    """The PoPs of a configuration, those that have a `status` asked every `PAUSE_S`."""

    def __init__(self, pops: Sequence[PopSettings], client: StatusClient) -> None:
        """`client` stays the caller's."""
        self._client = client
        self._watched: dict[str, _Watched] = {}
        self._pops: tuple[PopSettings, ...] = ()
        self.replace(pops)

    def replace(self, pops: Sequence[PopSettings]) -> None:
        """Take a reloaded configuration."""
        before = {pop.id: pop for pop in self._pops}
        self._pops = tuple(pops)
        self._watched = {
            pop.id: self._watched[pop.id] if before.get(pop.id) == pop else _Watched() for pop in self._pops
        }

    @property
    def reports(self) -> dict[str, PopReport]:
        """By PoP."""
        return {pop: watched.report for pop, watched in self._watched.items()}

    @property
    def clocks_ahead_s(self) -> Mapping[str, float]:
        """By PoP; not a number for one that has not said what time it is."""
        return {pop: math.nan if w.ahead_s is None else w.ahead_s for pop, w in self._watched.items()}

    @property
    def pause_s(self) -> float:
        """How long to wait before the next round."""
        is_short = any(0 < watched.doubtful_rounds <= SHORT_PAUSES for watched in self._watched.values())
        return SHORT_PAUSE_S if is_short else PAUSE_S

    async def ask(self) -> None:
        """One round, of a second at most."""
        await asyncio.gather(*(self._ask(pop) for pop in self._asked))

    def compare_clocks(self, pop: PopSettings, ahead_s: float | None) -> None:
        """What has been found out elsewhere of a clock, of a PoP that is not asked."""
        _compare_clocks(pop, self._watched[pop.id], ahead_s)

    @property
    def _asked(self) -> tuple[PopSettings, ...]:
        return tuple(pop for pop in self._pops if pop.status is not None)

    async def _ask(self, pop: PopSettings) -> None:
        watched = self._watched[pop.id]
        asked_s = time.time()
        try:
            url, ours = f"http://{pop.status}/readyz", {"Date": http_date(asked_s)}
            status = await self._client.get(url, ours)
        except aiohttp.ClientConnectorError as error:
            is_refused = isinstance(error.os_error, ConnectionRefusedError)
            _note(watched, REFUSED if is_refused else None)
        except (aiohttp.ClientError, OSError, TimeoutError):
            _note(watched, None)
        else:
            other = other_pop_untrusted(status.body, pop.id)
            _note(watched, read_status_untrusted(status.code, status.body) if other is None else NOT_ASKED)
            if other is not None and other != watched.other_pop:
                logger.error(
                    "[[pop]] %s has the status of PoP %s, which says nothing about it: mend `status`, or "
                    "`relay.pop` there",
                    pop.id,
                    other,
                )
            watched.other_pop = other
            _compare_clocks(pop, watched, ahead_s_untrusted(status.date, (asked_s + time.time()) / 2))


def _note(watched: _Watched, found: PopReport | None) -> None:
    """`found` is None where nothing was answered. A PoP that has said that it takes no calls is believed
    until it says otherwise, also when it is gone by then.
    """
    watched.silent_rounds = watched.silent_rounds + 1 if found is None else 0
    if found in (None, REFUSED) and watched.report.standing is Standing.DOWN:
        return
    if found is None:
        if watched.silent_rounds < PATIENCE:
            return
        found = UNANSWERED
    watched.report = found
    watched.doubtful_rounds = watched.doubtful_rounds + 1 if found.standing is Standing.DOUBTFUL else 0


def _compare_clocks(pop: PopSettings, watched: _Watched, ahead_s: float | None) -> None:
    """Say it when the clocks part, and when they are together again."""
    watched.ahead_s = ahead_s
    if ahead_s is None:
        return
    was_off, watched.is_clock_off = watched.is_clock_off, is_off(ahead_s, watched.is_clock_off)
    if watched.is_clock_off and not was_off:
        logger.error(
            "the clock of PoP %s is %s this host's: it judges by its own how long our tokens are good for, "
            "so calls through it may never connect; set both by NTP",
            pop.id,
            describe(ahead_s),
        )
    elif was_off and not watched.is_clock_off:
        logger.info("the clock of PoP %s agrees with this host's again", pop.id)
