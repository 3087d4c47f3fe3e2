"""The sessions of a process: who is let in, what they are given, and that nothing of them is left."""

from __future__ import annotations

import asyncio
import gc
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from core import token
from core.cluster import resolve_untrusted
from core.errors import ConfigError
from core.keyring import Keyring
from tests.transceiver.net import (
    CLUSTER,
    KEYRING,
    PATIENCE_S,
    Echo,
    Factory,
    Server,
    calling,
    make_offer,
    running,
    until,
    with_settings,
)
from transceiver.backends.base import SessionContext
from transceiver.host.worker_metrics import SessionCollector
from transceiver.observer import EndReason
from transceiver.session.ids import owner_of
from transceiver.session.manager import COUNTERS, AdmissionError
from transceiver.session.session import Session
from transceiver.session.state import SessionState
from transceiver.transport import ice
from transceiver.transport.certificate import Certificate


def create(server: Server, setup: str = "actpass") -> Session:
    return server.create(make_offer(Certificate.generate(), setup))


def test_the_ufrag_is_a_token_that_leads_here_and_outlives_the_session() -> None:
    async def scenario() -> None:
        async with running(with_settings(max_session_s=3600)) as server:
            now_min = int(time.time()) // 60
            answer = create(server).answer
            minted = token.open_untrusted(answer.ufrag.encode(), KEYRING, now_min + 61)
            for endpoint, family in ((server.endpoint, server.endpoint.family),):
                assert resolve_untrusted(minted, {CLUSTER.id: CLUSTER}, family) == endpoint
            assert answer.password.encode() == KEYRING.ice_password(3, answer.ufrag.encode())
            assert answer.candidates == ()

    asyncio.run(scenario())


def test_every_session_has_its_own_of_everything() -> None:
    async def scenario() -> None:
        async with running() as server:
            sessions = [create(server) for _ in range(20)]
            answers = [s.answer for s in sessions]
            for member in ("ufrag", "password", "ssrc", "cname", "stream_id", "track_id"):
                assert len({getattr(a, member) for a in answers}) == 20
            numbers = {server.manager._numbers[a.ufrag] for a in answers}
            assert len(numbers) == 20
            assert len({s.id for s in sessions}) == 20
            assert {owner_of(s.id) for s in sessions} == {(server.host, 7)}
            assert len({a.fingerprint for a in answers}) == 1
            assert all(server.manager.get(s.id) is s for s in sessions)
            assert server.manager.get("rtc_7-unknown") is None

    asyncio.run(scenario())


def test_session_numbers_wrap_and_skip_those_in_use() -> None:
    async def scenario() -> None:
        async with running() as server:
            server.manager._next_number = 65_535
            numbers = [server.manager._numbers[create(server).answer.ufrag] for _ in range(2)]
            assert numbers == [65_535, 0]
            server.manager._next_number = 65_535
            assert server.manager._numbers[create(server).answer.ufrag] == 1

    asyncio.run(scenario())


def test_new_sessions_are_minted_with_the_keys_of_the_latest_reload() -> None:
    async def scenario() -> None:
        async with running() as server:
            server.manager.keyring = Keyring({9: bytes(32)}, mint_with=9)
            answer = create(server).answer
            assert answer.password.encode() == server.manager.keyring.ice_password(9, answer.ufrag.encode())

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("offered", "configured", "answered"),
    [
        ("actpass", "passive", "passive"),
        ("actpass", "active", "active"),
        ("active", "active", "passive"),
        ("passive", "passive", "active"),
    ],
)
def test_the_dtls_role_is_the_one_that_is_left(offered: str, configured: str, answered: str) -> None:
    async def scenario() -> None:
        async with running(with_settings(dtls_role=configured)) as server:
            assert create(server, offered).answer.setup == answered

    asyncio.run(scenario())


def test_a_full_process_and_a_draining_one_take_nobody() -> None:
    async def scenario() -> None:
        async with running(with_settings(max_sessions=2)) as server:
            first, _ = create(server), create(server)
            with pytest.raises(AdmissionError) as full:
                create(server)
            assert (full.value.reason, full.value.retry_after_s) == ("full", 5.0)
            assert server.manager.refusal() == "full"
            server.manager.close(first, "hangup")
            create(server)
            server.manager.drain()
            with pytest.raises(AdmissionError) as draining:
                create(server)
            assert draining.value.reason == "draining"
            assert server.manager.count == 2

    asyncio.run(scenario())


def test_a_late_loop_takes_nobody_until_it_is_on_time_again() -> None:
    async def scenario() -> None:
        async with running(with_settings(max_loop_lag_ms=200)) as server:
            await until(lambda: server.manager.refusal() is None)
            time.sleep(0.6)  # noqa: ASYNC251 - what it is about: the loop is held up
            await until(lambda: server.manager.refusal() == "overloaded")
            with pytest.raises(AdmissionError) as refused:
                create(server)
            assert (refused.value.reason, refused.value.retry_after_s) == ("overloaded", 1.0)
            await until(lambda: server.manager.refusal() is None)
            create(server)

    asyncio.run(scenario())


def test_settings_that_the_backend_does_not_take_leave_nothing_behind() -> None:
    def refuse(_: SessionContext) -> NoReturn:
        raise ConfigError(["session.voice: no such voice"])

    async def scenario() -> None:
        async with running() as server:
            server.manager._shared = replace(server.manager._shared, backend_factory=Factory(refuse))
            with pytest.raises(ConfigError):
                create(server)
            assert (server.manager.count, server.mux.routes, server.manager._numbers) == (0, 0, {})

    asyncio.run(scenario())


def test_who_never_arrives_is_closed() -> None:
    async def scenario() -> None:
        async with running(with_settings(arrival_timeout_s=0.1)) as server:
            create(server)
            await until(lambda: server.counts.ended)
            assert server.counts.ended == ["never_arrived"]
            assert not server.manager.count
            await until(lambda: not server.mux.routes)

    asyncio.run(scenario())


def test_a_backend_that_fails_to_close_keeps_no_other_session_from_ending() -> None:
    class Clinging(Echo):
        def close(self) -> None:
            raise RuntimeError("not yet")

    async def scenario() -> None:
        problems: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
        async with running(with_settings(arrival_timeout_s=0.1)) as server:
            server.manager._shared = replace(server.manager._shared, backend_factory=Factory(Clinging))
            for _ in range(2):
                create(server)
                await until(lambda: not server.manager.count)
            create(server)
            await server.manager.close_all()
            assert server.counts.ended == ["never_arrived", "never_arrived", "drained"]
            assert (server.mux.routes, server.manager._numbers, server.manager._freeing) == (0, {}, set())
        assert [str(problem["exception"]) for problem in problems] == ["not yet"] * 3

    asyncio.run(scenario())


@pytest.mark.parametrize("is_connected", [True, False])
def test_who_goes_silent_is_closed(is_connected: bool) -> None:
    async def scenario() -> None:
        async with (
            running(with_settings(silence_timeout_s=2.0)) as server,
            calling(server) as (client, session),
        ):
            if is_connected:
                await client.connect()
            else:
                await client.check()
            await until(lambda: server.counts.ended)
            assert server.counts.ended == ["silent"]
            assert session.state is SessionState.CLOSED

    asyncio.run(scenario())


def test_any_authentic_packet_is_a_sign_of_life_and_no_other() -> None:
    async def scenario() -> None:
        async with running() as server, calling(server) as (client, session):
            await client.connect()
            await client.opened.wait()
            await client.messages.get()

            def heard_ns() -> int:
                assert session.contact.heard_ns is not None
                return session.contact.heard_ns

            silence_ns = int(server.manager._settings.silence_timeout_s * 1e9)
            for sign in (client.speak, lambda: client.peer.send_message('{"type": "x"}')):
                before_ns = heard_ns()
                sign()
                await until(lambda b=before_ns: heard_ns() > b)  # type: ignore[misc]
                assert session.find_end(heard_ns() + silence_ns - 1) is None
                assert session.find_end(heard_ns() + silence_ns) is EndReason.SILENT
            await client.messages.get()
            await asyncio.sleep(0.1)
            before_ns = heard_ns()
            client.send(b"\x80\x6f" + bytes(60))
            client.send(b"\x17\xfe\xfd" + bytes(60))
            client.send(client.request()[:-1])
            await until(lambda: session.audio_stats.unauthentic and server.counts.refused)
            assert heard_ns() == before_ns
            await client.check()
            assert heard_ns() > before_ns

    asyncio.run(scenario())


def test_a_call_ends_when_it_has_lasted_too_long() -> None:
    async def scenario() -> None:
        lasting_ns = 10 * 10**9  # less than a silence may be, or a proof of where the client is
        async with running(with_settings(max_session_s=10)) as server, calling(server) as (client, session):
            await client.connect()
            server.manager._sweep(session.created_ns + lasting_ns - 1)
            assert server.counts.ended == []
            server.manager._sweep(session.created_ns + lasting_ns)
            assert server.counts.ended == ["too_long"]
            async with asyncio.timeout(PATIENCE_S):
                assert await client.closed == "remote_closed"

    asyncio.run(scenario())


def _open_fds() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("role", ["passive", "active"])
def test_a_hundred_sessions_in_every_state_leave_nothing(role: str) -> None:
    async def scenario() -> None:
        async with running(with_settings(dtls_role=role)) as server:
            certificate = Certificate.generate()
            await asyncio.sleep(0)
            before = (asyncio.all_tasks(), _open_fds(), len(server.ticker))
            for number in range(100):
                async with calling(server, "actpass") as (client, session):
                    if number % 10 == 0:
                        await client.connect()
                        client.speak()
                        await until(lambda s=session: s.audio_stats.packets_received)  # type: ignore[misc]
                    elif number % 3 == 0:
                        await client.check()
                        client.peer.start()
                    elif number % 3 == 1:
                        await client.check()
                        server.restart_ice(session, "nEwU")
                    server.manager.close(session, EndReason.HANGUP)
            await until(lambda: not server.manager._freeing)
            assert (asyncio.all_tasks(), _open_fds(), len(server.ticker)) == before
            assert (server.mux.routes, server.manager._numbers, server.manager.count) == (0, {}, 0)
            loop = asyncio.get_running_loop()
            live = [h for h in loop._scheduled if not h.cancelled()]  # type: ignore[attr-defined]
            assert len(live) <= 3, live  # the ticker, the sweep, and the time limit of this wait
            del client, session, certificate
            gc.collect()
            assert not [o for o in gc.get_objects() if isinstance(o, Session)]
            assert server.counts.ended == ["hangup"] * 100

    asyncio.run(scenario())


def test_restarted_sessions_give_their_old_ufrag_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ice, "RETIRE_NS", 1)

    async def scenario() -> None:
        async with running() as server, calling(server) as (client, session):
            await client.check()
            assert (server.mux.routes, len(server.manager._numbers)) == (3, 1)
            client.answer = server.restart_ice(session, "nEwU")
            assert session.remote_ufrag == "nEwU"
            assert (server.mux.routes, len(server.manager._numbers)) == (4, 2)
            await client.check(ufrag="nEwU")
            await until(lambda: len(server.manager._numbers) == 1)
            assert server.mux.routes == 3
            assert session.ufrags == [client.answer.ufrag]

    asyncio.run(scenario())


def test_totals_keep_what_ended_sessions_counted() -> None:
    async def scenario() -> None:
        async with running() as server:
            for calls in (1, 2):
                async with calling(server) as (client, session):
                    await client.connect()
                    client.speak()
                    await until(lambda s=session: s.audio_stats.packets_received)  # type: ignore[misc]
                    assert server.manager.by_state == {"new": 0, "connecting": 0, "connected": 1}
                    assert server.manager.totals["packets_received"] == calls
                    assert len(server.manager.audio) == 1
                    server.manager.close(session, "hangup")
                    assert server.manager.totals["packets_received"] == calls
            assert server.manager.by_state == {"new": 0, "connecting": 0, "connected": 0}
            assert set(server.manager.totals) == set(COUNTERS)
            assert "jitter_ms" not in COUNTERS
            assert "lost" in COUNTERS

    asyncio.run(scenario())


def test_gauges_of_audio_are_of_sessions_that_have_some() -> None:
    async def scenario() -> None:
        async with running() as server, calling(server) as (client, session):
            collector = SessionCollector(server.manager, server.mux, server.ticker)

            def depth(statistic: str) -> float:
                family = next(
                    f for f in collector.collect() if f.name == "voxpop_transceiver_jitter_buffer_seconds"
                )
                return next(s.value for s in family.samples if s.labels == {"statistic": statistic})

            create(server)
            await client.connect()
            assert (depth("mean"), depth("max")) == (0.0, 0.0)
            client.speak()
            await until(lambda: session.audio_stats.packets_received)
            assert depth("mean") == depth("max") > 0.0

    asyncio.run(scenario())


def test_the_end_of_a_process_says_goodbye_to_all() -> None:
    async def scenario() -> None:
        async with running() as server, calling(server) as (one, _), calling(server) as (other, _):
            await one.connect()
            await other.connect()
            await server.manager.close_all()
            assert server.counts.ended == ["drained", "drained"]
            async with asyncio.timeout(PATIENCE_S):
                assert await one.closed == await other.closed == "remote_closed"
            assert server.manager.refusal() == "draining"

    asyncio.run(scenario())
