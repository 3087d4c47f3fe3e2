"""Fuzz the relay's decision on what comes to a VIP, from known and from unknown addresses.

Invariant: no bytes raise. An unknown source gets a flow only for a request that is authentic under the
password of a token of ours, and only into the configured cluster; a known one is forwarded or dropped,
and is shared with another call only by such a request. The input is tried as it is, as an attribute of a
request that is right but for its password, and of one that is right, which must be admitted.
"""

from __future__ import annotations

import ipaddress

from core.addr import Endpoint, IpFamily
from core.cluster import Cluster
from core.keyring import Keyring
from core.stun import Attribute, encode, parse_untrusted
from core.token import Token, mint
from edge.relay.decide import Relay
from edge.relay.forwarder import Sockaddr, VipIndex
from edge.relay.verdict import Action, Verdict

_KEYRING = Keyring({1: bytes(32)}, 1)
_PREFIX = ipaddress.IPv4Network("10.0.0.0/24")
_RELAY = Relay(_KEYRING, {1: Cluster(1, _PREFIX, None, 5000, 5009)}, 5_000_000_000)
_NOW_MIN = 29_900_000
_OURS = mint(Token(1, 1, 3, 5001, _NOW_MIN & 0xFFFF, 1), _KEYRING).encode()


class _Flow:
    """A live flow to another transceiver than the one of `_OURS`."""

    client: Sockaddr = ("192.0.2.1", 9)
    vip = VipIndex(0)
    transceiver = Endpoint("10.0.0.4", 5001)
    last_upstream_ns = last_downstream_ns = 0
    is_confirmed = True

    def matches_ufrag(self, ufrag: bytes) -> bool:
        return ufrag == b"another"


def test_one_input(data: bytes) -> None:
    """Decide on the input, and on two requests that have it as an attribute."""
    attributes = [(Attribute.USERNAME, _OURS + b":x"), (0x8001, data[:512])]
    right = encode(1, bytes(12), attributes, _KEYRING.ice_password(1, _OURS))
    assert _decide(right, None).action is Action.CREATE
    for datagram in (data, right, encode(1, bytes(12), attributes, data[:32])):
        _check(datagram, _decide(datagram, None), Action.CREATE)
        _check(datagram, _decide(datagram, _Flow()), Action.CONTEST)
        _check(datagram, _decide(datagram, _Flow(), _Flow()), Action.CONTEST)


def _decide(datagram: bytes, flow: _Flow | None, rival: _Flow | None = None) -> Verdict:
    return _RELAY.decide_untrusted(memoryview(datagram), IpFamily.V4, flow, rival, _NOW_MIN)


def _check(datagram: bytes, verdict: Verdict, allowed: Action) -> None:
    assert (verdict.reason is not None) == (verdict.action is Action.DROP)
    if verdict.transceiver is None:
        assert verdict.action is Action.DROP or allowed is not Action.CREATE
        return
    assert verdict.action is allowed
    assert parse_untrusted(datagram).is_authentic(_KEYRING.ice_password(1, verdict.ufrag))
    assert ipaddress.ip_address(verdict.transceiver.host) in _PREFIX
