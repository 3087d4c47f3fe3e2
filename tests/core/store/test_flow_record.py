"""Flow records: what relays write, and that nobody else can write one that is believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.addr import Endpoint, parse_endpoint
from core.errors import TokenError, WireError
from core.keyring import Keyring
from core.store.base import MAX_VALUE_BYTES, NOT_A_STRING
from core.store.flow_record import (
    MAX_LEASE_S,
    RecordError,
    RecordReason,
    decode_untrusted,
    encode,
)
from core.store.mac import CLOCK_TOLERANCE_S
from core.token import Token, TokenReason, expiry_after, mint

KEYRING = Keyring({1: bytes(range(32)), 2: bytes(range(32, 64))}, 1)
VIP, CLIENT = parse_endpoint("192.0.2.1:3478"), parse_endpoint("198.51.100.7:50000")
NOW_S = 1_796_000_000
LEASE_S = 180


def ufrag_of(session: int = 1, key_id: int = 1, lifetime_min: int = 60, keyring: Keyring = KEYRING) -> bytes:
    expiry = expiry_after(NOW_S // 60, lifetime_min)
    return mint(Token(key_id, 7, 9, 40000, expiry, session), keyring).encode()


UFRAG = ufrag_of()
VALUE = encode(VIP, CLIENT, UFRAG, NOW_S + LEASE_S, KEYRING)


def reason_of(
    value: bytes,
    vip: Endpoint = VIP,
    client: Endpoint = CLIENT,
    keyring: Keyring = KEYRING,
    now_s: int = NOW_S,
) -> str:
    with pytest.raises(WireError) as refused:
        decode_untrusted(value, vip, client, keyring, now_s)
    return str(refused.value.reason)


def test_what_one_relay_writes_another_believes() -> None:
    record = decode_untrusted(VALUE, VIP, CLIENT, KEYRING, NOW_S)
    assert record.ufrag == UFRAG
    assert record.until_s == NOW_S + LEASE_S
    assert (record.token.cluster, record.token.host, record.token.port) == (7, 9, 40000)
    assert len(VALUE) == 1 + 1 + 28 + 1 + 10 + 1 + 22 <= MAX_VALUE_BYTES
    assert VALUE.isascii()  # redis-cli shows it as it is


def test_a_call_that_is_longer_than_its_token_has_records_all_the_same() -> None:
    """RFC 7675: consent is what keeps a call, and `until` says that a relay saw it."""
    later_s = NOW_S + 5 * 3600
    old = ufrag_of(lifetime_min=1)
    value = encode(VIP, CLIENT, old, later_s + LEASE_S, KEYRING)
    assert decode_untrusted(value, VIP, CLIENT, KEYRING, later_s).ufrag == old


def test_a_record_is_good_at_its_own_vip_and_client_alone() -> None:
    for other in ("192.0.2.1:3479", "192.0.2.2:3478", "[2001:db8::1]:3478"):
        assert reason_of(VALUE, vip=parse_endpoint(other)) == RecordReason.BAD_MAC
    for other in ("198.51.100.7:50001", "198.51.100.8:50000"):
        assert reason_of(VALUE, client=parse_endpoint(other)) == RecordReason.BAD_MAC


def test_a_valid_token_does_not_make_a_record() -> None:
    """Whoever can write to the store and has a call of their own has its ufrag, and no more."""
    own = ufrag_of(session=2)
    _, _, until, mac = VALUE.split(b" ")
    assert reason_of(b" ".join((b"1", own, until, mac))) == RecordReason.BAD_MAC
    assert reason_of(b" ".join((b"1", own, until, b"A" * 22))) == RecordReason.BAD_MAC
    assert reason_of(b" ".join((b"1", own, until, b"AA"))) == RecordReason.BAD_MAC


def test_its_life_cannot_be_made_longer() -> None:
    version, ufrag, until, mac = VALUE.split(b" ")
    assert reason_of(b" ".join((version, ufrag, b"%d" % (int(until) + 1), mac))) == RecordReason.BAD_MAC
    end_s = NOW_S + LEASE_S + CLOCK_TOLERANCE_S
    assert decode_untrusted(VALUE, VIP, CLIENT, KEYRING, end_s).ufrag == UFRAG
    assert reason_of(VALUE, now_s=end_s + 1) == RecordReason.EXPIRED


def test_a_record_of_a_clock_that_is_far_ahead_is_not_believed() -> None:
    until_s = NOW_S + MAX_LEASE_S + CLOCK_TOLERANCE_S
    just = encode(VIP, CLIENT, UFRAG, until_s, KEYRING)
    assert decode_untrusted(just, VIP, CLIENT, KEYRING, NOW_S).until_s == until_s
    beyond = encode(VIP, CLIENT, UFRAG, until_s + 1, KEYRING)
    assert reason_of(beyond) == RecordReason.FROM_FUTURE


@pytest.mark.parametrize("off_s", [-90, 90])
def test_clocks_of_relays_may_be_90_s_apart(off_s: int) -> None:
    """A record is renewed when two thirds of its lease are over; until then it must be good elsewhere."""
    value = encode(VIP, CLIENT, UFRAG, NOW_S + off_s + LEASE_S, KEYRING)
    for since_s in (0, LEASE_S * 2 // 3):
        assert decode_untrusted(value, VIP, CLIENT, KEYRING, NOW_S + since_s).ufrag == UFRAG


def test_a_key_that_is_gone_takes_its_records_with_it() -> None:
    without = Keyring({1: bytes(range(32))}, 1)
    second = ufrag_of(key_id=2)
    value = encode(VIP, CLIENT, second, NOW_S + LEASE_S, KEYRING)
    assert decode_untrusted(value, VIP, CLIENT, KEYRING, NOW_S).ufrag == second
    assert reason_of(value, keyring=without) == TokenReason.UNKNOWN_KEY
    with pytest.raises(TokenError):
        encode(VIP, CLIENT, second, NOW_S + LEASE_S, without)


FIELDS = VALUE.split(b" ")
REFUSED = {
    "nothing": (b"", RecordReason.MALFORMED),
    "no string": (NOT_A_STRING, RecordReason.MALFORMED),
    "garbage": (b"\xff\xfe garbage", RecordReason.MALFORMED),
    "JSON": (b'{"ufrag": "x"}', RecordReason.MALFORMED),
    "a megabyte": (b"x" * 1_000_000, RecordReason.TOO_LONG),
    "a byte too long": (VALUE + b" " * (MAX_VALUE_BYTES + 1 - len(VALUE)), RecordReason.TOO_LONG),
    "another schema": (b"2 " + VALUE[2:], RecordReason.OTHER_SCHEMA),
    "another schema, and fields of its own": (b"2 " + VALUE[2:] + b" more", RecordReason.OTHER_SCHEMA),
    "another schema, and one field": (b"12 x", RecordReason.OTHER_SCHEMA),
    "no schema": (b" ".join([b"", *FIELDS[1:]]), RecordReason.MALFORMED),
    "a field less": (b" ".join(FIELDS[:3]), RecordReason.MALFORMED),
    "a field more": (VALUE + b" x", RecordReason.MALFORMED),
    "no time": (b" ".join([*FIELDS[:2], b"soon", FIELDS[3]]), RecordReason.MALFORMED),
    "a negative time": (b" ".join([*FIELDS[:2], b"-1", FIELDS[3]]), RecordReason.MALFORMED),
    "a time of many digits": (b" ".join([*FIELDS[:2], b"9" * 400, FIELDS[3]]), RecordReason.MALFORMED),
    "a MAC that is no base64": (b" ".join([*FIELDS[:3], b"!" * 22]), RecordReason.MALFORMED),
    "no ufrag": (b" ".join([b"1", b"", *FIELDS[2:]]), TokenReason.BAD_LENGTH),
    "a ufrag of somebody else's keys": (
        b" ".join([b"1", ufrag_of(keyring=Keyring({1: b"x" * 32}, 1)), *FIELDS[2:]]),
        TokenReason.BAD_TAG,
    ),
}


@pytest.mark.parametrize(("value", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_record_is_refused_with_a_reason(value: bytes, reason: str) -> None:
    assert reason_of(value) == reason


@given(st.binary(max_size=700) | st.builds(lambda at, byte: VALUE[:at] + byte + VALUE[at + 1 :],
       st.integers(0, len(VALUE)), st.binary(min_size=1, max_size=2)))  # fmt: skip
def test_nothing_but_a_record_passes_and_nothing_else_is_raised(value: bytes) -> None:
    try:
        record = decode_untrusted(value, VIP, CLIENT, KEYRING, NOW_S)
    except (RecordError, TokenError):
        return
    assert value.split(b" ")[:3] == VALUE.split(b" ")[:3]
    assert record.ufrag == UFRAG
