"""What every forwarder counts alike: flows that come and go, and packets by outcome."""

from __future__ import annotations

from typing import NamedTuple

from edge.relay.counters import CounterIndex, Counters, Direction, Removal, SendError, counter_index
from edge.relay.verdict import RelayReason


class Volume(NamedTuple):
    """The series of some packets, and that of their bytes of UDP payload."""

    packets: CounterIndex
    bytes: CounterIndex


def _volume(direction: Direction, outcome: str) -> Volume:
    return Volume(counter_index("packets", direction, outcome), counter_index("bytes", direction, outcome))


UP, UP_FAILED = (_volume(Direction.UPSTREAM, outcome) for outcome in ("forwarded", "failed"))
DOWN, DOWN_FAILED = (_volume(Direction.DOWNSTREAM, outcome) for outcome in ("forwarded", "failed"))
RECEIVED_DOWN = Volume(
    counter_index("received_packets", Direction.DOWNSTREAM),
    counter_index("received_bytes", Direction.DOWNSTREAM),
)
UP_FAILURES = {error: counter_index("send_failures", Direction.UPSTREAM, error) for error in SendError}

_FLOWS, _UNCONFIRMED = counter_index("flows"), counter_index("unconfirmed")
_CONTESTED = counter_index("contested")
_COPIED, _NOT_COPIED = (counter_index("copies", outcome) for outcome in ("forwarded", "failed"))
_INSTALLED, _ADOPTED, _REBOUND = (
    counter_index("installs", result) for result in ("installed", "adopted", "rebound")
)
_REMOVALS = {cause: counter_index("removals", cause) for cause in Removal}


class FlowTally:
    """Counts the flows of a worker: installed and adopted minus removed is how many there are."""

    def __init__(self, counters: Counters, flows: int) -> None:
        """Begin with the flows that there are, whatever a worker before this one has left in the counters."""
        self._counters = counters
        self._values = counters.values
        before = self._values[_FLOWS]
        counters.add(_ADOPTED, max(flows - before, 0))
        counters.add(_REMOVALS[Removal.LOST], max(before - flows, 0))
        self._values[_FLOWS] = flows

    def installed(self, flows: int) -> None:
        """One more, which makes `flows`."""
        self._counters.add(_INSTALLED)
        self._values[_FLOWS] = flows

    def unconfirmed(self, flows: int) -> None:
        """To so many of them nothing has come back yet."""
        self._values[_UNCONFIRMED] = flows

    def contested(self, addresses: int) -> None:
        """So many addresses have two flows."""
        self._values[_CONTESTED] = addresses

    def copied(self, *, is_sent: bool) -> None:
        """A rival got a copy of a packet, or should have."""
        self._values[_COPIED if is_sent else _NOT_COPIED] += 1

    def refused(self, reason: RelayReason) -> None:
        """A flow that could not be had."""
        self._counters.add(counter_index("installs", reason))

    def rebound(self) -> None:
        """A flow got another ufrag."""
        self._counters.add(_REBOUND)

    def removed(self, cause: Removal, flows: int) -> None:
        """One less, which leaves `flows`."""
        self._values[_FLOWS] = flows
        self._counters.add(_REMOVALS[cause])


def count_up_failed(counters: Counters, error: SendError, size: int) -> None:
    """An upstream datagram of `size` bytes of payload that was not sent."""
    values = counters.values
    values[UP_FAILED.packets] += 1
    values[UP_FAILED.bytes] += size
    counters.add(UP_FAILURES[error])
