"""Reading offers, answers and trickle fragments that strangers sent. Raises SdpError, nothing else.

Each error's detail is for the author of the description: what is missing, and what to send instead.
"""

from __future__ import annotations

import re

from core.addr import Endpoint, parse_address
from core.errors import SdpError
from core.ufrag import PASSWORD_MAX, PASSWORD_MIN, UFRAG_MAX, UFRAG_MIN
from transceiver.media import FRAME_MS
from transceiver.media.codec import PACKET_MS, AudioCodec
from transceiver.sdp.lines import Description, Section, number_untrusted, split_untrusted
from transceiver.sdp.model import DEFAULT_PEER_MESSAGE_BYTES, Answer, Fragment, Offer, Restarted, SdpReason
from transceiver.sdp.sections import (
    Transport,
    bundle_of,
    direction,
    find_audio_untrusted,
    find_data,
    find_held_untrusted,
    find_transport,
    opus_formats,
    tag_of,
)

SETUPS = ("actpass", "active", "passive")
DIGEST_BYTES = {"sha-256": 32, "sha-384": 48, "sha-512": 64}
"""The hash functions that a certificate may be pinned with; shorter ones can be forged."""
MAX_FINGERPRINTS = 8
MAX_CANDIDATES = 32
OPUS_BITRATES = range(6_000, 510_001)
"""RFC 7587 §6.1: maxaveragebitrate, bit/s."""
RTCP_PAYLOAD_TYPES = range(64, 96)
"""Not to be told from RTCP under rtcp-mux (RFC 5761 §4)."""

_CHARACTERS = "[A-Za-z0-9+/=_#-]"
"""`ice-char` of RFC 8839 §5.4, and four that it does not have and libwebrtc takes: encoders of Base64 pad
with =, and use - and _ in URLs. We only ever compare them."""
_UFRAG = re.compile(rf"{_CHARACTERS}{{{UFRAG_MIN},{UFRAG_MAX}}}")
_PASSWORD = re.compile(rf"{_CHARACTERS}{{{PASSWORD_MIN},{PASSWORD_MAX}}}")
_HEX = re.compile(r"[0-9A-F]{2}(?::[0-9A-F]{2}){1,63}")
_MILLISECONDS = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,3})?")


def parse_offer_untrusted(text: str) -> Offer:
    """What an offer says that we use."""
    description = split_untrusted(text)
    audio = find_audio_untrusted(description)
    _check_full_untrusted(description)
    bundle = bundle_of(description, audio)
    data = find_data(description, audio, bundle)
    ours = [audio] if data is None else [audio, data]
    held = find_held_untrusted(description, ours, bundle)
    transport = find_transport(description, ours if held is None else [*ours, held], bundle)
    ufrag, password = _credentials_untrusted(transport)
    return Offer(
        ufrag=ufrag,
        password=password,
        fingerprints=_fingerprints_untrusted(transport),
        setup=_setup_untrusted(transport, SETUPS),
        codec=_codec_untrusted(audio),
        audio_direction=direction(description, audio),
        audio_index=description.media.index(audio),
        data_index=None if data is None else description.media.index(data),
        sctp_port=None if data is None else _sctp_port_untrusted(data),
        max_message_bytes=_max_message_bytes(data),
        held_index=None if held is None else description.media.index(held),
        media=tuple(section.line for section in description.media),
        bundle=bundle,
        other_ufrags=frozenset(u for s in description.media for u in s.every("ice-ufrag")[:1]) - {ufrag},
    )


def parse_answer_untrusted(text: str) -> Answer:
    """What a server answered to an offer of ours, which had one audio section and one data channel."""
    description = split_untrusted(text)
    audio = find_audio_untrusted(description)
    bundle = bundle_of(description, audio)
    data = find_data(description, audio, bundle)
    transport = find_transport(description, [audio] if data is None else [audio, data], bundle)
    ufrag, password = _credentials_untrusted(transport)
    candidates = _candidates([*transport.sections, transport.session])
    if not candidates:
        raise SdpError(SdpReason.NO_CANDIDATE, "The answer has no UDP candidate with an IP address.")
    return Answer(
        ufrag=ufrag,
        password=password,
        fingerprints=_fingerprints_untrusted(transport),
        setup=_setup_untrusted(transport, ("active", "passive")),
        codec=_codec_untrusted(audio),
        audio_direction=direction(description, audio),
        sctp_port=None if data is None else _sctp_port_untrusted(data),
        candidates=candidates,
        ice_lite=description.session.has("ice-lite"),
    )


def parse_fragment_untrusted(text: str) -> Fragment:
    """The credentials in a trickle fragment (RFC 8840 §9), which stand at either level."""
    description = split_untrusted(text, is_fragment=True)
    session = description.session
    named = [s for s in (session, *description.media) if s.has("ice-ufrag", "ice-pwd")]
    if not named:
        return Fragment(None, None)
    if len(named) > 1 and not (session.has("ice-ufrag") and session.has("ice-pwd")):
        named = [section for section in named if section is not session]
    pairs = {s: _credentials_untrusted(Transport((s,), session)) for s in named}
    tagged = next((pairs[s] for s in named if s.mid and s.mid == tag_of(description)), None)
    if tagged is None and len(set(pairs.values())) > 1:
        raise SdpError(
            SdpReason.BAD_ICE, "The fragment names several ufrags, and no a=group says whose counts."
        )
    return Fragment(*(tagged or pairs[named[0]]))


def parse_restarted_untrusted(text: str) -> Restarted:
    """The fragment that a server answers an ICE restart of ours with (RFC 9725 §4.3.3)."""
    fragment = parse_fragment_untrusted(text)
    if fragment.ufrag is None or fragment.password is None:
        raise SdpError(SdpReason.BAD_ICE, "The fragment has no a=ice-ufrag and a=ice-pwd.")
    description = split_untrusted(text, is_fragment=True)
    candidates = _candidates([description.session, *description.media])
    return Restarted(fragment.ufrag, fragment.password, candidates)


def _check_full_untrusted(description: Description) -> None:
    """A lite agent waits for checks, and so do we (RFC 8445 §6.1.1 leaves such a pair to the controlling
    one's full peer, of which there is none).
    """
    if any(section.has("ice-lite") for section in (description.session, *description.media)):
        raise SdpError(
            SdpReason.ICE_LITE,
            "The offer is a=ice-lite, and so is Voxpop: nobody would send checks. Use a full ICE agent.",
        )


def _credentials_untrusted(transport: Transport) -> tuple[str, str]:
    """User fragment and password, each from where it stands for a section (RFC 8839 §5.4)."""
    pairs = [
        (transport.every(section, "ice-ufrag")[:1], transport.every(section, "ice-pwd")[:1])
        for section in transport.sections
    ]
    if not any(ufrag or password for ufrag, password in pairs):
        raise SdpError(SdpReason.NO_ICE, "a=ice-ufrag and a=ice-pwd are missing; ICE is required (RFC 8839).")
    pair = next((ufrag + password for ufrag, password in pairs if ufrag and password), None)
    if pair is None:
        missing = "ice-pwd" if any(ufrag for ufrag, _ in pairs) else "ice-ufrag"
        raise SdpError(SdpReason.BAD_ICE, f"a={missing} is missing at the section that is used.")
    ufrag, password = pair
    if _UFRAG.fullmatch(ufrag) is None:
        raise SdpError(SdpReason.BAD_ICE, f"a=ice-ufrag must be {UFRAG_MIN}–{UFRAG_MAX} of A–Z a–z 0–9 + /.")
    if _PASSWORD.fullmatch(password) is None:
        raise SdpError(
            SdpReason.BAD_ICE, f"a=ice-pwd must be {PASSWORD_MIN}–{PASSWORD_MAX} of A–Z a–z 0–9 + /."
        )
    return ufrag, password


def _fingerprints_untrusted(transport: Transport) -> tuple[tuple[str, str], ...]:
    """Every fingerprint of the client's certificates; it may show any of them (RFC 8122 §5)."""
    values = transport.nearest("fingerprint")
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


def _setup_untrusted(transport: Transport, allowed: tuple[str, ...]) -> str:
    """The DTLS role; an offer without one is `active` (RFC 4145 §4)."""
    value = next(iter(transport.nearest("setup")), "active").lower()
    if value not in allowed:
        raise SdpError(SdpReason.BAD_SETUP, f"a=setup must be {' or '.join(allowed)}.")
    return value


def _codec_untrusted(audio: Section) -> AudioCodec:
    """The first Opus of the offer. RFC 7587 §6.1 has the parameters and their defaults."""
    text = opus_formats(audio)[0]
    parameters = _parameters(audio, text)
    bitrate = number_untrusted(parameters.get("maxaveragebitrate"))
    return AudioCodec(
        payload_type=_payload_type_untrusted(text),
        fec=parameters.get("useinbandfec") == "1",
        dtx=parameters.get("usedtx") == "1",
        max_average_bitrate=bitrate if bitrate is not None and bitrate in OPUS_BITRATES else None,
        telephone_event=_telephone_event_untrusted(audio),
        packet_ms=_packet_ms_untrusted(audio, parameters),
    )


def _packet_ms_untrusted(audio: Section, parameters: dict[str, str]) -> int:
    """The longest packet that is no longer than the client wants (ptime) and can take (maxptime), which
    are attributes (RFC 7587 §7) or, as in its drafts, parameters. A wish for less than we can do is not
    met, but a limit is not exceeded.
    """
    wanted, limit = (
        _milliseconds(audio.first(name)) or _milliseconds(parameters.get(name))
        for name in ("ptime", "maxptime")
    )
    fitting = [length for length in PACKET_MS if limit is None or length <= limit]
    if not fitting:
        raise SdpError(
            SdpReason.BAD_PTIME, f"a=maxptime must be at least {PACKET_MS[0]}, our shortest packet in ms."
        )
    return max((length for length in fitting if length <= (wanted or FRAME_MS)), default=fitting[0])


def _milliseconds(text: str | None) -> float | None:
    """A `non-zero-int-or-real` of RFC 8866 §9; None for anything else."""
    if text is None or _MILLISECONDS.fullmatch(text) is None:
        return None
    return float(text) or None


def _telephone_event_untrusted(audio: Section) -> int | None:
    """DTMF on the clock of the audio (RFC 4733 §2.1), the only one that fits into its stream."""
    encodings = audio.encodings.items()
    found = next((f for f, encoding in encodings if encoding.lower() == "telephone-event/48000"), None)
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
    """From its attribute (RFC 8841 §5), or else, as in the drafts before, from the m-line or the sctpmap."""
    text = data.first("sctp-port")
    if text is None:
        text = data.formats[0] if data.formats[0].isdigit() else data.first("sctpmap")
    port = number_untrusted(text and text.partition(" ")[0])
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
