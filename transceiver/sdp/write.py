"""Writing answers, offers and trickle fragments.

Nothing of an offer is repeated but tokens that were checked while reading: kinds, protocols, formats,
mids and payload types. No address appears but those of `LocalDescription.candidates`.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.addr import Endpoint
from transceiver.media import SAMPLE_RATE
from transceiver.media.codec import AudioCodec
from transceiver.sdp.model import (
    DATA_FORMAT,
    MAX_MESSAGE_BYTES,
    SCTP_PORT,
    LocalDescription,
    MediaLine,
    Offer,
)

MIRROR = {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}
HOST_TYPE_PREFERENCE = 126
"""RFC 8445 §5.1.2.2."""
DISCARD_PORT = 9
"""Stands where a port must be and none is known yet (RFC 8840 §4.1.1)."""
OFFERED_PAYLOAD_TYPE = 111
SCTPMAP_STREAMS = 256
"""How many streams an `a=sctpmap` says; what SCTP negotiates counts."""


def build_answer(offer: Offer, local: LocalDescription) -> str:
    """The answer to an offer: its m-lines in its order, audio and data channel accepted, others refused
    with port 0 (RFC 3264 §6). ValueError without a candidate: a client could go nowhere.
    """
    if not local.candidates:
        raise ValueError("an answer needs at least one VIP")
    lines = _session_lines(local, _accepted_mids(offer), is_lite=True)
    for index, media in enumerate(offer.media):
        if index == offer.audio_index:
            direction = MIRROR[offer.audio_direction]
            lines += _audio_lines(media, offer.codec, direction, local)
        elif index == offer.data_index:
            lines += _data_lines(media, local)
        elif index == offer.held_index:
            lines += _held_lines(media, local)
        else:
            lines += _refused_lines(media, local)
    return _join(lines)


def build_offer(local: LocalDescription, audio_direction: str = "sendrecv", has_data: bool = True) -> str:
    """The offer of a client: Opus with FEC, and a data channel unless `has_data` is false. It may have no
    candidates: servers that Voxpop calls learn the address from the first check.
    """
    mids = ["0", "1"] if has_data else ["0"]
    lines = _session_lines(local, mids, is_lite=False)
    codec = AudioCodec(OFFERED_PAYLOAD_TYPE)
    media = MediaLine("audio", "UDP/TLS/RTP/SAVPF", str(OFFERED_PAYLOAD_TYPE), "0")
    lines += _audio_lines(media, codec, audio_direction, local)
    if has_data:
        media = MediaLine("application", "UDP/DTLS/SCTP", DATA_FORMAT, "1")
        lines += _data_lines(media, local)
    return _join(lines)


def build_fragment(offer: Offer, local: LocalDescription) -> str:
    """The new credentials after an ICE restart (RFC 9725 §4.3.3, RFC 8840 §9)."""
    media = offer.media[offer.audio_index]
    lines = ["a=ice-lite", *_bundle_lines(_accepted_mids(offer))]
    lines.append(f"m=audio {DISCARD_PORT} {media.protocol} {offer.codec.payload_type}")
    lines += _mid_lines(media)
    lines += [f"a=ice-ufrag:{local.ufrag}", f"a=ice-pwd:{local.password}"]
    lines += _candidate_lines(local.candidates)
    return _join(lines)


def build_restart(local: LocalDescription) -> str:
    """The fragment by which a client restarts ICE of what `build_offer` offered (RFC 9725 §4.3.3)."""
    lines = [
        *_bundle_lines(["0", "1"]),
        f"m=audio {DISCARD_PORT} UDP/TLS/RTP/SAVPF {OFFERED_PAYLOAD_TYPE}",
        "a=mid:0",
        f"a=ice-ufrag:{local.ufrag}",
        f"a=ice-pwd:{local.password}",
    ]
    return _join(lines)


def _join(lines: Sequence[str]) -> str:
    return "\r\n".join(lines) + "\r\n"


def _accepted_mids(offer: Offer) -> list[str]:
    held = None if offer.held_index is None else offer.media[offer.held_index].mid
    accepted = (offer.audio_mid, offer.data_mid, held)
    return [mid for mid in offer.bundle if mid in accepted]


def _session_lines(local: LocalDescription, mids: Sequence[str], *, is_lite: bool) -> list[str]:
    return [
        "v=0",
        f"o=- {local.ssrc} {local.session_version} IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
        *(["a=ice-lite"] if is_lite else []),
        *_bundle_lines(mids),
        "a=msid-semantic:WMS *",
    ]


def _bundle_lines(mids: Sequence[str]) -> list[str]:
    return [f"a=group:BUNDLE {' '.join(mids)}"] if mids else []


def _audio_lines(media: MediaLine, codec: AudioCodec, direction: str, local: LocalDescription) -> list[str]:
    """A stream id is in the msid because players attach `event.streams[0]`."""
    formats = [codec.payload_type]
    if codec.telephone_event is not None:
        formats.append(codec.telephone_event)
    lines = [
        f"m=audio {_port(local)} {media.protocol} {' '.join(map(str, formats))}",
        _connection_line(local),
        "a=rtcp:9 IN IP4 0.0.0.0",
        *_mid_lines(media),
        f"a={direction}",
        "a=rtcp-mux",
        f"a=rtpmap:{codec.payload_type} opus/48000/2",
        f"a=fmtp:{codec.payload_type} minptime=10;useinbandfec=1;maxplaybackrate={SAMPLE_RATE}",
        f"a=ptime:{codec.packet_ms}",
    ]
    if codec.telephone_event is not None:
        lines += [
            f"a=rtpmap:{codec.telephone_event} telephone-event/48000",
            f"a=fmtp:{codec.telephone_event} 0-15",
        ]
    if direction in ("sendrecv", "sendonly"):
        msid = f"{local.stream_id} {local.track_id}"
        lines += [
            f"a=msid:{msid}",
            f"a=ssrc:{local.ssrc} cname:{local.cname}",
            f"a=ssrc:{local.ssrc} msid:{msid}",
        ]
    return lines + _transport_lines(local)


def _data_lines(media: MediaLine, local: LocalDescription) -> list[str]:
    """In the form of the offer (RFC 8841 §10.3): the port is an attribute, or stands in the m-line."""
    is_old = media.format.isdigit()
    port_line = f"sctpmap:{SCTP_PORT} {DATA_FORMAT} {SCTPMAP_STREAMS}" if is_old else f"sctp-port:{SCTP_PORT}"
    return [
        f"m=application {_port(local)} {media.protocol} {SCTP_PORT if is_old else DATA_FORMAT}",
        _connection_line(local),
        *_mid_lines(media),
        f"a={port_line}",
        f"a=max-message-size:{MAX_MESSAGE_BYTES}",
        *_transport_lines(local),
    ]


def _held_lines(media: MediaLine, local: LocalDescription) -> list[str]:
    return [
        f"m={media.kind} {_port(local)} {media.protocol} {media.format}",
        _connection_line(local),
        "a=rtcp:9 IN IP4 0.0.0.0",
        *_mid_lines(media),
        "a=inactive",
        "a=rtcp-mux",
        f"a=rtpmap:{media.format} {media.encoding}",
        *_transport_lines(local),
    ]


def _refused_lines(media: MediaLine, local: LocalDescription) -> list[str]:
    """Port 0 makes all else void (RFC 3264 §6), but aiortc and werift take no answer that lacks it, and
    aiortc waits for the candidates of a section that it offered until it hears that there are none.
    """
    return [
        f"m={media.kind} 0 {media.protocol} {media.format}",
        "c=IN IP4 0.0.0.0",
        *_mid_lines(media),
        "a=inactive",
        *(["a=rtcp-mux"] if "RTP/" in media.protocol else []),
        *([f"a=rtpmap:{media.format} {media.encoding}"] if media.encoding else []),
        *(_candidate_lines(()) if media.has_port else []),
        *_security_lines(local),
    ]


def _mid_lines(media: MediaLine) -> list[str]:
    return [f"a=mid:{media.mid}"] if media.mid else []


def _transport_lines(local: LocalDescription) -> list[str]:
    return [*_candidate_lines(local.candidates), *_security_lines(local)]


def _security_lines(local: LocalDescription) -> list[str]:
    algorithm, digest = local.fingerprint
    return [
        f"a=ice-ufrag:{local.ufrag}",
        f"a=ice-pwd:{local.password}",
        f"a=fingerprint:{algorithm} {digest}",
        f"a=setup:{local.setup}",
    ]


def _candidate_lines(candidates: Sequence[Endpoint]) -> list[str]:
    """Host candidates in falling priority (RFC 8839 §5.1), and word that there are no others."""
    lines = [
        f"a=candidate:{order} 1 udp {_priority(order)} {endpoint.host} {endpoint.port} typ host"
        for order, endpoint in enumerate(candidates, 1)
    ]
    return [*lines, "a=end-of-candidates"]


def _priority(order: int) -> int:
    """RFC 8445 §5.1.2.1, for component 1."""
    return HOST_TYPE_PREFERENCE << 24 | (65_536 - order) << 8 | 255


def _port(local: LocalDescription) -> int:
    return local.candidates[0].port if local.candidates else DISCARD_PORT


def _connection_line(local: LocalDescription) -> str:
    host = local.candidates[0].host if local.candidates else "0.0.0.0"  # noqa: S104 - a placeholder
    return f"c=IN IP{6 if ':' in host else 4} {host}"
