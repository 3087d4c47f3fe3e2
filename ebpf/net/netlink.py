"""The sole importer of pyroute2: what `attach`, `netns` and `snapshot` are built on, by one name each.

pyroute2 carries few annotations, so its sockets are `Any` here; every refusal of the kernel is a
`NetlinkError`, whose `code` is an errno.
"""

from __future__ import annotations

from pyroute2 import AsyncIPRoute, IPRoute, netns
from pyroute2.netlink import rtnl
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import ndmsg
from pyroute2.netlink.rtnl.ifinfmsg import IFF_LOWER_UP, IFF_UP

__all__ = ["IFF_LOWER_UP", "IFF_UP", "AsyncIPRoute", "IPRoute", "NetlinkError", "ndmsg", "netns", "rtnl"]
