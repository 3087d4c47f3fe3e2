"""SRTP and SRTCP of one session (RFC 3711, RFC 7714). The sole importer of pylibsrtp."""

from __future__ import annotations

import struct
from typing import cast

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
MAX_TRIALS = 64
"""SSRCs that are tried with another rollover counter, each at the price of a hundred packets. A client's
own is among the first, as only who can send from its address can send others."""
_HEADER = struct.Struct("!BBHII")
_EARLIER = 0xC000
_SOON = 0x4000
"""Sequence numbers after which and before which a wrap lies between. What came first is later than
`_EARLIER` by less than half a cycle, so a receiver infers the wrap (RFC 3711 §3.3.1); and it is so far
away that no packet that is merely late falls into the replay window there."""


def _session(profile: str, key: bytearray, ssrc_type: int) -> pylibsrtp.Session:
    try:
        policy = pylibsrtp.Policy(key=bytes(len(key)), ssrc_type=ssrc_type, srtp_profile=_PROFILES[profile])
        policy.window_size = REPLAY_WINDOW
        # A policy's key is a view of its copy, which is freed unwiped. libsrtp wipes what it makes of it.
        view = memoryview(cast(bytearray, policy.key))
        view[:] = memoryview(key)
        try:
            return pylibsrtp.Session(policy)
        finally:
            view[:] = bytes(len(key))
    except KeyError:
        raise UnavailableError(f"SRTP profile {profile} is not among {', '.join(_PROFILES)}") from None
    except pylibsrtp.Error as error:
        raise UnavailableError(f"libsrtp cannot do {profile}: {error}; reinstall pylibsrtp") from None


class _Rollover:
    """Tries packets with a rollover counter of 1.

    A receiver starts with 0, which is wrong for ever when a sender's first sequence number was near 65535
    and everything before the wrap was lost. libsrtp cannot be told through pylibsrtp, but infers a wrap from
    a packet before it; and whoever has the key can make one, the primer.
    """

    def __init__(self, keys: SrtpKeys) -> None:
        self._outbound = _session(keys.profile, keys.receive, pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
        self._inbound = _session(keys.profile, keys.receive, pylibsrtp.Policy.SSRC_ANY_INBOUND)
        self._primers: dict[bytes, bytes] = {}

    def find_primer_untrusted(self, datagram: bytes, ssrc: bytes) -> bytes | None:
        """The packet after which a receiver takes `datagram`; None when it takes it after none."""
        primer = self._primers.get(ssrc)
        if primer is None:
            if len(self._primers) >= MAX_TRIALS:
                return None
            header = _HEADER.pack(0x80, 0, _EARLIER, 0, int.from_bytes(ssrc))
            primer = self._primers[ssrc] = self._outbound.protect(header)
            self._inbound.unprotect(primer)
        try:
            self._inbound.unprotect(datagram)
        except pylibsrtp.Error:
            return None
        return primer


class Srtp:
    """Both directions of one session, which has the keys from here on, until `close`. Raises
    `UnavailableError` for a profile that libsrtp lacks.
    """

    def __init__(self, keys: SrtpKeys) -> None:
        self._keys = keys
        self._inbound = _session(keys.profile, keys.receive, pylibsrtp.Policy.SSRC_ANY_INBOUND)
        self._outbound = _session(keys.profile, keys.send, pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
        self._ssrcs: set[bytes] = set()
        self._rtp_ssrcs: set[bytes] = set()
        """Those of which RTP has authenticated, so that their rollover counters are known."""
        self._rollover: _Rollover | None = None
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
            if ssrc in self._rtp_ssrcs or not self._roll_over_untrusted(datagram, ssrc):
                self._count(error)
                return None
            packet = self._inbound.unprotect(datagram)
        if ssrc not in self._rtp_ssrcs:
            self._ssrcs.add(ssrc)
            self._rtp_ssrcs.add(ssrc)
        return packet

    def _roll_over_untrusted(self, datagram: bytes, ssrc: bytes) -> bool:
        """Whether the first packet of its SSRC is authentic after a wrap that was lost; then it is known."""
        if len(datagram) < _HEADER.size or int.from_bytes(datagram[2:4]) >= _SOON:
            return False
        if self._rollover is None:
            self._rollover = _Rollover(self._keys)
        primer = self._rollover.find_primer_untrusted(datagram, ssrc)
        if primer is None:
            return False
        self._inbound.unprotect(primer)
        return True

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

    def close(self) -> None:
        """Wipe the keys. Nothing may be called after this. Idempotent."""
        self._keys.wipe()

    def _is_excessive(self, ssrc: bytes) -> bool:
        return len(self._ssrcs) >= MAX_SSRCS and ssrc not in self._ssrcs

    def _count(self, error: pylibsrtp.Error) -> None:
        if "replay" in str(error) or "too old" in str(error):
            self.replayed += 1
        else:
            self.unauthentic += 1
