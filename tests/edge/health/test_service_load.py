"""What the checker takes from the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.config import AnnounceSettings
from core.errors import ConfigError
from edge.health.service import load, policy
from edge.health.standing import Policy

TOKEN = '[token]\nkeys_file = "keys.toml"\n'
CLUSTER = '[[cluster]]\nid = 1\nipv4 = "10.2.0.0/24"\nports = [40000, 40007]\n'
RELAY = '[relay]\npop = "here"\nvips = ["198.51.100.1:3478"]\n'


def write(folder: Path, text: str) -> Path:
    (folder / "voxpop.toml").write_text(TOKEN + text)
    return folder / "voxpop.toml"


@pytest.mark.parametrize(
    ("metrics", "asked"),
    [
        (None, "127.0.0.1:9464"),
        ("192.0.2.7:9000", "192.0.2.7:9000"),
        ("0.0.0.0:9000", "127.0.0.1:9000"),
        ("[::]:9000", "[::1]:9000"),
    ],
    ids=["default", "address", "any-v4", "any-v6"],
)
def test_the_relay_is_asked_where_it_is(tmp_path: Path, metrics: str | None, asked: str) -> None:
    told = "" if metrics is None else f'metrics = "{metrics}"\n'
    loaded = load(write(tmp_path, CLUSTER + RELAY + told))
    assert str(loaded.relay_status) == asked
    assert loaded.settings == AnnounceSettings()


def test_settings_are_in_the_units_of_the_state_machine() -> None:
    settings = AnnounceSettings(rise=2, fall=3, hold_down_s=1.5, hold_down_max_s=60.0)
    assert policy(settings) == Policy(2, 3, 1_500_000_000, 60_000_000_000)


def test_without_a_relay_there_is_nothing_to_ask(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[relay\] is missing"):
        load(write(tmp_path, CLUSTER))
