"""[backend.realtime]."""

from __future__ import annotations

import dataclasses
import re

import pytest

from core.errors import ConfigError
from tests.imports import heavy_imports
from tests.paths import ROOT
from transceiver.backends.realtime.backend import RemoteBackends
from transceiver.backends.realtime.settings import RealtimeSettings
from transceiver.backends.registry import choose

URL = "wss://api.example.com/v1/realtime"


def read(**table: object) -> RealtimeSettings:
    settings = choose("realtime", {"realtime": {"url": URL, **table}}).settings
    assert isinstance(settings, RealtimeSettings)
    return settings


def problem(**table: object) -> str:
    with pytest.raises(ConfigError) as caught:
        read(**table)
    (told,) = caught.value.problems
    return told


def test_an_address_is_all_that_it_takes() -> None:
    settings = read()
    assert (settings.dialect, settings.audio, settings.turns, settings.models) == (
        "ga",
        "pcm_24000",
        "ours",
        {},
    )
    with pytest.raises(ConfigError, match=r"backend\.realtime\.url is missing"):
        choose("realtime", {})


@pytest.mark.parametrize("url", ["http://x", "wss://", "wss://u:p@h/", "wss://h/#f", "wss://h/ x", "h"])
def test_what_is_no_address_is_refused(url: str) -> None:
    assert problem(url=url).startswith("backend.realtime.url must be a URL such as")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("key_file", "relative"),
        ("key_header", "a b"),
        ("subprotocol", "a,b"),
        ("dialect", "alpha"),
        ("audio", "opus"),
        ("turns", "nobody"),
        ("connections", 65),
        ("models", {"a": 1}),
        ("models", {"a b": "c"}),
        ("models", []),
        ("on_loss", "music"),
        ("buffer_s", 0),
    ],
    ids=lambda value: str(value)[:12],
)
def test_faults_name_their_key(key: str, value: object) -> None:
    assert problem(**{key: value}).startswith(f"backend.realtime.{key} must be ")


def test_models_are_the_operators_to_name() -> None:
    shared = RemoteBackends(read(models={"fast": "qwen"}))
    assert (shared.choose_model("fast"), shared.choose_model(None)) == ("qwen", "")
    with pytest.raises(ConfigError, match=r"session\.model"):
        shared.choose_model("other")
    shared = RemoteBackends(read(models={"fast": "qwen"}, model="large"))
    assert [shared.choose_model(name) for name in ("fast", "other", None)] == ["qwen", "large", "large"]
    assert RemoteBackends(read()).choose_model("any") == "any"


def test_the_page_names_every_setting_with_its_default() -> None:
    rows = re.findall(r"^\| `(\w+)` \|([^|]*)\|", (ROOT / "docs" / "realtime.md").read_text(), re.MULTILINE)
    told = {name: default.strip(" `") for name, default in rows}
    declared = dataclasses.fields(RealtimeSettings)
    assert set(told) >= {field.name for field in declared}
    for field in declared:
        default = "" if field.name in ("url", "models") else str(field.default)
        assert told[field.name] == default, field.name


def test_settings_are_judged_without_what_only_a_call_needs() -> None:
    assert heavy_imports("transceiver.backends.realtime.settings") == set()
