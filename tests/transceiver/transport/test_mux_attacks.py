"""Whoever sends to the one port of a process, from any address, with own calls: the owner is heard."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition

from core import stun
from core.addr import Endpoint
from core.stun import Attribute, Message, MessageType
from tests.fuzz.sequences import Machine, rule, word
from tests.suite.fuzzing import times
from tests.transceiver.net import Counts
from transceiver.transport.mux import MAX_OFFERS, Mux

KEY = b"k" * 32
PARTIES = 6
SSRCS = (b"SSRC", b"SSRC", b"SSRC", b"rare", b"SSRC", b"rare")
"""Devices that all send the same one, and others."""
PLACES = {f"place {n}": Endpoint("192.0.2.1", 1000 + n) for n in range(5)}
NOISE = {
    "no protocol": b"\x05hello",
    "a scan": stun.encode(MessageType.BINDING_REQUEST, bytes(12), []),
    "media of nobody": b"\x80\x6f" + bytes(40),
    "cut media": b"\x80",
    "dtls": b"\x16\xfe\xfd" + b"\xff" * 30,
    "an answer to nothing": stun.encode(MessageType.BINDING_RESPONSE, b"\xff" * 12, [], KEY),
}


class Party:
    """A session as the mux sees it, and its client, who is at `at`: its MAC is the number in the packet."""

    def __init__(self, number: int, mux: Mux) -> None:
        self.number, self.mux = number, mux
        self.ufrag = f"{number:028d}"
        self.at: Endpoint | None = None
        self.holding: set[Endpoint] = set()
        self.heard: list[bytes] = []
        self.offered = 0
        mux.register(self.ufrag, self)
        mux.learn_ssrc(SSRCS[number], self)
        self.locator = mux.locate(self)

    def media(self) -> bytes:
        return b"\x80\x6f" + bytes(6) + SSRCS[self.number] + bytes([self.number]) * 20

    def check(self) -> bytes:
        username = (Attribute.USERNAME, f"{self.ufrag}:peer".encode())
        return stun.encode(MessageType.BINDING_REQUEST, bytes(12), [username], KEY)

    def answer(self) -> bytes:
        return stun.encode(MessageType.BINDING_RESPONSE, self.locator + bytes(9), [], KEY)

    def dtls(self) -> bytes:
        return b"\x16\xfe\xfd" + bytes([self.number]) * 30

    def _claim(self, source: Endpoint) -> None:
        if self.mux.claim(source, self, 0):
            self.holding.add(source)

    def receive_check_untrusted(self, message: Message, source: Endpoint, now_ns: int) -> None:
        self.heard.append(message.data)
        self._claim(source)

    def receive_answer_untrusted(self, message: Message, source: Endpoint, now_ns: int) -> None:
        self.heard.append(message.data)

    def receive_dtls_untrusted(self, datagram: bytes, source: Endpoint, now_ns: int) -> None:
        self.heard.append(datagram)

    def receive_media_untrusted(self, datagram: bytes, source: Endpoint, now_ns: int) -> bool:
        self.offered += 1
        if datagram[12:13] != bytes([self.number]):
            return False
        self.heard.append(datagram)
        self._claim(source)
        return True

    def holds(self, endpoint: Endpoint, now_ns: int) -> bool:
        return self.at == endpoint

    def lose(self, endpoint: Endpoint) -> None:
        assert self.at != endpoint, "nobody loses where their client answers"
        self.holding.discard(endpoint)

    def hang_up(self) -> None:
        self.mux.unregister(self.ufrag)
        self.mux.forget_ssrc(SSRCS[self.number], self)
        self.mux.forget_locator(self.locator)
        self.mux.release(self.holding, self)


KINDS = {"check": Party.check, "media": Party.media, "dtls": Party.dtls, "answer": Party.answer}


class MuxAttacks(Machine):
    """Clients that come, move and go, and packets of each of them from anywhere."""

    kept_in = "mux"

    def __init__(self) -> None:
        super().__init__()
        self.counts = Counts()
        self.parties: dict[int, Party] = {}

        async def make() -> Mux:
            return Mux([], self.counts)

        self.mux = asyncio.run(make())

    def send(self, datagram: bytes, source: Endpoint) -> None:
        before = sum(party.offered for party in self.parties.values())
        self.mux._dispatch_untrusted(datagram, source, 0)
        after = sum(party.offered for party in self.parties.values())
        assert after - before <= 1 + MAX_OFFERS

    def _is_free(self, place: Endpoint) -> bool:
        return all(party.at != place for party in self.parties.values())

    # --- the clients --------------------------------------------------------------------------------------

    @rule(who=st.integers(0, PARTIES - 1), to=word(PLACES))
    def come(self, who: int, to: str) -> None:
        """A client is there, and checks, where nobody else's is; whoever has held the place until now."""
        place = PLACES[to]
        if self._is_free(place):
            if who not in self.parties:
                self.parties[who] = Party(who, self.mux)
            party = self.parties[who]
            party.at = place
            self.send(party.check(), place)
            assert party.heard[-1] == party.check()

    @precondition(lambda self: self.parties)
    @rule(who=st.integers(0, PARTIES - 1), kind=word(KINDS))
    def speak(self, who: int, kind: str) -> None:
        """From where they are: it comes to their own session, and to nobody else's."""
        party = self.parties.get(who)
        if party is not None and party.at is not None:
            datagram = KINDS[kind](party)
            self.send(datagram, party.at)
            assert party.heard[-1] == datagram
            assert all(other is party or datagram not in other.heard[-1:] for other in self.parties.values())

    @precondition(lambda self: self.parties)
    @rule(who=st.integers(0, PARTIES - 1))
    def fall_silent(self, who: int) -> None:
        """The client is gone, and its session does not know yet."""
        if who in self.parties:
            self.parties[who].at = None

    @precondition(lambda self: self.parties)
    @rule(who=st.integers(0, PARTIES - 1))
    def hang_up(self, who: int) -> None:
        if who in self.parties:
            self.parties.pop(who).hang_up()

    # --- the attacker -------------------------------------------------------------------------------------

    @precondition(lambda self: self.parties)
    @rule(whose=st.integers(0, PARTIES - 1), kind=word(KINDS), source=word(PLACES))
    def spoof(self, whose: int, kind: str, source: str) -> None:
        """What they have overheard, or a call of their own, from anybody's address."""
        if whose in self.parties:
            self.send(KINDS[kind](self.parties[whose]), PLACES[source])

    @rule(what=word(NOISE), source=word(PLACES))
    def spoof_noise(self, what: str, source: str) -> None:
        self.send(NOISE[what], PLACES[source])

    # --- what holds ---------------------------------------------------------------------------------------

    @invariant()
    def where_a_client_is_its_session_is(self) -> None:
        for party in self.parties.values():
            if party.at is not None:
                assert self.mux._by_address.get(party.at) == (party, party.at)

    @invariant()
    def an_address_is_one_session_s(self) -> None:
        holders = Counter(place for party in self.parties.values() for place in party.holding)
        assert max(holders.values(), default=1) == 1
        assert self.mux.routes == 3 * len(self.parties) + len(holders)

    @invariant()
    def nobody_is_answered(self) -> None:
        assert not self.mux.stats.send_errors, "without a socket each datagram would be one"

    def mark(self) -> object:
        """How many sessions there are, how many clients, and how many addresses nobody is at."""
        held = sum(len(party.holding) for party in self.parties.values())
        present = sum(party.at is not None for party in self.parties.values())
        return min(len(self.parties), 3), min(present, 2), min(held - present, 2)

    def end(self) -> None:
        """When all calls are over, nothing is left."""
        for party in self.parties.values():
            party.hang_up()
        assert self.mux.routes == 0


TestMuxAttacks = pytest.mark.fuzz(MuxAttacks.TestCase)
TestMuxAttacks.settings = settings(max_examples=times(30), stateful_step_count=30, deadline=None)
