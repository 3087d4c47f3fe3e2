"""The sole importer of pyroute2: what the rest of this folder is built on, by one name each.

pyroute2 carries few annotations, so its sockets are `Any` here; every refusal of the kernel is a
`NetlinkError`, whose `code` is an errno.
"""

from __future__ import annotations

from pyroute2 import AsyncIPRoute, IPRoute, netns
from pyroute2.netlink import rtnl
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import ndmsg

__all__ = ["AsyncIPRoute", "IPRoute", "NetlinkError", "ndmsg", "netns", "rtnl"]
