"""Reading what operators wrote: the configuration and the secrets that it points to."""

from __future__ import annotations

import base64
import binascii
import stat
import tomllib
from pathlib import Path

from core.config import Config, parse
from core.errors import ConfigError
from core.keyring import MASTER_BYTES, Keyring


def load_toml(path: Path) -> dict[str, object]:
    """A TOML file as tables. Raises ConfigError naming the file."""
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: is not TOML: {error}"]) from None


def load_config(path: Path) -> Config:
    """A validated configuration. Raises ConfigError with every problem, each with the file's name."""
    try:
        return parse(load_toml(path))
    except ConfigError as error:
        raise ConfigError(
            [p if p.startswith(str(path)) else f"{path}: {p}" for p in error.problems]
        ) from None


def load_secret_toml(path: Path) -> dict[str, object]:
    """A TOML file that others must not read. Raises ConfigError when they can."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError([f"{path}: holds secrets but others can read it; run: chmod 600 {path}"])
    return load_toml(path)


def load_keyring(config: Config, config_path: Path) -> Keyring:
    """The master keys of `token.keys_file`, relative paths counted from the configuration file."""
    path = config_path.parent / config.token.keys_file
    document = load_secret_toml(path)
    masters = document.get("master", {})
    mint_with = document.get("mint_with")
    if not isinstance(masters, dict) or not masters or not isinstance(mint_with, int):
        raise ConfigError(
            [f"{path}: needs mint_with = ID and a [master] table; see `voxpop keys new --help`"]
        )
    try:
        return Keyring({_key_id(i): _master(i, m) for i, m in masters.items()}, mint_with)
    except ValueError as error:
        raise ConfigError([f"{path}: {error}"]) from None


def _key_id(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"master.{text}: key ids are numbers, 0–31")
    return int(text)


def _master(key_id: str, text: object) -> bytes:
    try:
        return base64.b64decode(text if isinstance(text, str) else b"", validate=True)
    except binascii.Error:
        raise ValueError(f"master.{key_id}: is not base64 of {MASTER_BYTES} bytes") from None
