"""What descriptions say, as values: the offers that Voxpop reads and the answers that it gives.

The shape is fixed: one audio m-line with Opus, at most one data channel, one bundled transport. Text
becomes these values in `parse` and is made from them in `write`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from core.addr import Endpoint
from transceiver.media.codec import AudioCodec

MAX_SDP_BYTES = 65_536
"""Browsers send 2–8 KB with every codec and candidate that they have."""
MAX_MESSAGE_BYTES = 262_144
"""Longest data channel message that we take (RFC 8841 §6), the size that browsers announce too."""
SCTP_PORT = 5000
"""Our own SCTP port (RFC 8841 §5); the peer's may differ."""
DATA_FORMAT = "webrtc-datachannel"
"""The format of a data channel section. Where it is a port number, the section has the form of the drafts
before RFC 8841: `m=application 9 DTLS/SCTP 5000` with `a=sctpmap:5000 webrtc-datachannel 256`."""
DEFAULT_PEER_MESSAGE_BYTES = 65_536
"""What a peer takes that announces nothing (RFC 8841 §6.1)."""


class SdpReason(StrEnum):
    """Why a description is refused; a metric label and the `code` of the HTTP error."""

    TOO_LARGE = "sdp_too_large"
    NOT_SDP = "sdp_not_sdp"
    BAD_LINE = "sdp_bad_line"
    TOO_MANY_LINES = "sdp_too_many_lines"
    BAD_MEDIA_LINE = "sdp_bad_media_line"
    NO_AUDIO = "sdp_no_audio"
    VIDEO_ONLY = "sdp_video_only"
    NO_OPUS = "sdp_no_opus"
    BAD_PAYLOAD_TYPE = "sdp_bad_payload_type"
    BAD_PTIME = "sdp_bad_ptime"
    BAD_PROFILE = "sdp_bad_profile"
    NO_RTCP_MUX = "sdp_no_rtcp_mux"
    BAD_MID = "sdp_bad_mid"
    BAD_BUNDLE = "sdp_bad_bundle"
    NO_ICE = "sdp_no_ice"
    BAD_ICE = "sdp_bad_ice"
    ICE_LITE = "sdp_ice_lite"
    NO_FINGERPRINT = "sdp_no_fingerprint"
    BAD_FINGERPRINT = "sdp_bad_fingerprint"
    WEAK_FINGERPRINT = "sdp_weak_fingerprint"
    BAD_SETUP = "sdp_bad_setup"
    BAD_SCTP = "sdp_bad_sctp"
    NO_CANDIDATE = "sdp_no_candidate"


@dataclass(frozen=True, slots=True)
class MediaLine:
    """One m-line as far as an answer repeats it. Every text is a validated token, safe to echo."""

    kind: str
    protocol: str
    format: str
    """One of its formats, which a rejected m-line must name (RFC 3264 §6): the first that has an rtpmap."""
    mid: str
    """Empty when the section has none."""
    encoding: str = ""
    """What `format` is, such as VP8/90000; empty where no rtpmap says so."""
    has_port: bool = True
    """Whether it was offered with a port other than 0."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What an offer says that we use. Remote candidates are not among it: a lite agent sends no checks
    (RFC 8445 §6.1.1), so nothing ever goes to an address that a stranger wrote down.
    """

    ufrag: str
    password: str = field(repr=False)
    fingerprints: tuple[tuple[str, str], ...]
    """(`sha-256` and the like, colon-separated upper-case hex)."""
    setup: str
    """`actpass`, `active` or `passive`."""
    codec: AudioCodec
    audio_direction: str
    """As the offerer sees it: `sendrecv`, `sendonly`, `recvonly` or `inactive`."""
    audio_index: int
    data_index: int | None
    """Positions in `media` of the two m-lines that are accepted."""
    sctp_port: int | None
    """The peer's SCTP port; None when no data channel was agreed on."""
    max_message_bytes: int
    """Longest data channel message that the peer takes; 0 is any."""
    held_index: int | None
    """Position of a section that is of no use but cannot be refused, because the bundle hangs on it."""
    media: tuple[MediaLine, ...]
    """Every m-line in the order of the offer, which an answer keeps."""
    bundle: tuple[str, ...]
    """The mids of the offered BUNDLE group; empty without one."""
    other_ufrags: frozenset[str] = frozenset()
    """Of sections that give up their transport for the bundle; until the client has read that in the answer
    it may trickle candidates under them."""

    @property
    def audio_mid(self) -> str:
        """The mid of the accepted audio section; empty when it has none."""
        return self.media[self.audio_index].mid

    @property
    def data_mid(self) -> str | None:
        """The mid of the accepted data channel section; None when no data channel was agreed on."""
        return None if self.data_index is None else self.media[self.data_index].mid


@dataclass(frozen=True, slots=True)
class LocalDescription:
    """What we say about ourselves, as a server in answers and as a client in offers."""

    ufrag: str
    password: str = field(repr=False)
    fingerprint: tuple[str, str]
    setup: str
    candidates: tuple[Endpoint, ...]
    """Best first. A server names VIPs and nothing else; a client may name none."""
    ssrc: int
    cname: str
    stream_id: str
    track_id: str
    session_version: int


@dataclass(frozen=True, slots=True)
class Fragment:
    """A trickle fragment (RFC 8840 §9). Its candidates are read by nobody, see `Offer`."""

    ufrag: str | None
    password: str | None = field(repr=False)
    """Both or neither are given."""


@dataclass(frozen=True, slots=True)
class Restarted:
    """What a server's fragment says after an ICE restart (RFC 9725 §4.3.3), for the client's side."""

    ufrag: str
    password: str = field(repr=False)
    candidates: tuple[Endpoint, ...]
    """UDP candidates with an IP address, best first; none when those of the answer stand."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server's answer says, for the client's side."""

    ufrag: str
    password: str = field(repr=False)
    fingerprints: tuple[tuple[str, str], ...]
    setup: str
    """`active` or `passive`."""
    codec: AudioCodec
    audio_direction: str
    """As the answerer sees it."""
    sctp_port: int | None
    """None when the data channel was refused."""
    candidates: tuple[Endpoint, ...]
    """UDP candidates with an IP address, best first."""
    ice_lite: bool
