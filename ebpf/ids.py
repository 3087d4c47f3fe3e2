"""The numbers by which the maps name things: mere integers there, and kept apart by the type checker here.

A number of one kind must never be taken for one of another. That costs nothing where packets are: each is
given its type where it is made or read out of a map, and stays an `int` at run time.
"""

from __future__ import annotations

from typing import NewType

NatSlot = NewType("NatSlot", int)
"""Of a flow's records: index of its backbone address * 65,536 + NAT port (`layout.PORTS`)."""
BackboneIndex = NewType("BackboneIndex", int)
"""Of a backbone address, among those of its family."""
VipId = NewType("VipId", int)
"""By which records name a VIP."""
TransceiverId = NewType("TransceiverId", int)
"""By which upstream records name a transceiver, in its family; 0 is none."""
NextHopId = NewType("NextHopId", int)
"""By which records name a router or a host on a link; 0 is none."""
EgressId = NewType("EgressId", int)
"""By which adjacencies name an interface."""

NOWHERE = NextHopId(0)
"""The next hop of whom cannot be reached."""
