"""Fuzz what a relay believes of a value in the store.

Invariant: no bytes raise. A flow follows from a record that a holder of our keys has written for this VIP
and client, and from no other, and then leads into the configured cluster. The input is tried as it is, in
place of each field of a good record, and behind one.
"""

from __future__ import annotations

import ipaddress

from core.addr import Endpoint
from core.cluster import Cluster
from core.keyring import Keyring
from core.store.flow_record import encode
from core.token import Token, mint
from edge.relay.decide import Relay
from edge.relay.verdict import Action

_KEYRING = Keyring({1: bytes(32)}, 1)
_PREFIX = ipaddress.IPv4Network("10.0.0.0/24")
_RELAY = Relay(_KEYRING, {1: Cluster(1, _PREFIX, None, 5000, 5009)}, 5_000_000_000)
_NOW_S = 1_796_000_000
_VIP, _CLIENT = Endpoint("192.0.2.1", 3478), Endpoint("198.51.100.7", 50000)
_UFRAG = mint(Token(1, 1, 3, 5001, 0, 1), _KEYRING).encode()
_GOOD = encode(_VIP, _CLIENT, _UFRAG, _NOW_S + 180, _KEYRING)


def test_one_input(data: bytes) -> None:
    """Decide on the input, and on a good record that has it somewhere."""
    fields = _GOOD.split(b" ")
    for value in (data, _GOOD + data, *(b" ".join([*fields[:i], data, *fields[i + 1 :]]) for i in range(4))):
        verdict = _RELAY.decide_record_untrusted(value, _VIP, _CLIENT, _NOW_S)
        if verdict.transceiver is None:
            assert verdict.action is Action.DROP
            assert verdict.reason is not None
            continue
        assert verdict.action is Action.CREATE
        assert value.split(b" ")[:3] == fields[:3]
        assert ipaddress.ip_address(verdict.transceiver.host) in _PREFIX
