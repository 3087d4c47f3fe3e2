"""Two ends of a DTLS association in one process, with a network between them that a test can break."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path

import pytest
from aiortc.rtcsctptransport import DataChunk, serialize_packet
from OpenSSL import SSL

from tests.pcap import CAPTURES, read_datagrams
from tests.transceiver.net import PATIENCE_S, until
from transceiver.media.keys import SrtpKeys
from transceiver.transport import peer as peer_module
from transceiver.transport.certificate import Certificate
from transceiver.transport.channels import CHANNEL_LABEL
from transceiver.transport.dtls_link import DTLS_MTU, INBOX_DATAGRAMS, REPEAT_AFTER_S
from transceiver.transport.peer import SEND_BUFFER_BYTES, ChannelTerms, Peer
from transceiver.transport.reasons import ChannelReason, PeerReason, SctpReason

Filter = Callable[[bytes], bool]
Fingerprint = tuple[str, str]
SMALLEST_PATH_BYTES = 1280 - 40 - 8


class Told:
    """`PeerEvents` that remember all that they were told."""

    def __init__(self) -> None:
        self.keys: list[SrtpKeys] = []
        self.messages: list[str] = []
        self.closed: list[str] = []
        self.opened = 0
        self.records = 0
        self.sent: list[bytes] = []
        self.refused: Counter[StrEnum] = Counter()

    def send_dtls(self, datagram: bytes) -> None:
        self.sent.append(datagram)

    def receive_keys(self, keys: SrtpKeys, now_ns: int) -> None:
        assert now_ns <= time.monotonic_ns()
        self.keys.append(keys)

    def channel_opened(self) -> None:
        self.opened += 1

    def receive_message_untrusted(self, text: str) -> None:
        self.messages.append(text)

    def record_received(self, now_ns: int) -> None:
        assert now_ns <= time.monotonic_ns()
        self.records += 1

    def refuse(self, reason: StrEnum) -> None:
        self.refused[reason] += 1

    def peer_closed(self, reason: str) -> None:
        self.closed.append(reason)


class End(Told):
    """One side."""

    def __init__(
        self,
        role: str,
        certificate: Certificate,
        remote: list[Fingerprint],
        send: Callable[[bytes], None],
        terms: ChannelTerms,
    ) -> None:
        super().__init__()
        self._send = send
        self.peer = Peer(certificate, "client" if role == "client" else "server", remote, self, terms)

    def send_dtls(self, datagram: bytes) -> None:
        assert len(datagram) <= SMALLEST_PATH_BYTES
        super().send_dtls(datagram)
        self._send(datagram)


class Pair:
    """A client and a server. `pass_up` and `pass_down` say of each datagram whether it arrives."""

    def __init__(
        self,
        label: str | None = CHANNEL_LABEL,
        signal: Callable[[Fingerprint], list[Fingerprint]] = lambda true: [true],
        max_message_bytes: int = SEND_BUFFER_BYTES,
    ) -> None:
        loop = asyncio.get_running_loop()
        mine, theirs = Certificate.generate(), Certificate.generate()
        self.pass_up: Filter = lambda _: True
        self.pass_down: Filter = lambda _: True

        def up(datagram: bytes) -> None:
            if self.pass_up(datagram):
                loop.call_soon(self.server.peer.receive_untrusted, datagram)

        def down(datagram: bytes) -> None:
            if self.pass_down(datagram):
                loop.call_soon(self.client.peer.receive_untrusted, datagram)

        self.client = End("client", mine, [theirs.fingerprint], up, ChannelTerms(5000, open_label=label))
        terms = ChannelTerms(5000, max_message_bytes)
        self.server = End("server", theirs, signal(mine.fingerprint), down, terms)

    def start(self) -> None:
        self.server.peer.start()
        self.client.peer.start()

    async def open(self) -> None:
        self.start()
        await until(lambda: self.client.opened and self.server.opened)

    async def close(self) -> None:
        await self.client.peer.close()
        await self.server.peer.close()


@asynccontextmanager
async def pair(
    label: str | None = CHANNEL_LABEL,
    signal: Callable[[Fingerprint], list[Fingerprint]] = lambda true: [true],
    max_message_bytes: int = SEND_BUFFER_BYTES,
) -> AsyncIterator[Pair]:
    both = Pair(label, signal, max_message_bytes)
    try:
        yield both
    finally:
        await both.close()


def test_both_ends_get_the_same_keys_the_other_way_round() -> None:
    async def scenario() -> None:
        async with pair() as both:
            await both.open()
            (mine,), (theirs,) = both.client.keys, both.server.keys
            assert (mine.send, mine.receive) == (theirs.receive, theirs.send)
            assert mine.send != mine.receive
            assert mine.profile == theirs.profile == "SRTP_AEAD_AES_256_GCM"
            assert len(mine.send) == 32 + 12

    asyncio.run(scenario())


def test_messages_pass_both_ways_and_count_as_signs_of_life() -> None:
    async def scenario() -> None:
        async with pair() as both:
            await both.open()
            before = both.server.records
            assert both.client.peer.send_message("übung")
            assert both.server.peer.send_message("x" * 20_000)
            await until(lambda: both.server.messages and both.client.messages)
            assert both.server.messages == ["übung"]
            assert both.client.messages == ["x" * 20_000]
            assert both.server.records > before
            assert both.server.opened == both.client.opened == 1
            assert not both.server.refused
            assert not both.client.refused

    asyncio.run(scenario())


@pytest.mark.parametrize("is_upwards", [True, False])
@pytest.mark.parametrize("nth", [1, 2])
def test_a_handshake_survives_the_loss_of_any_one_datagram(nth: int, is_upwards: bool) -> None:
    async def scenario() -> None:
        async with pair() as both:
            end = both.client if is_upwards else both.server

            def is_passed(_: bytes) -> bool:
                return len(end.sent) != nth

            if is_upwards:
                both.pass_up = is_passed
            else:
                both.pass_down = is_passed
            await both.open()
            # Byte by byte the same: sent by us, before OpenSSL would make it anew.
            assert end.sent.count(end.sent[nth - 1]) >= 2

    asyncio.run(scenario())


def test_a_flight_is_repeated_a_few_times_and_then_left_to_openssl() -> None:
    async def scenario() -> None:
        async with pair() as both:
            both.pass_up = lambda _: False
            both.start()
            await until(lambda: len(set(both.client.sent)) == 2)  # OpenSSL's own repetition
            assert both.client.sent.count(both.client.sent[0]) == 1 + len(REPEAT_AFTER_S)
            assert both.server.sent == []

    asyncio.run(scenario())


def test_nothing_is_repeated_once_the_handshake_is_over() -> None:
    async def scenario() -> None:
        async with pair() as both:
            await both.open()
            flights = both.client.sent[:2] + both.server.sent[:2]
            before = Counter(both.client.sent + both.server.sent)
            await asyncio.sleep(2 * REPEAT_AFTER_S[0])
            after = Counter(both.client.sent + both.server.sent)
            assert [after[f] for f in flights] == [before[f] for f in flights]

    asyncio.run(scenario())


def test_a_last_flight_that_nobody_acknowledges_is_repeated_a_few_times() -> None:
    """Without a data channel nothing says that the client has it."""

    async def scenario() -> None:
        async with pair() as both:
            both.client.peer._sctp = both.server.peer._sctp = None
            both.start()
            await until(lambda: both.client.keys and both.server.keys)
            last = both.server.sent[-1]
            await until(lambda: both.server.sent.count(last) == 1 + len(REPEAT_AFTER_S))
            assert both.client.closed == []

    asyncio.run(scenario())


@pytest.mark.parametrize("capture", ["chromium-lite", "firefox-lite", "werift-lite", "chromium-nopq"])
def test_a_browser_s_hello_in_one_datagram_or_two_is_answered_within_one_mtu(capture: str) -> None:
    datagrams = read_datagrams(CAPTURES / f"{capture}.pcap")
    first = next(d for d in datagrams if d.payload[:1] == b"\x16")
    # All fragments of message number 0, before the server's flight.
    hello = []
    for datagram in datagrams:
        if datagram.payload[:1] == b"\x16":
            if datagram.source != first.source:
                break
            hello.append(datagram.payload)
    if capture in ("chromium-lite", "firefox-lite"):
        assert len(hello) >= 2

    async def answer(order: list[bytes]) -> None:
        told = Told()
        server = Peer(Certificate.generate(), "server", [("sha-256", "AA")], told, None)
        for datagram in order:
            server.receive_untrusted(datagram)  # before the start: it waits
        server.start()
        await until(lambda: told.sent)
        await server.close()
        flight = told.sent[0]
        assert flight[:1] == b"\x16"
        assert flight[13] == 2  # ServerHello, with the rest of the flight in the same datagram
        assert 600 < len(flight) <= DTLS_MTU

    asyncio.run(answer(hello))
    asyncio.run(answer(hello[::-1]))


def two_others() -> list[Fingerprint]:
    return [Certificate.generate().fingerprint, Certificate.generate().fingerprint]


FINGERPRINTS: dict[str, tuple[Callable[[Fingerprint], list[Fingerprint]], bool]] = {
    "as it is": (lambda true: [true], True),
    "algorithm in upper case": (lambda true: [("SHA-256", true[1])], True),
    "value in lower case": (lambda true: [("sha-256", true[1].lower())], True),
    "beside one of an unknown hash": (lambda true: [("md5", "AA:BB"), true], True),
    "another certificate's": (lambda _: [Certificate.generate().fingerprint], False),
    "before another certificate's": (lambda true: [true, Certificate.generate().fingerprint], True),
    "after another certificate's": (lambda true: [Certificate.generate().fingerprint, true], True),
    "one of two certificates that are not shown": (lambda _: two_others(), False),
    "of an unknown hash alone": (lambda _: [("md5", "AA:BB")], False),
    "empty": (lambda _: [("sha-256", "")], False),
}


@pytest.mark.parametrize(("signal", "is_good"), FINGERPRINTS.values(), ids=FINGERPRINTS)
def test_the_certificate_must_be_a_signaled_one(
    signal: Callable[[Fingerprint], list[Fingerprint]], is_good: bool
) -> None:
    async def scenario() -> None:
        async with pair(signal=signal) as both:
            both.start()
            await until(lambda: both.server.keys or both.server.closed)
            assert (len(both.server.keys), both.server.closed) == (
                (1, []) if is_good else (0, ["dtls_failed"])
            )

    asyncio.run(scenario())


def test_a_handshake_that_fails_is_explained_to_the_peer() -> None:
    """A client without a certificate, such as a plain DTLS tool."""
    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_tlsext_use_srtp(b"SRTP_AES128_CM_SHA1_80")
    client = SSL.Connection(context)
    client.set_connect_state()

    class Wire(Told):
        def send_dtls(self, datagram: bytes) -> None:
            client.bio_write(datagram)

    told = Wire()

    async def scenario() -> None:
        server = Peer(Certificate.generate(), "server", [("sha-256", "AA")], told, None)
        server.start()
        async with asyncio.timeout(PATIENCE_S):
            while not told.closed:
                with pytest.raises(SSL.WantReadError):
                    client.do_handshake()
                with contextlib.suppress(SSL.WantReadError):
                    server.receive_untrusted(client.bio_read(65_536))
                await asyncio.sleep(0.01)
        await server.close()

    asyncio.run(scenario())
    assert told.closed == ["dtls_failed"]
    with pytest.raises(SSL.Error, match="alert"):
        client.do_handshake()


def test_a_muted_peer_calls_nobody_back() -> None:
    async def scenario() -> None:
        async with pair() as both:

            def mute_at_the_last_flight(_: bytes) -> bool:
                if len(both.server.sent) == 2:
                    both.server.peer.mute()
                return True

            both.pass_down = mute_at_the_last_flight
            both.start()
            await until(lambda: both.client.keys)
            await both.client.peer.close()
            assert both.server.keys == []
            assert both.server.closed == []

    asyncio.run(scenario())


@pytest.mark.parametrize("role", ["client", "server"])
def test_a_handshake_that_gets_no_answer_is_given_up(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with pair() as both:
            end = both.client if role == "client" else both.server
            both.pass_up = both.pass_down = lambda _: False
            both.start()
            await until(lambda: end.closed)
            assert end.closed == ["dtls_failed"]

    monkeypatch.setattr(peer_module, "HANDSHAKE_TIMEOUT_S", 0.1)
    asyncio.run(scenario())


def test_goodbye_is_heard_at_once_and_said_once() -> None:
    async def scenario() -> None:
        async with pair() as both:
            await both.open()
            await both.client.peer.close()
            await until(lambda: both.server.closed)
            assert both.server.closed == ["remote_closed"]
            assert both.client.closed == []
            sent = len(both.client.sent)
            await both.client.peer.close()
            assert len(both.client.sent) == sent
            assert not both.server.peer.send_message("too late")
            assert not both.client.peer.send_message("too late")

    asyncio.run(scenario())


READ_ALERT = 0x4004
"""SSL_CB_READ_ALERT, which pyOpenSSL has no name for."""
CLOSE_NOTIFY, INTERNAL_ERROR = 0x0100, 0x0250


@pytest.mark.parametrize("role", ["client", "server"])
@pytest.mark.parametrize(
    ("last_words", "speaks_dtls13", "alert"),
    [
        ("{}", True, INTERNAL_ERROR),
        ("{}", False, CLOSE_NOTIFY),
        (None, True, CLOSE_NOTIFY),
    ],
)
def test_an_end_that_was_not_asked_for_is_an_error_to_who_acts_on_alerts(
    role: str, last_words: str | None, speaks_dtls13: bool, alert: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_module, "offers_dtls13_untrusted", lambda _: speaks_dtls13)
    monkeypatch.setattr(peer_module, "could_do_dtls13", lambda _: speaks_dtls13)

    async def scenario() -> None:
        async with pair() as both:
            await both.open()
            ours, other = (both.client, both.server) if role == "client" else (both.server, both.client)
            told: list[int] = []
            ssl = other.peer._dtls._ssl
            assert ssl is not None
            ssl.set_info_callback(lambda _, where, value: told.extend([value] * (where == READ_ALERT)))
            await ours.peer.part(last_words, "too_long", is_asked=last_words is None)
            assert told == [alert]
            assert other.messages == ([] if last_words is None else [last_words])

    asyncio.run(scenario())


def test_messages_to_a_peer_that_takes_none_are_refused_in_the_end() -> None:
    async def scenario() -> None:
        async with pair() as both:
            await both.open()
            both.pass_down = lambda _: False
            accepted = 0
            while both.server.peer.send_message("x" * 1000):
                accepted += 1
                assert accepted < 1000
            await asyncio.sleep(0)
            assert accepted * 1000 <= SEND_BUFFER_BYTES
            both.pass_down = lambda _: True
            await until(lambda: len(both.client.messages) == accepted)  # SCTP sends again
            assert both.server.peer.send_message("open again")

    asyncio.run(scenario())


def test_a_message_that_the_peer_did_not_agree_to_is_not_sent() -> None:
    async def scenario() -> None:
        async with pair(max_message_bytes=100) as both:
            await both.open()
            assert both.server.peer.send_message("x" * 100)
            assert not both.server.peer.send_message("x" * 101)
            assert not both.server.peer.send_message("ü" * 51)

    asyncio.run(scenario())


def test_nothing_is_sent_before_the_channel_is_open() -> None:
    async def scenario() -> None:
        async with pair(label=None) as both:
            both.start()
            await until(lambda: both.server.keys)
            assert not both.server.peer.send_message("x")
            assert not both.client.peer.send_message("x")

    asyncio.run(scenario())


def _sctp_packet(pair: Pair, chunk: DataChunk) -> bytes:
    sctp = pair.client.peer._sctp
    assert sctp is not None
    return serialize_packet(5000, 5000, sctp._remote_verification_tag, chunk)


def test_sctp_that_would_hang_the_process_is_dropped_and_the_channel_goes_on() -> None:
    class Hostile(DataChunk):
        type = 4

        def __bytes__(self) -> bytes:
            return b"\x04\0\0\x08" + bytes(4)  # HEARTBEAT with a parameter of length zero

    async def scenario() -> None:
        async with pair() as both:
            await both.open()
            await both.client.peer._dtls._send_data(_sctp_packet(both, Hostile()))
            await both.client.peer._dtls._send_data(b"\x80" * 30)
            await until(lambda: len(both.server.refused) == 2)
            assert both.server.refused[SctpReason.BAD_PARAMETER] == 1
            assert both.server.refused[SctpReason.MALFORMED] == 1
            assert both.client.peer.send_message("still here")
            await until(lambda: both.server.messages == ["still here"])

    asyncio.run(scenario())


def test_what_aiortc_chokes_on_is_dropped_and_the_channel_goes_on() -> None:
    async def scenario() -> None:
        async with pair() as both:
            await both.open()
            sctp = both.client.peer._sctp
            assert sctp is not None
            await sctp._send(7, 50, b"\x02")  # DATA_CHANNEL_ACK for a channel that does not exist
            await until(lambda: both.server.refused[ChannelReason.UNPROCESSABLE])
            assert both.client.peer.send_message("still here")
            await until(lambda: both.server.messages == ["still here"])

    asyncio.run(scenario())


class Behind(DataChunk):
    """A chunk, and before it in the same packet a HEARTBEAT ACK that nobody waits for."""

    def __init__(self, chunk: DataChunk) -> None:
        super().__init__()
        self.chunk = chunk

    def __bytes__(self) -> bytes:
        return b"\x05\0\0\x04" + bytes(self.chunk)


@pytest.mark.parametrize("wrap", [lambda chunk: chunk, Behind])
def test_fragments_that_never_become_a_message_end_the_channel_and_not_the_call(
    wrap: Callable[[DataChunk], DataChunk],
) -> None:
    async def scenario() -> None:
        async with pair() as both:
            await both.open()
            sctp = both.client.peer._sctp
            assert sctp is not None
            for number in range(3000):
                chunk = DataChunk(flags=2 if number == 0 else 0)
                chunk.tsn = (sctp._local_tsn + number) % 2**32
                chunk.user_data = b"x"
                await both.client.peer._dtls._send_data(_sctp_packet(both, wrap(chunk)))
                await asyncio.sleep(0)
                if both.server.refused:
                    break
            await until(lambda: both.server.refused[ChannelReason.EXCESSIVE])
            server_sctp = both.server.peer._sctp
            assert server_sctp is not None
            assert server_sctp.state == "closed"
            assert both.server.closed == []

    asyncio.run(scenario())


def test_the_inbox_is_bounded() -> None:
    async def scenario() -> None:
        async with pair() as both:
            for _ in range(INBOX_DATAGRAMS + 5):
                both.server.peer.receive_untrusted(b"\x16" + bytes(20))
            assert both.server.refused == {PeerReason.INBOX_FULL: 5}

    asyncio.run(scenario())


def test_noise_does_not_disturb_an_established_association() -> None:
    async def scenario() -> None:
        async with pair() as both:
            await both.open()
            for noise in (
                b"\x17",
                b"\x17\xfe\xfd" + bytes(10),
                b"\x15\xfe\xfd" + bytes(8) + b"\0\2\2\x28",
                b"\x3f" * 90,
            ):
                both.server.peer.receive_untrusted(noise)
            both.server.peer.receive_untrusted(both.client.sent[-1])  # a replay
            assert both.client.peer.send_message("still here")
            await until(lambda: both.server.messages == ["still here"])
            assert both.server.closed == []

    asyncio.run(scenario())


def _open_fds() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("stage", ["never started", "handshake", "keys", "open", "remote gone"])
def test_nothing_is_left_after_close(stage: str) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        before = (asyncio.all_tasks(), _open_fds())
        both = Pair()
        if stage == "handshake":
            both.pass_down = lambda _: False
        if stage != "never started":
            both.start()
        async with asyncio.timeout(PATIENCE_S):
            if stage == "handshake":
                await until(lambda: both.server.sent)
            elif stage == "keys":
                await until(lambda: both.server.keys)
            elif stage in ("open", "remote gone"):
                await until(lambda: both.server.opened)
                both.server.peer.send_message("on its way")
        if stage == "remote gone":
            await both.client.peer.close()
            await until(lambda: both.server.closed)
        await both.close()
        assert (asyncio.all_tasks(), _open_fds()) == before
        live = [handle for handle in loop._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
        assert live == []

    asyncio.run(scenario())


def test_many_peers_leave_no_objects_behind() -> None:
    async def scenario() -> None:
        for _ in range(3):
            async with pair() as both:
                await both.open()
        del both
        gc.collect()
        assert not [o for o in gc.get_objects() if isinstance(o, Peer)]

    asyncio.run(scenario())
