"""The secrets behind tokens: master keys by id, and what is derived from them (RFC 5869, RFC 2104)."""

from __future__ import annotations

import binascii
import hmac
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Any

MASTER_BYTES = 32
KEY_IDS = range(32)
TAG_BYTES = 16
MAC_BYTES = 32


class Purpose(StrEnum):
    """What keys are for, with one of its own for each, derived by the HKDF info `voxpop PURPOSE v1`. All but
    the tag's are of HMAC-SHA-256.
    """

    TAG = "token"
    PASSWORD = "ice-pwd"  # noqa: S105 - a part of a name
    REFERRAL = "referral"
    RECORD = "flow record"
    HEARTBEAT = "heartbeat"
    SESSION = "session id"
    CLIENT_SECRET = "client secret"  # noqa: S105 - the same

    @property
    def info(self) -> bytes:
        """Of HKDF."""
        return f"voxpop {self.value} v1".encode()

    @property
    def length(self) -> int:
        """Of a key, in bytes."""
        return TAG_BYTES if self is Purpose.TAG else MAC_BYTES


PASSWORD_CHARS = 32


def hkdf_sha256(master: bytes, info: bytes, length: int) -> bytes:
    """HKDF (RFC 5869) with no salt and a single block of output: `length` is at most 32 bytes."""
    if length > 32:
        raise ValueError(f"one block of HKDF-SHA256 has 32 bytes, not {length}")
    pseudorandom = hmac.digest(bytes(32), master, "sha256")
    return hmac.digest(pseudorandom, info + b"\x01", "sha256")[:length]


class Keyring:
    """Keys by purpose and id, derived of master keys by id. Several ids are accepted at once, so keys rotate
    without dropping a call.

    A master key is not kept, and cannot be had from what is. `masters` maps key id (0–31) to 32 secret bytes;
    `mint_with` is the id that new tokens carry.
    """

    __slots__ = ("_keys", "mint_with")

    def __init__(self, masters: Mapping[int, bytes], mint_with: int) -> None:
        if mint_with not in masters:
            raise ValueError(f"there is no key with id {mint_with} to mint with")
        for key_id, master in masters.items():
            if key_id not in KEY_IDS:
                raise ValueError(f"key id {key_id} is not 0–31")
            if len(master) != MASTER_BYTES:
                raise ValueError(f"key {key_id} has {len(master)} bytes, not {MASTER_BYTES}")
        self.mint_with = mint_with
        self._keys = {
            purpose: {k: hkdf_sha256(m, purpose.info, purpose.length) for k, m in masters.items()}
            for purpose in Purpose
        }

    def share(self, purposes: Collection[Purpose]) -> dict[str, object]:
        """The keys for some purposes, in JSON's types: for a process that needs no others."""
        keys = {
            purpose: {str(k): binascii.b2a_base64(key, newline=False).decode() for k, key in by_id.items()}
            for purpose, by_id in self._keys.items()
            if purpose in purposes
        }
        return {"mint_with": self.mint_with, "keys": keys}

    @classmethod
    def of_share(cls, shared: Mapping[str, Any]) -> Keyring:
        """What `share` gave. What needs a key for another purpose raises KeyError."""
        keyring = cls.__new__(cls)
        keyring.mint_with = shared["mint_with"]
        keyring._keys = {  # noqa: SLF001 - one of ours
            Purpose(purpose): {int(k): binascii.a2b_base64(text) for k, text in by_id.items()}
            for purpose, by_id in shared["keys"].items()
        }
        return keyring

    def __repr__(self) -> str:
        return f"Keyring(ids={sorted(self._keys[Purpose.TAG])}, mint_with={self.mint_with})"

    @property
    def key_ids(self) -> list[int]:
        """Every id that is accepted, ascending."""
        return sorted(self._keys[Purpose.TAG])

    def tag_key(self, key_id: int) -> bytes | None:
        """The 16-byte SipHash key of an id; None for an id that is not accepted."""
        return self._keys[Purpose.TAG].get(key_id)

    def ice_password(self, key_id: int, ufrag: bytes) -> bytes:
        """The ICE password that belongs to a token: 32 ice-chars. KeyError for an unknown id."""
        digest = self._mac(Purpose.PASSWORD, key_id, ufrag)
        return binascii.b2a_base64(digest[:24], newline=False)

    def referral_mac(self, key_id: int, message: bytes) -> bytes:
        """The HMAC-SHA-256 by which regions vouch for callers. KeyError for an unknown id."""
        return self._mac(Purpose.REFERRAL, key_id, message)

    def client_secret_mac(self, key_id: int, message: bytes) -> bytes:
        """The HMAC-SHA-256 that makes a client secret ours. KeyError for an unknown id."""
        return self._mac(Purpose.CLIENT_SECRET, key_id, message)

    def record_mac(self, key_id: int, text: bytes) -> bytes:
        """HMAC-SHA-256 by which relays know each other's flow records. KeyError for an unknown id."""
        return self._mac(Purpose.RECORD, key_id, text)

    def heartbeat_mac(self, key_id: int, text: bytes) -> bytes:
        """HMAC-SHA-256 by which hosts know each other's heartbeats. KeyError for an unknown id."""
        return self._mac(Purpose.HEARTBEAT, key_id, text)

    def session_mac(self, key_id: int, message: bytes) -> bytes:
        """HMAC-SHA-256 by which hosts of a cluster know their session ids. KeyError for an unknown id."""
        return self._mac(Purpose.SESSION, key_id, message)

    def _mac(self, purpose: Purpose, key_id: int, message: bytes) -> bytes:
        return hmac.digest(self._keys[purpose][key_id], message, "sha256")
