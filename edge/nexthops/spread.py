"""Which leg of a route with several a flow takes: weighted rendezvous hashing.

Each leg draws a number for the flow, by hashing both, and the least wins. So a flow keeps its leg as long as
that is there, whatever becomes of the others; when a leg goes, only its flows move, to the others by their
weights; when it comes back they, and no others, come back. Nothing is remembered: every worker finds the
same, and so does the relay after a restart.

Thaler, Ravishankar: "Using name-based mappings to increase hit rates", IEEE/ACM ToN 6 (1998). What is drawn
is exponential with a leg's weight as its rate, of which the least is leg i's with probability wᵢ / Σw.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ebpf.ids import NextHopId
from edge.nexthops.messages import SpreadLeg

U64 = (1 << 64) - 1
_MIX = (30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)
"""The finaliser of splitmix64 (Steele, Lea, Flood 2014)."""
_LAST_SHIFT = 31
Keys = npt.NDArray[np.uint64]


def mix(value: int) -> int:
    """64 bits, well mixed."""
    for shift, multiplier in _MIX:
        value = (value ^ value >> shift) * multiplier & U64
    return value ^ value >> _LAST_SHIFT


def mix_all(values: Keys) -> Keys:
    """The same of each."""
    for shift, multiplier in _MIX:
        values = (values ^ values >> np.uint64(shift)) * np.uint64(multiplier)
    return values ^ values >> np.uint64(_LAST_SHIFT)


def flow_key(address: bytes, port: int, vip_id: int) -> int:
    """What stands for a flow: its client, packed, and its VIP. Both of its directions have the same."""
    key = 0
    for start in range(0, len(address), 8):
        key = mix(key ^ int.from_bytes(address[start : start + 8], "big"))
    return mix(key ^ (port << 16 | vip_id))


def flow_keys(
    clients: npt.NDArray[np.uint32], ports: npt.NDArray[np.uint16], vip_ids: npt.NDArray[np.uint8]
) -> Keys:
    """The same of many; addresses and ports in network order, as records have them."""
    if clients.ndim == 1:
        words = [clients.byteswap().astype(np.uint64)]
    else:
        halves = np.ascontiguousarray(clients).view(np.uint64).byteswap()
        words = [halves[:, 0], halves[:, 1]]
    keys = np.zeros(len(clients), np.uint64)
    for word in words:
        keys = mix_all(keys ^ word)
    return mix_all(keys ^ (ports.byteswap().astype(np.uint64) << np.uint64(16) | vip_ids.astype(np.uint64)))


class Spread:
    """The legs of a route that flows can take now."""

    def __init__(self, legs: Sequence[SpreadLeg]) -> None:
        assert legs, "a route without legs leads nowhere"
        self._legs = legs
        self.nexthops = tuple(leg.nexthop for leg in legs)

    def choose(self, key: int) -> NextHopId:
        """The next hop of a flow."""
        least, chosen = math.inf, self._legs[0].nexthop
        for nexthop, weight, seed in self._legs:
            drawn = -math.log(((mix(key ^ seed) >> 11) + 0.5) * 2**-53) / weight
            if drawn < least:
                least, chosen = drawn, nexthop
        return chosen

    def choose_all(self, keys: Keys) -> npt.NDArray[np.uint16]:
        """The same of many; in case of a tie within the rounding of a logarithm either may be found."""
        least = np.full(len(keys), np.inf)
        chosen = np.full(len(keys), self._legs[0].nexthop, np.uint16)
        for nexthop, weight, seed in self._legs:
            mixed = mix_all(keys ^ np.uint64(seed)) >> np.uint64(11)
            drawn = -np.log((mixed.astype(np.float64) + 0.5) * 2**-53) / weight
            is_less = drawn < least
            least[is_less], chosen[is_less] = drawn[is_less], nexthop
        return chosen
