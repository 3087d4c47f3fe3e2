"""Backends by name: those that come with Voxpop, those of installed packages, and those that nobody has."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from core.errors import ConfigError
from tests.transceiver.backends.packages import install
from transceiver.backends.base import SessionContext
from transceiver.backends.registry import choose
from transceiver.observer import NullObserver
from transceiver.realtime.event import Event
from transceiver.turns.settings import ServerVad

SOURCE = """
from dataclasses import dataclass
from core.schema import integer, pattern, setting
from transceiver.backends.base import BackendType

@dataclass(frozen=True)
class Settings:
    url: str = setting(pattern("a wss:// URL", "wss://.+"), "where it is")
    pool: int = setting(integer(1, 64), "connections", default=4)

class Factory:
    def __init__(self, settings):
        self.settings = settings

BACKEND = BackendType(Settings, Factory)
NOTHING = 3
NO_DATACLASS = BackendType(int, int)
"""

Install = Callable[..., None]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a package whose module is called like itself."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def put(name: str, entry_points: Mapping[str, str], source: str = SOURCE) -> None:
        install(tmp_path, name, entry_points, {name: source})

    yield put
    for module in set(sys.modules) - before:
        del sys.modules[module]


def faults(name: str, tables: Mapping[str, Mapping[str, object]] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        choose(name, tables or {})
    return refused.value.problems


def test_the_parrot_needs_no_table() -> None:
    chosen = choose("parrot", {})
    assert (chosen.name, chosen.settings) == ("parrot", ServerVad())


def test_the_parrot_hears_its_callers_out_for_as_long_as_the_operator_says() -> None:
    events: list[Event] = []
    factory = choose("parrot", {"parrot": {"silence_duration_ms": 500}}).build()
    for settings in ({}, {"turn_detection": {"threshold": 0.9}}, {"turn_detection": None}):
        factory.create(
            SessionContext("rtc_x", settings, events.append, NullObserver(), lambda reason: None)
        ).opened()
    detections = [event["session"]["audio"]["input"]["turn_detection"] for event in events]  # type: ignore[index]
    own = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500}
    switches = {"create_response": True, "interrupt_response": True}
    assert detections == [own | switches, own | switches | {"threshold": 0.9}, None]


def test_a_package_s_backend_is_built_with_its_own_settings(package: Install) -> None:
    package("vendor", {"theirs": "vendor:BACKEND"})
    chosen = choose("theirs", {"theirs": {"url": "wss://x", "pool": 8}})
    assert (chosen.settings.url, chosen.settings.pool) == ("wss://x", 8)
    assert vars(chosen.build()) == {"settings": chosen.settings}


@pytest.mark.parametrize(
    ("name", "tables", "problems"),
    [
        ("parot", {}, ["transceiver.backend: there is no backend parot; did you mean parrot?"]),
        ("zzz", {}, ["transceiver.backend: there is no backend zzz; known are parrot, realtime, theirs"]),
        ("parrot", {"their": {}}, ["[backend.their]: there is no backend their; did you mean theirs?"]),
        (
            "parrot",
            {"parrot": {"silence_ms": 3}},
            ["backend.parrot.silence_ms is not a setting; did you mean silence_duration_ms?"],
        ),
        ("parrot", {"parrot": {"threshold": 2}}, ["backend.parrot.threshold must be a number, 0–1"]),
        ("theirs", {}, ["backend.theirs.url is missing: where it is"]),
        (
            "parrot",
            {"theirs": {"url": "http://x", "poll": 3}, "parot": {}},
            [
                "backend.theirs.poll is not a setting; did you mean pool?",
                "backend.theirs.url must be a wss:// URL, in quotes",
                "[backend.parot]: there is no backend parot; did you mean parrot?",
            ],
        ),
    ],
)
def test_every_fault_is_named_with_its_key_and_its_fix(
    package: Install, name: str, tables: Mapping[str, Mapping[str, object]], problems: list[str]
) -> None:
    package("vendor", {"theirs": "vendor:BACKEND"})
    assert faults(name, tables) == problems


def test_one_name_of_two_packages_is_nobody_s(package: Install) -> None:
    package("vendor", {"theirs": "vendor:BACKEND", "parrot": "vendor:BACKEND"})
    package("rival", {"theirs": "rival:BACKEND"})
    (theirs,) = faults("theirs")
    assert theirs.startswith("transceiver.backend: backend theirs is offered by ")
    assert all(maker in theirs for maker in ("vendor:BACKEND of vendor 1.0", "rival:BACKEND of rival 1.0"))
    assert faults("parrot") == [
        "transceiver.backend: backend parrot is offered by transceiver.backends.built_in:PARROT and "
        "vendor:BACKEND of vendor 1.0; uninstall all but one"
    ]


def test_a_package_that_is_found_twice_is_one(
    package: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package("vendor", {"theirs": "vendor:BACKEND"})
    monkeypatch.syspath_prepend(tmp_path / "." / "..")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert choose("theirs", {"theirs": {"url": "wss://x"}}).name == "theirs"


@pytest.mark.parametrize(
    ("value", "source", "fault"),
    [
        (
            "vendor:BACKEND",
            "import nothing_of_that_name",
            "cannot be imported (ModuleNotFoundError: No module ",
        ),
        ("vendor:BACKEND", "1 / 0", "cannot be imported (ZeroDivisionError: division by zero); reinstall it"),
        ("vendor:OTHER", SOURCE, "cannot be imported (AttributeError: "),
        ("vendor:NOTHING", SOURCE, "is no BackendType with a dataclass of settings; ask its maker"),
        ("vendor:NO_DATACLASS", SOURCE, "is no BackendType with a dataclass of settings; ask its maker"),
    ],
)
def test_a_package_that_cannot_be_used_is_named(
    package: Install, value: str, source: str, fault: str
) -> None:
    package("vendor", {"theirs": value}, source)
    assert faults("theirs")[0].startswith(f"transceiver.backend: {value} of vendor 1.0 {fault}")


def test_only_what_is_named_is_imported(package: Install) -> None:
    package("vendor", {"theirs": "vendor:BACKEND"}, "raise SystemExit")
    assert choose("parrot", {}).name == "parrot"
    assert "vendor" not in sys.modules


def test_changes_are_told_by_key() -> None:
    old = choose("parrot", {"parrot": {"threshold": 0.4}})
    new = choose(
        "parrot", {"parrot": {"threshold": 0.4, "silence_duration_ms": 400, "create_response": False}}
    )
    assert old.changes(new) == ["backend.parrot.silence_duration_ms", "backend.parrot.create_response"]
    assert old.changes(old) == []


def test_settings_of_another_backend_are_not_compared(package: Install) -> None:
    package("vendor", {"theirs": "vendor:BACKEND"})
    assert choose("parrot", {}).changes(choose("theirs", {"theirs": {"url": "wss://x"}})) == []
