"""What a store does to the set-up of a call: nothing, step by step."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from types import CodeType, FrameType

import pytest

from core.store.base import Announcement, Entry, Place, Store, StoreError, StoreReason
from core.store.breaker import BreakerPolicy
from core.store.memory import MemoryStore
from edge.relay.verdict import RelayReason
from tests.edge.kit import DTLS, MEDIA, request
from tests.edge.recall.kit import recall_of
from tests.edge.relay.rig import Rig, open_rig

FIRST, SECOND, THIRD = (("127.0.0.1", port) for port in (9, 10, 11))
Steps = Counter[str | CodeType]


class Troubled(Store):
    """Does with each call what it is told to do; tells when it was asked."""

    def __init__(self, trouble: Callable[[], object]) -> None:
        self._trouble = trouble
        self.asked = asyncio.Event()

    async def _answer(self) -> None:
        self.asked.set()
        found = self._trouble()
        if isinstance(found, StoreError):
            raise found
        await asyncio.get_running_loop().create_future()  # which nobody ever sets

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes]:
        await self._answer()
        return []

    async def set_many(self, entries: Sequence[Entry]) -> None:
        await self._answer()

    async def agree(self, key: bytes, proposal: bytes) -> bytes:
        await self._answer()
        return b""

    async def announce(self, announcement: Announcement) -> bytes:
        await self._answer()
        return b""

    async def listed(self, key: bytes, limit: int) -> list[bytes]:
        await self._answer()
        return []

    async def places(self, key: bytes, longitude: float, latitude: float, limit: int) -> list[Place]:
        await self._answer()
        return []

    async def close(self) -> None:
        """Nothing is open."""


class Well(MemoryStore):
    """Answers, and tells when it was asked."""

    def __init__(self) -> None:
        super().__init__(1000, time.monotonic_ns)
        self.asked = asyncio.Event()

    async def set_many(self, entries: Sequence[Entry]) -> None:
        await super().set_many(entries)
        self.asked.set()


STORES: dict[str, Callable[[], Well | Troubled]] = {
    "well": Well,
    "never answers": lambda: Troubled(lambda: None),
    "is gone": lambda: Troubled(lambda: StoreError(StoreReason.UNREACHABLE, "refused")),
    "is full": lambda: Troubled(lambda: StoreError(StoreReason.FULL, "OOM")),
}


def steps(action: Callable[[], object]) -> Steps:
    """Every function that is entered meanwhile, of Python and of C, by how often."""
    entered: Steps = Counter()

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            entered[frame.f_code] += 1
        elif event == "c_call":
            entered[str(getattr(argument, "__qualname__", argument))] += 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(before)
    return entered


def set_up(worker: Rig, client: tuple[str, int]) -> Steps:
    """Of a first check. It has arrived when this returns, and no event of the loop was in between."""
    ufrag = worker.ufrag()
    taken = steps(lambda: worker.take(request(ufrag), client))
    data, _ = worker.transceivers[0].receive()
    assert ufrag in data
    return taken


async def steps_with(make: Callable[[], Well | Troubled]) -> Steps:
    """Of the third flow of a worker, while its store is in trouble and has been asked."""
    store = make()
    with open_rig() as worker:
        recall = recall_of(worker, store, BreakerPolicy(failures=3))
        running = asyncio.create_task(recall.run())
        try:
            set_up(worker, FIRST)  # after which there is room in every table
            async with asyncio.timeout(10):
                await store.asked.wait()
            set_up(worker, SECOND)
            return set_up(worker, THIRD)
        finally:
            running.cancel()
            await asyncio.wait({running})


@pytest.mark.parametrize("trouble", [name for name in STORES if name != "well"])
def test_a_call_is_set_up_by_the_same_steps_whatever_the_store_does(trouble: str) -> None:
    taken = asyncio.run(steps_with(STORES[trouble]))
    assert taken == asyncio.run(steps_with(STORES["well"]))
    assert sum(taken.values()) > 30, "they are counted"


def test_media_that_waits_is_not_looked_for_again_and_goes_on_as_soon_as_a_check_has_come() -> None:
    """Thousands of clients say the same fifty times a second; and an answer that never comes is no reason to
    keep a flow from what it is for.
    """

    async def body() -> None:
        with open_rig() as worker:
            recall_of(worker, Troubled(lambda: None), BreakerPolicy())
            find = type(worker.forwarder).find.__code__
            assert steps(lambda: worker.take(MEDIA, FIRST))[find] == 1
            again = steps(lambda: worker.take(MEDIA, FIRST))
            assert find not in again
            assert worker.get("refusals", RelayReason.UNKNOWN_FLOW_MEDIA) == 1
            assert steps(lambda: worker.take(DTLS, FIRST))[find] == 1, "DTLS has room of its own"
            set_up(worker, FIRST)
            worker.take(MEDIA, FIRST)
            assert worker.transceivers[0].receive()[0] == MEDIA
            assert worker.get("refusals", RelayReason.UNKNOWN_FLOW_MEDIA) == 1

    asyncio.run(body())


def test_none_of_them_asks_the_store_or_waits() -> None:
    taken = asyncio.run(steps_with(STORES["well"]))
    files = {step.co_filename for step in taken if isinstance(step, CodeType)}
    assert any(file.endswith("edge/recall/leases.py") for file in files), "that a record is due is noted"
    assert not [file for file in files if "/core/store/" in file or "asyncio" in file]
