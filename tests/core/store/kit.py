"""What every store has to do, whatever it is made of."""

from __future__ import annotations

import asyncio
import math

from core.store.base import MAX_VALUE_BYTES, READ_BYTES, Announcement, Entry, Place, Store

MINUTE_MS = 60_000
TOKYO, OSAKA, LIMA = (
    Place(b"tokyo", 139.69, 35.68),
    Place(b"osaka", 135.5, 34.69),
    Place(b"lima", -77.03, -12.04),
)


async def keeps_the_contract(store: Store) -> None:
    """The part that needs no clock."""
    keys = [b"voxpop:1:test:%d" % index for index in range(200)]
    assert await store.get_many(keys) == [b""] * 200
    await store.set_many([Entry(key, b"value of " + key, MINUTE_MS) for key in keys[::2]])
    found = await store.get_many(keys)
    assert found[::2] == [b"value of " + key for key in keys[::2]]
    assert found[1::2] == [b""] * 100
    await store.set_many([Entry(keys[0], b"another", MINUTE_MS)])
    assert await store.get_many([keys[0]]) == [b"another"]
    await store.set_many([Entry(keys[0], b"x" * 1_000_000, MINUTE_MS)])
    (cut,) = await store.get_many([keys[0]])
    assert cut == b"x" * READ_BYTES
    assert len(cut) > MAX_VALUE_BYTES
    assert await store.agree(b"voxpop:1:agreed", b"mine") == b"mine"
    assert await store.agree(b"voxpop:1:agreed", b"yours") == b"mine"
    await _keeps_lists(store)
    await _keeps_places(store)
    assert await store.get_many([]) == []
    await store.set_many([])


async def _keeps_places(store: Store) -> None:
    key = b"voxpop:1:places"
    assert await store.places(key, 0, 0, 10) == []
    for place in (LIMA, OSAKA, Place(TOKYO.member, 0, 0), TOKYO):
        await store.announce(announcement(b"somebody", 1, place=place))
    found = await store.places(key, 139.7, 35.7, 10)
    assert [place.member for place in found] == [b"tokyo", b"osaka", b"lima"]
    for place, wanted in zip(found, (TOKYO, OSAKA, LIMA), strict=True):
        assert math.isclose(place.longitude, wanted.longitude, abs_tol=1e-4)
        assert math.isclose(place.latitude, wanted.latitude, abs_tol=1e-4)
    assert [place.member for place in await store.places(key, -70, -10, 1)] == [b"lima"]


async def _keeps_lists(store: Store) -> None:
    key = b"voxpop:1:list"
    assert await store.listed(key, 10) == []
    assert await store.announce(announcement(b"a", 0.0)) == b""
    assert await store.announce(announcement(b"a", 0.0)) == b"value of a"
    for name, score in ((b"b", 2.0), (b"a", 1.0), (b"c", 1e9 + 0.5), (b"d", -1.0)):
        await store.announce(announcement(name, score, keep=3))
    assert await store.listed(key, 10) == [b"c", b"b", b"a"]
    assert await store.get_many([b"voxpop:1:of:d"]) == [b"value of d"], (
        "off the list, and there until it ends"
    )
    await store.announce(announcement(b"a", 3.0, keep=3))
    assert await store.listed(key, 2) == [b"c", b"a"]
    assert await store.listed(key, 10) == [b"c", b"a", b"b"]


def announcement(name: bytes, score: float, keep: int = 10, place: Place | None = None) -> Announcement:
    entry = Entry(b"voxpop:1:of:" + name, b"value of " + name, MINUTE_MS)
    return Announcement(entry, b"voxpop:1:list", name, score, keep, b"voxpop:1:places", place)


async def forgets_in_time(store: Store) -> None:
    """A value goes when its time has come, and not before."""
    await store.set_many([Entry(b"short", b"1", 30), Entry(b"long", b"2", MINUTE_MS)])
    assert await store.get_many([b"short", b"long"]) == [b"1", b"2"]
    for _ in range(1000):
        if not (await store.get_many([b"short"]))[0]:
            break
        await asyncio.sleep(0.01)
    assert await store.get_many([b"short", b"long"]) == [b"", b"2"]
