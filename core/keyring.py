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

    __slots__ = (
        "_client_secret_keys",
        "_heartbeat_keys",
        "_password_keys",
        "_record_keys",
        "_referral_keys",
        "_session_keys",
        "_tag_keys",
        "mint_with",
    )

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
        self._password_keys = {k: hkdf_sha256(m, PASSWORD_INFO, 32) for k, m in masters.items()}
        self._referral_keys = {k: hkdf_sha256(m, REFERRAL_INFO, 32) for k, m in masters.items()}
        self._record_keys = {k: hkdf_sha256(m, RECORD_INFO, 32) for k, m in masters.items()}
        self._heartbeat_keys = {k: hkdf_sha256(m, HEARTBEAT_INFO, 32) for k, m in masters.items()}
        self._session_keys = {k: hkdf_sha256(m, SESSION_INFO, 32) for k, m in masters.items()}
        self._client_secret_keys = {k: hkdf_sha256(m, CLIENT_SECRET_INFO, 32) for k, m in masters.items()}

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
        digest = hmac.digest(self._password_keys[key_id], ufrag, "sha256")
        return binascii.b2a_base64(digest[:24], newline=False)

    def referral_mac(self, key_id: int, message: bytes) -> bytes:
        """The HMAC-SHA-256 by which regions vouch for callers. KeyError for an unknown id."""
        return hmac.digest(self._referral_keys[key_id], message, "sha256")

    def client_secret_mac(self, key_id: int, message: bytes) -> bytes:
        """The HMAC-SHA-256 that makes a client secret ours. KeyError for an unknown id."""
        return hmac.digest(self._client_secret_keys[key_id], message, "sha256")

    def record_mac(self, key_id: int, text: bytes) -> bytes:
        """HMAC-SHA-256 by which relays know each other's flow records. KeyError for an unknown id."""
        return hmac.digest(self._record_keys[key_id], text, "sha256")

    def heartbeat_mac(self, key_id: int, text: bytes) -> bytes:
        """HMAC-SHA-256 by which hosts know each other's heartbeats. KeyError for an unknown id."""
        return hmac.digest(self._heartbeat_keys[key_id], text, "sha256")

    def session_mac(self, key_id: int, message: bytes) -> bytes:
        """HMAC-SHA-256 by which hosts of a cluster know their session ids. KeyError for an unknown id."""
        return hmac.digest(self._session_keys[key_id], message, "sha256")
