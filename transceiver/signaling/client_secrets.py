"""Client secrets: keys that a server gets for its users' browsers, `POST /v1/realtime/client_secrets`.

Nothing is stored: a secret carries all that there is to know of it, signed, so that every process of every
host with the same master keys and API keys takes it. It is compressed but not encrypted: its holder may know
what it says, and could ask the session anyhow.

    secret  = "ek_" and base64url of (version in 3 bits and key id in 5, expiry in 4 bytes, 8 random bytes,
              length of the name in a byte, name of the API key, raw DEFLATE of the session's JSON, MAC)
    MAC     = HMAC-SHA-256, under a key derived from the master key, of the digest of the API key and all that
              stands before

The digest in it is what makes a secret end with its API key: once that is deleted or replaced, nothing that
was minted by it is good any more. It also keeps PoPs, which have master keys and no digests, from minting.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
import secrets
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from core.keyring import Keyring
from transceiver.realtime.event import Event
from transceiver.realtime.permissions import MEMBER
from transceiver.realtime.settings import override
from transceiver.signaling.refusals import HttpReason, Refusal

PREFIX: Final = "ek_"
"""The API's, which its clients look for."""
MAX_CHARS: Final = 7_168
"""Of a whole secret: with the rest of its line it is under 8 KiB, which is what servers and proxies let a
header have."""
MAX_SESSION_CHARS: Final = 65_536
"""Of session settings as JSON, before they are compressed."""
VERSION: Final = 1
LIFETIME_S: Final = 600
MIN_LIFETIME_S: Final = 10
MAX_LIFETIME_S: Final = 7_200

_HEAD = struct.Struct("!BI8sB")
_MAC_BYTES = 32
_FORM = re.compile(rf"{PREFIX}([A-Za-z0-9_-]{{1,{MAX_CHARS - len(PREFIX)}}})")


@dataclass(frozen=True, slots=True)
class SecretKeys:
    """What secrets are minted and read with: master keys, and the digests of API keys by name. A host that is
    open has a name without one.
    """

    keyring: Keyring
    digests: Mapping[str, str] = field(repr=False)

    def mac(self, key_id: int, caller: str, signed: bytes) -> bytes:
        """KeyError for an unknown key id or caller."""
        digest = self.digests[caller].encode()
        return self.keyring.client_secret_mac(key_id, digest + signed)


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """What a secret says."""

    caller: str
    """The name of the API key that it was made with: whose the calls are."""
    expires_s: int
    """Unix time from which on it opens nothing; what is open by then stays."""
    session: Event = field(default_factory=dict)
    """Defaults of the `session` of its calls."""
    id: str = field(default="", compare=False)
    """What tells it from others, once it is read."""

    def settings(self, wanted: Event) -> Event:
        """The `session` of a call that itself wants these: what a client says overrides the defaults, but for
        its own permissions. Raises Refusal.
        """
        if MEMBER in wanted:
            what = f"session.{MEMBER} is for who has an API key; a client secret may have it in it."
            raise Refusal(400, HttpReason.BAD_SESSION, what, param=f"session.{MEMBER}")
        return override(self.session, wanted)


def mint_client_secret(keys: SecretKeys, secret: ClientSecret) -> str:
    """The text of a secret. Raises Refusal where the settings in it are too long, and KeyError for a caller
    without an API key.
    """
    caller, session = secret.caller.encode(), b""
    if secret.session:
        session = _packed(secret.session)
    key_id = keys.keyring.mint_with
    head = _HEAD.pack(VERSION << 5 | key_id, secret.expires_s, secrets.token_bytes(8), len(caller))
    signed = head + caller + session
    text = PREFIX + _text(signed + keys.mac(key_id, secret.caller, signed))
    if len(text) > MAX_CHARS:
        raise _too_long(f"The secret would have {len(text)} characters, and {MAX_CHARS} fit in a header.")
    return text


def read_client_secret_untrusted(text: str, keys: SecretKeys, now_s: int) -> ClientSecret:
    """What a secret says. `now_s` is Unix time. Raises Refusal for one that is none of ours, or is over."""
    raw = _bytes(text)
    if len(raw) < _HEAD.size + _MAC_BYTES or PREFIX + _text(raw) != text:
        raise _unknown()
    signed, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
    first, expires_s, nonce, length = _HEAD.unpack_from(signed)
    name, session = signed[_HEAD.size : _HEAD.size + length], signed[_HEAD.size + length :]
    caller = name.decode("ascii", "replace")
    try:
        expected = keys.mac(first & 31, caller, signed)
    except KeyError:
        raise _unknown() from None
    if not hmac.compare_digest(mac, expected) or first >> 5 != VERSION:
        raise _unknown()
    if now_s >= expires_s:
        raise _refusal("has expired; ask your server for another")
    return ClientSecret(caller, expires_s, _unpacked(session) if session else {}, nonce.hex())


def _packed(session: Event) -> bytes:
    """Raw DEFLATE (RFC 1951) of JSON."""
    try:
        text = json.dumps(session, separators=(",", ":"), allow_nan=False)
    except (ValueError, RecursionError):
        raise Refusal(400, HttpReason.BAD_SESSION, "session cannot be written as JSON.") from None
    if len(text) > MAX_SESSION_CHARS:
        raise _too_long(f"session has {len(text)} characters; at most {MAX_SESSION_CHARS} are taken.")
    packer = zlib.compressobj(level=9, wbits=-zlib.MAX_WBITS)
    return packer.compress(text.encode()) + packer.flush()


def _unpacked(packed: bytes) -> Event:
    """What `_packed` was given. Only for what was signed by us."""
    text = zlib.decompressobj(wbits=-zlib.MAX_WBITS).decompress(packed, MAX_SESSION_CHARS)
    session: Event = json.loads(text)
    return session


def _too_long(what: str) -> Refusal:
    hint = f"{what} Give the rest with the call, or by session.update."
    return Refusal(400, HttpReason.BAD_SESSION, hint, param="session")


def _unknown() -> Refusal:
    return _refusal("is not one of ours, or its API key is no longer valid")


def _refusal(what: str) -> Refusal:
    return Refusal(
        401, HttpReason.BAD_CLIENT_SECRET, f"This client secret {what}.", {"WWW-Authenticate": "Bearer"}
    )


def _bytes(text: str) -> bytes:
    """What stands after the prefix; nothing for what has another form."""
    match = _FORM.fullmatch(text)
    if match is None or len(match[1]) % 4 == 1:
        return b""
    return base64.urlsafe_b64decode(match[1] + "=" * (-len(match[1]) % 4))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
