"""What an inventory is asked about its addresses: the filters of the collection."""

from __future__ import annotations

from types import ModuleType

import pytest

from tests.ansible.plugins import module


@pytest.fixture(scope="module")
def networks() -> ModuleType:
    return module("filter", "networks")


def test_pairs_that_overlap(networks: ModuleType) -> None:
    prefixes = ["10.0.0.0/8", "10.2.0.0/24", "192.0.2.0/24", "2001:db8::/48", "2001:db8:0:1::/64"]
    assert networks.overlapping(prefixes) == [
        "10.0.0.0/8 and 10.2.0.0/24",
        "2001:db8::/48 and 2001:db8:0:1::/64",
    ]
    assert networks.overlapping(["10.0.0.0/24", "10.0.1.0/24", "2001:db8::/48"]) == []
    with pytest.raises(ValueError, match="host bits"):
        networks.overlapping(["10.2.0.1/24"])


def pop(name: str, *vips: str, anycast: bool = False) -> dict[str, object]:
    return {"edge_pop": name, "edge_vips": list(vips), "edge_anycast": anycast}


def test_a_vip_of_two_pops_is_told_unless_both_mean_it(networks: ModuleType) -> None:
    one, two = "198.51.100.1:3478", "203.0.113.1:3478"
    shared = networks.shared_vips
    assert shared({"a": pop("fra", one), "b": pop("fra", one), "c": pop("nyc", two)}) == []
    assert shared({"a": pop("fra", one), "b": pop("nyc", one, two)}) == [f"{one} (fra, nyc)"]
    assert shared({"a": pop("fra", one, anycast=True), "b": pop("nyc", one)}) == [f"{one} (fra, nyc)"]
    assert shared({"a": pop("fra", one, anycast=True), "b": pop("nyc", one, anycast=True)}) == []
    assert shared({"region": {}}) == []


def test_addresses_that_nobody_would_be_led_to(networks: ModuleType) -> None:
    prefixes = ["198.51.100.0/24", "2001:db8:f::/48"]
    assert networks.uncovered(["198.51.100.1", "2001:db8:f::1"], prefixes) == []
    assert networks.uncovered(["203.0.113.1", "2001:db8:e::1"], prefixes) == ["203.0.113.1", "2001:db8:e::1"]
    with pytest.raises(ValueError, match="does not appear"):
        networks.uncovered(["198.51.100.1:3478"], prefixes)


def test_prefixes_by_family(networks: ModuleType) -> None:
    prefixes = ["198.51.100.0/24", "2001:db8:f::/48", "10.1.1.1"]
    assert networks.of_version(prefixes, 4) == ["198.51.100.0/24", "10.1.1.1/32"]
    assert networks.of_version(prefixes, 6) == ["2001:db8:f::/48"]
