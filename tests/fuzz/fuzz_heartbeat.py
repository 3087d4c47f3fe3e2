"""Fuzz what a transceiver believes of the hosts that have heartbeats in the store.

Invariant: no names and no values raise. What is unsigned changes nothing of what is known of a PoP, keeps no
host alive and adds none; what is signed and makes no sense is refused with a reason. The input is tried as
the name of a host, as its value as it is, in place of each field of a good one, and behind one; once with
the MAC that it had, and once with a right one.
"""

from __future__ import annotations

import binascii
import contextlib

from core.addr import Endpoint
from core.config import PopSettings
from core.keyring import Keyring
from core.store.heartbeat import (
    HeartbeatError,
    HostState,
    PopHeartbeat,
    decode_pop_untrusted,
    decode_transceiver_untrusted,
    encode,
)
from core.store.keys import HostKind
from transceiver.steering.pop_hosts import PopHosts

_KEYRING = Keyring({1: bytes(32)}, 1)
_VIP = Endpoint("192.0.2.1", 3478)
_POP = PopSettings("fra", (_VIP,), None, 50.0, 8.0)
_NOW_MS = 1_796_000_000_000
_NAME = b"fra:a"
_KEY = HostKind.POP.heartbeat_key(_NAME)
_SAID = PopHeartbeat(_NOW_MS, HostState.READY, 10, 100, "1", "xdp", (50.0, 8.0), (_VIP,))
_GOOD = encode(_SAID, _KEY, _KEYRING)


def test_one_input(data: bytes) -> None:
    """Hear it after a good one."""
    fields = _GOOD.split(b" ")[:-1]
    unsigned = [data, _GOOD + data, *(_in_place(fields, i, data) + _GOOD[-23:] for i in range(len(fields)))]
    for value in unsigned:
        if value != _GOOD:
            _changes_nothing(_NAME, value)
            _changes_nothing(b"fra:b", value)
    if data != _NAME:
        _changes_nothing(data, _GOOD)
    for body in (data, *(_in_place(fields, i, data) for i in range(len(fields)))):
        _makes_sense_or_is_refused(body + b" " + _mac(body))


def _in_place(fields: list[bytes], index: int, data: bytes) -> bytes:
    return b" ".join([*fields[:index], data, *fields[index + 1 :]])


def _mac(body: bytes) -> bytes:
    mac = _KEYRING.heartbeat_mac(1, _KEY + b"\n" + body)[:16]
    return binascii.b2a_base64(mac, newline=False).rstrip(b"=")


def _changes_nothing(name: bytes, value: bytes) -> None:
    hosts = PopHosts([_POP], _KEYRING)
    hosts.hear([(_NAME, _GOOD)], _NOW_MS, 0)
    before = hosts.health("fra", 1)
    assert before is not None
    told = hosts.hear([(name, value)], _NOW_MS, 1)
    if told:
        assert told[0].host.isascii()
        assert sum(hosts.refused.values()) == 1
    else:  # the same, with bits in its base64 that mean nothing
        assert name == _NAME
        assert value.rpartition(b" ")[0] == _GOOD.rpartition(b" ")[0]
    assert hosts.health("fra", 1) == before
    assert hosts.known == [_NAME]


def _makes_sense_or_is_refused(value: bytes) -> None:
    with contextlib.suppress(HeartbeatError):
        decode_transceiver_untrusted(value, _KEY, _KEYRING, _NOW_MS)
    try:
        said = decode_pop_untrusted(value, _KEY, _KEYRING, _NOW_MS)
    except HeartbeatError:
        return
    assert 0 <= said.load <= 1
    assert abs(said.at_ms - _NOW_MS) <= 126_000
    assert said.place is None or (abs(said.place[0]) <= 90 and abs(said.place[1]) <= 180)
    assert 1 <= len(said.vips) <= 8
    assert said.version.isprintable()
    assert said.forwarder.isprintable()
