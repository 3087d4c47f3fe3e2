"""Fuzz USERNAMEs: the split, the token in the first half, and where it leads.

Invariant: any bytes either raise TokenError, or are a ufrag that our keys mint for just the fields that
were read, and lead into the prefix and the ports of a configured cluster. Of garbage, nothing is
accepted: what is made of the input's fields with a right tag is, and only then fields are looked at.
"""

from __future__ import annotations

import ipaddress
import struct

from core.addr import IpFamily
from core.cluster import Cluster, resolve_untrusted
from core.errors import TokenError
from core.keyring import Keyring
from core.token import Token, mint, minutes_left, open_untrusted, peek_untrusted
from core.ufrag import split_username_untrusted

_KEYRING = Keyring({0: bytes(32), 9: bytes(range(32))}, mint_with=9)
_CLUSTERS = {
    1: Cluster(1, ipaddress.IPv4Network("10.0.0.0/20"), ipaddress.IPv6Network("2001:db8::/64"), 1, 65535),
    2: Cluster(2, None, ipaddress.IPv6Network("2001:db8:2::/120"), 5000, 5009),
}
_NOW_MIN = 29_900_000
_FIELDS = struct.Struct("!BHLHHH")


def test_one_input(data: bytes) -> None:
    """Open the input as a USERNAME; then the token of its first 13 bytes, with the right tag."""
    halves = split_username_untrusted(data)
    _open(data if halves is None else halves[0])
    if len(data) >= _FIELDS.size:
        first, *rest = _FIELDS.unpack_from(data)
        _open(mint(Token(9 if first & 1 else 0, *rest), _KEYRING).encode())


def _open(ufrag: bytes) -> None:
    try:
        peeked = peek_untrusted(ufrag)
        token = open_untrusted(ufrag, _KEYRING, _NOW_MIN)
    except TokenError:
        return
    assert peeked == token
    assert mint(token, _KEYRING).encode() == ufrag
    assert minutes_left(token.expiry_min, _NOW_MIN) >= 0 or token.expiry_min == (_NOW_MIN + 0x8000) & 0xFFFF
    assert len(_KEYRING.ice_password(token.key_id, ufrag)) == 32
    for family in (IpFamily.V4, IpFamily.V6):
        _resolve(token, family)


def _resolve(token: Token, family: IpFamily) -> None:
    try:
        endpoint = resolve_untrusted(token, _CLUSTERS, family)
    except TokenError:
        return
    cluster = _CLUSTERS[token.cluster]
    prefix = cluster.ipv4 if family == IpFamily.V4 else cluster.ipv6
    assert prefix is not None
    assert ipaddress.ip_address(endpoint.host) in prefix
    assert cluster.port_first <= endpoint.port <= cluster.port_last
