"""A worker's flows and a real store: what is written, what is believed, and what the store's bad days do."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

import pytest

from core.addr import Endpoint
from core.keyring import Keyring
from core.store.base import StoreReason
from core.store.breaker import MS, BreakerPolicy
from core.store.flow_record import RecordReason, decode_untrusted, encode
from core.store.keys import EPOCH, flow_key
from core.store.redis import RedisAccess, RedisStore
from core.store_url import parse_store_url
from core.token import TokenReason
from edge.forwarders.userspace_flow import UserspaceFlow
from edge.recall.recall import StoreRecall
from tests.edge.kit import KEYRING, MASTERS, MEDIA, mint_ufrag, request
from tests.edge.recall.kit import LEASE_S, VIP_NAMES, recall_of
from tests.edge.relay.rig import CLIENT, OTHER_CLIENT, Rig, open_rig
from tests.redis_server import Server

DTLS = b"\x16\xfe\xfd" + bytes(40)
AT = Endpoint(*CLIENT[:2])
QUICK = BreakerPolicy(failures=3, first_pause_ns=50 * MS, last_pause_ns=100 * MS)


@contextlib.asynccontextmanager
async def recalling(worker: Rig, redis: Server) -> AsyncIterator[StoreRecall[UserspaceFlow]]:
    """A worker with a store, until the end of the block. Raises what its loops raised."""
    recall = recall_of(worker, RedisStore(parse_store_url(redis.url), RedisAccess(0.1)), QUICK)
    task = asyncio.create_task(recall.run())
    try:
        await until(lambda: redis.cli("EXISTS", EPOCH.decode()) == "1" or task.done())
        yield recall
        assert not task.done(), "no fault of the store's ends it"
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.01)


def key_of(client: Endpoint = AT, vip: int = 0) -> str:
    return flow_key(VIP_NAMES[vip], client).decode()


def record_of(redis: Server, client: Endpoint = AT) -> bytes:
    """The ufrag in a record, which must be a good one."""
    value = redis.cli("GET", key_of(client)).encode()
    return decode_untrusted(value, VIP_NAMES[0], client, KEYRING, int(time.time())).ufrag


def put(redis: Server, ufrag: bytes, client: Endpoint = AT, lease_s: int = LEASE_S) -> None:
    """What another relay would have written."""
    value = encode(VIP_NAMES[0], client, ufrag, int(time.time()) + lease_s, KEYRING)
    redis.cli("SET", key_of(client), value.decode(), "PX", "180000")


async def outcome(worker: Rig, name: str, count: int = 1) -> None:
    await until(lambda: worker.get("recalls", name) == count)


def assert_balanced(worker: Rig) -> None:
    """Every packet that came in has ended as one thing, also those that waited."""
    assert worker.total("packets", "upstream") == worker.get("received_packets", "upstream")


def run(body: Callable[[], object]) -> None:
    asyncio.run(body())  # type: ignore[arg-type]


def test_a_flow_s_record_is_written_behind_it_and_with_its_lease(redis: Server) -> None:
    async def body() -> None:
        with open_rig() as worker:
            async with recalling(worker, redis):
                ufrag = worker.ufrag()
                worker.take(request(ufrag), CLIENT)
                await until(lambda: worker.get("leases", "written") == 1)
                assert record_of(redis) == ufrag
                assert 170_000 < int(redis.cli("PTTL", key_of())) <= 180_000
                for _ in range(50):
                    worker.take(MEDIA, CLIENT)  # what is carried changes nothing
                renewed = worker.ufrag()
                worker.take(request(renewed), CLIENT)
                await until(lambda: worker.get("leases", "written") == 2)
                assert record_of(redis) == renewed
                worker.now_ns += 121 * 1_000_000_000
                await until(lambda: worker.get("leases", "written") == 3)
            stats = redis.cli("INFO", "commandstats").partition("cmdstat_set:")[2]
            assert stats.startswith("calls=4,"), "one command for each, and that of the epoch"

    run(body)


def test_media_and_dtls_restore_the_flow_and_arrive_in_order(redis: Server) -> None:
    async def body() -> None:
        with open_rig() as worker:
            async with recalling(worker, redis):
                put(redis, worker.ufrag(1))
                flight = [DTLS + bytes([number]) for number in range(4)]
                for datagram in flight:
                    worker.take(datagram, CLIENT)
                assert worker.find(CLIENT) is None
                await outcome(worker, "restored")
                flow = worker.find(CLIENT)
                assert flow is not None
                assert flow.transceiver == worker.transceivers[1].address
                assert [worker.transceivers[1].receive()[0] for _ in flight] == flight
                worker.take(MEDIA, CLIENT)
                assert worker.transceivers[1].receive()[0] == MEDIA
                assert worker.get("leases", "written") == 0
                worker.now_ns += 5 * 1_000_000_000  # from here on it is ours
                await until(lambda: worker.get("leases", "written") == 1)
            assert_balanced(worker)

    run(body)


def test_a_token_that_has_expired_meanwhile_does_not_end_the_call(redis: Server) -> None:
    async def body() -> None:
        with open_rig() as worker:
            async with recalling(worker, redis):
                old = mint_ufrag(worker.transceivers[0].address.port, host=1, lifetime_min=-30)
                put(redis, old)
                worker.take(MEDIA, CLIENT)
                await outcome(worker, "restored")
                worker.take(request(old), OTHER_CLIENT)  # by which nobody else gets in
                assert worker.find(OTHER_CLIENT) is None
                assert worker.get("refusals", TokenReason.EXPIRED) == 1

    run(body)


def poison(redis: Server, kind: str, worker: Rig) -> None:
    """What somebody might write who can write to the store."""
    good = encode(VIP_NAMES[0], AT, worker.ufrag(1), int(time.time()) + LEASE_S, KEYRING).decode()
    version, _, until_s, mac = good.split(" ")
    foreign = worker.ufrag(1).decode()
    other = Keyring({1: b"x" * 32}, 1)
    values = {
        "a foreign ufrag": f"{version} {foreign} {until_s} {mac}",
        "a ufrag alone": foreign,
        "of another client": encode(
            VIP_NAMES[0], Endpoint("127.0.0.9", 9), worker.ufrag(1), int(time.time()) + LEASE_S, KEYRING
        ).decode(),
        "expired": encode(VIP_NAMES[0], AT, worker.ufrag(1), int(time.time()) - 130, KEYRING).decode(),
        "from the future": encode(
            VIP_NAMES[0], AT, worker.ufrag(1), int(time.time()) + 10**6, KEYRING
        ).decode(),
        "garbage": "\x7fELF garbage",
        "a megabyte": "x" * 100_000,
        "another schema": "2" + good[1:],
        "another's keys": encode(
            VIP_NAMES[0], AT, mint_ufrag(1024, keyring=other), int(time.time()) + LEASE_S, other
        ).decode(),
        "another cluster": encode(
            VIP_NAMES[0], AT, mint_ufrag(1024, cluster=99), int(time.time()) + LEASE_S, KEYRING
        ).decode(),
    }
    if kind == "a list":
        redis.cli("RPUSH", key_of(), "a", "b")
    else:
        redis.cli("SET", key_of(), values[kind])
        if kind == "a megabyte":
            for _ in range(9):
                redis.cli("APPEND", key_of(), values[kind])


POISON = {
    "a foreign ufrag": RecordReason.BAD_MAC,
    "a ufrag alone": RecordReason.MALFORMED,
    "of another client": RecordReason.BAD_MAC,
    "expired": RecordReason.EXPIRED,
    "from the future": RecordReason.FROM_FUTURE,
    "garbage": RecordReason.MALFORMED,
    "a megabyte": RecordReason.TOO_LONG,
    "another schema": RecordReason.OTHER_SCHEMA,
    "a list": RecordReason.MALFORMED,
    "another's keys": TokenReason.BAD_TAG,
    "another cluster": TokenReason.UNKNOWN_CLUSTER,
}


@pytest.mark.parametrize(("kind", "reason"), POISON.items(), ids=POISON)
def test_a_poisoned_record_leads_nobody_anywhere_and_is_counted(
    redis: Server, kind: str, reason: str
) -> None:
    async def body() -> None:
        with open_rig() as worker:
            async with recalling(worker, redis):
                poison(redis, kind, worker)
                worker.take(MEDIA, CLIENT)
                await outcome(worker, reason)
                assert worker.find(CLIENT) is None
                assert worker.get("refusals", "unknown_flow_media") == 1
                assert worker.transceivers[1].is_silent()
                worker.take(request(worker.ufrag(0)), CLIENT)  # the check gets in as ever
                flow = worker.find(CLIENT)
                assert flow is not None
                for _ in range(10):
                    worker.take(MEDIA, CLIENT)
                assert worker.find(CLIENT) is flow  # and a flow that is there is asked nobody about
                assert flow.transceiver == worker.transceivers[0].address
            assert_balanced(worker)

    run(body)


def test_who_is_not_found_is_asked_for_once_in_a_while_and_not_with_each_packet(redis: Server) -> None:
    async def body() -> None:
        with open_rig() as worker:
            async with recalling(worker, redis):
                for _ in range(3):
                    worker.take(MEDIA, CLIENT)
                await outcome(worker, "not_found")
                for _ in range(100):
                    worker.take(MEDIA, CLIENT)
                assert worker.get("refusals", "unknown_flow_media") == 103
                worker.now_ns += 5 * 1_000_000_000
                put(redis, worker.ufrag())
                worker.take(MEDIA, CLIENT)
                await outcome(worker, "restored")
                assert worker.get("recalls", "not_found") == 1
            assert_balanced(worker)

    run(body)


def test_what_is_neither_media_nor_dtls_asks_nobody(redis: Server) -> None:
    async def body() -> None:
        with open_rig() as worker:
            async with recalling(worker, redis) as recall:
                put(redis, worker.ufrag())
                for datagram in (b"", b"\x05hello", request(worker.ufrag(), b"wrong"), b"\xc0" * 100):
                    worker.take(datagram, CLIENT)
                assert not recall._lookups.is_wanted
                worker.slow_path.relay.is_draining = True
                worker.take(MEDIA, CLIENT)
                assert not recall._lookups.is_wanted
            assert worker.find(CLIENT) is None

    run(body)


def test_a_check_that_is_faster_than_the_store_is_first(redis: Server) -> None:
    async def body() -> None:
        with open_rig() as worker:
            async with recalling(worker, redis):
                put(redis, worker.ufrag(1))
                worker.take(MEDIA, CLIENT)
                worker.take(request(worker.ufrag(0)), CLIENT)
                await outcome(worker, "already_there")
                flow = worker.find(CLIENT)
                assert flow is not None
                assert flow.transceiver == worker.transceivers[0].address
                worker.transceivers[0].receive()
                assert worker.transceivers[0].receive()[0] == MEDIA
            assert_balanced(worker)

    run(body)


def test_a_key_that_was_retired_takes_its_flows_records_with_it(redis: Server) -> None:
    async def body() -> None:
        with open_rig() as worker:
            async with recalling(worker, redis) as recall:
                worker.take(request(worker.ufrag()), CLIENT)
                await until(lambda: worker.get("leases", "written") == 1)
                recall.keyring = Keyring({2: MASTERS[2]}, 2)
                worker.now_ns += 121 * 1_000_000_000
                await until(lambda: worker.get("leases", "key_gone") == 1)
                assert worker.get("leases", "written") == 1

    run(body)


def test_a_store_that_was_wiped_gets_all_records_again(
    redis: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.recall.recall.EPOCH_S", 0.05)

    async def body() -> None:
        with open_rig() as worker:
            async with recalling(worker, redis):
                worker.take(request(worker.ufrag()), CLIENT)
                worker.take(request(worker.ufrag()), OTHER_CLIENT)
                await until(lambda: worker.get("leases", "written") == 2)
                redis.cli("FLUSHALL")
                await until(lambda: worker.get("leases", "written") == 4)
                assert record_of(redis)
                redis.stop()
                await until(lambda: worker.get("store_trouble", StoreReason.UNREACHABLE) == 1)
                redis.start()
                await until(lambda: worker.get("leases", "written") == 6)
                await until(lambda: worker.get("store_trouble", StoreReason.UNREACHABLE) == 0)

    run(body)


TROUBLE: dict[str, tuple[Callable[[Server], object], StoreReason]] = {
    "gone": (Server.stop, StoreReason.UNREACHABLE),
    "slow": (lambda redis: redis.cli("CLIENT", "PAUSE", "60000", "ALL"), StoreReason.SLOW),
    "full": (lambda redis: redis.cli("CONFIG", "SET", "maxmemory", "1"), StoreReason.FULL),
    "a replica": (lambda redis: redis.cli("REPLICAOF", "127.0.0.1", "1"), StoreReason.READ_ONLY),
    "locked": (Server.lock, StoreReason.DENIED),
}


@pytest.mark.parametrize(("trouble", "reason"), TROUBLE.values(), ids=TROUBLE)
def test_calls_go_on_and_are_set_up_whatever_the_store_does(
    redis: Server, trouble: Callable[[Server], object], reason: StoreReason
) -> None:
    async def body() -> None:
        with open_rig() as worker:
            async with recalling(worker, redis):
                worker.take(request(worker.ufrag()), CLIENT)
                await until(lambda: worker.get("leases", "written") == 1)
                worker.transceivers[0].receive()
                trouble(redis)
                worker.take(request(worker.ufrag()), OTHER_CLIENT)
                assert worker.find(OTHER_CLIENT) is not None
                worker.transceivers[0].receive()
                await until(lambda: worker.get("store_trouble", reason) == 1)
                for _ in range(50):
                    worker.take(MEDIA, CLIENT)
                    worker.take(MEDIA, ("127.0.0.3", 9))  # a stranger, who would have to be asked for
                    assert worker.transceivers[0].receive()[0] == MEDIA
                    await asyncio.sleep(0)
                await until(
                    lambda: (
                        worker.get("refusals", "unknown_flow_media") == 50
                        or worker.get("recalls", "not_found") == 1
                    )
                )
            assert_balanced(worker)

    run(body)
