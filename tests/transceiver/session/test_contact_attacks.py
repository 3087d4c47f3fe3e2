"""What was tried on calls by who overhears one, or has one of their own, over real sockets.
tests/transceiver/transport/test_paths_attacks.py has many more of it, in virtual time.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import pytest

from core.addr import Endpoint, from_sockaddr
from tests.pcap import CAPTURES, read_datagrams
from tests.tones import voice
from tests.transceiver.net import PATIENCE_S, SETTINGS, Client, Server, calling, running, until
from transceiver.media import FRAME_MS
from transceiver.observer import EndReason
from transceiver.session.session import Session
from transceiver.transport.certificate import Certificate
from transceiver.transport.peer import Peer

SPEECH = voice(500.0, FRAME_MS / 1000).tobytes()


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(coroutine)


class Victim:
    """An address that packets seem to come from, and what comes there."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.endpoint: Endpoint = from_sockaddr(self._socket.getsockname())
        self.sent = 0
        self.received = 0

    def send(self, datagram: bytes) -> None:
        self.sent += len(datagram)
        self._socket.sendto(datagram, self._server.endpoint)

    @property
    def amplification(self) -> float:
        with suppress(BlockingIOError):
            while True:
                self.received += len(self._socket.recv(2048))
        return self.received / self.sent

    def close(self) -> None:
        self._socket.close()


@contextmanager
def victim(server: Server) -> Any:
    found = Victim(server)
    try:
        yield found
    finally:
        found.close()


@asynccontextmanager
async def talking(server: Server) -> AsyncIterator[tuple[Client, Session, list[bytes]]]:
    """A call that is set up and has talked, and the checks of it that were overheard."""
    async with calling(server) as (client, session):
        overheard: list[bytes] = []
        request = client.request

        def overhear(*args: Any, **how: Any) -> bytes:
            overheard.append(request(*args, **how))
            return overheard[-1]

        client.request = overhear  # type: ignore[method-assign]
        await client.connect()
        await talk(client, 0.2)
        await until(lambda: session.audio_stats.packets_received)
        yield client, session, overheard


async def talk(client: Client, seconds: float) -> None:
    for _ in range(round(seconds * 1000 / FRAME_MS)):
        client.speak(SPEECH)
        await asyncio.sleep(FRAME_MS / 1000)


def test_a_replayed_check_does_not_silence_a_caller_who_was_silent_for_a_moment() -> None:
    async def scenario() -> None:
        async with running() as server, talking(server) as (client, session, overheard):
            with victim(server) as thief:
                await asyncio.sleep(0.7)
                for _ in range(4):
                    thief.send(overheard[0])
                    await asyncio.sleep(0.05)
                    client.speak(SPEECH)
                client.heard_at.clear()
                for _ in range(5):
                    thief.send(overheard[0])
                    await talk(client, 0.1)
                assert client.heard_at[0] >= 20
                assert session.remote == client.endpoint(0)
                assert thief.amplification <= 3

    run(scenario())


@pytest.mark.parametrize("is_speaking", [True, False])
def test_a_call_cannot_be_aimed_at_an_address_that_does_not_answer(is_speaking: bool) -> None:
    """With the credentials of the call."""

    async def scenario() -> None:
        async with running() as server, talking(server) as (client, _, _):
            with victim(server) as stranger:
                stranger.send(client.request(nominate=True, priority=99_999))
                if is_speaking:
                    await talk(client, 1.0)
                else:
                    await asyncio.sleep(1.0)
                assert stranger.amplification <= 3

    run(scenario())


def test_a_hello_behind_a_forged_source_is_answered_with_three_bytes_for_one() -> None:
    async def scenario() -> None:
        async with running() as server, calling(server) as (client, _):
            client.loop.remove_reader(client.current.fileno())
            with victim(server) as stranger:
                client.send = stranger.send  # type: ignore[method-assign]
                stranger.send(client.request())
                client.peer.start()
                await asyncio.sleep(1.2)
                assert 0 < stranger.amplification <= 3

    run(scenario())


def test_a_caller_who_is_gone_cannot_be_replayed_towards_a_stranger() -> None:
    async def scenario() -> None:
        async with running() as server, talking(server) as (_, session, overheard):
            await asyncio.sleep(0.7)
            replayed_ns = time.monotonic_ns()
            with victim(server) as stranger:
                stranger.send(overheard[0])
                await asyncio.sleep(0.7)
                assert stranger.amplification <= 3
            silence_ns = int(SETTINGS.silence_timeout_s * 1e9)
            assert session.find_end(replayed_ns + silence_ns) is EndReason.SILENT

    run(scenario())


class Hello:
    """A DTLS client's end of a stranger, whose ClientHello is all that it has."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send_dtls(self, datagram: bytes) -> None:
        self.sent.append(datagram)

    def __getattr__(self, name: str) -> Any:
        return lambda *args: None


@pytest.mark.parametrize("setup", ["active", "passive"])
@pytest.mark.parametrize("is_replayed", [True, False])
def test_a_stranger_s_hello_comes_first_and_the_call_is_made_all_the_same(
    setup: str, is_replayed: bool
) -> None:
    """And rubbish, and the end of a handshake, from an address that a check was replayed from, and from the
    first address that was ever heard.
    """

    async def scenario() -> None:
        async with running() as server, calling(server, setup) as (client, session):
            check = client.request()
            hello = Hello()
            stranger_s = Peer(Certificate.generate(), "client", [client.answer.fingerprint], hello, None)
            stranger_s.start()
            await until(lambda: hello.sent)
            captured = [d.payload for d in read_datagrams(CAPTURES / "firefox-lite.pcap")]
            rubbish = [each for each in captured if each[0] == 22]
            with victim(server) as stranger:
                if is_replayed:
                    client.send(check)
                stranger.send(check)
                for datagram in (*hello.sent, *rubbish, b"\x15\xfe\xfd" + bytes(10) + b"\x02\x02\x28"):
                    stranger.send(datagram)
                await asyncio.sleep(0.1)
                await client.connect()
                await talk(client, 0.2)
                assert server.counts.ended == []
                assert session.remote == client.endpoint(0)
                assert stranger.amplification <= 3
            await stranger_s.close()

    run(scenario())


def test_hellos_by_the_hundred_make_no_more_than_a_few_handshakes() -> None:
    async def scenario() -> None:
        async with running() as server, calling(server) as (client, session):
            hellos = []
            for _ in range(12):
                hello = Hello()
                peer = Peer(Certificate.generate(), "client", [client.answer.fingerprint], hello, None)
                peer.start()
                await until(lambda h=hello: h.sent)  # type: ignore[misc]
                hellos.append(hello.sent[0])
                await peer.close()
            with victim(server) as stranger:
                stranger.send(client.request())
                for hello_bytes in itertools.chain.from_iterable(itertools.repeat(hellos, 10)):
                    stranger.send(hello_bytes)
                await until(lambda: server.counts.refused["dtls_unasked_handshake"] > 50)
                assert session.contact._handshakes is not None
                assert len(session.contact._handshakes._going) <= 3
                await client.connect()
                assert stranger.amplification <= 3

    run(scenario())


def test_a_thief_with_a_call_of_their_own_cannot_take_an_address_though_its_caller_is_silent() -> None:
    """Nor keep what they had of it: the caller's own media is no sign of theirs."""

    async def scenario() -> None:
        async with (
            running() as server,
            talking(server) as (client, session, _),
            calling(server) as (thief, _),
        ):
            await asyncio.sleep(5.2)
            client.heard_at.clear()
            for _ in range(30):
                client.sockets[0].sendto(thief.request(nominate=True), server.endpoint)
                await asyncio.sleep(0.05)
            assert session.remote == client.endpoint(0)
            assert client.heard_at[0] >= 50
            assert client.received == [], "the thief's checks were not answered"
            assert server.counts.refused["address_in_use"] == 30

    run(scenario())


def test_a_second_client_behind_one_nat_gets_a_dead_call_s_port_within_two_seconds() -> None:
    """At once where that call has ended."""

    async def scenario() -> None:
        async with (
            running() as server,
            talking(server) as (client, session, _),
            calling(server) as (second, other),
        ):
            client.is_answering = False  # it has vanished, and its port is another's
            began = time.monotonic()
            checks = 0
            while other.remote != client.endpoint(0):
                client.sockets[0].sendto(second.request(nominate=True), server.endpoint)
                checks += 1
                await asyncio.sleep(0.1)
                assert time.monotonic() - began < PATIENCE_S
            assert checks <= 16, "1 s and a check; the rest is the machine's"
            assert session.remote is None
            async with calling(server) as (third, last):
                server.manager.close(other, "hangup")
                client.sockets[0].sendto(third.request(nominate=True), server.endpoint)
                await until(lambda: last.remote == client.endpoint(0))
                assert server.counts.refused["address_in_use"] < checks

    run(scenario())
