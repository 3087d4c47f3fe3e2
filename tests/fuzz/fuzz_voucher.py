"""Fuzz vouchers, by which one host of a cluster hands a request to another.

Invariant: any text is read as nothing, but for what a host has written, which says what the host was told.
"""

from __future__ import annotations

from ipaddress import IPv4Network

from core.addr import Endpoint
from core.cluster import Cluster
from core.geo import Position
from core.keyring import Keyring
from tests.fuzz.mutation import changed
from transceiver.observer import NullObserver
from transceiver.session.ids import is_minted, owner_of
from transceiver.signaling.hosts import OtherHosts, Place
from transceiver.signaling.referrals import ReferralKeys
from transceiver.signaling.siblings import Handed
from transceiver.steering.evidence import Evidence, Source

KEYRING = Keyring({1: bytes(range(32)), 7: bytes(32)}, 7)
CLUSTER = Cluster(1, IPv4Network("10.0.0.0/8"), None, 40000, 40003)
HOSTS = OtherHosts(Place(CLUSTER, 1, Endpoint("10.0.0.1", 8080)), KEYRING, NullObserver())
HOSTS.keys = ReferralKeys(KEYRING, {"web-shop": "0" * 64})
NOW_S = 1_900_000_000
HANDED = Handed("PATCH", "/v1/realtime/calls/x", "web-shop", {}, b"")
EVIDENCE = Evidence(Source.DATABASE, None, Position(35.7, 139.7))
GOOD = HOSTS.voucher(HANDED, EVIDENCE, NOW_S)


def test_one_input(data: bytes) -> None:
    """Read the input as it is; then as changes to a good one."""
    text = data.decode("utf-8", "surrogateescape")
    _check(text)
    _check(changed(GOOD, data))
    if owner_of(text) is not None:
        assert not is_minted(text, CLUSTER.id, KEYRING)


def _check(text: str) -> None:
    found = HOSTS.read_voucher_untrusted(text, HANDED, NOW_S)
    assert found is None or (text, found) == (GOOD, EVIDENCE)
