"""Between a worker's flows and the store: asks for those of other relays, keeps the records of its own.

Two loops, for reading and for writing, so that neither waits for the other. What they meet is the slow
path's flows between two packets, as everything in a worker's event loop does; what the store takes is
spent awaiting.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic

from core.addr import Endpoint, from_sockaddr
from core.demux import PacketKind, classify_untrusted
from core.errors import TokenError
from core.keyring import Keyring
from core.service.tasks import until_one_ends
from core.store.base import Entry, StoreError, StoreReason
from core.store.flow_record import encode
from core.store.guarded import GuardedStore
from core.store.keys import EPOCH, flow_key
from edge.recall.leases import Leases
from edge.recall.lookups import Answer, Held, HeldPacket, Limits, Lookups
from edge.relay.counters import (
    FIRST_PACKET_BUCKETS_NS,
    LEASE_OUTCOMES,
    RECALL_OUTCOMES,
    Counters,
    counter_index,
)
from edge.relay.forwarder import F, Holder, Stranger
from edge.relay.slowpath import SlowPath
from edge.relay.verdict import RelayReason

ASKED_AT_ONCE = 64
RESTORED_AT_ONCE = 16
WRITTEN_AT_ONCE = 32
"""Then packets have their turn: each of these is less than two milliseconds of a worker's time."""
WRITE_TICK_S = 0.02
BUSY_TICK_S = 0.005
"""From one part of what is due to the next where there is more: at most 6,400 records a second, which
770,000 flows need.
"""
TICKS_PER_LOOK = 50
"""How seldom what is due is counted, which takes a look at every place."""
REST_AFTER_FAILURE_S = 0.5
"""Of what writes, where a store that is full or read-only refuses it and the breaker leaves it to be read."""
EPOCH_S = 5.0
"""How often to see whether the store has lost all that was in it."""
RENEW_RESTORED_NS = 5_000_000_000
"""A record by which a flow was restored is written anew a little later: thousands may come at once, and
theirs are good for the moment.
"""
MAX_ORPHANS = 1024

_RECALLS = {outcome: counter_index("recalls", outcome) for outcome in RECALL_OUTCOMES}
_BUCKETS = tuple(counter_index("recall_bucket", str(bound)) for bound in (*FIRST_PACKET_BUCKETS_NS, "inf"))
_SUM = counter_index("recall_sum_ns")
_WRITTEN, _FAILED, _KEY_GONE = (counter_index("leases", outcome) for outcome in LEASE_OUTCOMES)
_DUE = counter_index("leases_due")
_FAILURES = {reason: counter_index("store_failures", reason) for reason in StoreReason}
_TROUBLE = {reason: counter_index("store_trouble", reason) for reason in StoreReason}


@dataclass(frozen=True, slots=True)
class Clocks:
    """What tells the time."""

    monotonic_ns: Callable[[], int]
    wall_s: Callable[[], float]
    """Seconds since the Unix epoch."""


class StoreRecall(Generic[F]):
    """See `edge.relay.slowpath.Recall`. `vips` are in the order of their indexes."""

    def __init__(
        self,
        slow_path: SlowPath[F],
        store: GuardedStore,
        vips: Sequence[Endpoint],
        lease_s: int,
        counters: Counters,
        clocks: Clocks,
    ) -> None:
        self.keyring: Keyring | None = None
        """Set before the first flow, and with each reload."""
        self._slow_path = slow_path
        self._store = store
        self._vips = vips
        self._lease_s = lease_s
        self._counters = counters
        self._clocks = clocks
        self._lookups = Lookups(Limits())
        self._leases = Leases(lease_s * 1_000_000_000)
        self._orphans: dict[Stranger, bytes] = {}
        """Ufrags of flows of other workers, which know nothing of the change."""
        self._wanted = asyncio.Event()
        self._epoch: bytes | None = None
        store.on_change = self._tell_trouble
        self._tell_trouble()

    # --- what the slow path calls ---------------------------------------------------------------------

    @property
    def is_asking(self) -> bool:
        """See Recall."""
        return self._lookups.is_asking

    def has_enough(self, datagram: memoryview, stranger: Stranger) -> bool:
        """See Recall."""
        return self._lookups.is_full(stranger) and classify_untrusted(datagram) is PacketKind.MEDIA

    def hold(self, datagram: memoryview, stranger: Stranger, reason: RelayReason, now_ns: int) -> bool:
        """See Recall."""
        if self._slow_path.relay.is_draining or not self._store.is_available:
            return False
        answer = self._lookups.hold(stranger, HeldPacket(bytes(datagram), reason), now_ns)
        if answer is Answer.CROWDED:
            self._counters.add(_RECALLS["crowded"])
        elif self._lookups.is_wanted:
            self._wanted.set()
        return answer is Answer.HELD

    def changed(self, place: int | None, stranger: Stranger, ufrag: bytes) -> None:
        """See Recall."""
        self._lookups.overtake(stranger)
        if place is not None:
            self._leases.change(place)
        elif len(self._orphans) < MAX_ORPHANS:
            self._orphans[stranger] = ufrag
        else:
            self._counters.add(_FAILED)

    # --- the loops ------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled. Raises nothing that the store may do."""
        try:
            await until_one_ends(self._ask(), self._write(), self._watch_epoch())
        finally:
            await self._store.close()

    async def _ask(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while batch := self._lookups.take(ASKED_AT_ONCE):
                keys = [flow_key(self._vips[vip], from_sockaddr(client)) for vip, client in batch]
                try:
                    values = await self._store.get_many(keys)
                except StoreError as error:
                    self._count_failure(error, batch)
                    continue
                for index, (stranger, value) in enumerate(zip(batch, values, strict=True), 1):
                    self._answer(stranger, value)
                    if index % RESTORED_AT_ONCE == 0:
                        await asyncio.sleep(0)

    def _answer(self, stranger: Stranger, value: bytes) -> None:
        """What the store has for a client that waits."""
        held, now_ns = self._lookups.finish(stranger), self._clocks.monotonic_ns()
        vip, client = stranger
        forwarder = self._slow_path.forwarder
        flow = forwarder.find(client, vip, now_ns)
        if flow is not None:
            self._deliver(flow, held, now_ns, "already_there")
            return
        restored = self._restore(stranger, value, now_ns)
        if isinstance(restored, str):
            self._lookups.miss(stranger, now_ns)
            self._drop(held, restored)
        else:
            self._deliver(restored, held, now_ns, "restored")
            place = forwarder.place_of(restored)
            assert place is not None, "it was installed here"
            self._leases.put_off(place, now_ns + RENEW_RESTORED_NS)
            self._observe(self._clocks.monotonic_ns() - held.since_ns)

    def _restore(self, stranger: Stranger, value: bytes, now_ns: int) -> F | StrEnum | str:
        """The flow that a record leads to, or the outcome that there is instead."""
        if not value:
            return "not_found"
        vip, client = self._vips[stranger.vip], from_sockaddr(stranger.client)
        now_s = int(self._clocks.wall_s())
        verdict = self._slow_path.relay.decide_record_untrusted(value, vip, client, now_s)
        return self._slow_path.restore(verdict, stranger, now_ns)

    def _deliver(self, flow: F, held: Held, now_ns: int, outcome: str) -> None:
        self._counters.add(_RECALLS[outcome])
        for datagram, _ in held.packets:
            self._slow_path.forwarder.forward(flow, memoryview(datagram), now_ns)

    def _drop(self, held: Held, outcome: str) -> None:
        self._counters.add(_RECALLS[outcome])
        for datagram, reason in held.packets:
            self._slow_path.refuse(reason, len(datagram))

    def _observe(self, duration_ns: int) -> None:
        self._counters.add(_BUCKETS[bisect_left(FIRST_PACKET_BUCKETS_NS, duration_ns)])
        self._counters.add(_SUM, duration_ns)

    def _count_failure(self, error: StoreError, batch: Sequence[Stranger]) -> None:
        """Let go of all who wait: those who were asked for, and the others if nobody can be asked."""
        self._counters.add(_FAILURES[error.reason])
        for stranger in batch:
            self._drop(self._lookups.finish(stranger), "store_failed")
        if not self._store.is_available:
            for held in self._lookups.forget_waiting():
                self._drop(held, "store_failed")

    async def _write(self) -> None:
        for tick in itertools.count():
            if tick % TICKS_PER_LOOK == 0:
                self._counters.values[_DUE] = self._leases.due
            is_known = self._epoch is not None and self._store.is_available
            await asyncio.sleep(await self._write_part() if is_known else WRITE_TICK_S)

    async def _write_part(self) -> float:
        """Write some of what is due. Returns the seconds until the next part."""
        now_ns = self._clocks.monotonic_ns()
        places, entries = list[int](), list[Entry]()
        for place in self._leases.take(now_ns, WRITTEN_AT_ONCE):
            holder = self._slow_path.forwarder.holder(place)
            entry = None if holder is None else self._entry(holder)
            if entry is None:
                self._leases.settle(place, now_ns, is_live=False)
            else:
                self._leases.settle(place, now_ns, is_live=True)  # what changes meanwhile is due again
                places.append(place)
                entries.append(entry)
        while self._orphans and len(entries) < WRITTEN_AT_ONCE:
            (vip, client), ufrag = self._orphans.popitem()
            entry = self._entry(Holder(from_sockaddr(client), vip, ufrag))
            entries += [] if entry is None else [entry]
        if not entries:
            return WRITE_TICK_S
        try:
            await self._store.set_many(entries)
        except StoreError as error:
            self._counters.add(_FAILURES[error.reason])
            self._counters.add(_FAILED, len(entries))
            for place in places:
                self._leases.change(place)
            return REST_AFTER_FAILURE_S
        self._counters.add(_WRITTEN, len(entries))
        return BUSY_TICK_S if len(entries) == WRITTEN_AT_ONCE else WRITE_TICK_S

    def _entry(self, holder: Holder) -> Entry | None:
        """A flow's record; None where nobody would believe it any more."""
        assert self.keyring is not None
        vip = self._vips[holder.vip]
        until_s = int(self._clocks.wall_s()) + self._lease_s
        try:
            value = encode(vip, holder.client, holder.ufrag, until_s, self.keyring)
        except TokenError:
            self._counters.add(_KEY_GONE)
            return None
        return Entry(flow_key(vip, holder.client), value, self._lease_s * 1000)

    async def _watch_epoch(self) -> None:
        """A store that came back empty has another epoch, as who finds none makes one up."""
        while True:
            rest_s = WRITE_TICK_S
            if self._store.is_available:
                try:
                    epoch = await self._store.agree(EPOCH, secrets.token_hex(8).encode())
                except StoreError as error:
                    self._counters.add(_FAILURES[error.reason])
                    rest_s = REST_AFTER_FAILURE_S
                else:
                    if epoch != self._epoch:
                        self._leases.change_all(self._slow_path.forwarder.live_places())
                    self._epoch = epoch
                    rest_s = EPOCH_S
            await asyncio.sleep(rest_s)

    def _tell_trouble(self) -> None:
        for reason, index in _TROUBLE.items():
            self._counters.values[index] = int(reason is self._store.trouble)
