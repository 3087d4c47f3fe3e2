"""Clusters: the numbered address prefixes that tokens may lead into, and nothing else may."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from core.addr import Endpoint, IpFamily, host_in_prefix
from core.errors import TokenError
from core.token import Token, TokenReason


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where the transceivers of one cluster live."""

    id: int
    ipv4: IPv4Network | None
    ipv6: IPv6Network | None
    port_first: int
    port_last: int
    """UDP ports of transceiver processes, both ends included."""

    def prefix(self, family: IpFamily) -> IPv4Network | IPv6Network | None:
        """Where its transceivers of a family are; None where it has none."""
        return self.ipv6 if family == IpFamily.V6 else self.ipv4

    def address(self, host: int, family: IpFamily) -> str | None:
        """The address of a host number in a family; None where the prefix has no such host."""
        prefix = self.prefix(family)
        return None if prefix is None else host_in_prefix(prefix, host)


def resolve_untrusted(token: Token, clusters: dict[int, Cluster], family: IpFamily) -> Endpoint:
    """The transceiver that a token leads to, in the client's own family. Raises TokenError.

    The tag proves only that a minter wrote the fields; that the address lies in a configured cluster
    is checked here, so that a leaked key opens no way to the rest of the network.
    """
    cluster = clusters.get(token.cluster)
    if cluster is None:
        raise TokenError(TokenReason.UNKNOWN_CLUSTER)
    if not cluster.port_first <= token.port <= cluster.port_last:
        raise TokenError(TokenReason.PORT_OUT_OF_RANGE)
    if cluster.prefix(family) is None:
        raise TokenError(TokenReason.NO_PREFIX_IN_FAMILY)
    address = cluster.address(token.host, family)
    if address is None:
        raise TokenError(TokenReason.HOST_OUT_OF_RANGE)
    return Endpoint(address, token.port)
