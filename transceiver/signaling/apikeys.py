"""API keys: who may call. A file holds names and SHA-256 digests, never a key.

Keys have 256 random bits, so a plain digest is as good as a slow password hash and costs a microsecond.
The file is TOML, mode 0600, one table per key:

    [key.web-shop]
    sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    live_calls = 200    # a quota of its own, where it wants one: the keys of [quotas]
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from core.config import QuotaSettings
from core.errors import ConfigError
from core.schema import read_table
from core.service.files import create_secret, load_secret_toml, replace_secret

KEY_PREFIX = "vpk_"
"""Lets secret scanners and people see what a leaked string is."""
KEY_BYTES = 32
MAX_KEYS = 256
"""All of them fit into the one message that a worker is greeted with."""
MAX_PRESENTED_CHARS = 512
OPEN_CALLER = "anyone"
"""The name of every caller where the configuration says open."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class ApiKeys:
    """The keys of a file. `digests` maps name to lower-case hex SHA-256, `quotas` those with quotas of their
    own to what of `QuotaSettings` they have.
    """

    def __init__(
        self, digests: Mapping[str, str], quotas: Mapping[str, Mapping[str, object]] | None = None
    ) -> None:
        self.digests = dict(digests)
        self.quotas = dict(quotas or {})

    def name_of(self, presented: str) -> str | None:
        """Whose key this is; None for nobody's. Takes the same time for both, whichever the key."""
        if len(presented) > MAX_PRESENTED_CHARS:
            return None
        digest = _digest(presented)
        found = None
        for name, expected in self.digests.items():
            if hmac.compare_digest(digest, expected):
                found = name
        return found


def load_api_keys(path: Path, *, ours: bool = False) -> ApiKeys:
    """Read a file of API keys. Raises ConfigError naming the file, the entry and the fix. A file without a
    key is refused: it would lock everybody out. `ours` as in `core.service.regular`.
    """
    keys = _load(path, ours=ours)
    if not keys.digests:
        raise ConfigError([f"{path}: has no key, so nobody could call; run: voxpop api-key new {path} NAME"])
    return keys


def _load(path: Path, *, ours: bool = False) -> ApiKeys:
    document = load_secret_toml(path, ours=ours)
    entries = document.get("key", {})
    if not isinstance(entries, dict) or set(document) - {"key"}:
        raise ConfigError([f"{path}: must have [key.NAME] tables and nothing else"])
    problems = [f"{path}: {p}" for name, entry in entries.items() for p in _faults(name, entry)]
    if len(entries) > MAX_KEYS:
        problems.append(f"{path}: has {len(entries)} keys; at most {MAX_KEYS} are supported")
    if problems:
        raise ConfigError(problems)
    return ApiKeys(
        {name: entry["sha256"] for name, entry in entries.items()},
        {name: own for name, entry in entries.items() if (own := _own_quotas(entry))},
    )


def create_api_key(path: Path, name: str) -> str:
    """Add a key to a file, which is made when missing, and return the key: it is stored nowhere else.

    Raises ConfigError when the name is taken or the file is not one of API keys.
    """
    if _NAME.fullmatch(name) is None:
        raise ConfigError([f"{name!r} is not a name: 1–64 letters, digits, - and _, not starting with those"])
    exists = path.exists()
    names = _load(path).digests if exists else {}
    if name in names:
        raise ConfigError([f"{path}: there is a key named {name} already; delete its table to replace it"])
    if len(names) >= MAX_KEYS:
        raise ConfigError([f"{path}: is full, with {MAX_KEYS} keys; delete some"])
    key = KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)
    table = f'[key.{name}]\nsha256 = "{_digest(key)}"\n'
    if exists:
        replace_secret(path, path.read_text().rstrip("\n") + "\n\n" + table)
    else:
        create_secret(path, table)
    return key


def drop_newest_api_key(path: Path, name: str) -> None:
    """Undo `create_api_key`. Raises ConfigError."""
    before = path.read_text().rpartition(f"[key.{name}]\n")[0].rstrip("\n")
    if before:
        replace_secret(path, before + "\n")
    else:
        path.unlink()


def _digest(key: str) -> str:
    # aiohttp hands over header bytes that are not UTF-8 as lone surrogates.
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()


def _faults(name: str, entry: object) -> list[str]:
    if _NAME.fullmatch(name) is None:
        return [f"key.{name}: a name is 1–64 letters, digits, - and _"]
    digest = entry.get("sha256") if isinstance(entry, dict) else None
    if not isinstance(digest, str) or _DIGEST.fullmatch(digest) is None:
        return [f"key.{name}.sha256 must be 64 lower-case hex digits; `voxpop api-key new` writes them"]
    problems: list[str] = []
    assert isinstance(entry, dict)
    read_table(QuotaSettings, _own_quotas(entry), f"key.{name}", problems)
    return problems


def _own_quotas(entry: Mapping[str, object]) -> dict[str, object]:
    """All that an entry has besides its digest."""
    return {key: value for key, value in entry.items() if key != "sha256"}
