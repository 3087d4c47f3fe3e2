"""Making and changing keys files."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from pathlib import Path

from core.errors import ConfigError
from core.keyring import KEY_IDS, MASTER_BYTES
from core.service.files import create_secret, load_masters, replace_secret

FIRST_KEY_ID = 1
HEADER = """\
# Master keys of the routing tokens: whoever reads them can mint tokens. Mode 0600, not for version control.
# Relays accept every key; transceivers mint with one. Change it with `voxpop keys rotate`.
"""


def new(path: Path) -> int:
    """Make a keys file with one key; returns its id. Raises ConfigError, also when the file exists."""
    create_secret(path, render({FIRST_KEY_ID: secrets.token_bytes(MASTER_BYTES)}, FIRST_KEY_ID))
    return FIRST_KEY_ID


def rotate(path: Path) -> int:
    """Add a key and mint with it from now on; the others stay. Returns its id. Raises ConfigError."""
    masters, mint_with = load_masters(path)
    key_id = _free_id(path, masters, mint_with)
    replace_secret(path, render(masters | {key_id: secrets.token_bytes(MASTER_BYTES)}, key_id))
    return key_id


def add(path: Path) -> int:
    """Add a key that waits, unless one does, and mint as before. Its id. Raises ConfigError.

    Hosts sign for each other too, by the key that they mint with, so none may do so before all know it.
    """
    masters, mint_with = _load_few(path)
    if (waits := _waiting(masters, mint_with)) is not None:
        return waits
    key_id = _free_id(path, masters, mint_with)
    replace_secret(path, render(masters | {key_id: secrets.token_bytes(MASTER_BYTES)}, mint_with))
    return key_id


def switch(path: Path) -> int:
    """Mint with the key that waits, or go on where none does. The id to mint with. Raises ConfigError."""
    masters, mint_with = _load_few(path)
    waits = _waiting(masters, mint_with)
    if waits is None:
        return mint_with
    replace_secret(path, render(masters, waits))
    return waits


def _waiting(masters: Mapping[int, bytes], mint_with: int) -> int | None:
    """The key that is newer than the one to mint with, the newest of several. Ids go around: newer is less
    than half of the way ahead (serial numbers, RFC 1982).
    """
    ahead = {(key_id - mint_with) % len(KEY_IDS): key_id for key_id in masters}
    newer = [distance for distance in ahead if 0 < distance < len(KEY_IDS) // 2]
    return ahead[max(newer)] if newer else None


def _load_few(path: Path) -> tuple[dict[int, bytes], int]:
    masters, mint_with = load_masters(path)
    if len(masters) >= len(KEY_IDS) // 2:
        raise ConfigError(
            [f"{path}: has {len(masters)} keys, too many to tell old from new; retire some first"]
        )
    return masters, mint_with


def _free_id(path: Path, masters: Mapping[int, bytes], mint_with: int) -> int:
    free = [i for i in KEY_IDS if i not in masters]
    if not free:
        raise ConfigError([f"{path}: has {len(masters)} keys, as many as there are ids; retire one first"])
    return next((i for i in free if i > mint_with), free[0])


def retire(path: Path, key_id: int) -> None:
    """Drop a key: what was minted with it is refused from now on. Raises ConfigError."""
    masters, mint_with = load_masters(path)
    if key_id not in masters:
        known = ", ".join(map(str, sorted(masters)))
        raise ConfigError([f"{path}: has no key with id {key_id}; there are: {known}"])
    if key_id == mint_with:
        raise ConfigError([f"{path}: key {key_id} is the one to mint with; rotate first"])
    replace_secret(path, render({i: m for i, m in masters.items() if i != key_id}, mint_with))


def render(masters: Mapping[int, bytes], mint_with: int) -> str:
    """The text of a keys file."""
    lines = [f'{key_id} = "{base64.b64encode(m).decode()}"' for key_id, m in sorted(masters.items())]
    return f"{HEADER}mint_with = {mint_with}\n\n[master]\n" + "\n".join(lines) + "\n"
