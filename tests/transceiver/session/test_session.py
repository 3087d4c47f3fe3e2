"""Whole sessions over real sockets: set-up in both DTLS roles, audio, events, moves and the end."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any

import numpy as np
import pytest
import uvloop

from core import stun
from core.addr import Endpoint
from core.demux import PacketKind, classify_untrusted
from core.stun import Attribute, MessageType
from tests.tones import heard, voice
from tests.transceiver.net import (
    CLIENT_UFRAG,
    PATIENCE_S,
    Client,
    Echo,
    Server,
    calling,
    running,
    until,
    with_settings,
)
from transceiver.media import FRAME_BYTES, FRAME_MS
from transceiver.media.codec import PACKET_MS
from transceiver.observer import EndReason
from transceiver.realtime.permissions import Permissions
from transceiver.session import contact as contact_module
from transceiver.session.session import Session
from transceiver.session.state import SessionState
from transceiver.transport.moves import SILENCE_NS
from transceiver.transport.mux import MAX_OFFERS

SPEECH = voice(500.0, FRAME_MS / 1000).tobytes()


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(coroutine)


async def _talk(server: Server, client: Client, hz: float) -> None:
    """Speak a tone, paced as the server is, until it comes back."""
    path = client.path
    assert path is not None
    pcm = voice(hz, 1.0).tobytes()
    frames = itertools.cycle([pcm[i : i + FRAME_BYTES] for i in range(0, len(pcm), FRAME_BYTES)])
    echoed: list[bytes] = []

    def tick(now_ns: int) -> None:
        client.speak(next(frames))
        echoed.append(path.pull(now_ns) or b"")

    def is_heard() -> bool:
        return bool(heard(np.frombuffer(b"".join(echoed[-25:]), "<i2"), [hz], 0.5))

    handle = server.ticker.add(tick)
    await until(is_heard)
    handle.cancel()


async def _exchange_event(client: Client) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await client.opened.wait()
        assert json.loads(await client.messages.get()) == {"type": "session.created"}
        assert client.peer.send_message(json.dumps({"type": "session.update", "n": 1}))
        assert json.loads(await client.messages.get()) == {"type": "echo.session.update", "n": 1}


@pytest.mark.parametrize("setup", ["active", "passive"])
@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_audio_and_events_pass_in_either_dtls_role(setup: str, loop_factory: Any) -> None:
    async def scenario() -> None:
        async with running() as server, calling(server, setup) as (client, session):
            assert session.answer.setup == {"active": "passive", "passive": "active"}[setup]
            await client.connect()
            await _exchange_event(client)
            await _talk(server, client, 1500.0)
            assert session.state is SessionState.CONNECTED
            assert server.counts.stages == ["ice", "dtls", "audio"]
            assert session.event_stats.received == 1
            assert session.event_stats.dropped == 0

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())


@pytest.mark.parametrize("role", ["passive", "active"])
def test_the_configured_role_is_offered_to_who_leaves_it_to_us(role: str) -> None:
    async def scenario() -> None:
        async with running(with_settings(dtls_role=role)) as server, calling(server) as (client, session):
            assert session.answer.setup == role
            await client.connect()

    run(scenario())


def test_a_call_over_ipv6() -> None:
    async def scenario() -> None:
        async with running(addresses=("127.0.0.1", "::1")) as server:
            over_v6 = Endpoint("::1", server.mux.port)
            async with calling(server, to=over_v6) as (client, session), calling(server) as (other, _):
                await client.connect()
                await other.connect()
                assert session.remote == client.endpoint(0)
                response = await client.check()
                value = response.get(Attribute.XOR_MAPPED_ADDRESS)
                assert value is not None
                mapped = stun.parse_xor_address_untrusted(value, response.transaction_id)
                assert mapped == client.endpoint(0)

    run(scenario())


def test_a_call_without_a_data_channel() -> None:
    async def scenario() -> None:
        async with running() as server, calling(server, has_channel=False) as (client, session):
            await client.connect()
            session._emit({"type": "x"})
            assert session.event_stats.dropped == 1

    run(scenario())


@pytest.mark.parametrize("text", ["no", "[" * 100_000, " " * 262_145])
def test_a_message_that_is_no_event_is_answered_with_an_error(text: str) -> None:
    async def scenario() -> None:
        async with running() as server, calling(server) as (client, session):
            await client.connect()
            await client.opened.wait()
            await client.messages.get()
            # The client's own bound is on what waits, so what is longest goes round it.
            channel = client.peer._channels.current
            assert channel is not None
            channel.transport._remote_max_message_size = 0
            channel.send(text)
            async with asyncio.timeout(PATIENCE_S):
                event = json.loads(await client.messages.get())
            assert event["type"] == "error"
            assert event["error"]["code"] == "invalid_event"
            assert event["event_id"]
            assert session.event_stats.invalid == 1
            assert session.state is SessionState.CONNECTED

    run(scenario())


def test_a_client_sends_and_sees_what_it_may() -> None:
    async def scenario() -> None:
        async with running() as server, calling(server) as (client, session):
            allowed = frozenset({"response.cancel"}), frozenset({"echo.response.cancel"})
            session.events.permissions = Permissions(*allowed)
            await client.connect()
            async with asyncio.timeout(PATIENCE_S):
                await client.opened.wait()
                for kind in ("session.update", "response.cancel"):
                    assert client.peer.send_message(json.dumps({"type": kind, "event_id": "mine"}))
                refused = json.loads(await client.messages.get())
                error = refused["error"]
                assert (error["code"], error["event_id"]) == ("event_not_allowed", "mine")
                echo = json.loads(await client.messages.get())
            assert echo["type"] == "echo.response.cancel", "and session.created was not shown"
            assert (session.event_stats.refused, session.event_stats.received) == (1, 1)

    run(scenario())


def test_the_first_check_decides_where_and_every_check_is_answered() -> None:
    async def scenario() -> None:
        async with running() as server, calling(server) as (client, session):
            client.open()
            response = await client.check(via=0)
            assert response.type == MessageType.BINDING_RESPONSE
            assert session.remote == client.endpoint(0)
            response = await client.check(via=1)
            assert response.type == MessageType.BINDING_RESPONSE
            assert session.remote == client.endpoint(0)
            await client.check(via=1, nominate=True)
            assert session.remote == client.endpoint(1)

    run(scenario())


def test_media_from_a_new_port_takes_the_call_along_without_any_check() -> None:
    """What a NAT does that has forgotten the client: the next packet comes from elsewhere."""

    async def scenario() -> None:
        async with running() as server, calling(server) as (client, session):
            await client.connect()
            client.speak()
            await until(lambda: session.audio_stats.packets_received)
            client.current = client.open()
            client.heard_at.clear()
            while not client.heard_at[1]:
                client.speak()
                await asyncio.sleep(0.02)
            assert session.remote == client.endpoint(1)
            assert session.audio_stats.unauthentic == 0

    run(scenario())


def test_clients_with_one_ssrc_are_all_followed_to_new_ports() -> None:
    """Devices of one make all send the same SSRC, and one NAT forgets them all at once."""

    async def scenario() -> None:
        async with running() as server, AsyncExitStack() as stack:
            calls = [await stack.enter_async_context(calling(server)) for _ in range(4)]
            for client, session in calls:
                await client.connect()
                client.speak()
                await until(lambda session=session: session.audio_stats.packets_received)  # type: ignore[misc]
            await asyncio.sleep(SILENCE_NS / 1e9)
            for client, session in reversed(calls):
                client.current = client.open()
                client.speak(SPEECH)
                await until(lambda c=client, s=session: s.remote == c.endpoint(1))  # type: ignore[misc]
            for client, session in calls:
                client.heard_at.clear()
                await until(lambda c=client: c.heard_at[1])  # type: ignore[misc]
                assert session.audio_stats.packets_received == 2

    run(scenario())


def test_more_clients_with_one_ssrc_than_a_packet_is_offered_to_are_each_found_by_their_keys() -> None:
    """A host of a PoP has died, and all of its clients come by another, which the transceiver has not seen.
    Each packet is offered to a bounded number of sessions, in turns, and is the one's that it authenticates
    for; DTLS, which says no SSRC, is nobody's until then.
    """

    async def scenario() -> None:
        async with running() as server, AsyncExitStack() as stack:
            calls = [await stack.enter_async_context(calling(server)) for _ in range(MAX_OFFERS + 2)]
            for client, session in calls:
                await client.connect()
                client.speak()
                await until(lambda session=session: session.audio_stats.packets_received)  # type: ignore[misc]
            await asyncio.sleep(SILENCE_NS / 1e9)
            for client, session in reversed(calls):
                client.current = client.open()
                client.send(b"\x17\xfe\xfd" + bytes(40))
                heard, tries = session.audio_stats.packets_received, 0
                while session.remote != client.endpoint(1):
                    looked_at = session.audio_stats.packets_received, server.mux.stats.packets_received
                    client.speak(SPEECH)
                    tries += 1
                    await until(lambda n=looked_at[1]: server.mux.stats.packets_received > n)  # type: ignore[misc]
                    assert tries <= 5, "two packets are offered to all of them"
                    if session.audio_stats.packets_received > looked_at[0]:
                        await until(lambda s=session, c=client: s.remote == c.endpoint(1))  # type: ignore[misc]
                assert session.audio_stats.packets_received == heard + 1
            assert server.counts.refused["unknown_address"] == len(calls)
            assert all(session.audio_stats.packets_received == 2 for _, session in calls)

    run(scenario())


@pytest.mark.parametrize("packet_ms", PACKET_MS)
def test_packets_have_the_length_that_the_offer_asked_for(packet_ms: int) -> None:
    async def scenario() -> None:
        async with running() as server, calling(server, packet_ms=packet_ms) as (client, session):
            idle = len(server.ticker)
            await client.connect()
            assert client.path is not None
            started, ticks = client.path.stats.packets_received, 50
            await asyncio.sleep(ticks * FRAME_MS / 1000)
            received = client.path.stats.packets_received - started
            assert 0.7 * ticks <= received * packet_ms / FRAME_MS <= 1.4 * ticks
            assert client.path.stats.odd_timestamps == client.path.stats.foreign_timestamps == 0
            server.manager.close(session, "hangup")
            assert len(server.ticker) == idle

    run(scenario())


@pytest.mark.parametrize("nominate", [True, False])
def test_a_check_from_a_new_port_takes_a_silent_call_along(nominate: bool) -> None:
    """Chromium nominates with every check, Firefox with none after the first; both are followed."""

    async def scenario() -> None:
        async with running() as server, calling(server) as (client, session):
            await client.connect()
            await asyncio.sleep(SILENCE_NS / 1e9)
            client.current = client.open()
            await client.check(nominate=nominate)
            await until(lambda: session.remote == client.endpoint(1))
            client.heard_at.clear()
            await until(lambda: client.heard_at[1])

    run(scenario())


def test_an_address_in_use_is_not_taken_over_by_another_session() -> None:
    async def scenario() -> None:
        async with (
            running() as server,
            calling(server) as (victim, session),
            calling(server) as (thief, other),
        ):
            await victim.connect()
            # The thief has a call of its own and fakes the victim's source address.
            victim.sockets[0].sendto(thief.request(nominate=True), server.endpoint)
            await until(lambda: server.counts.refused["address_in_use"])
            assert other.remote is None
            assert session.remote == victim.endpoint(0)
            assert victim.received == []
            victim.heard.clear()
            await victim.heard.wait()

    run(scenario())


def test_close_notify_ends_the_session() -> None:
    async def scenario() -> None:
        async with running() as server, calling(server) as (client, session):
            await client.connect()
            await client.peer.close()
            await until(lambda: server.counts.ended)
            assert server.counts.ended == ["remote_closed"]
            assert session.state is SessionState.CLOSED
            assert server.manager.get(session.id) is None

    run(scenario())


def test_a_certificate_that_was_not_signaled_fails_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the end: until then another handshake may come, as this one may be anybody's."""
    monkeypatch.setattr(contact_module, "HANDSHAKE_TIMEOUT_S", 1.0)

    async def scenario() -> None:
        async with running() as server, calling(server) as (client, _), calling(server) as (thief, session):
            # Knows the credentials, not the key.
            thief.peer, client.peer = client.peer, thief.peer
            thief.peer._link._send_datagram = thief.send
            await thief.check(nominate=True)
            thief.peer.start()
            await until(lambda: server.counts.ended)
            assert server.counts.ended == ["dtls_failed"]
            assert session.state is SessionState.CLOSED

    run(scenario())


def test_the_end_is_announced_to_the_client() -> None:
    async def scenario() -> None:
        async with running() as server, calling(server) as (client, session):
            await client.connect()
            server.manager.close(session, "hangup")
            async with asyncio.timeout(PATIENCE_S):
                assert await client.closed == "remote_closed"
            assert client.path is not None
            assert client.path.remote_left
            assert server.counts.ended == ["hangup"]
            # Twice is as good as once, and what still comes is a stranger's.
            server.manager.close(session, "hangup")
            client.speak()
            await until(lambda: server.counts.refused["unknown_address"])
            assert server.counts.ended == ["hangup"]

    run(scenario())


def test_media_before_the_handshake_is_dropped() -> None:
    async def scenario() -> None:
        async with running() as server, calling(server) as (client, session):
            await client.check()
            client.send(b"\x80\x6f" + bytes(50))
            await until(lambda: server.counts.refused["media_before_keys"])
            assert session.audio_stats.packets_received == 0

    run(scenario())


def test_forged_media_changes_nothing() -> None:
    async def scenario() -> None:
        async with running() as server, calling(server) as (client, session):
            await client.connect()
            client.speak()
            await until(lambda: session.audio_stats.packets_received)
            assert client.path is not None
            genuine = client.path.push(None, 0)
            assert genuine is not None
            forged = genuine[:-1] + bytes([genuine[-1] ^ 1])
            await asyncio.sleep(SILENCE_NS / 1e9)
            client.open().sendto(forged, server.endpoint)
            await until(lambda: session.audio_stats.unauthentic)
            assert session.remote == client.endpoint(0)
            # Nor does the genuine one, played back after it has been used.
            client.send(genuine)
            await until(lambda: session.audio_stats.packets_received == 2)
            client.sockets[1].sendto(genuine, server.endpoint)
            await until(lambda: session.audio_stats.replayed)
            assert session.remote == client.endpoint(0)

    run(scenario())


def test_ice_restart_keeps_the_call_and_then_retires_the_old_credentials() -> None:
    async def scenario() -> None:
        async with running() as server, calling(server) as (client, session):
            await client.connect()
            old = client.answer
            new = server.restart_ice(session, "nEwU")
            assert new.ufrag != old.ufrag
            assert new.session_version == old.session_version + 1
            await client.check(nominate=True)  # not taken up yet
            client.answer = new
            client.current = client.open()
            client.answers.restart("nEwU", "p" * 24)
            await client.check(nominate=True, ufrag="nEwU")
            await until(lambda: session.remote == client.endpoint(1))
            client.answer = old
            await client.check(via=0)
            assert session.remote == client.endpoint(1)
            await _talk(server, client, 1700.0)

    run(scenario())


def _counted(session: Session) -> tuple[int, int]:
    return session.audio_stats.packets_received, session.audio_stats.packets_sent


def test_audio_flows_from_the_first_tick_although_nobody_says_anything() -> None:
    async def scenario() -> None:
        async with running() as server, calling(server) as (client, session):
            await client.connect()
            assert _counted(session)[0] == 0
            assert client.path is not None
            path = client.path
            await until(lambda: path.stats.packets_received >= 10)

    run(scenario())


@pytest.mark.parametrize("direction", ["sendonly", "inactive"])
def test_who_does_not_want_to_hear_us_is_sent_reports_alone(direction: str) -> None:
    """As WHIP clients that only publish."""

    async def scenario() -> None:
        async with running() as server, calling(server, direction=direction) as (client, session):
            await client.check(nominate=True)
            client.peer.start()
            async with asyncio.timeout(PATIENCE_S):
                await client.keyed.wait()
                client.speak()
                await client.heard.wait()
            assert client.path is not None
            assert client.path.stats.packets_received == session.audio_stats.packets_sent == 0
            assert session.audio_stats.packets_received == 1

    run(scenario())


def test_a_backend_that_raises_ends_its_own_call_and_no_other() -> None:
    async def scenario() -> None:
        problems: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
        async with running() as server, calling(server) as (client, session), calling(server) as (other, _):
            await client.connect()
            await other.connect()
            session._backend.speak = lambda now_ns: 1 / 0  # type: ignore[method-assign, assignment, return-value]
            await until(lambda: server.counts.ended)
            assert server.counts.ended == ["crashed"]
            assert session.state is SessionState.CLOSED
            assert [type(p["exception"]) for p in problems] == [ZeroDivisionError]
            await _talk(server, other, 1300.0)

    run(scenario())


def test_a_backend_may_end_its_call_and_no_other() -> None:
    async def scenario() -> None:
        async with running() as server, calling(server) as (client, session), calling(server) as (other, _):
            await client.connect()
            await other.connect()
            backend = session._backend
            assert isinstance(backend, Echo)
            backend.end(EndReason.BACKEND_GONE)
            assert (session.state, backend.is_closed) == (SessionState.CLOSED, True)
            backend.end(EndReason.BACKEND_GONE)
            assert server.counts.ended == ["backend_gone"]
            await _talk(server, other, 1300.0)

    run(scenario())


def test_a_backend_that_raises_at_the_first_tick_ends_its_call() -> None:
    async def scenario() -> None:
        problems: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
        async with running() as server, calling(server) as (client, session):
            session._backend.speak = lambda now_ns: 1 / 0  # type: ignore[method-assign, assignment, return-value]
            await client.check()
            client.peer.start()
            await until(lambda: server.counts.ended)
            assert server.counts.ended == ["crashed"]
            assert [type(p["exception"]) for p in problems] == [ZeroDivisionError]

    run(scenario())


@pytest.mark.parametrize("nominate", [False, True])
def test_a_client_whose_first_path_is_one_way_is_answered_on_the_other(nominate: bool) -> None:
    async def scenario() -> None:
        async with running() as server, calling(server, "active") as (client, session):
            first, second = client.current, client.open()
            client.loop.remove_reader(first.fileno())
            first.sendto(client.request(nominate=nominate, priority=2000), server.endpoint)
            await until(lambda: session.remote == client.endpoint(0))
            sent: list[tuple[PacketKind, Endpoint]] = []
            send = server.mux.send

            def watch(datagram: bytes, to: Endpoint) -> None:
                sent.append((classify_untrusted(datagram), to))
                send(datagram, to)

            server.mux.send = watch  # type: ignore[method-assign]
            client.current = second
            await client.check(via=1, priority=1000)
            client.peer.start()
            async with asyncio.timeout(PATIENCE_S):
                await client.heard.wait()
            first.sendto(client.request(nominate=nominate, priority=2000), server.endpoint)
            client.speak()
            await until(lambda: client.heard_at[1] > 5)
            behind = [kind for kind, to in sent if to == client.endpoint(0)]
            assert set(behind) <= {PacketKind.STUN}

    run(scenario())


# Spare paths


def test_a_client_that_falls_silent_is_heard_from_at_its_spare_addresses_as_well() -> None:
    async def scenario() -> None:
        async with running() as server, calling(server) as (client, session):
            await client.connect()
            client.open()
            await client.check(via=1)
            assert session.remote == client.endpoint(0)
            client.speak()
            await until(lambda: session.audio_stats.packets_received)
            assert client.heard_at[1] == 0
            client.loop.remove_reader(client.sockets[0].fileno())  # whatever is sent there is lost
            await until(lambda: client.heard_at[1] >= 3)
            assert session.remote == client.endpoint(0), "nobody has moved"

    run(scenario())


def test_nothing_goes_to_a_spare_address_that_has_become_another_session_s() -> None:
    async def scenario() -> None:
        async with running() as server, calling(server) as (client, session):
            await client.connect()
            client.open()
            await client.check(via=1)
            client.speak()
            await until(lambda: session.audio_stats.packets_received)
            client.loop.remove_reader(client.sockets[0].fileno())
            await until(lambda: client.heard_at[1])
            spare = client.sockets[1]
            with contextlib.suppress(BlockingIOError):
                while True:
                    spare.recv(2048)
            session.contact.lose(client.endpoint(1))
            session.end("hangup")
            with pytest.raises(BlockingIOError):
                spare.recv(2048)

    run(scenario())


def test_spare_addresses_are_checked_and_only_the_client_s_answer_counts() -> None:
    async def scenario() -> None:
        async with running() as server, calling(server) as (client, session):
            await client.connect()
            client.is_answering = False
            client.open()
            await client.check(via=1)
            await until(lambda: client.received)
            check = stun.parse_untrusted(client.received[-1])
            assert check.get(Attribute.USERNAME) == f"{CLIENT_UFRAG}:{session.answer.ufrag}".encode()
            assert check.is_authentic(client.offer.password.encode())
            mapped = stun.encode_xor_address(server.endpoint, check.transaction_id)
            said = [(Attribute.XOR_MAPPED_ADDRESS, mapped)]
            for password in (b"q" * 24, client.offer.password.encode(), client.offer.password.encode()):
                client.sockets[1].sendto(
                    stun.encode(MessageType.BINDING_RESPONSE, check.transaction_id, said, password),
                    server.endpoint,
                )
            await until(lambda: server.counts.refused["ice_unasked_response"] == 2)
            assert session.contact.is_proven(client.endpoint(1))
            assert session.remote == client.endpoint(0)

    run(scenario())
