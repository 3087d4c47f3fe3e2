"""Which sections of a description are used, and at which of them its transport is described.

One audio section, at most one data channel, and one transport that both share (BUNDLE, RFC 9143).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import SdpError
from transceiver.sdp.lines import Description, Section
from transceiver.sdp.model import SdpReason

DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
"""From the one that serves a caller best."""
DATA_PROTOCOLS = ("UDP/DTLS/SCTP", "TCP/DTLS/SCTP", "DTLS/SCTP")
"""The last is of the drafts before RFC 8841."""


@dataclass(frozen=True, slots=True)
class Transport:
    """Where ICE and DTLS attributes may stand."""

    sections: tuple[Section, ...]
    """Those of the bundle, the best first."""
    session: Section

    def every(self, section: Section, name: str) -> list[str]:
        """An attribute as it holds for a section: its own values, else those of the session part."""
        return section.every(name) or self.session.every(name)

    def nearest(self, name: str) -> list[str]:
        """The values of an attribute at the best section for which it holds."""
        return next((found for s in self.sections if (found := self.every(s, name))), [])


def find_audio_untrusted(description: Description) -> Section:
    """The audio section that carries the caller: of those that we can do, the first that sends and
    receives, else the first that sends, and so on. Raises SdpError when there is none.
    """
    audio = [s for s in description.media if s.kind == "audio" and is_on(s)]
    if not audio:
        if any(s.kind == "video" and is_on(s) for s in description.media):
            raise SdpError(
                SdpReason.VIDEO_ONLY, "Only video is offered; Voxpop carries voice. Add an audio track."
            )
        raise SdpError(SdpReason.NO_AUDIO, "There is no m=audio section. Add an audio track or transceiver.")
    with_opus = [section for section in audio if opus_formats(section)]
    if not with_opus:
        raise SdpError(SdpReason.NO_OPUS, "The audio section does not offer opus/48000/2 (RFC 7587).")
    usable = [section for section in with_opus if _objection(section) is None]
    if not usable:
        objection = _objection(with_opus[0])
        assert objection is not None
        raise objection
    return min(usable, key=lambda section: DIRECTIONS.index(direction(description, section)))


def opus_formats(section: Section) -> list[str]:
    """The formats that are Opus. The name says so, in any case, whatever stands behind it: clock rate and
    channels have one value (RFC 7587 §7), which embedded clients confuse with those of their microphone.
    """
    return [f for f, encoding in section.encodings.items() if encoding.partition("/")[0].lower() == "opus"]


def direction(description: Description, section: Section) -> str:
    """As the description's author sees it."""
    for level in (section, description.session):
        for name, _ in level.attributes:
            if name in DIRECTIONS:
                return name
    return "sendrecv"


def is_on(section: Section) -> bool:
    """Port 0 switches a section off, but for bundle-only ones (RFC 9143 §6)."""
    return section.port != 0 or section.has("bundle-only")


def find_data(description: Description, audio: Section, bundle: tuple[str, ...]) -> Section | None:
    """The first data channel section that shares the transport of the audio."""
    for section in description.media:
        is_data = section.kind == "application" and section.protocol in DATA_PROTOCOLS
        if is_data and is_on(section) and section.mid in bundle and audio.mid in bundle:
            return section
    return None


def find_held_untrusted(
    description: Description, ours: Sequence[Section], bundle: tuple[str, ...]
) -> Section | None:
    """The section that the bundle is tagged with, where it is none of ours: when ours are bundle-only they
    have no transport without it (RFC 9143 §7.3.3), and Chromium under the policy max-bundle, which does
    not say bundle-only, treats them as if they were.
    """
    tagged = _of_mid(description, bundle[0]) if bundle else None
    if tagged is None or tagged in ours:
        return None
    if is_on(tagged) and tagged.line.encoding:
        return tagged
    if any(section.has("bundle-only") for section in ours):
        raise SdpError(
            SdpReason.BAD_BUNDLE, "The audio is bundle-only with a section that cannot be kept; put it first."
        )
    return None


def bundle_of(description: Description, audio: Section) -> tuple[str, ...]:
    """The mids of the BUNDLE group that the audio is in; no others matter."""
    for value in description.session.every("group"):
        semantics, _, rest = value.partition(" ")
        mids = rest.split()[:64]
        if semantics.upper() == "BUNDLE" and audio.mid in mids:
            known = {section.mid for section in description.media}
            return tuple(dict.fromkeys(mid for mid in mids if mid in known))
    return ()


def tag_of(description: Description) -> str:
    """The first mid of the first BUNDLE group; empty without one."""
    for value in description.session.every("group"):
        semantics, _, rest = value.partition(" ")
        if semantics.upper() == "BUNDLE":
            return next(iter(rest.split(maxsplit=1)), "")
    return ""


def find_transport(description: Description, kept: Sequence[Section], bundle: tuple[str, ...]) -> Transport:
    """Where the transport of the kept sections, the audio first, is described.

    By RFC 9143 §7.3.1 it is the first section of the group that is kept and has a port: the others give
    theirs up, whatever they say of it. Where that one says nothing, the audio and the offered tag do.
    """
    in_group = [section for mid in bundle for section in kept if section.mid == mid]
    tagged = next((section for section in in_group if section.port), kept[0])
    offered = [s for s in description.media if bundle and s.mid == bundle[0]]
    return Transport(tuple(dict.fromkeys([tagged, *kept, *offered])), description.session)


def _of_mid(description: Description, mid: str) -> Section | None:
    return next((section for section in description.media if section.mid == mid), None)


def _objection(audio: Section) -> SdpError | None:
    if not audio.protocol.endswith(("RTP/SAVPF", "RTP/SAVP")):
        return SdpError(SdpReason.BAD_PROFILE, "Audio must be offered as UDP/TLS/RTP/SAVPF (DTLS-SRTP).")
    if not audio.has("rtcp-mux", "rtcp-mux-only"):
        return SdpError(SdpReason.NO_RTCP_MUX, "The audio section lacks a=rtcp-mux; there is one port only.")
    return None
