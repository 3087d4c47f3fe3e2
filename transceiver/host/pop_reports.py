"""What is known of the PoPs: what their hosts say by way of the store, or what they answer when asked."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence

from core.config import PopSettings
from core.keyring import Keyring
from core.store.base import StoreError, StoreReason
from core.store.guarded import GuardedStore
from core.store.heartbeat import HeartbeatReason
from core.store.keys import HostKind
from core.store.registry import Registry
from transceiver.host.pop_watch import PopWatch
from transceiver.host.status_client import StatusClient
from transceiver.signaling.pops import NOT_ASKED, PopReport, Standing
from transceiver.steering.pop_hosts import PopHealth, PopHosts, Verdict

logger = logging.getLogger(__name__)

_STANDINGS = {
    Verdict.TAKING: Standing.UP,
    Verdict.STARTING: Standing.DOUBTFUL,
    Verdict.REFUSING: Standing.DOWN,
    Verdict.SILENT: Standing.DOUBTFUL,
}
_WORDS = {
    HeartbeatReason.UNKNOWN_POP: "there is no [[pop]] of that name here",
    HeartbeatReason.OTHER_VIPS: "it lacks VIPs that its [[pop]] has: are there two PoPs of that name?",
    HeartbeatReason.OTHER_PLACE: "it is elsewhere than its [[pop]]: are there two PoPs of that name?",
    HeartbeatReason.FROM_FUTURE: "its clock is minutes ahead of this host's",
    HeartbeatReason.STALE: "its clock is minutes behind this host's, or somebody has kept it",
    HeartbeatReason.REPLAYED: "it has said something later before",
    HeartbeatReason.UNKNOWN_KEY: "no master key here has its number",
    HeartbeatReason.BAD_MAC: "it is not signed with a master key of this host's",
}


class PopReports:
    """The PoPs of a configuration, heard and asked in rounds."""

    def __init__(
        self,
        pops: Sequence[PopSettings],
        keyring: Keyring,
        store: GuardedStore | None,
        client: StatusClient,
    ) -> None:
        """`store` is for this alone, and closed with it; None without one. `client` stays the caller's."""
        self._pops = tuple(pops)
        self._watch = PopWatch(pops, client)
        self._hosts = PopHosts(pops, keyring)
        self._registry = None if store is None else Registry(store)
        self._told: dict[str, Standing] = {}

    def replace(self, pops: Sequence[PopSettings], keyring: Keyring) -> None:
        """Take a reloaded configuration."""
        self._pops = tuple(pops)
        self._watch.replace(pops)
        self._hosts.adopt(pops, keyring)

    async def ask(self) -> None:
        """One round, of a second at most, or of two of the store's deadlines."""
        await asyncio.gather(self._watch.ask(), self._listen())
        self._tell()

    async def close(self) -> None:
        """Let go of the store."""
        if self._registry is not None:
            await self._registry.store.close()

    @property
    def pause_s(self) -> float:
        """How long to wait before the next round."""
        return self._watch.pause_s

    @property
    def reports(self) -> dict[str, PopReport]:
        """By PoP."""
        now_ns, asked = time.monotonic_ns(), self._watch.reports
        return {
            pop.id: merge(None if pop.status is None else asked[pop.id], self._hosts.health(pop.id, now_ns))
            for pop in self._pops
        }

    @property
    def encoded(self) -> dict[str, list[object]]:
        """Those of which something can be known, for the control socket."""
        reports, is_heard = self.reports, self._registry is not None
        return {pop.id: reports[pop.id].encode() for pop in self._pops if is_heard or pop.status is not None}

    @property
    def clocks_ahead_s(self) -> Mapping[str, float]:
        """By PoP; not a number for one that has not said what time it is."""
        return self._watch.clocks_ahead_s

    @property
    def hosts(self) -> Mapping[str, int]:
        """How many hosts are heard, by PoP."""
        now_ns = time.monotonic_ns()
        return {pop.id: self._hosts.heard(pop.id, now_ns) for pop in self._pops}

    @property
    def ignored(self) -> Counter[HeartbeatReason]:
        """Heartbeats that were not believed, by reason."""
        return self._hosts.refused

    @property
    def failures(self) -> Mapping[StoreReason, int]:
        """Rounds in which the store could not be asked, by reason."""
        return {} if self._registry is None else self._registry.store.failures

    async def _listen(self) -> None:
        if self._registry is None:
            return
        try:
            found = await self._registry.read(HostKind.POP, self._hosts.known)
        except StoreError:
            self._hosts.miss()  # told by the guard
            return
        now_ns = time.monotonic_ns()
        for host, reason in self._hosts.hear(found, int(time.time() * 1000), now_ns):
            why = f"{reason}: {_WORDS[reason]}" if reason in _WORDS else reason
            logger.warning("the heartbeat of PoP host %s is ignored (%s)", host, why)
        for pop in self._pops:
            if pop.status is None:
                self._watch.compare_clocks(pop, self._hosts.ahead_s(pop.id, now_ns))

    def _tell(self) -> None:
        """Say what has changed."""
        reports = self.reports
        for pop, report in reports.items():
            if report.standing is not self._told.get(pop, Standing.UP):
                log = logger.info if report.standing is Standing.UP else logger.warning
                log("PoP %s is %s (%s, forwarder %s)", pop, report.standing, report.state, report.forwarder)
        self._told = {pop: report.standing for pop, report in reports.items()}


def merge(asked: PopReport | None, heard: PopHealth | None) -> PopReport:
    """What two sources come to: `asked` is None for a PoP that is not asked, `heard` where its hosts have
    said nothing. Hosts that live know better, as a `status` is of one of them. Where they are silent, one
    that answers is worth more; and where they are late and it does not answer, there is no use in waiting.
    """
    if heard is None:
        return NOT_ASKED if asked is None else asked
    said = PopReport(heard.forwarder, heard.state, _STANDINGS[heard.verdict], heard.load)
    if asked in (None, NOT_ASKED):
        return said
    is_answered = asked.standing is not Standing.DOUBTFUL
    if heard.hosts:
        return asked if heard.is_late and not is_answered else said
    return asked if is_answered else said
