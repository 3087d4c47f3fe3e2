"""The store against real servers: what works, and how every failure ends within its time."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import pytest
from redis import asyncio as library

from core.store.base import NOT_A_STRING, Entry, Store, StoreError, StoreReason
from core.store.redis import RedisAccess, RedisStore
from core.store_url import parse_store_url
from tests.core.store.kit import announcement, forgets_in_time, keeps_the_contract
from tests.redis_server import SERVERS, Server, running

TIMEOUT_S = 0.1
HANDS_S = 1.0
"""What a loaded machine may take on top of a deadline; the library's own would be 5 s a try."""
ENTRY = Entry(b"voxpop:1:test", b"value", 60_000)
VOID = parse_store_url("redis://127.0.0.1:1")


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    with running(Server(tmp_path / "redis", program=request.param)) as started:
        yield started


@contextlib.asynccontextmanager
async def opened(
    url: str, timeout_s: float = TIMEOUT_S, user: str | None = None, password: str | None = None,
    ca_pem: str | None = None,
) -> AsyncIterator[RedisStore]:  # fmt: skip
    store = RedisStore(parse_store_url(url), RedisAccess(timeout_s, user, password, ca_pem))
    try:
        yield store
    finally:
        await store.close()


async def reason_of(store: Store) -> StoreReason:
    """How writing fails, which it must do in time."""
    before = time.monotonic()
    with pytest.raises(StoreError) as refused:
        await store.set_many([ENTRY])
    assert time.monotonic() - before < TIMEOUT_S + HANDS_S
    return refused.value.reason


def test_the_server_is_there() -> None:
    assert "redis-server" in SERVERS, "install redis-server: .ci/need test"


def test_it_does_what_a_store_does(server: Server) -> None:
    async def run(url: str) -> None:
        async with opened(url, timeout_s=1) as store:
            await keeps_the_contract(store)
            await forgets_in_time(store)

    asyncio.run(run(server.url))
    server.cli("FLUSHALL")
    asyncio.run(run(f"unix://{server.path}"))
    server.cli("-n", "3", "FLUSHALL")
    server.cli("FLUSHALL")
    asyncio.run(run(f"{server.url}/3"))
    assert server.cli("DBSIZE") == "0"
    assert server.cli("-n", "3", "DBSIZE") != "0"


def test_what_is_no_string_costs_one_value_and_not_the_batch(server: Server) -> None:
    server.cli("RPUSH", "voxpop:1:list", "a", "b")

    async def run() -> None:
        async with opened(server.url) as store:
            await store.set_many([ENTRY])
            assert await store.get_many([b"voxpop:1:list", ENTRY.key]) == [NOT_A_STRING, b"value"]

    asyncio.run(run())


def test_what_is_no_string_is_no_obstacle_to_who_announces_itself(server: Server) -> None:
    server.cli("RPUSH", "voxpop:1:of:a", "poison")

    async def run() -> None:
        async with opened(server.url) as store:
            assert await store.announce(announcement(b"a", 1)) == NOT_A_STRING
            assert await store.announce(announcement(b"a", 1)) == b"value of a"

    asyncio.run(run())


def test_the_library_alone_keeps_its_caller_waiting(server: Server, say: Callable[[str], None]) -> None:
    """Why the deadline is ours. With its defaults a server that stands still takes 5 s of each try, eleven
    tries in all; 1.5 s of that are enough to see.
    """

    async def default_client() -> tuple[float, bool]:
        client = library.Redis(port=server.port)
        before = time.monotonic()
        try:
            async with asyncio.timeout(1.5):
                await client.set("key", "value")
        except TimeoutError:
            return time.monotonic() - before, False
        finally:
            await client.aclose(close_connection_pool=True)
        return time.monotonic() - before, True

    async def ours() -> tuple[float, StoreReason]:
        async with opened(server.url) as store:
            before = time.monotonic()
            reason = await reason_of(store)
            return time.monotonic() - before, reason

    server.cli("CLIENT", "PAUSE", "20000", "ALL")
    waited_s, is_done = asyncio.run(default_client())
    assert not is_done
    ours_s, reason = asyncio.run(ours())
    assert reason is StoreReason.SLOW
    connection = library.Redis(port=server.port).connection_pool.connection_kwargs
    assert connection["socket_timeout"] == connection["socket_connect_timeout"] == 5
    assert connection["retry"].get_retries() == 10
    say(
        f"Redis stands still: the library's defaults hold the caller for over {waited_s:.1f} s "
        f"(5 s a try, 10 retries), ours for {ours_s * 1e3:.0f} ms"
    )


def test_the_library_alone_tries_for_seconds_where_nothing_listens(say: Callable[[str], None]) -> None:
    async def default_client() -> float:
        before = time.monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await library.Redis(port=1).set("key", "value")
        return time.monotonic() - before

    async def ours() -> float:
        before = time.monotonic()
        assert await reason_of(RedisStore(VOID, RedisAccess(TIMEOUT_S))) is StoreReason.UNREACHABLE
        return time.monotonic() - before

    theirs_s, ours_s = asyncio.run(default_client()), asyncio.run(ours())
    say(f"nothing listens: the library still tries after {theirs_s:.1f} s, ours took {ours_s * 1e3:.0f} ms")


def test_a_server_that_stands_still_is_slow_and_the_next_call_gets_its_own_answer(server: Server) -> None:
    async def run() -> None:
        async with opened(server.url) as store:
            await store.set_many([ENTRY])
            server.cli("CLIENT", "PAUSE", "400", "ALL")
            assert await reason_of(store) is StoreReason.SLOW
            async with asyncio.timeout(10):
                while True:
                    with contextlib.suppress(StoreError):
                        assert await store.get_many([b"none", ENTRY.key]) == [b"", b"value"]
                        break

    asyncio.run(run())


def test_a_call_that_is_cancelled_leaves_no_answer_to_the_next(server: Server) -> None:
    async def run() -> None:
        async with opened(server.url, timeout_s=1) as store:
            await store.set_many([Entry(b"%d" % index, b"%d" % index, 60_000) for index in range(64)])
            for index in range(64):
                call = asyncio.create_task(store.get_many([b"%d" % index] * 8))
                for _ in range(index % 8):
                    await asyncio.sleep(0)
                call.cancel()
                await asyncio.wait({call})
                assert await store.get_many([b"%d" % (63 - index)]) == [b"%d" % (63 - index)]

    asyncio.run(run())


def test_a_server_that_was_restarted_is_found_again_by_the_one_retry(server: Server) -> None:
    async def run() -> None:
        async with opened(server.url) as store:
            await store.set_many([ENTRY])
            server.stop()
            assert await reason_of(store) is StoreReason.UNREACHABLE
            server.start()
            assert await store.get_many([ENTRY.key]) == [b""]  # it came back empty
            server.stop()
            server.start()  # while a connection to the old one is in the pool
            await store.set_many([ENTRY])
            assert await store.get_many([ENTRY.key]) == [b"value"]

    asyncio.run(run())


def test_a_full_server_refuses_writes_and_is_read_all_the_same(server: Server) -> None:
    async def run() -> None:
        async with opened(server.url) as store:
            await store.set_many([ENTRY])
            server.cli("CONFIG", "SET", "maxmemory", "1")
            assert await reason_of(store) is StoreReason.FULL
            assert await store.get_many([ENTRY.key]) == [b"value"]
            server.cli("CONFIG", "SET", "maxmemory", "0")
            await store.set_many([ENTRY])

    asyncio.run(run())


def test_calls_leave_no_cycles_behind_however_they_end(server: Server) -> None:
    """Workers do not look for them, as that would stop them for too long."""

    async def run() -> None:
        async with opened(server.url) as store:
            entries = [ENTRY._replace(key=b"%d" % index) for index in range(32)]

            async def write() -> None:
                with contextlib.suppress(StoreError):
                    await store.set_many(entries)
                    await store.get_many([ENTRY.key])

            await write()
            for trouble in (
                lambda: None,
                lambda: server.cli("CONFIG", "SET", "maxmemory", "1"),
                lambda: server.cli("CLIENT", "PAUSE", "500", "ALL"),
                server.stop,
            ):
                trouble()
                await write()
                gc.collect()
                for _ in range(3):
                    await write()
                assert gc.collect() < 32, "less than one for each answer"

    asyncio.run(run())


def test_a_replica_is_read_only(server: Server, tmp_path: Path) -> None:
    async def run(replica: Server) -> None:
        async with opened(replica.url) as store:
            assert await reason_of(store) is StoreReason.READ_ONLY
            assert await store.get_many([ENTRY.key]) == [b""]

    options = ("--replicaof", "127.0.0.1", str(server.port))
    with running(Server(tmp_path / "replica", options, server.program)) as replica:
        asyncio.run(run(replica))


@pytest.mark.parametrize("command", ["SET", "GETRANGE"])
def test_a_server_that_lacks_a_command_is_named_so(command: str, tmp_path: Path) -> None:
    """As an older one would, or one where the operator has renamed it away."""

    async def run(server: Server) -> None:
        async with opened(server.url) as store:
            with pytest.raises(StoreError) as refused:
                await store.agree(b"key", b"value")
            assert refused.value.reason is StoreReason.UNSUPPORTED

    with running(Server(tmp_path / "redis", ("--rename-command", command, ""))) as server:
        asyncio.run(run(server))


ACL = (
    "--user", "default", "on", "nopass", "-@all", "+ping",
    "--user", "voxpop", "on", ">secret", "~voxpop:1:*", "+set", "+getrange",
    "+zadd", "+zremrangebyrank", "+zrevrange", "+geoadd", "+geosearch",
    "--user", "reader", "on", ">secret", "~voxpop:1:*", "+getrange",
)  # fmt: skip


def test_an_acl_user_needs_few_rights_and_every_refusal_is_denied(tmp_path: Path) -> None:
    async def run(server: Server) -> None:
        async with opened(server.url, 1, "voxpop", "secret") as store:
            await keeps_the_contract(store)
        for user, password in (
            ("voxpop", "wrong"), ("nobody", "secret"), ("reader", "secret"), (None, None), (None, "x"),
        ):  # fmt: skip
            async with opened(server.url, TIMEOUT_S, user, password) as store:
                assert await reason_of(store) is StoreReason.DENIED, (user, password)

    with running(Server(tmp_path / "redis", ACL)) as server:
        asyncio.run(run(server))


def test_a_password_is_in_no_text_about_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def run(server: Server) -> StoreError:
        async with opened(server.url, TIMEOUT_S, "voxpop", "not-so-secret") as store:
            with pytest.raises(StoreError) as refused:
                await store.set_many([ENTRY])
            return refused.value

    caplog.set_level(logging.DEBUG)
    with running(Server(tmp_path / "redis", ACL)) as server:
        error = asyncio.run(run(server))
    assert "not-so-secret" not in str(error) + caplog.text + repr(RedisAccess(1, "u", "not-so-secret"))


def test_what_is_refused_is_not_repeated(server: Server) -> None:
    """The library's own exceptions quote the command, and so would a log."""

    async def run() -> StoreError:
        async with opened(server.url) as store:
            server.cli("CONFIG", "SET", "maxmemory", "1")
            with pytest.raises(StoreError) as refused:
                await store.set_many([Entry(b"key", b"a-ufrag-that-is-nobody's-business", 1000)])
            return refused.value

    assert "nobody" not in str(asyncio.run(run()))


def _commands(server: Server) -> Sequence[str]:
    return [line for line in server.cli("INFO", "commandstats").splitlines() if line.startswith("cmdstat_")]


def test_a_batch_is_one_command_for_each_and_nothing_besides(server: Server) -> None:
    async def run() -> None:
        async with opened(server.url) as store:
            for part in range(4):
                await store.set_many([Entry(b"%d-%d" % (part, i), b"x", 1000) for i in range(25)])

    before = {line.split(":")[0] for line in _commands(server)}
    asyncio.run(run())
    after = {line.split(":")[0]: line for line in _commands(server)}
    assert "calls=100," in after.pop("cmdstat_set")
    assert not after.keys() - before - {"cmdstat_info"}, "no HELLO, no CLIENT SETINFO, no PING"
