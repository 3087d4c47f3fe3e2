"""Routes as a supervisor tells them to workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.addr import IpFamily
from core.service.supervisor import Message
from edge.nexthops.messages import RouteTables, SpreadLeg, View, routes_message


def one_view(rows: Mapping[IpFamily, View], spreads: Sequence[Sequence[SpreadLeg]] = ()) -> Message:
    """Of a host all of whose addresses are routed alike."""
    return routes_message(RouteTables({family: [view] for family, view in rows.items()}, spreads))
