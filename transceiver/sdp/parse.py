"""Reading offers, answers and trickle fragments that strangers sent. Raises SdpError, nothing else.

Each error's detail is for the author of the description: what is missing, and what to send instead.
"""

from __future__ import annotations

import re

from core.addr import Endpoint, parse_address
from core.errors import SdpError
from core.ufrag import PASSWORD_MAX, PASSWORD_MIN, UFRAG_MAX, UFRAG_MIN
from transceiver.media.codec import AudioCodec
from transceiver.sdp.lines import Description, Section, number_untrusted, split_untrusted
from transceiver.sdp.model import DEFAULT_PEER_MESSAGE_BYTES, Answer, Fragment, Offer, Restarted, SdpReason

DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
SETUPS = ("actpass", "active", "passive")
DATA_PROTOCOLS = ("UDP/DTLS/SCTP", "TCP/DTLS/SCTP")
DIGEST_BYTES = {"sha-256": 32, "sha-384": 48, "sha-512": 64}
"""The hash functions that a certificate may be pinned with; shorter ones can be forged."""
MAX_FINGERPRINTS = 8
MAX_CANDIDATES = 32
OPUS_BITRATES = range(6_000, 510_001)
"""RFC 7587 §6.1: maxaveragebitrate, bit/s."""
RTCP_PAYLOAD_TYPES = range(64, 96)
"""Not to be told from RTCP under rtcp-mux (RFC 5761 §4)."""

_UFRAG = re.compile(rf"[A-Za-z0-9+/]{{{UFRAG_MIN},{UFRAG_MAX}}}")
_PASSWORD = re.compile(rf"[A-Za-z0-9+/]{{{PASSWORD_MIN},{PASSWORD_MAX}}}")
_HEX = re.compile(r"[0-9A-F]{2}(?::[0-9A-F]{2}){1,63}")


def parse_offer_untrusted(text: str) -> Offer:
    """What an offer says that we use."""
    description = split_untrusted(text)
    audio = _find_audio_untrusted(description)
    bundle = _bundle(description, audio)
    transport = _transport_sections(description, audio, bundle)
    ufrag, password = _credentials_untrusted(transport)
    data = _find_data(description, audio, bundle)
    held = _find_held_untrusted(description, audio, data, bundle)
    return Offer(
        ufrag=ufrag,
        password=password,
        fingerprints=_fingerprints_untrusted(transport),
        setup=_setup_untrusted(transport, SETUPS),
        codec=_codec_untrusted(audio),
        audio_direction=_direction(description, audio),
        audio_index=description.media.index(audio),
        data_index=None if data is None else description.media.index(data),
        sctp_port=None if data is None else _sctp_port_untrusted(data),
        max_message_bytes=_max_message_bytes(data),
        held_index=None if held is None else description.media.index(held),
        media=tuple(section.line for section in description.media),
        bundle=bundle,
    )


def parse_answer_untrusted(text: str) -> Answer:
    """What a server answered to an offer of ours, which had one audio section and one data channel."""
    description = split_untrusted(text)
    audio = _find_audio_untrusted(description)
    bundle = _bundle(description, audio)
    transport = _transport_sections(description, audio, bundle)
    ufrag, password = _credentials_untrusted(transport)
    data = _find_data(description, audio, bundle)
    candidates = _candidates(transport)
    if not candidates:
        raise SdpError(SdpReason.NO_CANDIDATE, "The answer has no UDP candidate with an IP address.")
    return Answer(
        ufrag=ufrag,
        password=password,
        fingerprints=_fingerprints_untrusted(transport),
        setup=_setup_untrusted(transport, ("active", "passive")),
        codec=_codec_untrusted(audio),
        audio_direction=_direction(description, audio),
        sctp_port=None if data is None else _sctp_port_untrusted(data),
        candidates=candidates,
        ice_lite=description.session.has("ice-lite"),
    )


def parse_fragment_untrusted(text: str) -> Fragment:
    """The credentials in a trickle fragment (RFC 8840 §9), which stand at either level."""
    description = split_untrusted(text, is_fragment=True)
    sections = [description.session, *description.media]
    if not any(section.has("ice-ufrag", "ice-pwd") for section in sections):
        return Fragment(None, None)
    pairs = {_credentials_untrusted([s]) for s in sections if s.has("ice-ufrag", "ice-pwd")}
    if len(pairs) > 1:
        raise SdpError(SdpReason.BAD_ICE, "The fragment names several ufrags, but all sections are bundled.")
    return Fragment(*pairs.pop())


def parse_restarted_untrusted(text: str) -> Restarted:
    """The fragment that a server answers an ICE restart of ours with (RFC 9725 §4.3.2)."""
    fragment = parse_fragment_untrusted(text)
    if fragment.ufrag is None or fragment.password is None:
        raise SdpError(SdpReason.BAD_ICE, "The fragment has no a=ice-ufrag and a=ice-pwd.")
    description = split_untrusted(text, is_fragment=True)
    candidates = _candidates([description.session, *description.media])
    return Restarted(fragment.ufrag, fragment.password, candidates)


def _find_audio_untrusted(description: Description) -> Section:
    """The first audio section that is on and has Opus."""
    audio = [s for s in description.media if s.kind == "audio" and _is_on(s)]
    if not audio:
        if any(s.kind == "video" and _is_on(s) for s in description.media):
            raise SdpError(
                SdpReason.VIDEO_ONLY, "Only video is offered; Voxpop carries voice. Add an audio track."
            )
        raise SdpError(SdpReason.NO_AUDIO, "There is no m=audio section. Add an audio track or transceiver.")
    for section in audio:
        if _opus_formats(section):
            _check_profile_untrusted(section)
            return section
    raise SdpError(SdpReason.NO_OPUS, "The audio section does not offer opus/48000/2 (RFC 7587).")


def _is_on(section: Section) -> bool:
    """Port 0 switches a section off, but for bundle-only ones (RFC 9143 §6)."""
    return section.port != 0 or section.has("bundle-only")


def _check_profile_untrusted(audio: Section) -> None:
    if not audio.protocol.endswith(("RTP/SAVPF", "RTP/SAVP")):
        raise SdpError(SdpReason.BAD_PROFILE, "Audio must be offered as UDP/TLS/RTP/SAVPF (DTLS-SRTP).")
    if not audio.has("rtcp-mux", "rtcp-mux-only"):
        raise SdpError(SdpReason.NO_RTCP_MUX, "The audio section lacks a=rtcp-mux; there is one port only.")


def _find_data(description: Description, audio: Section, bundle: tuple[str, ...]) -> Section | None:
    """The first data channel section that shares the transport of the audio."""
    for section in description.media:
        is_data = section.kind == "application" and section.protocol in DATA_PROTOCOLS
        if is_data and _is_on(section) and section.mid in bundle and audio.mid in bundle:
            return section
    return None


def _find_held_untrusted(
    description: Description, audio: Section, data: Section | None, bundle: tuple[str, ...]
) -> Section | None:
    """The section that the bundle is tagged with, where it is none of ours: when ours are bundle-only they
    have no transport without it (RFC 9143 §7.3.3), and Chromium under the policy max-bundle, which does
    not say bundle-only, treats them as if they were.
    """
    ours = [section for section in (audio, data) if section is not None]
    tagged = next((s for s in description.media if bundle and s.mid == bundle[0]), audio)
    if tagged in ours:
        return None
    if _is_on(tagged) and tagged.line.encoding:
        return tagged
    if any(section.has("bundle-only") for section in ours):
        raise SdpError(
            SdpReason.BAD_BUNDLE, "The audio is bundle-only with a section that cannot be kept; put it first."
        )
    return None


def _bundle(description: Description, audio: Section) -> tuple[str, ...]:
    """The mids of the BUNDLE group that the audio is in; no others matter."""
    for value in description.session.every("group"):
        semantics, _, rest = value.partition(" ")
        mids = rest.split()[:64]
        if semantics.upper() == "BUNDLE" and audio.mid in mids:
            known = {section.mid for section in description.media}
            return tuple(dict.fromkeys(mid for mid in mids if mid in known))
    return ()


def _transport_sections(description: Description, audio: Section, bundle: tuple[str, ...]) -> list[Section]:
    """Where transport attributes stand, nearest first: the audio section, the section that the bundle is
    tagged with (RFC 9143 §7.1.3: bundle-only ones carry none), the session (as Firefox does).
    """
    tagged = [s for s in description.media if bundle and s.mid == bundle[0] and s is not audio]
    return [audio, *tagged, description.session]


def _credentials_untrusted(sections: list[Section]) -> tuple[str, str]:
    section = next((s for s in sections if s.has("ice-ufrag", "ice-pwd")), None)
    if section is None:
        raise SdpError(SdpReason.NO_ICE, "a=ice-ufrag and a=ice-pwd are missing; ICE is required (RFC 8839).")
    ufrag, password = section.first("ice-ufrag") or "", section.first("ice-pwd") or ""
    if _UFRAG.fullmatch(ufrag) is None:
        raise SdpError(SdpReason.BAD_ICE, f"a=ice-ufrag must be {UFRAG_MIN}–{UFRAG_MAX} of A–Z a–z 0–9 + /.")
    if _PASSWORD.fullmatch(password) is None:
        raise SdpError(
            SdpReason.BAD_ICE, f"a=ice-pwd must be {PASSWORD_MIN}–{PASSWORD_MAX} of A–Z a–z 0–9 + /."
        )
    return ufrag, password


def _fingerprints_untrusted(sections: list[Section]) -> tuple[tuple[str, str], ...]:
    values = next((found for s in sections if (found := s.every("fingerprint"))), [])
    if not values:
        raise SdpError(SdpReason.NO_FINGERPRINT, "a=fingerprint is missing; DTLS-SRTP needs one (RFC 8122).")
    if len(values) > MAX_FINGERPRINTS:
        raise SdpError(SdpReason.BAD_FINGERPRINT, f"There are more than {MAX_FINGERPRINTS} fingerprints.")
    parsed = dict.fromkeys(_fingerprint_untrusted(value) for value in values)
    strong = tuple(pair for pair in parsed if pair[0] in DIGEST_BYTES)
    if not strong:
        raise SdpError(
            SdpReason.WEAK_FINGERPRINT, f"a=fingerprint must use one of {', '.join(DIGEST_BYTES)}."
        )
    return strong


def _fingerprint_untrusted(value: str) -> tuple[str, str]:
    algorithm, _, digest = value.partition(" ")
    algorithm, digest = algorithm.lower(), digest.strip(" ").upper()
    expected = DIGEST_BYTES.get(algorithm)
    if _HEX.fullmatch(digest) is None or (expected is not None and len(digest) != 3 * expected - 1):
        raise SdpError(
            SdpReason.BAD_FINGERPRINT,
            "a=fingerprint must be a hash function and its digest in hex pairs with colons, such as "
            "sha-256 12:AB:… (RFC 8122 §5).",
        )
    return algorithm, digest


def _setup_untrusted(sections: list[Section], allowed: tuple[str, ...]) -> str:
    """The DTLS role; an offer without one is `active` (RFC 4145 §4)."""
    value = next((found for s in sections if (found := s.first("setup")) is not None), "active")
    if value not in allowed:
        raise SdpError(SdpReason.BAD_SETUP, f"a=setup must be {' or '.join(allowed)}.")
    return value


def _direction(description: Description, audio: Section) -> str:
    for section in (audio, description.session):
        for name, _ in section.attributes:
            if name in DIRECTIONS:
                return name
    return "sendrecv"


def _rtpmaps(section: Section) -> dict[str, str]:
    """Encoding by format, of the formats on the m-line; the first rtpmap of a format counts."""
    maps: dict[str, str] = {}
    for value in section.every("rtpmap"):
        payload_type, _, encoding = value.partition(" ")
        if payload_type in section.formats:
            maps.setdefault(payload_type, encoding.strip(" ").lower())
    return maps


def _opus_formats(section: Section) -> list[str]:
    maps = _rtpmaps(section)
    return [f for f in section.formats if maps.get(f) == "opus/48000/2"]


def _codec_untrusted(audio: Section) -> AudioCodec:
    """The first Opus of the offer. RFC 7587 §6.1 has the parameters and their defaults."""
    text = _opus_formats(audio)[0]
    parameters = _parameters(audio, text)
    bitrate = number_untrusted(parameters.get("maxaveragebitrate"))
    return AudioCodec(
        payload_type=_payload_type_untrusted(text),
        fec=parameters.get("useinbandfec") == "1",
        dtx=parameters.get("usedtx") == "1",
        max_average_bitrate=bitrate if bitrate is not None and bitrate in OPUS_BITRATES else None,
        telephone_event=_telephone_event_untrusted(audio),
    )


def _telephone_event_untrusted(audio: Section) -> int | None:
    """DTMF on the clock of the audio (RFC 4733 §2.1), the only one that fits into its stream."""
    maps = _rtpmaps(audio)
    found = next((f for f in audio.formats if maps.get(f) == "telephone-event/48000"), None)
    return None if found is None else _payload_type_untrusted(found)


def _payload_type_untrusted(text: str) -> int:
    payload_type = number_untrusted(text)
    if payload_type is None or payload_type > 127 or payload_type in RTCP_PAYLOAD_TYPES:
        raise SdpError(
            SdpReason.BAD_PAYLOAD_TYPE, "A payload type must be 0–63 or 96–127 (RFC 5761 §4 under rtcp-mux)."
        )
    return payload_type


def _parameters(section: Section, payload_type: str) -> dict[str, str]:
    for value in section.every("fmtp"):
        of_type, _, text = value.partition(" ")
        if of_type == payload_type:
            pairs = (part.partition("=") for part in text.split(";"))
            return {name.strip().lower(): setting.strip() for name, _, setting in pairs}
    return {}


def _sctp_port_untrusted(data: Section) -> int:
    port = number_untrusted(data.first("sctp-port"))
    if port is None or not 0 < port < 65536:
        raise SdpError(SdpReason.BAD_SCTP, "The data channel needs a=sctp-port:1–65535 (RFC 8841 §5).")
    return port


def _max_message_bytes(data: Section | None) -> int:
    size = None if data is None else number_untrusted(data.first("max-message-size"))
    return DEFAULT_PEER_MESSAGE_BYTES if size is None else size


def _candidates(sections: list[Section]) -> tuple[Endpoint, ...]:
    """UDP addresses of component 1, by falling priority; what is not an IP address is passed over."""
    found: dict[Endpoint, int] = {}
    for section in sections:
        for value in section.every("candidate")[:MAX_CANDIDATES]:
            fields = value.split()
            priority = number_untrusted(fields[3]) if len(fields) >= 8 else None
            if priority is None or fields[1] != "1" or fields[2].lower() != "udp":
                continue
            endpoint = _endpoint(fields[4], fields[5])
            if endpoint is not None:
                found.setdefault(endpoint, priority)
    return tuple(sorted(found, key=lambda endpoint: -found[endpoint]))


def _endpoint(host: str, port_text: str) -> Endpoint | None:
    port = number_untrusted(port_text)
    try:
        address = parse_address(host)
    except ValueError:
        return None
    return Endpoint(address, port) if port is not None and 0 < port < 65536 else None
