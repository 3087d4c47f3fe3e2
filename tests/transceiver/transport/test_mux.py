"""The shared port: whose a datagram is, and that nothing is answered which should not be."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import stun
from core.addr import Endpoint, from_sockaddr
from core.errors import UnavailableError
from core.stun import Attribute, Message, MessageType
from tests.pcap import CAPTURES, read_datagrams
from tests.transceiver.net import KEYRING, Counts, calling, running, until
from transceiver.transport.mux import (
    MAX_DATAGRAM_BYTES,
    MAX_OFFERS,
    READS_PER_WAKE_UP,
    Mux,
    open_udp_port,
)

UFRAG = "AbCdEfGhIjKlMnOpQrStUvWxYz01"
RTP = b"\x80\x6f" + bytes(6) + b"SSRC" + bytes(40)
RTCP = b"\x80\xc8\x00\x06" + b"SSRC" + bytes(40)
DTLS = b"\x16\xfe\xfd" + bytes(30)


@dataclass
class Inbox:
    """A receiver that keeps what it gets, and finds media authentic or not as it is told."""

    is_authentic: bool = True
    is_there: bool = True
    checks: list[Endpoint] = field(default_factory=list)
    answers: list[Endpoint] = field(default_factory=list)
    dtls: list[bytes] = field(default_factory=list)
    media: list[tuple[bytes, Endpoint]] = field(default_factory=list)
    lost: list[Endpoint] = field(default_factory=list)

    def receive_check_untrusted(self, message: Message, source: Endpoint, now_ns: int) -> None:
        self.checks.append(source)

    def receive_answer_untrusted(self, message: Message, source: Endpoint, now_ns: int) -> None:
        self.answers.append(source)

    def receive_dtls_untrusted(self, datagram: bytes, source: Endpoint, now_ns: int) -> None:
        self.dtls.append(datagram)

    def receive_media_untrusted(self, datagram: bytes, source: Endpoint, now_ns: int) -> bool:
        self.media.append((datagram, source))
        return self.is_authentic

    def holds(self, endpoint: Endpoint, now_ns: int) -> bool:
        return self.is_there

    def lose(self, endpoint: Endpoint) -> None:
        self.lost.append(endpoint)


@dataclass
class Setting:
    """A mux, its counts, and a stranger's socket."""

    mux: Mux
    counts: Counts
    stranger: socket.socket

    @property
    def source(self) -> Endpoint:
        return from_sockaddr(self.stranger.getsockname())

    async def send(self, *datagrams: bytes) -> None:
        """Send, and wait until all of it has been looked at."""
        expected = self.mux.stats.packets_received + len(datagrams)
        host = "::1" if self.stranger.family == socket.AF_INET6 else "127.0.0.1"
        for datagram in datagrams:
            self.stranger.sendto(datagram, (host, self.mux.port))
        await until(lambda: self.mux.stats.packets_received == expected)


@asynccontextmanager
async def setting(address: str = "127.0.0.1") -> AsyncIterator[Setting]:
    counts = Counts()
    mux = Mux(open_udp_port([address], 0), counts)
    with socket.socket(Endpoint(address, 1).af, socket.SOCK_DGRAM) as stranger:
        stranger.bind((address, 0))
        stranger.setblocking(False)
        try:
            yield Setting(mux, counts, stranger)
            with pytest.raises(BlockingIOError):
                stranger.recv(2048)  # the mux itself answers nothing, ever
        finally:
            mux.close()


def request(ufrag: str = UFRAG) -> bytes:
    attributes: list[tuple[int, bytes]] = [
        (Attribute.SOFTWARE, b"before"),
        (Attribute.USERNAME, f"{ufrag}:peer".encode()),
    ]
    return stun.encode(MessageType.BINDING_REQUEST, os.urandom(12), attributes, b"x" * 32)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_stun_goes_by_ufrag_and_the_rest_by_address(address: str) -> None:
    async def scenario() -> None:
        async with setting(address) as at:
            session = Inbox()
            at.mux.register(UFRAG, session)
            await at.send(request(), DTLS, RTP)
            assert session.checks == [at.source]
            assert (session.dtls, session.media) == ([], [])
            assert at.counts.refused == {"unknown_address": 2}
            assert at.mux.claim(at.source, session, 0)
            await at.send(DTLS, RTP, RTCP)
            assert session.dtls == [DTLS]
            assert session.media == [(RTP, at.source), (RTCP, at.source)]

    asyncio.run(scenario())


REFUSED = {
    "nothing": (b"", "datagram_empty"),
    "too long": (b"\x80" * MAX_DATAGRAM_BYTES, "datagram_too_long"),
    "much too long": (b"\x80" * 60_000, "datagram_too_long"),
    "no protocol": (b"\x05hello", "datagram_of_no_protocol"),
    "QUIC": (b"\xc0" + bytes(1200), "datagram_of_no_protocol"),
    "RTP of a stranger": (RTP, "unknown_address"),
    "RTP of one byte": (b"\x80", "unknown_address"),
    "RTCP of a stranger": (RTCP, "unknown_address"),
    "DTLS of a stranger": (DTLS, "unknown_address"),
    "another's ufrag": (request("x" * 28), "unknown_ufrag"),
    "short ufrag": (request("abcd"), "unknown_ufrag"),
    "STUN indication of libnice": (
        stun.encode(MessageType.BINDING_INDICATION, bytes(12), []),
        "stun_without_username",
    ),
    "STUN answer of a stranger": (
        stun.encode(MessageType.BINDING_RESPONSE, bytes(12), [], b"p" * 24),
        "stun_without_username",
    ),
    "STUN scan": (stun.encode(MessageType.BINDING_REQUEST, bytes(12), []), "stun_without_username"),
    "STUN cut": (request()[:-1], "stun_bad_length"),
    "STUN header cut": (request()[:10], "stun_truncated"),
    "STUN with another cookie": (b"\0\1\0\0" + bytes(16), "stun_bad_cookie"),
    "STUN with a wrong CRC": (request()[:-1] + bytes([request()[-1] ^ 1]), "stun_bad_fingerprint"),
}


def test_an_answer_to_a_check_of_ours_goes_by_its_transaction_wherever_it_comes_from() -> None:
    async def scenario() -> None:
        async with setting() as at:
            other, session = Inbox(), Inbox()
            locators = at.mux.locate(other), at.mux.locate(session)
            assert at.mux.routes == 2
            transaction_id = locators[1] + bytes(9)
            assert at.mux.claim(at.source, other, 0)
            for kind in (MessageType.BINDING_RESPONSE, MessageType.BINDING_ERROR):
                await at.send(stun.encode(kind, transaction_id, [], b"p" * 24))
            await at.send(stun.encode(MessageType.BINDING_INDICATION, transaction_id, []))
            assert (session.answers, other.answers) == ([at.source] * 2, [])
            assert at.counts.refused == {"stun_without_username": 1}
            for locator in locators:
                at.mux.forget_locator(locator)
            await at.send(stun.encode(MessageType.BINDING_RESPONSE, transaction_id, [], b"p" * 24))
            assert len(session.answers) == 2

    asyncio.run(scenario())


def test_locators_are_nobody_else_s_when_their_numbers_begin_anew() -> None:
    async def scenario() -> None:
        async with setting() as at:
            first = at.mux.locate(Inbox())
            at.mux._next_locator = (1 << 24) - 1
            others = [at.mux.locate(Inbox()) for _ in range(3)]
            assert len({first, *others}) == 4

    asyncio.run(scenario())


@pytest.mark.parametrize(("datagram", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_nobody_s_is_dropped_in_silence_and_counted_once(datagram: bytes, reason: str) -> None:
    async def scenario() -> None:
        async with setting() as at:
            at.mux.register(UFRAG, Inbox())
            await at.send(datagram)
            assert at.counts.refused == {reason: 1}
            assert at.mux.stats.packets_sent == 0

    asyncio.run(scenario())


def test_strangers_get_no_answer_from_a_whole_process_whatever_they_send() -> None:
    """All captured datagrams of other servers' calls, and checks of a live session with a wrong password."""

    async def scenario() -> None:
        async with running() as server, calling(server) as (client, session):
            stranger = client.open()
            stolen = stun.encode(
                MessageType.BINDING_REQUEST,
                bytes(12),
                [(Attribute.USERNAME, f"{session.answer.ufrag}:{client.endpoint(0)}".encode())],
                KEYRING.ice_password(3, b"another ufrag"),
            )
            captured = [d.payload for d in read_datagrams(CAPTURES / "chromium-lite.pcap")]
            for number, datagram in enumerate([stolen, *captured], 1):
                stranger.sendto(datagram, server.endpoint)
                if number % 20 == 0:
                    await until(lambda n=number: server.mux.stats.packets_received >= n)  # type: ignore[misc]
            await until(lambda: server.mux.stats.packets_received == 1 + len(captured))
            assert sum(server.counts.refused.values()) == 1 + len(captured)
            assert server.counts.refused["ice_wrong_username"] == 1
            assert server.mux.stats.packets_sent == 0
            assert session.remote is None

    asyncio.run(scenario())


@given(st.binary(max_size=100))
def test_no_datagram_disturbs_the_loop(datagram: bytes) -> None:
    async def scenario() -> None:
        async with setting() as at:
            session = Inbox()
            at.mux.register(UFRAG, session)
            at.mux.claim(at.source, session, 0)
            await at.send(datagram, request())
            assert session.checks

    asyncio.run(scenario())


def test_more_than_one_wake_up_s_worth_is_read_too() -> None:
    async def scenario() -> None:
        async with setting() as at:
            session = Inbox()
            at.mux.claim(at.source, session, 0)
            await at.send(*[RTP] * (2 * READS_PER_WAKE_UP + 3))
            assert len(session.media) == 2 * READS_PER_WAKE_UP + 3

    asyncio.run(scenario())


def test_an_address_changes_hands_only_when_its_session_s_client_is_not_there() -> None:
    async def scenario() -> None:
        async with setting() as at:
            first, second = Inbox(), Inbox()
            assert at.mux.claim(at.source, first, 0)
            assert at.mux.claim(at.source, first, 0)
            assert not at.mux.claim(at.source, second, 0)
            await at.send(DTLS)
            assert (len(first.dtls), len(second.dtls), first.lost) == (1, 0, [])
            first.is_there = False
            assert at.mux.claim(at.source, second, 0)
            assert first.lost == [at.source]
            await at.send(DTLS)
            assert (len(first.dtls), len(second.dtls)) == (1, 1)
            # What the first gives back is not its own any more.
            at.mux.release([at.source], first)
            await at.send(DTLS)
            assert len(second.dtls) == 2
            at.mux.release([at.source], second)
            assert at.mux.routes == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("packet", [RTP, RTCP])
def test_media_from_an_unknown_address_is_offered_to_the_session_with_its_ssrc(packet: bytes) -> None:
    async def scenario() -> None:
        async with setting() as at:
            session, late = Inbox(), Inbox()
            at.mux.learn_ssrc(b"SSRC", session)
            at.mux.learn_ssrc(b"SSRC", late)  # who comes second cannot draw it away
            await at.send(packet, DTLS)
            assert session.media == [(packet, at.source)]
            assert late.media == []
            assert at.counts.refused == {"unknown_address": 1}
            at.mux.forget_ssrc(b"SSRC", late)
            await at.send(packet)
            assert len(session.media) == 2
            at.mux.forget_ssrc(b"SSRC", session)
            await at.send(packet)
            assert len(session.media) == 2
            assert at.mux.routes == 0

    asyncio.run(scenario())


def test_media_is_offered_to_all_that_share_its_ssrc_until_one_knows_it() -> None:
    """Some devices all send the same SSRC; whose a packet is, its authentication tag says."""

    async def scenario() -> None:
        async with setting() as at:
            strangers = [Inbox(is_authentic=False) for _ in range(3)]
            genuine, last = Inbox(), Inbox()
            for session in (*strangers, genuine, last):
                at.mux.learn_ssrc(b"SSRC", session)
            assert at.mux.routes == 5
            await at.send(RTP)
            assert [len(s.media) for s in (*strangers, genuine, last)] == [1, 1, 1, 1, 0]
            await at.send(RTP)  # whom it was not for is asked last
            assert [len(s.media) for s in (*strangers, genuine, last)] == [1, 1, 1, 2, 0]
            for session in (last, *strangers, genuine):
                at.mux.forget_ssrc(b"SSRC", session)
            assert at.mux.routes == 0

    asyncio.run(scenario())


def test_a_datagram_is_offered_to_a_bounded_number_and_all_have_their_turn() -> None:
    async def scenario() -> None:
        async with setting() as at:
            sessions = [Inbox(is_authentic=False) for _ in range(3 * MAX_OFFERS)]
            for session in sessions:
                at.mux.learn_ssrc(b"SSRC", session)
            for turn in range(1, 7):
                await at.send(RTP)
                assert sum(len(s.media) for s in sessions) == turn * MAX_OFFERS
            assert {len(s.media) for s in sessions} == {2}

    asyncio.run(scenario())


def test_media_that_is_not_its_address_owner_s_is_offered_by_ssrc() -> None:
    """A NAT has given a port of one client to another, whose call is known by its SSRC alone."""

    async def scenario() -> None:
        async with setting() as at:
            owner, other = Inbox(is_authentic=False), Inbox()
            at.mux.claim(at.source, owner, 0)
            at.mux.learn_ssrc(b"SSRC", other)
            await at.send(RTP)
            assert (len(owner.media), len(other.media)) == (1, 1)
            owner.is_authentic = True
            await at.send(RTP)
            assert (len(owner.media), len(other.media)) == (2, 1)

    asyncio.run(scenario())


def test_what_cannot_be_sent_is_counted_by_cause() -> None:
    async def scenario() -> None:
        async with setting() as at:
            at.mux.send(b"x", Endpoint("::1", 9))
            at.mux.send(b"x", Endpoint("255.255.255.255", 9))
            at.mux.send(bytes(70_000), at.source)
            assert at.mux.stats.send_errors == {"EAFNOSUPPORT": 1, "EACCES": 1, "EMSGSIZE": 1}
            assert (at.mux.stats.packets_sent, at.mux.stats.bytes_sent) == (0, 0)

    asyncio.run(scenario())


def test_counters_and_buffers() -> None:
    async def scenario() -> None:
        async with setting() as at:
            receiver = next(iter(at.mux._sockets.values()))
            assert receiver.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) > 200_000
            await at.send(RTP, DTLS)
            assert at.mux.stats.bytes_received == len(RTP) + len(DTLS)
            assert at.mux.kernel_drops == 0
            receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
            for _ in range(200):
                at.stranger.sendto(bytes(1000), ("127.0.0.1", at.mux.port))
            assert at.mux.kernel_drops > 0

    asyncio.run(scenario())


def test_one_port_number_serves_both_families() -> None:
    opened = open_udp_port(["127.0.0.1", "::1"], 0)
    ports = {s.getsockname()[1] for s in opened}
    assert len(ports) == 1
    with pytest.raises(UnavailableError, match=f"127.0.0.1:{ports.pop()}.*in use"):
        open_udp_port(["127.0.0.1"], opened[0].getsockname()[1])
    for sock in opened:
        sock.close()


def test_an_address_that_is_not_ours_is_named() -> None:
    with pytest.raises(UnavailableError, match=r"\[2001:db8::1\]"):
        open_udp_port(["127.0.0.1", "2001:db8::1"], 0)


def test_sockets_that_were_inherited_by_number_work() -> None:
    async def scenario() -> None:
        (opened,) = open_udp_port(["127.0.0.1"], 0)
        counts = Counts()
        mux = Mux([socket.socket(fileno=os.dup(opened.fileno()))], counts)
        opened.close()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b"\x05", ("127.0.0.1", mux.port))
            await until(lambda: counts.refused)
        mux.close()
        mux.close()

    asyncio.run(scenario())
