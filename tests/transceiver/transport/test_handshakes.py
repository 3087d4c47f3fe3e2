"""Handshakes with real ends of DTLS, and a network that is a list of what was sent where."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from enum import StrEnum
from typing import Any, Literal

import pytest

from core.addr import Endpoint
from tests.pcap import CAPTURES, read_datagrams
from tests.transceiver.net import until
from tests.transceiver.transport.ice_kit import A, B, C, D
from tests.transceiver.transport.test_peer import Told
from transceiver.media.keys import SrtpKeys
from transceiver.transport.certificate import Certificate
from transceiver.transport.handshakes import (
    EXPLAIN_AFTER,
    MAX_HANDSHAKES,
    MAX_TRIES_EACH,
    STALLED_NS,
    Handshakes,
    client_random_untrusted,
)
from transceiver.transport.peer import Peer, PeerEvents
from transceiver.transport.reasons import PeerReason

OURS, GENUINE, OTHER = (Certificate.generate() for _ in range(3))


class End:
    """A session's handshakes, and what comes of them."""

    def __init__(self, role: Literal["client", "server"] = "server") -> None:
        self.role = role
        self.sent: list[tuple[bytes, Endpoint | None]] = []
        self.proven: set[Endpoint] = set()
        self.is_shut = False
        self.refused: list[StrEnum] = []
        self.winner: Peer | None = None
        self.source: Endpoint | None = None
        self.is_sole = False
        self.keys: list[SrtpKeys] = []
        self.clients: dict[Endpoint, Far] = {}
        self.handshakes = Handshakes(role, self.make_peer, self)

    def make_peer(self, events: PeerEvents) -> Peer:
        return Peer(OURS, self.role, [GENUINE.fingerprint], events, None)

    def send_handshake(self, datagram: bytes, to: Endpoint | None) -> bool:
        if self.is_shut:
            return False
        self.sent.append((datagram, to))
        if to in self.clients:
            self.clients[to].peer.receive_untrusted(datagram)
        return True

    def is_proven(self, endpoint: Endpoint) -> bool:
        return endpoint in self.proven

    def is_only_way(self, endpoint: Endpoint) -> bool:
        return endpoint == A and not self.proven

    def handshake_finished(self, peer: Peer, source: Endpoint | None, now_ns: int, *, is_sole: bool) -> None:
        self.winner, self.source, self.is_sole = peer, source, is_sole
        peer.hand_over(Told())

    def receive_keys(self, keys: SrtpKeys, now_ns: int) -> None:
        self.keys.append(keys)

    def refuse(self, reason: StrEnum) -> None:
        self.refused.append(reason)

    def to(self, endpoint: Endpoint) -> list[bytes]:
        return [datagram for datagram, to in self.sent if to == endpoint]

    async def close(self) -> None:
        await self.handshakes.close()
        if self.winner is not None:
            await self.winner.close()
        for far in self.clients.values():
            await far.peer.close()


class Far(Told):
    """The other end, at an address, or at several one after the other."""

    def __init__(self, end: End, at: Endpoint, cert: Certificate = GENUINE, role: str = "client") -> None:
        super().__init__()
        self.at = at
        self.ways: Callable[[bytes], list[Endpoint]] = lambda datagram: [self.at]
        self._end = end
        end.clients[at] = self
        self.peer = Peer(cert, role, [OURS.fingerprint], self, None)  # type: ignore[arg-type]

    def send_dtls(self, datagram: bytes) -> None:
        self.sent.append(datagram)
        for way in self.ways(datagram):
            self._end.handshakes.receive_untrusted(datagram, way, 0)


def run(
    scenario: Callable[[End], Coroutine[Any, Any, None]], role: Literal["client", "server"] = "server"
) -> None:
    async def whole() -> None:
        end = End(role)
        try:
            await scenario(end)
        finally:
            await end.close()

    asyncio.run(whole())


def hellos(count: int) -> list[bytes]:
    """First fragments of ClientHellos, each another's."""
    (hello,) = (d.payload for d in list(read_datagrams(CAPTURES / "chromium-lite.pcap"))[2:3])
    return [hello[:27] + number.to_bytes(32) + hello[59:] for number in range(count)]


def test_a_hello_is_told_by_its_random() -> None:
    captured = [d.payload for d in read_datagrams(CAPTURES / "chromium-liteearly.pcap")]
    randoms = [client_random_untrusted(payload) for payload in captured]
    assert [number for number, random in enumerate(randoms) if random is not None] == [2]
    assert randoms[2] is not None
    assert len(randoms[2]) == 32
    assert client_random_untrusted(captured[2][:58]) is None
    assert client_random_untrusted(b"") is None


def test_the_first_with_the_right_certificate_is_the_session_s_and_the_others_are_over() -> None:
    async def scenario(end: End) -> None:
        stranger, genuine = Far(end, B, OTHER), Far(end, A)
        stranger.peer.start()
        await until(lambda: stranger.sent)
        for hello in hellos(1):
            end.handshakes.receive_untrusted(hello, C, 0)
        genuine.peer.start()
        await until(lambda: end.keys)
        assert (end.source, end.is_sole) == (A, True)
        await until(lambda: genuine.keys)
        sent = len(end.sent)
        end.handshakes.receive_untrusted(hellos(2)[1], B, 0)
        assert len(end.sent) == sent, "nothing is taken any more"

    run(scenario)


def test_a_handshake_is_answered_where_its_hello_comes_from_and_again_from_another_path() -> None:
    async def scenario(end: End) -> None:
        genuine = Far(end, A)
        del end.clients[A]  # what goes there is lost
        end.clients[B] = genuine
        genuine.peer.start()
        await until(lambda: end.to(A))
        genuine.at = B
        hello = genuine.sent[0]
        before = len(end.to(B))
        end.handshakes.receive_untrusted(hello, B, 0)
        assert len(end.to(B)) > before, "at once"
        await until(lambda: end.keys)
        assert (end.source, end.is_sole) == (B, False)

    run(scenario)


@pytest.mark.parametrize("is_proven", [True, False])
def test_a_client_goes_on_from_another_path_once_that_is_proven(is_proven: bool) -> None:
    async def scenario(end: End) -> None:
        genuine = Far(end, A)
        genuine.ways = lambda datagram: [A if client_random_untrusted(datagram) else B]
        if is_proven:
            end.proven.add(B)
        genuine.peer.start()
        if is_proven:
            await until(lambda: end.keys)
            assert (end.source, end.is_sole) == (B, False)
        else:
            await until(lambda: end.refused)
            assert not end.keys

    run(scenario)


def test_a_copy_of_a_whole_handshake_proves_nobody_s_path() -> None:
    async def scenario(end: End) -> None:
        genuine = Far(end, A)
        genuine.ways = lambda datagram: [B, A]
        genuine.peer.start()
        await until(lambda: end.keys)
        assert not end.is_sole

    run(scenario)


def test_handshakes_are_bounded_and_who_answers_checks_displaces_who_does_not() -> None:
    async def scenario(end: End) -> None:
        first, *more = hellos(MAX_HANDSHAKES + 3)
        for number, hello in enumerate(more[:MAX_HANDSHAKES]):
            end.handshakes.receive_untrusted(hello, (B, C, D)[number], 0)
        end.handshakes.receive_untrusted(first, A, 0)
        assert end.refused == [PeerReason.UNASKED_HANDSHAKE]
        end.proven.add(A)
        end.handshakes.receive_untrusted(first, A, 1)
        assert {h.source for h in end.handshakes._going} == {A, C, D}
        end.handshakes.receive_untrusted(more[3], B, 1)
        assert len(end.refused) == 2, "and never the other way"
        end.handshakes.receive_untrusted(more[4], B, STALLED_NS)
        assert {h.source for h in end.handshakes._going} == {A, B, D}, "but for one that nothing comes of"

    run(scenario)


def test_an_address_has_a_few_tries() -> None:
    async def scenario(end: End) -> None:
        for number, hello in enumerate(hellos(MAX_TRIES_EACH + 3)):
            end.handshakes.receive_untrusted(hello, B, number * STALLED_NS)
        assert end.handshakes._tries[B] == MAX_TRIES_EACH
        assert len(end.refused) == 3

    run(scenario)


@pytest.mark.parametrize("has_begun_another", [True, False])
def test_a_client_whose_handshake_has_failed_is_told_if_it_has_begun_no_other(
    has_begun_another: bool,
) -> None:
    async def scenario(end: End) -> None:
        wrong = Far(end, A, OTHER)
        wrong.peer.start()
        await until(lambda: any(h.has_failed for h in end.handshakes._going))
        if has_begun_another:
            end.handshakes.receive_untrusted(hellos(1)[0], A, 0)
        del end.clients[A]
        await asyncio.sleep(0)
        before = len(end.to(A))
        for _ in range(EXPLAIN_AFTER):
            end.handshakes.expire(0)
        await asyncio.gather(*end.handshakes._dropping)
        assert (len(end.to(A)) > before) != has_begun_another
        await wrong.peer.close()

    run(scenario)


def test_what_was_withheld_goes_out_when_its_path_is_proven() -> None:
    async def scenario(end: End) -> None:
        genuine = Far(end, A)
        end.is_shut = True
        genuine.peer.start()
        await until(lambda: any(h.is_withheld for h in end.handshakes._going))
        end.is_shut = False
        end.handshakes.proven(B)
        assert end.sent == []
        end.handshakes.proven(A)
        assert end.to(A)

    run(scenario)


def test_as_the_client_we_begin_anew_when_a_stranger_has_spoilt_it() -> None:
    async def scenario(end: End) -> None:
        genuine = Far(end, A, role="server")
        end.handshakes.begin(0)
        await until(lambda: end.sent)
        hello, to = end.sent[0]
        assert to is None, "wherever the client is"
        end.handshakes.receive_untrusted(b"\x15\xfe\xfd" + bytes(8) + b"\0\2\2\x28", B, 0)
        assert end.refused == [PeerReason.UNASKED_HANDSHAKE], "not from there"
        end.handshakes.receive_untrusted(b"\x15\xfe\xfd" + bytes(8) + b"\0\2\2\x28", A, 0)
        await until(lambda: any(h.has_failed for h in end.handshakes._going))
        end.sent.clear()
        end.handshakes.expire(0)
        await until(lambda: end.sent)
        again, _ = end.sent[0]
        assert client_random_untrusted(again) != client_random_untrusted(hello)
        genuine.peer.start()
        genuine.peer.receive_untrusted(again)
        await until(lambda: end.keys)

    run(scenario, "client")
