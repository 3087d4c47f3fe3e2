"""transceiver.steering.headers: what proxies write, and what clients make of it."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import SteeringError
from core.geo import Position
from transceiver.steering.headers import (
    MAX_HOPS,
    EvidenceFault,
    canonical_address,
    is_within,
    read_address_untrusted,
    read_forwarded_untrusted,
    read_pop_untrusted,
    read_position_untrusted,
    read_x_forwarded_for_untrusted,
)

OURS = (ip_network("10.0.0.0/8"), ip_network("2001:db8:ffff::/48"))
MALFORMED, SEVERAL = EvidenceFault.MALFORMED, EvidenceFault.SEVERAL_VALUES


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (["fra1"], "fra1"),
        ([" fra1 "], "fra1"),
        (["fra1", "nrt1"], SEVERAL),
        (["fra1, nrt1"], SEVERAL),
        ([""], MALFORMED),
        (["fra 1"], MALFORMED),
        (["x" * 65], MALFORMED),
        (['"fra1"'], MALFORMED),
        (["fra1\x00"], MALFORMED),
    ],
)
def test_pops(lines: list[str], found: str | EvidenceFault) -> None:
    assert outcome(lambda: read_pop_untrusted(lines)) == found


@pytest.mark.parametrize(
    ("latitudes", "longitudes", "found"),
    [
        (["35.6895"], ["139.69171"], Position(35.6895, 139.69171)),
        (["-33.8688"], ["+151"], Position(-33.8688, 151.0)),
        (["90"], ["-180"], Position(90.0, -180.0)),
        (["90.0001"], ["0"], EvidenceFault.OUT_OF_RANGE),
        (["999"], ["0"], EvidenceFault.OUT_OF_RANGE),
        (["0"], ["181"], EvidenceFault.OUT_OF_RANGE),
        (["nan"], ["0"], MALFORMED),
        (["inf"], ["0"], MALFORMED),
        (["1e1"], ["0"], MALFORMED),
        (["1_0"], ["0"], MALFORMED),
        (["٣٥"], ["0"], MALFORMED),
        (["35.68"], [], MALFORMED),
        (["35.68"], [""], MALFORMED),
        (["35,68"], ["139,69"], SEVERAL),
        (["35.68", "0"], ["139.69"], SEVERAL),
        (["35.68"], ["139.69", "139.69"], SEVERAL),
        (["1" * 4000], ["0"], MALFORMED),
    ],
)
def test_coordinates(latitudes: list[str], longitudes: list[str], found: Position | EvidenceFault) -> None:
    assert outcome(lambda: read_position_untrusted(latitudes, longitudes)) == found


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (["192.0.2.1"], "192.0.2.1"),
        (["2001:DB8::0:1"], "2001:db8::1"),
        (["::ffff:192.0.2.1"], "192.0.2.1"),
        (["192.0.2.1, 192.0.2.2"], SEVERAL),
        (["192.0.2.1", "192.0.2.2"], SEVERAL),
        (["192.0.2.256"], MALFORMED),
        (["fe80::1%eth0"], MALFORMED),
        (["localhost"], MALFORMED),
    ],
)
def test_single_addresses(lines: list[str], found: str | EvidenceFault) -> None:
    assert outcome(lambda: read_address_untrusted(lines)) == found


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (["192.0.2.1"], "192.0.2.1"),
        (["192.0.2.1, 10.0.0.1"], "192.0.2.1"),
        (["192.0.2.1", "10.0.0.1, 10.0.0.2"], "192.0.2.1"),
        (["6.6.6.6, 192.0.2.1, 10.0.0.1"], "192.0.2.1"),
        (["10.6.6.6, 192.0.2.1"], "192.0.2.1"),
        (["192.0.2.1:4711"], "192.0.2.1"),
        (["[2001:db8::1]:4711, 2001:db8:ffff::2"], "2001:db8::1"),
        (["[2001:db8::1]"], "2001:db8::1"),
        (["::ffff:192.0.2.1"], "192.0.2.1"),
        (["10.0.0.9, 10.0.0.1"], "10.0.0.9"),
        (["192.0.2.1,, ,10.0.0.1,"], "192.0.2.1"),
        (["garbage, 192.0.2.1"], "192.0.2.1"),
        (["192.0.2.1, garbage"], MALFORMED),
        (["192.0.2.1, unknown, 10.0.0.1"], MALFORMED),
        (["192.0.2.1:99999999"], MALFORMED),
        (["[192.0.2.1]"], MALFORMED),
        (["[2001:db8::1]x"], MALFORMED),
        (["[2001:db8::1"], MALFORMED),
        (["1" * 8000], MALFORMED),
        ([""], MALFORMED),
        ([" , ,"], MALFORMED),
        (["6.6.6.6, " * 2000 + "192.0.2.1"], "192.0.2.1"),
        (["192.0.2.1" + ", 10.0.0.1" * (MAX_HOPS - 1)], "192.0.2.1"),
        (["192.0.2.1" + ", 10.0.0.1" * MAX_HOPS], EvidenceFault.TOO_LONG),
        (["10.0.0.1, " * 5000], EvidenceFault.TOO_LONG),
    ],
)
def test_chains(lines: list[str], found: str | EvidenceFault) -> None:
    assert outcome(lambda: read_x_forwarded_for_untrusted(lines, OURS)) == found


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (["for=192.0.2.1"], "192.0.2.1"),
        (["For=192.0.2.1; proto=https;by=10.0.0.1;host=example.com"], "192.0.2.1"),
        (['for="[2001:db8::1]:4711"'], "2001:db8::1"),
        (['for="192.0.2.1:4711", for=10.0.0.1'], "192.0.2.1"),
        (["for=192.0.2.1", "for=10.0.0.1;proto=http"], "192.0.2.1"),
        (["for=2001:db8::1"], "2001:db8::1"),
        (['for="6.6.6.6, for=192.0.2.1'], "192.0.2.1"),
        (['host="a;b";for=192.0.2.1'], MALFORMED),
        (["for=unknown"], MALFORMED),
        (["for=_hidden, for=10.0.0.1"], MALFORMED),
        (["proto=https"], MALFORMED),
        (["for=192.0.2.1;for=192.0.2.2"], SEVERAL),
        (["192.0.2.1"], MALFORMED),
        (["for="], MALFORMED),
        (['for="192.0.2.1'], MALFORMED),
        ([";"], MALFORMED),
    ],
)
def test_forwarded(lines: list[str], found: str | EvidenceFault) -> None:
    assert outcome(lambda: read_forwarded_untrusted(lines, OURS)) == found


ADDRESSES = st.ip_addresses().map(lambda address: canonical_address(str(address)) or "192.0.2.1")


@given(st.text(), ADDRESSES.filter(lambda address: not is_within(address, OURS)), st.integers(0, 5))
def test_nothing_that_a_client_writes_changes_who_it_is(written: str, address: str, proxies: int) -> None:
    """Its proxy appends its address, and further ones append those of the proxies before."""
    chain = f"{written}, {address}" + ", 10.1.2.3" * proxies
    assert read_x_forwarded_for_untrusted([chain], OURS) == address
    assert read_x_forwarded_for_untrusted([written, *chain[len(written) + 2 :].split(", ")], OURS) == address
    elements = f'{written}, for="[{address}]"' if ":" in address else f"{written}, for={address}"
    assert read_forwarded_untrusted([elements + ", for=10.1.2.3" * proxies], OURS) == address


def outcome(read: object) -> object:
    """What is read, or why it is not."""
    assert callable(read)
    try:
        return read()
    except SteeringError as error:
        return error.reason
