"""core.service.handover: a worker parses what its supervisor has parsed, and no file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.config import Config
from core.errors import ConfigError
from core.keyring import Keyring
from core.service import handover, keysfile
from core.service.files import load_config, load_keyring
from core.service.handover import DRAIN_ROOM_BYTES
from core.service.supervisor import MESSAGE_BYTES, Message
from core.store_url import StoreSecrets
from tests.core.service.tiny_kit import CONFIG


@dataclass(frozen=True)
class Settings:
    config: Config
    keyring: Keyring
    more: object


def decode(message: Message) -> Settings:
    return Settings(handover.decode_config(message), handover.decode_keyring(message), message.get("more"))


def nothing(config: Config, path: Path) -> Mapping[str, object]:
    return {}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    keysfile.new(tmp_path / "keys.toml")
    config = tmp_path / "voxpop.toml"
    config.write_text(CONFIG)
    return config


def test_config_keys_and_more_survive_the_socket(path: Path) -> None:
    keysfile.rotate(path.parent / "keys.toml")
    path.write_text(f'{CONFIG}[backend.some]\nurl = "ws://x"\nwait_s = 1.5\n')
    loaded = handover.load(path, lambda config, path: {"more": [1, None]}, decode)
    path.unlink()
    (path.parent / "keys.toml").rename(path.parent / "gone")
    settings = decode(json.loads(json.dumps(loaded.message)))
    assert settings.config == loaded.settings.config
    assert settings.config.backends == {"some": {"url": "ws://x", "wait_s": 1.5}}
    assert settings.more == [1, None]
    assert settings.keyring.key_ids == loaded.settings.keyring.key_ids == [1, 2]
    assert settings.keyring.mint_with == 2


def test_the_keys_are_those_of_the_file(path: Path) -> None:
    settings = handover.load(path, nothing, decode).settings
    assert settings.keyring.tag_key(1) == load_keyring(load_config(path), path).tag_key(1)


def test_what_the_store_s_files_say_goes_the_same_way_and_is_not_shown(path: Path) -> None:
    assert handover.decode_store_secrets(handover.load(path, nothing, decode).message) is None
    table = '[store]\nurl = "redis://127.0.0.1"\nuser = "voxpop"\npassword_file = "password"\n'
    path.write_text(CONFIG + table)
    with pytest.raises(ConfigError, match="password: cannot be read"):
        handover.load(path, nothing, decode)
    password = path.parent / "password"
    password.write_text("s3cret\n")
    with pytest.raises(ConfigError, match="others can read it"):
        handover.load(path, nothing, decode)
    password.chmod(0o600)
    message = json.loads(json.dumps(handover.load(path, nothing, decode).message))
    secrets = handover.decode_store_secrets(message)
    assert secrets == StoreSecrets("s3cret", None)
    assert "s3cret" not in repr(secrets)


def test_faults_of_the_daemon_and_of_the_keys_are_told_together(path: Path) -> None:
    (path.parent / "keys.toml").chmod(0o644)

    def judge(config: Config, path: Path) -> Mapping[str, object]:
        raise ConfigError([f"{path}: one", f"{path}: two"])

    with pytest.raises(ConfigError) as caught:
        handover.load(path, judge, decode)
    assert caught.value.problems[:2] == [f"{path}: one", f"{path}: two"]
    assert len(caught.value.problems) == 3
    assert "holds secrets but others can read it" in caught.value.problems[2]


def test_what_a_message_cannot_hold_is_refused(path: Path) -> None:
    table = '[[cluster]]\nid = {}\nipv4 = "10.0.0.0/8"\nports = [5000, 5000]\n'
    size = len(json.dumps(handover.load(path, nothing, decode).message))
    handover.load(path, nothing, decode, MESSAGE_BYTES - DRAIN_ROOM_BYTES - size)
    with pytest.raises(
        ConfigError, match=f"more than a worker can take, {MESSAGE_BYTES + 1} bytes of at most"
    ):
        handover.load(path, nothing, decode, MESSAGE_BYTES - DRAIN_ROOM_BYTES - size + 1)
    path.write_text(CONFIG + "".join(table.format(1000 + n) for n in range(2000)))
    with pytest.raises(ConfigError, match="more than a worker can take"):
        handover.load(path, nothing, decode)
