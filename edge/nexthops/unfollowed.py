"""What there is in the routing of a host that the fast path does not follow, in words."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class UnfollowedKind(StrEnum):
    """What may be in a host's routing that the fast path does not follow."""

    RULE = "rule"
    """It chooses by what flows from one address differ in."""
    ROUTE = "route"
    """It is for packets with a type of service only."""
    LEG = "leg"
    """It wraps packets up; or there are too many, or several to hosts on a link."""
    VRF = "vrf"
    """An interface of the fast path is in one."""
    BACKBONE = "backbone"
    """Addresses of a family are routed unlike each other."""


class Unfollowed(NamedTuple):
    """Something of that kind, in words."""

    kind: UnfollowedKind
    text: str
