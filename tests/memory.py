"""What is in the memory of a process, as a debugger of root's sees it."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import Path

from core.keyring import Purpose, hkdf_sha256
from core.service.files import load_masters


def search(pid: int, secrets: Mapping[str, bytes]) -> set[str]:
    """Which of them are anywhere in what a process can write to."""
    found: set[str] = set()
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            bounds = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if bounds is None or line.endswith("[vvar]"):
                continue
            start, end = (int(bound, 16) for bound in bounds.groups())
            memory.seek(start)
            content = memory.read(end - start)
            found |= {name for name, secret in secrets.items() if secret in content}
    return found


def keys_in(pid: int, keys: Path) -> dict[int, set[str]]:
    """Which keys that follow from a keys file a process has, by key id and purpose; `master` is the master
    key, as bytes or as the text of the file.
    """
    masters, _ = load_masters(keys)
    secrets: dict[str, bytes] = {}
    for key_id, master in masters.items():
        secrets |= {f"{key_id} {each}": hkdf_sha256(master, each.info, each.length) for each in Purpose}
        secrets |= {f"{key_id} master": master, f"{key_id} master as text": base64.b64encode(master)}
    found: dict[int, set[str]] = {key_id: set() for key_id in masters}
    for name in search(pid, secrets):
        key_id_text, _, purpose = name.partition(" ")
        found[int(key_id_text)].add(purpose.removesuffix(" as text"))
    return found
