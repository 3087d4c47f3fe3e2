"""Attacks on the flows of the userspace forwarder, with sockets for transceivers."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from core.addr import Endpoint
from edge.relay.forwarder import Sockaddr
from tests.edge.attacker import THIEFS, Attacks
from tests.edge.kit import MEDIA
from tests.edge.relay.rig import Rig, open_rig
from tests.suite.fuzzing import times

MAX_FLOWS = 300


class UserspaceWorld:
    """See `tests.edge.attacker.World`."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig

    @property
    def now_ns(self) -> int:
        return self._rig.now_ns

    @now_ns.setter
    def now_ns(self, now_ns: int) -> None:
        self._rig.now_ns = now_ns

    def ufrag(self, transceiver: int) -> bytes:
        return self._rig.ufrag(transceiver)

    def send(self, datagram: bytes, client: Sockaddr) -> Sequence[int]:
        self._rig.take(datagram, client)
        came = []
        for index, transceiver in enumerate(self._rig.transceivers):
            while not transceiver.is_silent():
                if transceiver.receive()[0] == datagram:
                    came.append(index)
        return came

    def speak(self, transceiver: int, client: Sockaddr) -> bool:
        owner, to = self._rig.find(client), self._rig.transceivers[transceiver]
        for flow in (owner, owner and owner.rival):
            if flow is not None and flow.transceiver == to.address:
                to.send(MEDIA, Endpoint(*flow.socket.getsockname()[:2]))
                self._rig.forwarder.carry_downstream()
                return True
        return False

    def sweep(self) -> None:
        for _ in range(30):
            self._rig.forwarder.sweep(self._rig.now_ns)

    def flows(self) -> int:
        return len(self._rig.forwarder)

    def contested(self) -> int:
        return self._rig.get("contested")


class UserspaceAttacks(Attacks):
    """On a worker of its own, with no more room than so many flows."""

    max_flows = MAX_FLOWS

    def __init__(self) -> None:
        self.opened = open_rig(MAX_FLOWS)
        self.world = UserspaceWorld(self.opened.__enter__())
        super().__init__()

    def end(self) -> None:
        """See `Attacks`."""
        try:
            super().end()
        finally:
            self.opened.__exit__(None, None, None)


@pytest.mark.fuzz
def test_whatever_an_attacker_does_the_caller_is_carried_and_nothing_is_left() -> None:
    steps = settings(max_examples=times(12), stateful_step_count=25, deadline=None)
    run_state_machine_as_test(UserspaceAttacks, settings=steps)


assert THIEFS == 1, "the rig has two transceivers"
