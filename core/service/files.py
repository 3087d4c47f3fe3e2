"""Reading what operators wrote: the configuration and the secrets that it points to."""

from __future__ import annotations

import base64
import os
import ssl
import tomllib
from collections.abc import Mapping
from pathlib import Path

from core.config import Config, parse
from core.errors import ConfigError
from core.keyring import MASTER_BYTES, Keyring
from core.service.exhausted import reason
from core.service.regular import read, read_secret

DOCUMENT_BYTES = 1 << 20
"""More than any configuration or file of keys has."""
PASSWORD_BYTES = 512
PASSWORD_FILE_BYTES = 4096
CERTIFICATES_BYTES = 16384


def load_toml(path: Path) -> dict[str, object]:
    """A TOML file as tables. Raises ConfigError naming the file."""
    return _parse(path, read(path, DOCUMENT_BYTES))


def load_secret_toml(path: Path, *, ours: bool = False) -> dict[str, object]:
    """A TOML file that others must not read. Raises ConfigError when they can. `ours` as in
    `core.service.regular`.
    """
    return _parse(path, read_secret(path, DOCUMENT_BYTES, ours=ours))


def load_config(path: Path) -> Config:
    """A validated configuration. Raises ConfigError with every problem, each with the file's name."""
    return load_document(path)[1]


def load_document(path: Path) -> tuple[dict[str, object], Config]:
    """A configuration as it is in the file, and validated. Raises ConfigError as `load_config` does."""
    document = load_toml(path)
    return document, validate(path, document)


def validate(path: Path, document: Mapping[str, object]) -> Config:
    """The configuration of a document that comes from a file. Raises ConfigError as `load_config` does."""
    try:
        return parse(document)
    except ConfigError as error:
        raise ConfigError([f"{path}: {problem}" for problem in error.problems]) from None


def keys_path(config: Config, config_path: Path) -> Path:
    """Where `token.keys_file` is, relative paths counted from the configuration file."""
    return config_path.parent / config.token.keys_file


def load_keyring(config: Config, config_path: Path) -> Keyring:
    """The keyring of `token.keys_file`. Raises ConfigError."""
    masters, mint_with = load_masters(keys_path(config, config_path))
    return Keyring(masters, mint_with)


def load_masters(path: Path, *, ours: bool = False) -> tuple[dict[int, bytes], int]:
    """(master keys by id, the id to mint with) of a keys file. Raises ConfigError.

    The problems never repeat what the file has in place of a key or an id: it may be a secret that
    went to the wrong side of an equals sign.
    """
    document = load_secret_toml(path, ours=ours)
    table, mint_with = document.get("master"), document.get("mint_with")
    if not isinstance(table, dict) or document.keys() != {"master", "mint_with"}:
        raise ConfigError(
            [f"{path}: needs mint_with = ID, a [master] table and nothing else; see `voxpop keys new --help`"]
        )
    try:
        masters = {_key_id(key_id): _master(key_id, text) for key_id, text in table.items()}
        if isinstance(mint_with, bool) or not isinstance(mint_with, int):
            raise ValueError("mint_with must be the id of a key, 0–31")
        Keyring(masters, mint_with)
    except ValueError as error:
        raise ConfigError([f"{path}: {error}"]) from None
    return masters, mint_with


def load_password(path: Path, *, ours: bool = False) -> str:
    """The one line of a file that others must not read. Raises ConfigError, without what is in it."""
    try:
        lines = read_secret(path, PASSWORD_FILE_BYTES, ours=ours).decode().splitlines()
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: is not text"]) from None
    if len(lines) != 1 or not 0 < len(lines[0].encode()) <= PASSWORD_BYTES:
        raise ConfigError([f"{path}: must be one line of at most {PASSWORD_BYTES} bytes, the password alone"])
    return lines[0]


def load_certificates(path: Path) -> str:
    """A file of certificates in PEM. Raises ConfigError."""
    content = read(path, DOCUMENT_BYTES)
    try:
        text = content.decode("ascii")
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except OSError as error:
        raise ConfigError([f"{path}: cannot be used: {error.strerror or error}"]) from None
    except ValueError:
        raise ConfigError([f"{path}: is not PEM"]) from None
    if len(text) > CERTIFICATES_BYTES:
        raise ConfigError(
            [f"{path}: is longer than {CERTIFICATES_BYTES} bytes: give the one certificate that is needed"]
        )
    return text


def create_secret(path: Path, text: str) -> None:
    """Write a new file that only its owner can read. Raises ConfigError when there is one already."""
    try:
        _write_new(path, text)
    except FileExistsError:
        raise ConfigError([f"{path}: exists, and is not overwritten; choose another name"]) from None
    except OSError as error:
        raise ConfigError([f"{path}: cannot be written: {reason(error)}"]) from None


def replace_secret(path: Path, text: str) -> None:
    """Replace a file as a whole: at no moment is there half of one, or one that others can read.

    Owner and group stay. Raises ConfigError. The name of the new file before it takes the old one's
    place, FILE.new, is also the lock against a second writer.
    """
    new = path.with_name(path.name + ".new")
    try:
        _write_new(new, text)
    except FileExistsError:
        raise ConfigError(
            [f"{new}: exists: another change is under way, or was cut off; then remove it"]
        ) from None
    except OSError as error:
        raise ConfigError([f"{new}: cannot be written: {reason(error)}"]) from None
    try:
        old = path.stat()
        os.chown(new, old.st_uid, old.st_gid)
        new.replace(path)
    except BaseException as error:
        new.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise ConfigError([f"{path}: cannot be replaced: {reason(error)}"]) from None


def _write_new(path: Path, text: str) -> None:
    """All of it is written, or there is no file."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _parse(path: Path, content: bytes) -> dict[str, object]:
    try:
        return tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:  # bad TOML, bad UTF-8, a number of 5,000 digits
        raise ConfigError([f"{path}: is not TOML: {error}"]) from None


def _key_id(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 2 or str(int(text)) != text:
        raise ValueError("the names in [master] must be key ids, 0–31")
    return int(text)


def _master(key_id: str, text: object) -> bytes:
    try:
        return base64.b64decode(text if isinstance(text, str) else b"", validate=True)
    except ValueError:
        raise ValueError(f"master.{key_id}: is not base64 of {MASTER_BYTES} bytes") from None
