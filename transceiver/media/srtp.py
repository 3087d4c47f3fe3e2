"""SRTP and SRTCP of one session (RFC 3711, RFC 7714). The sole importer of pylibsrtp."""

from __future__ import annotations

import pylibsrtp

from core.errors import UnavailableError
from transceiver.media.keys import SrtpKeys

_PROFILES = {
    "SRTP_AEAD_AES_256_GCM": pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
    "SRTP_AEAD_AES_128_GCM": pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    "SRTP_AES128_CM_SHA1_80": pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
}
MAX_PACKET_BYTES = 1500
"""The size of pylibsrtp's buffer, and of an Ethernet frame."""
REPLAY_WINDOW = 128
"""Packets: 2.5 s of 20 ms audio, far more than the jitter buffer would wait for."""
MAX_SSRCS = 16
"""Each authentic SSRC makes libsrtp keep a stream until the session ends; a client needs one or two."""


def _session(profile: str, key: bytes, ssrc_type: int) -> pylibsrtp.Session:
    try:
        policy = pylibsrtp.Policy(key=key, ssrc_type=ssrc_type, srtp_profile=_PROFILES[profile])
        policy.window_size = REPLAY_WINDOW
        return pylibsrtp.Session(policy)
    except KeyError:
        raise UnavailableError(f"SRTP profile {profile} is not among {', '.join(_PROFILES)}") from None
    except pylibsrtp.Error as error:
        raise UnavailableError(f"libsrtp cannot do {profile}: {error}; reinstall pylibsrtp") from None


class Srtp:
    """Both directions of one session. Raises `UnavailableError` for a profile that libsrtp lacks."""

    def __init__(self, keys: SrtpKeys) -> None:
        self._inbound = _session(keys.profile, keys.receive, pylibsrtp.Policy.SSRC_ANY_INBOUND)
        self._outbound = _session(keys.profile, keys.send, pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
        self._ssrcs: set[bytes] = set()
        self.unauthentic = 0
        """Packets refused because their tag was wrong, or that were no SRTP at all."""
        self.replayed = 0
        """Packets refused because they, or much later ones, had been seen."""

    def unprotect_untrusted(self, datagram: bytes) -> bytes | None:
        """The RTP packet inside, or None, counted, when it is not authentic or a replay."""
        ssrc = datagram[8:12]
        if len(datagram) > MAX_PACKET_BYTES or self._is_excessive(ssrc):
            self.unauthentic += 1
            return None
        try:
            packet: bytes = self._inbound.unprotect(datagram)
        except pylibsrtp.Error as error:
            self._count(error)
            return None
        self._ssrcs.add(ssrc)
        return packet

    def unprotect_rtcp_untrusted(self, datagram: bytes) -> bytes | None:
        """The RTCP packet inside, or None, counted, when it is not authentic or a replay."""
        ssrc = datagram[4:8]
        if len(datagram) > MAX_PACKET_BYTES or self._is_excessive(ssrc):
            self.unauthentic += 1
            return None
        try:
            packet: bytes = self._inbound.unprotect_rtcp(datagram)
        except pylibsrtp.Error as error:
            self._count(error)
            return None
        self._ssrcs.add(ssrc)
        return packet

    def protect(self, packet: bytes) -> bytes:
        """An RTP packet as it goes on the wire. Its sequence numbers must not repeat."""
        protected: bytes = self._outbound.protect(packet)
        return protected

    def protect_rtcp(self, packet: bytes) -> bytes:
        """An RTCP packet as it goes on the wire."""
        protected: bytes = self._outbound.protect_rtcp(packet)
        return protected

    def _is_excessive(self, ssrc: bytes) -> bool:
        return len(self._ssrcs) >= MAX_SSRCS and ssrc not in self._ssrcs

    def _count(self, error: pylibsrtp.Error) -> None:
        if "replay" in str(error) or "too old" in str(error):
            self.replayed += 1
        else:
            self.unauthentic += 1
