"""The secrets behind tokens: master keys by id, and what is derived from them (RFC 5869, RFC 2104)."""

from __future__ import annotations

import binascii
import hmac
from collections.abc import Mapping

MASTER_BYTES = 32
KEY_IDS = range(32)
TAG_INFO = b"voxpop token v1"
PASSWORD_INFO = b"voxpop ice-pwd v1"
REFERRAL_INFO = b"voxpop referral v1"
RECORD_INFO = b"voxpop flow record v1"
HEARTBEAT_INFO = b"voxpop heartbeat v1"
SESSION_INFO = b"voxpop session id v1"
CLIENT_SECRET_INFO = b"voxpop client secret v1"
MAC_INFOS = (PASSWORD_INFO, REFERRAL_INFO, RECORD_INFO, HEARTBEAT_INFO, SESSION_INFO, CLIENT_SECRET_INFO)
"""What HMAC-SHA-256 is used for, with a key of its own for each."""
PASSWORD_CHARS = 32


def hkdf_sha256(master: bytes, info: bytes, length: int) -> bytes:
    """HKDF (RFC 5869) with no salt and a single block of output: `length` is at most 32 bytes."""
    if length > 32:
        raise ValueError(f"one block of HKDF-SHA256 has 32 bytes, not {length}")
    pseudorandom = hmac.digest(bytes(32), master, "sha256")
    return hmac.digest(pseudorandom, info + b"\x01", "sha256")[:length]


class Keyring:
    """Master keys by id. Several are accepted at once, so keys rotate without dropping a call.

    `masters` maps key id (0–31) to 32 secret bytes; `mint_with` is the id that new tokens carry.
    """

    __slots__ = ("_mac_keys", "_tag_keys", "mint_with")

    def __init__(self, masters: Mapping[int, bytes], mint_with: int) -> None:
        if mint_with not in masters:
            raise ValueError(f"there is no key with id {mint_with} to mint with")
        for key_id, master in masters.items():
            if key_id not in KEY_IDS:
                raise ValueError(f"key id {key_id} is not 0–31")
            if len(master) != MASTER_BYTES:
                raise ValueError(f"key {key_id} has {len(master)} bytes, not {MASTER_BYTES}")
        self.mint_with = mint_with
        self._tag_keys = {k: hkdf_sha256(m, TAG_INFO, 16) for k, m in masters.items()}
        self._mac_keys = {
            info: {k: hkdf_sha256(m, info, 32) for k, m in masters.items()} for info in MAC_INFOS
        }

    def __repr__(self) -> str:
        return f"Keyring(ids={sorted(self._tag_keys)}, mint_with={self.mint_with})"

    @property
    def key_ids(self) -> list[int]:
        """Every id that is accepted, ascending."""
        return sorted(self._tag_keys)

    def tag_key(self, key_id: int) -> bytes | None:
        """The 16-byte SipHash key of an id; None for an id that is not accepted."""
        return self._tag_keys.get(key_id)

    def ice_password(self, key_id: int, ufrag: bytes) -> bytes:
        """The ICE password that belongs to a token: 32 ice-chars. KeyError for an unknown id."""
        digest = self._mac(PASSWORD_INFO, key_id, ufrag)
        return binascii.b2a_base64(digest[:24], newline=False)

    def referral_mac(self, key_id: int, message: bytes) -> bytes:
        """The HMAC-SHA-256 by which regions vouch for callers. KeyError for an unknown id."""
        return self._mac(REFERRAL_INFO, key_id, message)

    def client_secret_mac(self, key_id: int, message: bytes) -> bytes:
        """The HMAC-SHA-256 that makes a client secret ours. KeyError for an unknown id."""
        return self._mac(CLIENT_SECRET_INFO, key_id, message)

    def record_mac(self, key_id: int, text: bytes) -> bytes:
        """HMAC-SHA-256 by which relays know each other's flow records. KeyError for an unknown id."""
        return self._mac(RECORD_INFO, key_id, text)

    def heartbeat_mac(self, key_id: int, text: bytes) -> bytes:
        """HMAC-SHA-256 by which hosts know each other's heartbeats. KeyError for an unknown id."""
        return self._mac(HEARTBEAT_INFO, key_id, text)

    def session_mac(self, key_id: int, message: bytes) -> bytes:
        """HMAC-SHA-256 by which hosts of a cluster know their session ids. KeyError for an unknown id."""
        return self._mac(SESSION_INFO, key_id, message)

    def _mac(self, info: bytes, key_id: int, message: bytes) -> bytes:
        return hmac.digest(self._mac_keys[info][key_id], message, "sha256")
