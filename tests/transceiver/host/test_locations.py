"""transceiver.host.locations: the copies that the processes of a host read."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from core.errors import ConfigError
from tests.transceiver.steering.places import NEW_YORK, TOKYO, record, write_database
from transceiver.host import locations
from transceiver.host.locations import LocationShelf, check_database
from transceiver.steering.database import LocationDatabase


@pytest.fixture
def shelf(tmp_path: Path) -> LocationShelf:
    (tmp_path / "shelf").mkdir()
    return LocationShelf(tmp_path / "shelf")


def copies(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "shelf").iterdir())


def test_the_same_file_is_copied_once_and_another_takes_its_place(
    tmp_path: Path, shelf: LocationShelf
) -> None:
    source = write_database(tmp_path / "cities.mmdb")
    first = shelf.take(source)
    shelf.keep(first.name)
    assert shelf.take(source) == first
    mapped = LocationDatabase(tmp_path / "shelf" / first.name)
    source.unlink()
    write_database(source, {"192.0.2.0/24": record(NEW_YORK)})
    second = shelf.take(source)
    assert copies(tmp_path) == sorted([first.name, second.name]), "until it is adopted"
    shelf.keep(second.name)
    assert copies(tmp_path) == [second.name]
    assert mapped.position_of("192.0.2.1") == TOKYO, "who still maps the first has it"
    assert LocationDatabase(tmp_path / "shelf" / second.name).position_of("192.0.2.1") == NEW_YORK
    shelf.keep(None)
    assert copies(tmp_path) == []


def test_what_is_never_adopted_does_not_pile_up(tmp_path: Path, shelf: LocationShelf) -> None:
    """Reloads may be refused for other reasons, again and again, while the database is updated."""
    source = write_database(tmp_path / "cities.mmdb")
    kept = shelf.take(source)
    shelf.keep(kept.name)
    for number in range(5):
        write_database(source, {f"192.0.2.{number}/32": record(NEW_YORK)})
        newest = shelf.take(source)
    source.write_bytes(b"broken")
    with pytest.raises(ConfigError, match=f"^{source}: is no whole database"):
        shelf.take(source)
    assert set(copies(tmp_path)) <= {kept.name, newest.name}
    assert kept.name in copies(tmp_path)


def test_a_file_that_cannot_be_copied_is_named(tmp_path: Path, shelf: LocationShelf) -> None:
    with pytest.raises(ConfigError, match=r"missing.mmdb: cannot be read: No such file"):
        shelf.take(tmp_path / "missing.mmdb")
    with pytest.raises(ConfigError, match=r"cannot be copied to .*locations-1.mmdb: Is a directory"):
        shelf.take(tmp_path)
    assert copies(tmp_path) == []
    source = write_database(tmp_path / "cities.mmdb")
    with pytest.raises(ConfigError, match=r"cities.mmdb: cannot be copied to .*: No such file"):
        LocationShelf(tmp_path / "gone").take(source)


def test_an_absurd_size_is_refused_before_it_is_copied(tmp_path: Path, shelf: LocationShelf) -> None:
    huge = tmp_path / "huge.mmdb"
    with huge.open("wb") as file:
        file.truncate(locations.MAX_BYTES + 1)
    with pytest.raises(ConfigError, match="more than any database of cities"):
        shelf.take(huge)
    assert copies(tmp_path) == []


def test_old_age_and_missing_ipv6_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_database(tmp_path / "cities.mmdb", ip_version=4)
    built_s = check_database(source, source)
    assert abs(built_s - time.time()) < 60
    assert [line.message for line in caplog.records] == [
        f"{source} has no IPv6 addresses: where clients with such are, it does not say"
    ]
    caplog.clear()
    monkeypatch.setattr(locations, "OLD_AFTER_S", -86_400 * 2)
    with caplog.at_level(logging.WARNING):
        check_database(source, source)
    assert f"{source} was built 0 days ago: addresses have moved since" in caplog.text
