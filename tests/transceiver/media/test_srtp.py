"""SRTP and SRTCP, with every profile that DTLS may negotiate."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from core.errors import UnavailableError
from transceiver.media.keys import SrtpKeys
from transceiver.media.rtcp import Bye, build_rtcp
from transceiver.media.rtp import RtpPacket, build_rtp
from transceiver.media.srtp import MAX_SSRCS, MAX_TRIALS, REPLAY_WINDOW, Srtp

PROFILES = {"SRTP_AEAD_AES_256_GCM": 44, "SRTP_AEAD_AES_128_GCM": 28, "SRTP_AES128_CM_SHA1_80": 30}


def pair(profile: str = "SRTP_AES128_CM_SHA1_80") -> tuple[Srtp, Srtp]:
    """Two ends of one session."""
    size = PROFILES[profile]
    one, other = bytes(range(size)), bytes(range(100, 100 + size))
    return Srtp(keys(one, other, profile)), Srtp(keys(other, one, profile))


def keys(receive: bytes, send: bytes, profile: str = "SRTP_AES128_CM_SHA1_80") -> SrtpKeys:
    """Keys, for one end."""
    return SrtpKeys(profile, bytearray(receive), bytearray(send))


def rtp(sequence: int, ssrc: int = 1) -> bytes:
    """A small packet."""
    return build_rtp(RtpPacket(111, False, sequence, sequence * 960, ssrc, b"payload"))


def test_cm_keystream_of_rfc_3711_appendix_b3() -> None:
    """The appendix prints the session keys of this master key; another library applies them."""
    master = bytes.fromhex("E1F97A0D3E018BE0D64FA32C06DE4139 0EC675AD498AFEEBB6960B3AABE6")
    sender = Srtp(keys(bytes(30), master))
    assert sender.protect(rtp(0)) == protect_by_the_rfc(rtp(0))


def protect_by_the_rfc(packet: bytes) -> bytes:
    """RFC 3711 §4.1.1 and §4.2 with the session keys printed in appendix B.3."""
    key = bytes.fromhex("C61E7A93744F39EE10734AFE3FF7A087")
    salt = int.from_bytes(bytes.fromhex("30CBBC08863D8C85D49DB34A9AE1"))
    auth = bytes.fromhex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4")
    header, payload = packet[:12], packet[12:]
    ssrc, index = int.from_bytes(header[8:12]), int.from_bytes(header[2:4])
    counter = (salt << 16 ^ ssrc << 64 ^ index << 16).to_bytes(16)
    encrypted = Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor().update(payload)
    tag = hmac.new(auth, header + encrypted + bytes(4), hashlib.sha1).digest()[:10]
    return header + encrypted + tag


@pytest.mark.parametrize("profile", PROFILES)
def test_both_ends_understand_each_other(profile: str) -> None:
    alice, bob = pair(profile)
    report = build_rtcp(Bye((1,)))
    assert bob.unprotect_untrusted(alice.protect(rtp(1))) == rtp(1)
    assert bob.unprotect_rtcp_untrusted(alice.protect_rtcp(report)) == report
    assert alice.unprotect_untrusted(bob.protect(rtp(1, ssrc=2))) == rtp(1, ssrc=2)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_flipped_bit_and_every_truncation_is_refused(profile: str) -> None:
    alice, bob = pair(profile)
    protected = alice.protect(rtp(1))
    for bit in range(8 * len(protected)):
        changed = (int.from_bytes(protected) ^ 1 << bit).to_bytes(len(protected))
        assert bob.unprotect_untrusted(changed) is None
    for length in range(len(protected)):
        assert bob.unprotect_untrusted(protected[:length]) is None
    assert bob.unauthentic == 9 * len(protected)
    assert bob.unprotect_untrusted(protected) == rtp(1)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_flipped_bit_and_every_truncation_of_rtcp_is_refused(profile: str) -> None:
    alice, bob = pair(profile)
    protected = alice.protect_rtcp(build_rtcp(Bye((1,))))
    for bit in range(8 * len(protected)):
        changed = (int.from_bytes(protected) ^ 1 << bit).to_bytes(len(protected))
        assert bob.unprotect_rtcp_untrusted(changed) is None
    for length in range(len(protected)):
        assert bob.unprotect_rtcp_untrusted(protected[:length]) is None
    assert bob.unprotect_rtcp_untrusted(protected) is not None


def test_replays_are_refused_inside_the_window_and_beyond_it() -> None:
    alice, bob = pair()
    protected = [alice.protect(rtp(n)) for n in range(REPLAY_WINDOW + 50)]
    for datagram in protected[10:]:
        assert bob.unprotect_untrusted(datagram) is not None
    for datagram in (protected[-1], protected[60], protected[10], protected[0]):
        assert bob.unprotect_untrusted(datagram) is None
    assert (bob.replayed, bob.unauthentic) == (4, 0)


SENT = [*range(65_534, 65_536), *range(300)]
"""Sequence numbers of a stream that begins just before the wrap (RFC 3711 §3.3.1)."""


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("lost", [0, 1, 2, 3, 4, 50, 250])
def test_a_stream_is_understood_whatever_is_lost_of_its_beginning(lost: int, profile: str) -> None:
    alice, bob = pair(profile)
    protected = [alice.protect(rtp(n)) for n in SENT]
    assert [bob.unprotect_untrusted(p) for p in protected[lost:]] == [rtp(n) for n in SENT[lost:]]
    assert (bob.unauthentic, bob.replayed) == (0, 0)


def test_packets_before_the_wrap_that_come_after_it_are_taken_once() -> None:
    alice, bob = pair()
    protected = [alice.protect(rtp(n)) for n in SENT[:5]]
    for index in (3, 1, 0, 4, 2):
        assert bob.unprotect_untrusted(protected[index]) == rtp(SENT[index])
    for packet in protected:
        assert bob.unprotect_untrusted(packet) is None
    assert (bob.unauthentic, bob.replayed) == (0, 5)


def test_a_report_before_the_first_packet_does_not_hide_the_wrap() -> None:
    alice, bob = pair()
    protected = [alice.protect(rtp(n)) for n in SENT[:6]]
    assert bob.unprotect_rtcp_untrusted(alice.protect_rtcp(build_rtcp(Bye((1,))))) is not None
    assert [bob.unprotect_untrusted(p) for p in protected[3:]] == [rtp(n) for n in SENT[3:6]]


def test_each_stream_of_a_client_may_begin_before_the_wrap() -> None:
    """As when a track is replaced."""
    alice, bob = pair()
    for ssrc in (1, 2, 3):
        protected = [alice.protect(rtp(n, ssrc)) for n in SENT[:5]]
        assert bob.unprotect_untrusted(protected[4]) == rtp(2, ssrc)


def test_forged_packets_neither_pass_nor_hide_a_wrap() -> None:
    alice, bob = pair()
    protected = [alice.protect(rtp(n)) for n in SENT[:5]]
    for bit in range(8 * 4, 8 * len(protected[4])):
        changed = (int.from_bytes(protected[4]) ^ 1 << bit).to_bytes(len(protected[4]))
        assert bob.unprotect_untrusted(changed) is None
    assert bob.unauthentic == 8 * (len(protected[4]) - 4)
    assert bob._rollover is not None
    assert len(bob._rollover._primers) <= MAX_TRIALS
    assert bob.unprotect_untrusted(protected[4]) == rtp(2)


def test_forged_ssrcs_are_tried_in_bounded_number() -> None:
    alice, bob = pair()
    forged = alice.protect(rtp(1))
    for ssrc in range(100, 100 + 2 * MAX_TRIALS):
        assert bob.unprotect_untrusted(forged[:8] + ssrc.to_bytes(4) + forged[12:]) is None
    assert bob._rollover is not None
    assert len(bob._rollover._primers) == MAX_TRIALS
    assert bob.unprotect_untrusted(forged) == rtp(1)


def test_a_stream_that_is_known_is_not_guessed_at() -> None:
    alice, bob = pair()
    first = alice.protect(rtp(5))
    assert bob.unprotect_untrusted(first) is not None
    assert bob.unprotect_untrusted(first[:-1] + bytes((first[-1] ^ 1,))) is None
    assert bob._rollover is None


def test_datagrams_beyond_the_buffer_are_refused() -> None:
    _alice, bob = pair()
    assert bob.unprotect_untrusted(bytes((0x80,)) + bytes(2000)) is None
    assert bob.unprotect_rtcp_untrusted(bytes((0x80,)) + bytes(2000)) is None
    assert bob.unauthentic == 2


def test_streams_of_one_session_are_bounded() -> None:
    """What an authentic peer can make us remember ends somewhere; streams that exist go on."""
    alice, bob = pair()
    for ssrc in range(MAX_SSRCS):
        assert bob.unprotect_untrusted(alice.protect(rtp(1, ssrc))) is not None
    assert bob.unprotect_untrusted(alice.protect(rtp(1, MAX_SSRCS))) is None
    assert bob.unprotect_untrusted(alice.protect(rtp(2, 0))) is not None


def test_forged_ssrcs_do_not_use_up_the_bound() -> None:
    alice, bob = pair()
    forged = alice.protect(rtp(1))
    for ssrc in range(100, 200):
        assert bob.unprotect_untrusted(forged[:8] + ssrc.to_bytes(4) + forged[12:]) is None
    assert bob.unprotect_untrusted(alice.protect(rtp(1, ssrc=7))) is not None


def test_an_unknown_profile_is_named_with_those_that_are_known() -> None:
    with pytest.raises(UnavailableError, match=r"SRTP_NULL.*SRTP_AEAD_AES_256_GCM"):
        Srtp(keys(bytes(30), bytes(30), "SRTP_NULL"))


@pytest.mark.parametrize("profile", PROFILES)
def test_keys_are_overwritten_at_the_end_and_not_before(profile: str) -> None:
    secret = bytes(range(1, 1 + PROFILES[profile]))
    given = keys(secret, secret, profile)
    receive, send = given.receive, given.send
    srtp = Srtp(given)
    assert (receive, send) == (secret, secret)
    srtp.protect(rtp(1))
    srtp.close()
    srtp.close()
    assert receive == send == bytes(len(secret))
