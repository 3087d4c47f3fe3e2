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
    free = [i for i in KEY_IDS if i not in masters]
    if not free:
        raise ConfigError([f"{path}: has {len(masters)} keys, as many as there are ids; retire one first"])
    key_id = next((i for i in free if i > mint_with), free[0])
    replace_secret(path, render(masters | {key_id: secrets.token_bytes(MASTER_BYTES)}, key_id))
    return key_id


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
