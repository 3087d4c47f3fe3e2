"""Which number a host has by its own address, as a pod does that is told none."""

from __future__ import annotations

import os
import socket
from ipaddress import IPv4Network, IPv6Network, ip_address

from core.addr import IpFamily
from core.cluster import Cluster
from core.errors import UnavailableError

MAX_NUMBER = 0xFFFFFFFF
"""What a token has room for."""
DISCARD_PORT = 9


def own_host(cluster: Cluster) -> int:
    """The number of this host in a cluster: the host bits of the address that it has in the cluster's prefix,
    which is the one that what it sends there comes from. Raises UnavailableError with the fix.
    """
    prefixes = [prefix for family in IpFamily if (prefix := cluster.prefix(family)) is not None]
    numbers = {prefix: _number_in(prefix) for prefix in prefixes}
    if len({*numbers.values()}) > 1:
        places = " but ".join(f"number {number} in {prefix}" for prefix, number in numbers.items())
        raise UnavailableError(
            f"this host is {places}, and one number has to do for both: make two clusters of them, of one "
            "family each"
        )
    return numbers[prefixes[0]]


def _number_in(prefix: IPv4Network | IPv6Network) -> int:
    address = _source_towards(prefix)
    number = int(ip_address(address)) & int(prefix.hostmask)
    if number > MAX_NUMBER:
        raise UnavailableError(
            f"{address} is number {number} in {prefix}, more than the 32 bits of a token: give the cluster a "
            "prefix of /96 or longer"
        )
    return number


def _source_towards(prefix: IPv4Network | IPv6Network) -> str:
    """By the kernel's routes; nothing is sent. A pod has one address there, and where a host has several,
    this is the one that its answers come from.
    """
    some = prefix[1] if prefix.num_addresses > 2 else prefix[0]  # the first may be a broadcast address
    family = socket.AF_INET if prefix.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(some), DISCARD_PORT))
            address = str(probe.getsockname()[0]).partition("%")[0]
        except OSError as error:
            address = f"none ({os.strerror(error.errno or 0)})"
    try:
        if ip_address(address) in prefix:
            return address
    except ValueError:
        pass
    raise UnavailableError(
        f"this host has no address in the cluster's {prefix}: towards it, its address is {address}. Correct "
        "the prefix, or give the number"
    )
