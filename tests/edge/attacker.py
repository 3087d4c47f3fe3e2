"""Any order of what a caller, their transceiver and an attacker do, through the relay's own code.

The attacker overhears every packet, sends from any address and as often as they like, copies what they hear,
and has calls of their own, at the caller's transceiver and at another one, which answers whatever they want.
What they cannot do is keep a packet from arriving. Time is what the machine says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition

from edge.relay.forwarder import MAX_ADDRESSES_PER_TOKEN, MAX_CONTESTS, Sockaddr
from tests.edge.kit import DTLS, MEDIA, request
from tests.fuzz.sequences import Machine, rule, word

S = 1_000_000_000
CONSENT_NS = 20 * S
"""A caller who has said nothing for so long checks; browsers do so each 5 s."""
STEP_S = 0.5
"""In which a live transceiver says something, and the forwarder sweeps."""
MINE, THIEFS = 0, 1
CALLERS = [("127.0.7.1", 5000 + port) for port in range(8)]
"""Where the caller may be: a NAT that gives a port for a while."""
SPOOFED = [(f"127.0.8.{host}", 9) for host in range(1, 41)]
SPOKEN = {"media": MEDIA, "dtls": DTLS}
NOISE = {"cut media": MEDIA[:29], "dtls": DTLS, "nothing": b"", "zeroes": b"\0" * 20}


class World(Protocol):
    """One worker with its forwarder, and what has become of packets."""

    now_ns: int

    def ufrag(self, transceiver: int) -> bytes:
        """A new call's at a transceiver."""

    def send(self, datagram: bytes, client: Sockaddr) -> Sequence[int]:
        """A packet from an address; the transceivers that it has come to."""

    def speak(self, transceiver: int, client: Sockaddr) -> bool:
        """A packet from a transceiver to an address; whether it has a flow to go by."""

    def sweep(self) -> None:
        """As often as it takes to look at every flow."""

    def flows(self) -> int:
        """How many there are."""

    def contested(self) -> int:
        """How many addresses have two."""


class Attacks(Machine):
    """`world` and `max_flows` are set by who runs it."""

    world: World
    max_flows: int
    kept_in = "flows"

    def __init__(self) -> None:
        super().__init__()
        self.ufrags = [self.world.ufrag(MINE)]
        """The caller's: an ICE restart adds one."""
        self.thiefs = [self.world.ufrag(THIEFS), self.world.ufrag(MINE), self.world.ufrag(THIEFS)]
        self.heard: list[bytes] = []
        self.at = 0
        self.is_over = False
        self.heard_ns = self.world.now_ns
        self._check()

    @property
    def caller(self) -> Sockaddr:
        return CALLERS[self.at % len(CALLERS)]

    def _check(self) -> None:
        """The caller's consent, which its transceiver answers."""
        check = request(self.ufrags[-1])
        self.heard.append(check)
        self.heard_ns = self.world.now_ns
        assert MINE in self.world.send(check, self.caller), "the caller's own check arrives"
        if not self.is_over:
            assert self.world.speak(MINE, self.caller)

    # --- the caller ---------------------------------------------------------------------------------------

    @precondition(lambda self: not self.is_over)
    @rule(what=word(SPOKEN))
    def speak(self, what: str) -> None:
        self._speak(what)

    def _speak(self, what: str) -> None:
        self.heard_ns = self.world.now_ns
        assert MINE in self.world.send(SPOKEN[what], self.caller), "whatever anybody has done"

    @precondition(lambda self: not self.is_over)
    @rule()
    def check(self) -> None:
        self._check()

    @precondition(lambda self: not self.is_over)
    @rule()
    def rebind(self) -> None:
        """Another port of the NAT."""
        self.at += 1
        self._check()

    @precondition(lambda self: not self.is_over)
    @rule()
    def restart_ice(self) -> None:
        self.ufrags.append(self.world.ufrag(MINE))
        self._check()

    @rule()
    def hang_up(self) -> None:
        self.is_over = True

    @rule(seconds=st.sampled_from([0.5, 2, 6.5, 20]))
    def time_passes(self, seconds: float) -> None:
        """The caller is silent, but for what keeps a call; whoever lives at the other end is not."""
        for _ in range(int(seconds / STEP_S)):
            self.world.now_ns += int(STEP_S * S)
            if not self.is_over:
                if seconds > 6.5:
                    self._speak("media")
                elif self.world.now_ns - self.heard_ns >= CONSENT_NS:
                    self._check()
                assert self.world.speak(MINE, self.caller), "the caller goes on hearing"
            self.world.sweep()

    # --- the attacker -------------------------------------------------------------------------------------

    @rule(which=st.integers(0, 3), count=st.sampled_from([1, 20, 40]))
    def replay(self, which: int, count: int) -> None:
        """A check that was overheard, from everywhere: no transceiver answers it there."""
        for host in SPOOFED[:count]:
            self.world.send(self.heard[-1 - which % len(self.heard)], host)

    @rule(which=st.integers(0, 2), is_answered=st.booleans(), at=st.integers(0, 7))
    def spoof_a_call_of_their_own(self, which: int, is_answered: bool, at: int) -> None:
        """From where the caller is, or was."""
        victim = CALLERS[(self.at - at) % len(CALLERS)]
        self.world.send(request(self.thiefs[which]), victim)
        if is_answered:
            self.world.speak(THIEFS, victim)

    @rule(what=word(NOISE))
    def spoof_noise(self, what: str) -> None:
        self.world.send(NOISE[what], self.caller)

    @rule(count=st.integers(1, 60), which=st.integers(0, 2), is_answered=st.booleans())
    def open_many(self, count: int, which: int, is_answered: bool) -> None:
        """Flows of their own; those of sources that they hear at are answered."""
        for port in range(count):
            mine = ("127.0.9.1", 1000 + port)
            self.world.send(request(self.thiefs[which]), mine)
            if is_answered:
                self.world.speak(MINE if which == 1 else THIEFS, mine)

    @rule()
    def keep_all(self) -> None:
        """A byte for each flow that they have."""
        self._keep_all()

    def _keep_all(self) -> None:
        for port in range(60):
            self.world.send(MEDIA[:29], ("127.0.9.1", 1000 + port))

    @invariant()
    def bounds_hold(self) -> None:
        assert self.world.flows() <= self.max_flows
        assert self.world.contested() <= MAX_CONTESTS

    def mark(self) -> object:
        """How full the table is, whether an address is contested, and what the caller has done."""
        flows = self.world.flows()
        size = "empty" if not flows else "full" if flows == self.max_flows else "used"
        return size, bool(self.world.contested()), self.at > 0, self.is_over

    def end(self) -> None:
        """When all calls are over, nothing is left, whatever is still sent."""
        for _ in range(24):
            self.world.now_ns += int(STEP_S * S)
            self._keep_all()
            self.world.send(MEDIA, self.caller)
            self.world.sweep()
        assert self.world.flows() == 0
        assert self.world.contested() == 0


assert len(SPOOFED) > 2 * MAX_ADDRESSES_PER_TOKEN
