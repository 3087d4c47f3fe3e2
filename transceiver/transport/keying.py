"""The keys of SRTP out of a DTLS association (RFC 5764 §4.2), without a copy that nobody can overwrite.

What Python frees keeps its content until something else has the place, so secrets are neither sliced nor
joined here, each of which makes an object more. Only `memoryview` copies from one place to another.
"""

from __future__ import annotations

from typing import Any, cast

from cryptography.hazmat.bindings.openssl.binding import Binding
from OpenSSL import SSL

from core.errors import UnavailableError
from transceiver.media.keys import SrtpKeys, wipe
from transceiver.transport.rtc import SRTP_PROFILES, SRTPProtectionProfile

LABEL = b"EXTRACTOR-dtls_srtp"


def selected_profile(ssl: SSL.Connection) -> SRTPProtectionProfile | None:
    """The SRTP profile that both sides agreed on; None where there is none whose key layout is known."""
    name = ssl.get_selected_srtp_profile()
    return next((p for p in SRTP_PROFILES if p.openssl_profile == name), None)


def export_keys(ssl: SSL.Connection, *, is_server: bool) -> SrtpKeys:
    """The client writes with the first key and salt, the server with the second. Raises UnavailableError."""
    profile = selected_profile(ssl)
    if profile is None:
        raise UnavailableError(f"no key layout is known for SRTP profile {ssl.get_selected_srtp_profile()!r}")
    material = _export(ssl, 2 * (profile.key_length + profile.salt_length))
    client, server = (_key_and_salt(material, profile, index) for index in range(2))
    wipe(material)
    name = profile.openssl_profile.decode()
    receive, send = (client, server) if is_server else (server, client)
    return SrtpKeys(name, receive=receive, send=send)


def _export(ssl: SSL.Connection, size: int) -> bytearray:
    """`Connection.export_keying_material` of pyOpenSSL (RFC 5705), into memory of ours: its own goes through
    a buffer and an object of type bytes, which are freed and not wiped.
    """
    material = bytearray(size)
    ffi, lib = cast(Any, Binding.ffi), cast(Any, Binding.lib)
    handle = cast(Any, ssl)._ssl  # noqa: SLF001 - the SSL* has no other name
    done = lib.SSL_export_keying_material(
        handle, ffi.from_buffer(material), size, LABEL, len(LABEL), ffi.NULL, 0, 0
    )
    if done != 1:
        raise UnavailableError("OpenSSL exports no keying material; reinstall pyOpenSSL and cryptography")
    return material


def _key_and_salt(material: bytearray, profile: SRTPProtectionProfile, index: int) -> bytearray:
    """Those of one side: all keys come before all salts."""
    keys, salts = profile.key_length, profile.salt_length
    joined = bytearray(keys + salts)
    source, target = memoryview(material), memoryview(joined)
    target[:keys] = source[index * keys : (index + 1) * keys]
    first_salt = 2 * keys + index * salts
    target[keys:] = source[first_salt : first_salt + salts]
    return joined
