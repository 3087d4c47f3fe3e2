"""Heartbeats: what hosts write, and that nobody else can write one that is believed."""

from __future__ import annotations

import binascii
import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.addr import Endpoint, parse_endpoint
from core.keyring import Keyring
from core.store.base import MAX_VALUE_BYTES, NOT_A_STRING
from core.store.heartbeat import (
    MAX_ROOM,
    MAX_VIPS,
    TTL_S,
    Heartbeat,
    HeartbeatError,
    HeartbeatReason,
    HostState,
    PopHeartbeat,
    decode_pop_untrusted,
    decode_transceiver_untrusted,
    encode,
    pop_and_host_untrusted,
)
from core.store.keys import HostKind
from core.store.mac import CLOCK_TOLERANCE_S

KEYRING = Keyring({1: bytes(range(32)), 2: bytes(range(32, 64))}, 2)
NOW_MS = 1_796_000_000_123
VIPS = (parse_endpoint("192.0.2.1:3478"), parse_endpoint("[2001:db8::1]:3478"))
KEY = HostKind.POP.heartbeat_key(b"fra:fra-1")
POP = PopHeartbeat(NOW_MS, HostState.READY, 491, 4096, "0.1.0", "xdp", (50.11, 8.68), VIPS)
VALUE = encode(POP, KEY, KEYRING)
TRANSCEIVER_KEY = HostKind.TRANSCEIVER.heartbeat_key(b"1:12:40000")
TRANSCEIVER = Heartbeat(NOW_MS, HostState.DRAINING, 12, 800, "0.1.0")


def reason_of(value: bytes, key: bytes = KEY, keyring: Keyring = KEYRING, now_ms: int = NOW_MS) -> str:
    with pytest.raises(HeartbeatError) as refused:
        decode_pop_untrusted(value, key, keyring, now_ms)
    return str(refused.value.reason)


def signed(body: bytes, key: bytes = KEY, key_id: int = 2) -> bytes:
    """As a host would write it that has the keys, and no sense."""
    mac = binascii.b2a_base64(KEYRING.heartbeat_mac(key_id, key + b"\n" + body)[:16], newline=False)
    return body + b" " + mac.rstrip(b"=")


def changed(field: int, text: bytes) -> bytes:
    """The good one with another field, rightly signed."""
    fields = VALUE.split(b" ")[:-1]
    fields[field] = text
    return signed(b" ".join(fields))


def test_what_a_host_writes_others_believe() -> None:
    assert decode_pop_untrusted(VALUE, KEY, KEYRING, NOW_MS) == POP
    assert VALUE.rpartition(b" ")[0] == (
        b"1 2 1796000000123 ready 491/4096 0.1.0 xdp 50.1100,8.6800 192.0.2.1:3478,[2001:db8::1]:3478"
    )
    nowhere = dataclasses.replace(POP, place=None)
    assert decode_pop_untrusted(encode(nowhere, KEY, KEYRING), KEY, KEYRING, NOW_MS) == nowhere
    value = encode(TRANSCEIVER, TRANSCEIVER_KEY, KEYRING)
    assert decode_transceiver_untrusted(value, TRANSCEIVER_KEY, KEYRING, NOW_MS) == TRANSCEIVER
    assert value.rpartition(b" ")[0] == b"1 2 1796000000123 draining 12/800 0.1.0"
    assert VALUE.isascii()  # redis-cli shows it as it is


def test_the_longest_one_fits() -> None:
    vips = [Endpoint(f"2001:db8:1111:2222:3333:4444:5555:{0x1111 * i:x}", 65535) for i in range(8, 16)]
    longest = PopHeartbeat(
        NOW_MS, HostState.DRAINING, MAX_ROOM, MAX_ROOM, "1" * 40, "userspace", (-89.12345, -179.12345),
        tuple(vips),
    )  # fmt: skip
    value = encode(longest, KEY, Keyring({31: bytes(32)}, 31))
    assert MAX_VALUE_BYTES - 16 < len(value) <= MAX_VALUE_BYTES
    told = decode_pop_untrusted(value, KEY, Keyring({31: bytes(32)}, 31), NOW_MS)
    assert (told.vips, told.version, told.load) == (tuple(vips), "1" * 24, 1.0)


def test_it_is_good_for_its_own_host_alone() -> None:
    for name in (b"fra:fra-2", b"nrt:fra-1"):
        assert reason_of(VALUE, HostKind.POP.heartbeat_key(name)) == HeartbeatReason.BAD_MAC
    assert reason_of(encode(TRANSCEIVER, KEY, KEYRING)) == HeartbeatReason.MALFORMED
    with pytest.raises(HeartbeatError):
        decode_transceiver_untrusted(VALUE, KEY, KEYRING, NOW_MS)


def test_who_has_no_key_says_nothing_and_changes_nothing() -> None:
    stranger = Keyring({2: b"x" * 32}, 2)
    assert reason_of(encode(POP, KEY, stranger)) == HeartbeatReason.BAD_MAC
    assert reason_of(encode(POP, KEY, Keyring({3: b"x" * 32}, 3))) == HeartbeatReason.UNKNOWN_KEY
    fields = VALUE.split(b" ")
    for index, text in enumerate((b"1", b"1796000000124", b"draining", b"0/4096", b"0.2.0", b"x", b"-"), 1):
        forged = b" ".join([*fields[:index], text, *fields[index + 1 :]])
        assert reason_of(forged) == HeartbeatReason.BAD_MAC
    for mac in (b"A" * 22, b"AA", fields[-1][:-2]):
        assert reason_of(b" ".join([*fields[:-1], mac])) in (
            HeartbeatReason.BAD_MAC,
            HeartbeatReason.MALFORMED,
        )


def test_a_key_that_is_gone_takes_its_heartbeats_with_it() -> None:
    assert reason_of(VALUE, keyring=Keyring({1: bytes(range(32))}, 1)) == HeartbeatReason.UNKNOWN_KEY


def test_a_clock_may_be_off_by_two_minutes_and_no_more() -> None:
    ahead_ms, behind_ms = CLOCK_TOLERANCE_S * 1000, int((CLOCK_TOLERANCE_S + TTL_S) * 1000)
    for now_ms in (NOW_MS - ahead_ms, NOW_MS - 90_000, NOW_MS + 90_000, NOW_MS + behind_ms):
        assert decode_pop_untrusted(VALUE, KEY, KEYRING, now_ms) == POP
    assert reason_of(VALUE, now_ms=NOW_MS - ahead_ms - 1) == HeartbeatReason.FROM_FUTURE
    assert reason_of(VALUE, now_ms=NOW_MS + behind_ms + 1) == HeartbeatReason.STALE


REFUSED = {
    "nothing": (b"", HeartbeatReason.MALFORMED),
    "no string": (NOT_A_STRING, HeartbeatReason.MALFORMED),
    "garbage": (b"\xff\xfe garbage", HeartbeatReason.MALFORMED),
    "JSON": (b'{"flows": 1}', HeartbeatReason.MALFORMED),
    "a megabyte": (b"x" * 1_000_000, HeartbeatReason.TOO_LONG),
    "another schema": (b"2 " + VALUE[2:], HeartbeatReason.OTHER_SCHEMA),
    "a field less": (signed(b"1 2 1796000000123 ready 1/2 0.1.0 xdp -"), HeartbeatReason.MALFORMED),
    "a field more": (signed(VALUE.rpartition(b" ")[0] + b" more"), HeartbeatReason.MALFORMED),
    "a MAC that is no base64": (VALUE[:-22] + b"!" * 22, HeartbeatReason.MALFORMED),
    "a key that is no number": (changed(1, b"two"), HeartbeatReason.MALFORMED),
    "a time that is none": (changed(2, b"soon"), HeartbeatReason.MALFORMED),
    "a time before the epoch": (changed(2, b"-1"), HeartbeatReason.MALFORMED),
    "from the future": (changed(2, b"999999999999999"), HeartbeatReason.FROM_FUTURE),
    "a state that is none": (changed(3, b"splendid"), HeartbeatReason.MALFORMED),
    "a load that is none": (changed(4, b"half"), HeartbeatReason.MALFORMED),
    "a negative load": (changed(4, b"-1/4096"), HeartbeatReason.MALFORMED),
    "twice as many flows as there may be": (changed(4, b"8192/4096"), HeartbeatReason.ABSURD_LOAD),
    "no room": (changed(4, b"0/0"), HeartbeatReason.ABSURD_LOAD),
    "all the room in the world": (changed(4, b"1/100000001"), HeartbeatReason.ABSURD_LOAD),
    "a version with an escape": (changed(5, b"\x1b[31m"), HeartbeatReason.MALFORMED),
    "a forwarder with an escape": (changed(6, b"\x1b[31m"), HeartbeatReason.MALFORMED),
    "latitude 999": (changed(7, b"999,8.68"), HeartbeatReason.OFF_GLOBE),
    "longitude 181": (changed(7, b"50.11,-181"), HeartbeatReason.OFF_GLOBE),
    "latitude NaN": (changed(7, b"nan,8.68"), HeartbeatReason.MALFORMED),
    "latitude of many digits": (changed(7, b"9" * 300 + b",8.68"), HeartbeatReason.MALFORMED),
    "no VIP": (changed(8, b""), HeartbeatReason.MALFORMED),
    "a VIP that is a name": (changed(8, b"example.com:3478"), HeartbeatReason.MALFORMED),
    "a VIP that is no text": (changed(8, b"\xff"), HeartbeatReason.MALFORMED),
    "too many VIPs": (changed(8, b",".join([b"192.0.2.1:1"] * (MAX_VIPS + 1))), HeartbeatReason.MALFORMED),
}


@pytest.mark.parametrize(("value", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_heartbeat_is_refused_with_a_reason(value: bytes, reason: str) -> None:
    assert reason_of(value) == reason


def test_a_pop_that_is_a_little_over_full_is_full() -> None:
    """Workers count apart."""
    assert decode_pop_untrusted(changed(4, b"4100/4096"), KEY, KEYRING, NOW_MS).load == 1.0


def test_a_name_says_pop_and_host() -> None:
    assert pop_and_host_untrusted(b"fra:fra-1.example.net") == ("fra", "fra-1.example.net")
    for name in (b"", b"fra", b"fra:", b":a", b"a:b:c", b"\xff:a", b"a:b\n", b"a:" + b"x" * 65):
        with pytest.raises(HeartbeatError) as refused:
            pop_and_host_untrusted(name)
        assert refused.value.reason == HeartbeatReason.MALFORMED
    with pytest.raises(HeartbeatError) as refused:
        pop_and_host_untrusted(b"x" * 1_000_000)
    assert refused.value.reason == HeartbeatReason.TOO_LONG


@given(st.binary(max_size=700) | st.builds(lambda at, byte: VALUE[:at] + byte + VALUE[at + 1 :],
       st.integers(0, len(VALUE)), st.binary(min_size=1, max_size=2)))  # fmt: skip
def test_nothing_but_a_heartbeat_passes_and_nothing_else_is_raised(value: bytes) -> None:
    try:
        assert decode_pop_untrusted(value, KEY, KEYRING, NOW_MS) == POP
    except HeartbeatError:
        assert value != VALUE
