"""transceiver.steering.database: files in MaxMind's format, whole and not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ConfigError, SteeringError
from core.geo import Position
from tests.transceiver.steering.places import FRANKFURT, NEW_YORK, TOKYO, write_database
from transceiver.steering.database import LocationDatabase


@pytest.fixture(scope="module")
def cities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_database(tmp_path_factory.mktemp("database") / "cities.mmdb")


@pytest.mark.parametrize(
    ("address", "position"),
    [
        ("192.0.2.1", TOKYO),
        ("192.0.2.127", TOKYO),
        ("192.0.2.128", None),
        ("198.51.100.255", FRANKFURT),
        ("2001:db8:1::1", TOKYO),
        ("2001:db8:2:ffff::1", NEW_YORK),
        ("2001:db8:3::1", None),
        ("10.0.0.1", None),
        ("::1", None),
    ],
)
def test_addresses_are_where_the_file_says(cities: Path, address: str, position: Position | None) -> None:
    database = LocationDatabase(cities)
    database.check()
    assert database.position_of(address) == position
    assert database.has_ipv6
    assert abs(database.built_s - cities.stat().st_mtime) < 5
    database.close()


def test_a_file_of_ipv4_only_says_nothing_of_ipv6(tmp_path: Path) -> None:
    database = LocationDatabase(write_database(tmp_path / "v4.mmdb", ip_version=4))
    database.check()
    assert not database.has_ipv6
    assert database.position_of("198.51.100.1") == FRANKFURT
    assert database.position_of("2001:db8:2::1") is None


@pytest.mark.parametrize(
    "record",
    [
        {"country": {"iso_code": "JP"}},
        {"location": {"time_zone": "Asia/Tokyo"}},
        {"location": {"latitude": 35.0}},
        {"location": {"latitude": 999.0, "longitude": 0.0}},
        {"location": {"latitude": float("nan"), "longitude": 0.0}},
        {"location": {"latitude": "35", "longitude": "139"}},
        {"location": [35.0, 139.0]},
        "Tokyo",
    ],
    ids=["country", "time_zone", "half", "off_globe", "nan", "text", "list", "no_map"],
)
def test_records_without_a_place_have_none_and_a_file_of_them_is_refused(
    tmp_path: Path, record: object
) -> None:
    path = write_database(tmp_path / "x.mmdb", {"192.0.2.0/24": record})
    database = LocationDatabase(path)
    assert database.position_of("192.0.2.1") is None
    with pytest.raises(
        ConfigError, match=r"Test-City has no latitudes and longitudes: needed is a database of cities"
    ):
        database.check()


def test_a_file_that_is_none(tmp_path: Path, cities: Path) -> None:
    whole = cities.read_bytes()
    assert problem(tmp_path / "none.mmdb") == "cannot be read: No such file or directory"
    assert problem(tmp_path) == "cannot be read: Is a directory"
    for name, content in {
        "empty": b"",
        "text": b"not a database",
        "truncated": whole[: len(whole) // 2],
        "cut_tail": whole[:-40],
        "gzip": b"\x1f\x8b" + os.urandom(1000),
    }.items():
        path = tmp_path / name
        path.write_bytes(content)
        assert problem(path).startswith("is no whole database in MaxMind's format"), name


def problem(path: Path) -> str:
    """What is wrong with a file, without its name."""
    with pytest.raises(ConfigError) as caught:
        LocationDatabase(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


@given(data=st.data())
def test_damage_is_an_error_of_ours_or_a_place_on_the_globe(
    tmp_path_factory: pytest.TempPathFactory, cities: Path, data: st.DataObject
) -> None:
    content = bytearray(cities.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.mmdb"
    path.write_bytes(content)
    try:
        database = LocationDatabase(path)
        database.check()
        position = database.position_of("198.51.100.1")
    except (ConfigError, SteeringError):
        return
    finally:
        path.unlink()
    assert position is None or position.is_on_globe
