"""The store in memory: the contract of all stores, and its bound."""

from __future__ import annotations

import asyncio
import time

import pytest

from core.geo import Position, distance_km
from core.store.base import Entry, Place, StoreError, StoreReason
from core.store.memory import MemoryStore
from tests.core.store.kit import OSAKA, TOKYO, announcement, forgets_in_time, keeps_the_contract


def test_it_does_what_a_store_does() -> None:
    async def run() -> None:
        store = MemoryStore(1000, time.monotonic_ns)
        await keeps_the_contract(store)
        await forgets_in_time(store)

    asyncio.run(run())


def test_it_holds_no_more_keys_than_it_may_and_those_that_it_has_can_change() -> None:
    now_ns = 0

    async def run() -> None:
        nonlocal now_ns
        store = MemoryStore(2, lambda: now_ns)
        entries = [Entry(b"%d" % index, b"x", 1000) for index in range(3)]
        with pytest.raises(StoreError) as refused:
            await store.set_many(entries)
        assert refused.value.reason is StoreReason.FULL
        assert await store.get_many([b"0", b"1", b"2"]) == [b"x", b"x", b""]
        await store.set_many([Entry(b"0", b"y", 2000)])
        with pytest.raises(StoreError):
            await store.announce(announcement(b"name", 1))
        with pytest.raises(StoreError):
            await store.agree(b"agreed", b"z")
        assert len(store) == 2
        now_ns = 1_000_000_000  # what has expired makes room
        await store.set_many([Entry(b"2", b"x", 1000)])
        assert await store.get_many([b"0", b"1", b"2"]) == [b"y", b"", b"x"]

    asyncio.run(run())


def test_names_and_places_take_room_too() -> None:
    async def run() -> None:
        store = MemoryStore(2, lambda: 0)
        with pytest.raises(StoreError) as refused:
            await store.announce(announcement(b"name", 1, place=Place(b"here", 0, 0)))
        assert refused.value.reason is StoreReason.FULL
        assert len(store) == 2

    asyncio.run(run())


def test_the_distance_is_that_of_a_great_circle() -> None:
    assert distance_km(TOKYO.position, OSAKA.position) == pytest.approx(397, abs=2)
    assert distance_km(Position(0, 179.9), Place(b"", -179.9, 0).position) == pytest.approx(22.2, abs=0.1)
    assert distance_km(Position(90, 0), Place(b"", 0, -90).position) == pytest.approx(20_020, abs=5)
