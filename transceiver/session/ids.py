"""Session ids: who owns a session, 128 random bits, and a proof that a host of the cluster has written it.

    rtc_ process - base64url of (16 random bytes, key id, host number in 4 bytes, MAC of 16 bytes)

A session that was made by GPT-Live's API has live_ in place of rtc_, as its clients expect.

With the owner in it, any process of any host of a cluster knows where a request about the session belongs;
with the random part, nobody can name a session that they were not told of. The MAC is what lets a request go
on to another host: without it, whoever has an API key could have us connect to each address of the cluster's
prefix. It is HMAC-SHA-256, cut to 16 bytes, under a key that follows from the master key, over the id of the
cluster and all that stands before it. Host numbers are no secret: every token has its own.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
import struct
from typing import NamedTuple

from core.keyring import Keyring

RANDOM_BYTES = 16
MAC_BYTES = 16

_PLACE = struct.Struct("!BI")
_CLUSTER = struct.Struct("!H")
PREFIXES = ("rtc_", "live_")
"""Of calls, and of GPT-Live sessions."""
_ID = re.compile(rf"((?:{'|'.join(PREFIXES)})([0-9]{{1,3}})-)([A-Za-z0-9_-]{{50}})")


class Owner(NamedTuple):
    """The process of a cluster that has a session."""

    host: int
    process: int


def new_session_id(owner: Owner, cluster: int, keyring: Keyring, prefix: str = PREFIXES[0]) -> str:
    """A fresh id of a session of `owner`, which is in the cluster of that number."""
    begin = f"{prefix}{owner.process}-"
    named = secrets.token_bytes(RANDOM_BYTES) + _PLACE.pack(keyring.mint_with, owner.host)
    mac = _mac(begin, named, cluster, keyring)
    assert mac is not None  # a keyring has the key that it mints with
    return begin + base64.urlsafe_b64encode(named + mac).rstrip(b"=").decode()


def owner_of(session_id: str) -> Owner | None:
    """The process that an id names, whoever has written it; None for what is no id of ours."""
    parts = _parts(session_id)
    return None if parts is None else Owner(_PLACE.unpack_from(parts[1], RANDOM_BYTES)[1], parts[2])


def is_minted(session_id: str, cluster: int, keyring: Keyring) -> bool:
    """Whether a host of that cluster has written an id, with a master key that counts."""
    parts = _parts(session_id)
    if parts is None:
        return False
    begin, raw, _ = parts
    mac = _mac(begin, raw[:-MAC_BYTES], cluster, keyring)
    return mac is not None and hmac.compare_digest(mac, raw[-MAC_BYTES:])


def _parts(session_id: str) -> tuple[str, bytes, int] | None:
    """What stands before the first dash and with it, the bytes after it, and the number of the process."""
    match = _ID.fullmatch(session_id)
    if match is None:
        return None
    return match[1], base64.urlsafe_b64decode(match[3] + "=="), int(match[2])


def _mac(begin: str, named: bytes, cluster: int, keyring: Keyring) -> bytes | None:
    """None where the key is unknown."""
    key_id = named[RANDOM_BYTES]
    if key_id not in keyring.key_ids:
        return None
    return keyring.session_mac(key_id, _CLUSTER.pack(cluster) + begin.encode() + named)[:MAC_BYTES]
