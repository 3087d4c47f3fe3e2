"""How a client is told through DTLS that its session is over, where close_notify says too little. Sans-IO.

A browser takes close_notify for the end of its `RTCDtlsTransport` only: `connectionState` stays "connected",
which is what W3C's webrtc-pc asks for, and becomes "failed" on an error alert. OpenSSL sends no alert that it
is asked for, so the record is made here, with the keys and the place in the sequence that OpenSSL's own next
one would have. Nothing may be sent through that connection afterwards.

Not everybody is told so. TLS 1.3 ends a connection on every alert (RFC 8446 §6.2), and who speaks it acts on
them; others, such as aiortc and werift, act on close_notify alone.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, Protocol

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from OpenSSL import SSL

DTLS_1_2 = 0xFEFD
INTERNAL_ERROR = bytes([2, 80])
"""Level fatal; RFC 5246 §7.2.2: unrelated to the peer or the correctness of the protocol."""

_ALERT = 21
_HANDSHAKE = 22
_CLIENT_HELLO = 1
_RECORD = struct.Struct("!BHQH")
"""Type, version, epoch and sequence number, length (RFC 6347 §4.1)."""
_HANDSHAKE_HEADER_BYTES = 12
_RANDOM_BYTES = 32
_TLS13_SUITES = frozenset(bytes([0x13, low]) for low in range(1, 6))
"""RFC 8446 §B.4."""
_DOWNGRADED = b"DOWNGRD\x01"
"""RFC 8446 §4.1.3: what ends the random of a server that could have done better than TLS 1.2."""


def offers_dtls13_untrusted(datagram: bytes) -> bool:
    """Whether this is a ClientHello, or the first fragment of one, that has cipher suites of TLS 1.3."""
    try:
        hello = datagram[_RECORD.size :]
        if datagram[0] != _HANDSHAKE or hello[0] != _CLIENT_HELLO or any(hello[6:9]):
            return False  # the last is the fragment's offset
        at = _HANDSHAKE_HEADER_BYTES + 2 + _RANDOM_BYTES
        at += 1 + hello[at]  # the session's id
        at += 1 + hello[at]  # the cookie
        end = at + 2 + int.from_bytes(hello[at : at + 2], "big")
    except IndexError:
        return False
    suites = hello[at + 2 : end]
    return any(suites[i : i + 2] in _TLS13_SUITES for i in range(0, len(suites), 2))


def could_do_dtls13(server_random: bytes) -> bool:
    """Whether a server that chose DTLS 1.2 says that it speaks DTLS 1.3 too."""
    return server_random.endswith(_DOWNGRADED)


@dataclass(frozen=True, slots=True)
class Secrets:
    """What the keys of a DTLS 1.2 connection are made of (RFC 5246 §6.3)."""

    cipher: str
    """OpenSSL's name."""
    role: Literal["client", "server"]
    """Ours."""
    master: bytes = field(repr=False)
    client_random: bytes
    server_random: bytes

    @classmethod
    def of(cls, ssl: SSL.Connection, role: Literal["client", "server"]) -> Secrets:
        """Those of a connection whose handshake is done."""
        master, client, server = ssl.master_key(), ssl.client_random(), ssl.server_random()
        assert master is not None
        assert client is not None
        assert server is not None
        return cls(ssl.get_cipher_name() or "", role, master, client, server)


class _Aead(Protocol):
    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...


class _Suite(NamedTuple):
    aead: Callable[[bytes], _Aead]
    key_bytes: int
    iv_bytes: int
    explicit_bytes: int
    """Of the nonce, in front of each record's ciphertext (RFC 5288 §3)."""
    digest: str
    """Of the PRF."""


_SUITES: Final = {
    "AES128-GCM-SHA256": _Suite(AESGCM, 16, 4, 8, "sha256"),
    "AES256-GCM-SHA384": _Suite(AESGCM, 32, 4, 8, "sha384"),
    "CHACHA20-POLY1305": _Suite(ChaCha20Poly1305, 32, 12, 0, "sha256"),
}
"""By what follows the key exchange in OpenSSL's names."""


def seal_error(secrets: Secrets, previous: bytes) -> bytes | None:
    """A record with `INTERNAL_ERROR`, to follow `previous`, the latest that OpenSSL wrote. None where the
    cipher is none of RFC 5288 and RFC 7905: no browser chooses another.
    """
    suite = next((suite for name, suite in _SUITES.items() if secrets.cipher.endswith(name)), None)
    if suite is None:
        return None
    key, iv = _derive(secrets, suite)
    sequence = _RECORD.unpack_from(previous)[2] + 1
    # RFC 5246 §6.2.3.3: what is in the header, the sequence number first.
    associated = struct.pack("!QBHH", sequence, _ALERT, DTLS_1_2, len(INTERNAL_ERROR))
    if suite.explicit_bytes:
        explicit = _successor(previous[_RECORD.size : _RECORD.size + suite.explicit_bytes])
        nonce = iv + explicit
    else:
        explicit = b""
        nonce = (int.from_bytes(iv, "big") ^ sequence).to_bytes(len(iv), "big")
    sealed = explicit + suite.aead(key).encrypt(nonce, INTERNAL_ERROR, associated)
    return _RECORD.pack(_ALERT, DTLS_1_2, sequence, len(sealed)) + sealed


def _successor(explicit: bytes) -> bytes:
    """The explicit nonce that OpenSSL's next record would have: it counts them, from anywhere."""
    count = int.from_bytes(explicit, "big") + 1
    return (count % (1 << 8 * len(explicit))).to_bytes(len(explicit), "big")


def _derive(secrets: Secrets, suite: _Suite) -> tuple[bytes, bytes]:
    """Our write key and IV (RFC 5246 §6.3): the client's, the server's, then the IVs in the same order."""
    size = 2 * (suite.key_bytes + suite.iv_bytes)
    seed = b"key expansion" + secrets.server_random + secrets.client_random
    block = _expand(secrets.master, seed, size, suite.digest)
    keys, ivs = block[: 2 * suite.key_bytes], block[2 * suite.key_bytes :]
    if secrets.role == "client":
        return keys[: suite.key_bytes], ivs[: suite.iv_bytes]
    return keys[suite.key_bytes :], ivs[suite.iv_bytes :]


def _expand(secret: bytes, seed: bytes, size: int, digest: str) -> bytes:
    """P_hash of RFC 5246 §5."""
    out, link = b"", seed
    while len(out) < size:
        link = hmac.digest(secret, link, digest)
        out += hmac.digest(secret, link + seed, digest)
    return out[:size]
