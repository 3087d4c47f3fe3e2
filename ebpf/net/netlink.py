"""The sole importer of pyroute2: what the rest of this folder is built on, by one name each.

pyroute2 carries few annotations, so its sockets are `Any` here; every refusal of the kernel is a
`NetlinkError`, whose `code` is an errno.
"""

from __future__ import annotations

from pyroute2 import AsyncIPRoute, IPRoute, netns
from pyroute2.netlink import NLM_F_DUMP, NLM_F_REQUEST, nlmsg, rtnl
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import ndmsg
from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.marshal import MarshalRtnl
from pyroute2.netlink.rtnl.rtmsg import rtmsg, rtmsg_base

__all__ = [
    "DUMP",
    "RTM_GETNEXTHOP",
    "AsyncIPRoute",
    "IPRoute",
    "NetlinkError",
    "NexthopMessage",
    "fibmsg",
    "ndmsg",
    "netns",
    "rtmsg",
    "rtnl",
]

DUMP = NLM_F_REQUEST | NLM_F_DUMP
RTM_NEWNEXTHOP, RTM_GETNEXTHOP = 104, 106
"""linux/rtnetlink.h"""


_ROUTE_ATTRIBUTES = (
    ("RTA_PAD", "hex"),
    ("RTA_UID", "uint32"),
    ("RTA_TTL_PROPAGATE", "uint8"),
    ("RTA_IP_PROTO", "uint8"),
    ("RTA_SPORT", "hex"),
    ("RTA_DPORT", "hex"),
    ("RTA_NH_ID", "uint32"),
)
"""linux/rtnetlink.h, from 24 on: where pyroute2 0.9 ends, before the number of a route's nexthop object."""


class NexthopMessage(nlmsg):  # type: ignore[misc] # pyroute2 has no types
    """A nexthop object (struct nhmsg of linux/nexthop.h), of which pyroute2 has nothing."""

    __slots__ = ()
    prefix = "NHA_"
    fields = (("family", "B"), ("scope", "B"), ("protocol", "B"), ("resvd", "B"), ("flags", "I"))
    nla_map = (
        ("NHA_UNSPEC", "none"),
        ("NHA_ID", "uint32"),
        ("NHA_GROUP", "cdata"),
        ("NHA_GROUP_TYPE", "uint16"),
        ("NHA_BLACKHOLE", "flag"),
        ("NHA_OIF", "uint32"),
        ("NHA_GATEWAY", "ipaddr"),
        ("NHA_ENCAP_TYPE", "uint16"),
    )


if len(rtmsg_base.nla_map) == 24:  # not in a subclass: that would inherit what pyroute2 has compiled of it
    rtmsg_base.nla_map = (*rtmsg_base.nla_map, *_ROUTE_ATTRIBUTES)
MarshalRtnl.msg_map[RTM_NEWNEXTHOP] = NexthopMessage
