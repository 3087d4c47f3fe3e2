"""The routes as a worker has them from its supervisor: one bisection for each new flow, arrays for all.

With each change of the routes every flow is looked up again, so that is done for many at a time.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from core.addr import IpFamily, pack_address
from ebpf.ids import NOWHERE, NextHopId
from ebpf.layout import VIPS
from edge.nexthops.messages import FIRST_SPREAD, ON_LINK, SpreadLeg
from edge.nexthops.spread import Keys, Spread

UNKNOWN = -1
"""In place of a next hop, in arrays: the supervisor has to be asked."""


class _View:
    """The intervals of one view of one family."""

    def __init__(self, family: IpFamily, rows: Sequence[tuple[str, NextHopId]]) -> None:
        self.starts = [bytes.fromhex(start) for start, _ in rows]
        self.targets = [target for _, target in rows]
        self._is_short = family is IpFamily.V4
        joined = b"".join(self.starts)
        self._starts = np.frombuffer(joined, ">u4").astype(np.uint32) if self._is_short else _halves(joined)
        self._targets = np.array(self.targets, np.int32)

    def lookup_all(self, addresses: npt.NDArray[np.uint32]) -> npt.NDArray[np.int32]:
        """The targets of addresses in network order, as records have them."""
        if len(self._targets) == 1:
            return np.full(len(addresses), self._targets[0])
        if self._is_short:
            places = np.searchsorted(self._starts, addresses.byteswap(), "right")
        else:
            wanted = _halves(np.ascontiguousarray(addresses).tobytes())
            places = np.searchsorted(self._starts, wanted, "right")
        found: npt.NDArray[np.int32] = self._targets[places - 1]
        return found


def _halves(packed: bytes) -> npt.NDArray[Any]:
    """IPv6 addresses so that they compare as they do as numbers."""
    return np.frombuffer(packed, "S16")


class RouteCache:
    """See above. `view` is that of a family's at whose place it is: `upstream`, or `downstream` by VIP."""

    def __init__(self) -> None:
        # By the length of packed addresses, which a look-up has at hand.
        self._views = {family.address_bytes: [_empty(family)] for family in IpFamily}
        self._spreads: list[Spread] = []
        self._hosts: dict[bytes, NextHopId] = {}
        self.upstream: dict[IpFamily, int] = dict.fromkeys(IpFamily, 0)
        """The view of the backbone addresses."""
        self.downstream: npt.NDArray[np.uint8] = np.zeros(VIPS, np.uint8)
        """The view of each VIP, by its id; of one that is no more, the first."""
        self.asked: set[str] = set()
        """Hosts on a link whose next hop the supervisor was asked for."""

    def set_routes(self, message: Any) -> None:  # noqa: ANN401 - JSON of our own making
        """Replace the routes, by a message of `routes_message`."""
        self._spreads = [Spread([SpreadLeg(*leg) for leg in legs]) for legs in message["spreads"]]
        for family in IpFamily:
            views = [_View(family, rows) for rows in message[str(family)]]
            self._views[family.address_bytes] = views or [_empty(family)]
            self.upstream[family] = message["upstream"].get(str(family), 0)
        self.downstream[:] = 0
        for vip_id, view in message["downstream"]:
            self.downstream[vip_id] = view

    def add_hosts(self, message: Any) -> None:  # noqa: ANN401 - JSON of our own making
        """Learn the next hops of hosts on a link, by a message of `hosts_message`; None: given up."""
        for host, nexthop in message["hosts"].items():
            if nexthop is None:
                self._hosts.pop(pack_address(host), None)
            else:
                self._hosts[pack_address(host)] = nexthop
            self.asked.discard(host)

    def target(self, address: bytes, view: int) -> NextHopId:
        """What the routes say of a packed address: a next hop, NOWHERE, ON_LINK or a spread."""
        rows = self._views[len(address)][view]
        return rows.targets[bisect_right(rows.starts, address) - 1]

    def spread(self, target: NextHopId) -> Spread | None:
        """The spread that a target stands for, if it is one."""
        return self._spreads[FIRST_SPREAD - target] if target <= FIRST_SPREAD else None

    def lookup(self, address: bytes, view: int, key: int) -> NextHopId | None:
        """The next hop of a packed address for the flow of that key, NOWHERE for none; None: the supervisor
        has to be asked.
        """
        return self.nexthop(self.target(address, view), address, key)

    def nexthop(self, target: NextHopId, address: bytes, key: int) -> NextHopId | None:
        """The same, where the target is known already; the key matters to a spread alone."""
        if target >= NOWHERE:
            return target
        spread = self.spread(target)
        return self._hosts.get(address) if spread is None else spread.choose(key)

    def lookup_all(
        self, addresses: npt.NDArray[np.uint32], views: npt.NDArray[np.uint8], keys: Keys
    ) -> npt.NDArray[np.int32]:
        """The same of many of one family, as records have them; UNKNOWN where it has to be asked for."""
        family = IpFamily.V4 if addresses.ndim == 1 else IpFamily.V6
        found = np.full(len(addresses), int(NOWHERE), np.int32)
        for number, view in enumerate(self._views[family.address_bytes]):
            of_view = np.flatnonzero(views == number)
            if len(of_view):
                found[of_view] = view.lookup_all(addresses[of_view])
        self.choose_all(found, keys)
        on_link = np.flatnonzero(found == ON_LINK)
        if len(on_link):
            found[on_link] = self._find_hosts(addresses[on_link], family)
        return found

    def choose_all(self, targets: npt.NDArray[np.int32], keys: Keys) -> None:
        """Put the next hop that a flow takes in the place of each spread."""
        for place, spread in enumerate(self._spreads):
            spreading = np.flatnonzero(targets == FIRST_SPREAD - place)
            if len(spreading):
                targets[spreading] = spread.choose_all(keys[spreading])

    def _find_hosts(self, addresses: npt.NDArray[np.uint32], family: IpFamily) -> npt.NDArray[np.int32]:
        """Many flows may have one client address, behind a NAT."""
        whole = np.ascontiguousarray(addresses).view(f"V{family.address_bytes}").ravel()
        unique, inverse = np.unique(whole, return_inverse=True)
        hops = [self._hosts.get(address.tobytes(), UNKNOWN) for address in unique]
        return np.array(hops, np.int32)[inverse]


def _empty(family: IpFamily) -> _View:
    return _View(family, [("00" * family.address_bytes, NOWHERE)])
