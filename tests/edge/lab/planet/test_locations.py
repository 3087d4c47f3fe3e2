"""The lab's database of places, as the library that transceivers use reads it."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.geo import Position
from edge.lab.planet import locations
from transceiver.steering.database import LocationDatabase

TOKYO, PARIS = Position(35.69, 139.69), Position(48.85, 2.35)
BUILT_S = 1_796_000_000


def opened(folder: Path, places: list[tuple[str, Position]]) -> LocationDatabase:
    path = folder / "cities.mmdb"
    path.write_bytes(locations.write(places, BUILT_S))
    return LocationDatabase(path)


def test_a_prefix_is_where_it_is_and_what_is_beside_it_is_nowhere(tmp_path: Path) -> None:
    database = opened(
        tmp_path, [("198.18.1.0/24", TOKYO), ("2001:db8:c01::/48", TOKYO), ("198.18.2.0/24", PARIS)]
    )
    database.check()
    assert (database.has_ipv6, database.built_s) == (True, BUILT_S)
    for inside in ("198.18.1.0", "198.18.1.255", "2001:db8:c01::", "2001:db8:c01:ffff::1"):
        assert database.position_of(inside) == TOKYO
    assert database.position_of("198.18.2.77") == PARIS
    for outside in ("198.18.0.255", "198.18.3.0", "2001:db8:c02::", "2001:db8:c00:ffff::", "::1", "9.9.9.9"):
        assert database.position_of(outside) is None


@st.composite
def several_places(draw: st.DrawFn) -> list[tuple[str, Position]]:
    """Prefixes of one length in each family, so that none is in another."""
    four, six = draw(st.integers(8, 32)), draw(st.integers(1, 128))
    numbers_4 = draw(st.sets(st.integers(1, 2 ** min(four, 20) - 1), min_size=1, max_size=20))
    numbers_6 = draw(st.sets(st.integers(1 if six > 1 else 0, 2 ** min(six, 20) - 1), max_size=20))
    prefixes = [str(IPv4Network((number << (32 - four), four))) for number in numbers_4]
    prefixes += [
        str(network)
        for network in (IPv6Network((number << (128 - six), six)) for number in numbers_6)
        if not network.overlaps(IPv6Network("::/96"))
    ]
    latitude, longitude = st.floats(-90, 90), st.floats(-180, 180)
    return [(prefix, Position(draw(latitude), draw(longitude))) for prefix in prefixes]


@given(several_places())
def test_every_place_is_found_by_both_ends_of_its_prefix(
    tmp_path_factory: pytest.TempPathFactory, places: list[tuple[str, Position]]
) -> None:
    database = opened(tmp_path_factory.mktemp("places"), places)
    for prefix, position in places:
        network = IPv6Network(prefix) if ":" in prefix else IPv4Network(prefix)
        for address in (network[0], network[-1]):
            assert database.position_of(str(address)) == position
    database.close()


@pytest.mark.parametrize(
    "prefixes",
    [("10.0.0.0/8", "10.1.0.0/16"), ("10.1.0.0/16", "10.0.0.0/8"), ("10.0.0.0/8", "10.0.0.0/8")],
    ids=["narrow in wide", "wide around narrow", "twice"],
)
def test_a_prefix_in_another_is_refused(prefixes: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="a prefix is in another"):
        locations.write([(prefix, TOKYO) for prefix in prefixes], BUILT_S)
