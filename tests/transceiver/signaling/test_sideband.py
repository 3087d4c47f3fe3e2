"""transceiver.signaling.sideband: a server watches and steers a call, by whichever process it reaches."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from core.service.metrics import Series
from tests.transceiver.descriptions import CHROMIUM
from tests.transceiver.host_kit import CALLS, Host
from tests.transceiver.net import calling, running, until
from tests.transceiver.signaling.kit import JSON, ORIGIN
from tests.transceiver.signaling.sidebands import (
    KEY,
    PATIENCE_S,
    event,
    refused,
    run,
    sideband,
    update,
)
from transceiver.observer import NullObserver
from transceiver.session.hub import MAX_WATCHERS
from transceiver.session.session import Session
from transceiver.signaling.calls import IS_LIMITED
from transceiver.signaling.outbox import MAX_CHARS
from transceiver.signaling.sideband import Sidebands

EIGHT = range(8)
"""Connections: that all go to the one process that owns the call happens once in 256 runs, and harms none."""


def test_a_server_sees_the_session_and_steers_it_through_either_process(host: Host, call: str) -> None:
    async def scenario() -> None:
        for number in EIGHT:
            async with sideband(host, call) as socket:
                created = await event(socket, "session.created")
                assert created["session"]["id"] == call.removeprefix(CALLS + "/")
                detection = {"type": "server_vad", "silence_duration_ms": 300 + 20 * number}
                await update(socket, audio={"input": {"turn_detection": detection}})
                updated = await event(socket, "session.updated")
                taken = updated["session"]["audio"]["input"]["turn_detection"]
                assert taken["silence_duration_ms"] == detection["silence_duration_ms"]

    run(scenario())


def test_several_watch_at_once_and_each_sees_what_another_does(host: Host, call: str) -> None:
    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            sockets = [await stack.enter_async_context(sideband(host, call)) for _ in range(MAX_WATCHERS)]
            for socket in sockets:
                await event(socket, "session.created")
            assert await refused(host, call) == 429
            await update(sockets[0], audio={"input": {"turn_detection": None}})
            for socket in sockets:
                updated = await event(socket, "session.updated")
                assert updated["session"]["audio"]["input"]["turn_detection"] is None
        async with sideband(host, call) as socket:
            created = await event(socket, "session.created")
            assert created["session"]["audio"]["input"]["turn_detection"] is None, "as it is by now"

    run(scenario())


def test_it_ends_with_the_call(host: Host) -> None:
    async def scenario() -> None:
        for _ in EIGHT:
            path = host.call(CHROMIUM)
            async with sideband(host, path) as socket:
                await event(socket, "session.created")
                await asyncio.to_thread(host.request, "DELETE", path)
                message = await socket.receive(timeout=PATIENCE_S)
                assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1000)
                assert message.extra == "the call has ended"

    run(scenario())


def test_a_mistake_is_told_to_who_made_it_and_the_call_goes_on(host: Host, call: str) -> None:
    async def scenario() -> None:
        for _ in EIGHT:
            async with sideband(host, call) as socket:
                for text in ("no", "[]", "{}"):
                    await socket.send_str(text)
                    assert (await event(socket, "error"))["error"]["code"] == "invalid_event"
                await socket.send_bytes(json.dumps({"type": "session.update", "session": {}}).encode())
                await event(socket, "session.updated")

    run(scenario())


@pytest.mark.parametrize(
    ("key", "headers", "protocols", "selected"),
    [
        ("alice", {}, (), None),
        ("alice", {}, ("realtime",), "realtime"),
        (None, {"api-key": "alice"}, (), None),
        (None, {}, ("realtime", KEY + "alice"), "realtime"),
        (None, {}, ("openai-agents-sdk.0.20.0", KEY + "alice", "realtime"), "realtime"),
    ],
    ids=["bearer", "bearer and protocol", "azure", "browser", "agents"],
)
def test_a_key_comes_in_any_of_the_ways_that_clients_have(
    host: Host,
    call: str,
    key: str | None,
    headers: dict[str, str],
    protocols: tuple[str, ...],
    selected: str | None,
) -> None:
    alice = host.keys["alice"]
    sent = {name: alice if value == "alice" else value for name, value in headers.items()}
    offered = tuple(each.replace(KEY + "alice", KEY + alice) for each in protocols)

    async def scenario() -> None:
        for _ in EIGHT:
            async with sideband(host, call, key, sent, offered) as socket:
                assert socket.protocol == selected
                await event(socket, "session.created")

    run(scenario())
    assert alice not in "".join(host.log)


def test_who_may_not_is_told_so_before_anything_opens(host: Host, call: str) -> None:
    bob, nowhere = host.keys["bob"], CALLS + "/rtc_0-" + "A" * 50

    async def scenario() -> None:
        for _ in range(4):
            assert await refused(host, call, key=None) == 401
            assert await refused(host, call, key="ek_x") == 401
            assert await refused(host, call, None, None, ("realtime", KEY + "vpk_x")) == 401
            assert await refused(host, call, None, {"api-key": "vpk_x"}) == 401
            assert await refused(host, call, key="bob") == 404, "it is alice's"
            assert await refused(host, call, None, None, ("realtime", KEY + bob)) == 404
            assert await refused(host, nowhere) == 404
            assert await refused(host, call, "alice", {"Origin": "https://other.example"}) == 403
        assert await refused(host, call, None, None, (KEY + host.keys["alice"],)) == 400
        async with sideband(host, call, "alice", {"Origin": ORIGIN}) as socket:
            await event(socket, "session.created")

    run(scenario())
    log = "".join(host.log)
    assert not any(key in log for key in host.keys.values()), "a list of subprotocols has the key in it"


def test_what_is_no_websocket_for_a_call_is_told_what_to_do(host: Host, call: str) -> None:
    plain = host.request("GET", f"/v1/realtime?call_id={call.removeprefix(CALLS + '/')}")
    assert (plain.status, plain.code, plain.headers["Upgrade"]) == (426, "http_no_upgrade", "websocket")

    async def scenario() -> None:
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {host.keys['alice']}"}) as client:
            for query in ("", "?model=gpt-realtime", "?call_id="):
                with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                    await client.ws_connect(f"http://127.0.0.1:{host.http}/v1/realtime{query}")
                assert caught.value.status == (404 if query == "?call_id=" else 400)

    run(scenario())


def test_a_client_secret_watches_under_the_permissions_of_the_call(host: Host, call: str) -> None:
    """Else a page could go round them by a WebSocket of its own."""
    value = json.loads(host.request("POST", "/v1/realtime/client_secrets", "{}", JSON).body)["value"]

    async def scenario() -> None:
        lists = {"allowed_client_events": ["session.update"], "allowed_server_events": ["error"]}
        async with sideband(host, call) as server:
            await update(server, client={"data_channel": lists})
            updated = await event(server, "session.updated")
            assert "client" not in updated["session"]
            for _ in EIGHT:
                async with sideband(host, call, None, None, ("realtime", KEY + value)) as page:
                    await update(page, client=None)
                    first = json.loads(await page.receive_str(timeout=PATIENCE_S))["error"]
                    assert (first["code"], first["event_id"]) == ("event_not_allowed", "mine")
                    await page.send_str('{"type": "response.cancel", "event_id": "other"}')
                    second = json.loads(await page.receive_str(timeout=PATIENCE_S))["error"]
                    assert (second["code"], second["event_id"]) == ("event_not_allowed", "other")
                    await update(page)
                    await event(server, "session.updated")

    run(scenario())


# With a session in this very process


class Counts(NullObserver):
    def __init__(self) -> None:
        self.ends: Counter[str] = Counter()

    def count(self, event: Series, *row: str) -> None:
        self.ends.update(row)


class OneCall:
    """In place of `Calls`: every caller's, and here."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def own_session(self, request: web.Request, session_id: str) -> Session:
        request[IS_LIMITED] = False
        return self.session


@asynccontextmanager
async def served(session: Session, counts: Counts, heartbeat_s: float) -> AsyncIterator[str]:
    calls = OneCall(session)
    sidebands = Sidebands(calls, counts, heartbeat_s)  # type: ignore[arg-type]
    app = web.Application()
    app.router.add_get("/", sidebands.open)
    async with TestServer(app) as server:
        yield f"{server.make_url('/')}?call_id=x"


def test_one_that_does_not_read_is_dropped_and_the_others_get_everything() -> None:
    async def scenario() -> None:
        counts = Counts()
        async with (
            running() as server,
            calling(server) as (_, session),
            served(session, counts, 60.0) as where,
            aiohttp.ClientSession() as client,
            client.ws_connect(where, max_msg_size=0) as quick,
            client.ws_connect(where) as slow,
        ):
            for socket in (quick, slow):
                await socket.receive_str(timeout=PATIENCE_S)
            text, sent = "x" * 65_536, 0
            while not counts.ends:
                session._emit({"type": "x", "n": sent, "text": text})
                assert json.loads(await quick.receive_str(timeout=PATIENCE_S))["n"] == sent
                sent += 1
            assert counts.ends == {"too_slow": 1}
            assert sent * len(text) > MAX_CHARS
            session._emit({"type": "x", "n": sent})
            assert json.loads(await quick.receive_str(timeout=PATIENCE_S))["n"] == sent

    run(scenario())


def test_one_that_answers_no_ping_is_let_go() -> None:
    async def scenario() -> None:
        counts = Counts()
        async with (
            running() as server,
            calling(server) as (_, session),
            served(session, counts, 0.2) as where,
            aiohttp.ClientSession() as client,
            client.ws_connect(where, autoping=False) as silent,
            client.ws_connect(where) as alive,
        ):
            reading = asyncio.create_task(_read_all(silent))
            answering = asyncio.create_task(_read_all(alive))
            await until(lambda: bool(counts.ends))
            assert counts.ends == {"closed": 1}
            await reading
            assert not answering.done()
            assert session.events.is_watched
            answering.cancel()

    run(scenario())


async def _read_all(socket: aiohttp.ClientWebSocketResponse) -> None:
    async for _ in socket:
        pass


def test_a_call_without_a_channel_is_watched_and_steered_too() -> None:
    async def scenario() -> None:
        counts = Counts()
        async with (
            running() as server,
            calling(server, has_channel=False) as (client_of_call, session),
            served(session, counts, 60.0) as where,
            aiohttp.ClientSession() as client,
        ):
            await client_of_call.connect()
            async with client.ws_connect(where) as socket:
                assert (await socket.receive_json(timeout=PATIENCE_S))["type"] == "session.created"
                await socket.send_json({"type": "response.cancel"})
                assert (await socket.receive_json(timeout=PATIENCE_S))["type"] == "echo.response.cancel"
            await until(lambda: counts.ends == {"closed": 1})
            assert session.event_stats.dropped == 0

    run(scenario())


def test_the_last_words_of_a_session_are_told() -> None:
    async def scenario() -> None:
        counts = Counts()
        async with (
            running() as server,
            calling(server) as (_, session),
            served(session, counts, 60.0) as where,
            aiohttp.ClientSession() as client,
            client.ws_connect(where) as socket,
        ):
            await socket.receive_str(timeout=PATIENCE_S)
            server.manager.close(session, "drained")
            last = await socket.receive_json(timeout=PATIENCE_S)
            assert last["error"]["code"] == "server_shutting_down"
            closing = await socket.receive(timeout=PATIENCE_S)
            assert (closing.type, closing.data) == (aiohttp.WSMsgType.CLOSE, 1000)
            await until(lambda: counts.ends == {"call_ended": 1})

    run(scenario())
