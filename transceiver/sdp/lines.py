"""SDP as lines and sections (RFC 8866 §5), before anybody asks what they mean.

Every bound of a hostile description is enforced here, so the readers above walk over short lists.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from core.errors import SdpError
from transceiver.sdp.model import MAX_SDP_BYTES, MediaLine, SdpReason

MAX_LINES = 2_000
MAX_MEDIA_SECTIONS = 32
MAX_NUMBER_DIGITS = 10

_LINE = re.compile(r"([a-z])=(.*)", re.DOTALL)
_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]"  # noqa: S105 - `token` of RFC 8866 §9
_MID = re.compile(_TOKEN + "{1,64}")
_ENCODING = re.compile(r"[A-Za-z0-9_-]{1,32}/[0-9]{1,6}(?:/[0-9]{1,2})?")
_MEDIA = re.compile(
    rf"(?P<kind>{_TOKEN}{{1,32}}) (?P<port>[0-9]{{1,5}})(?:/[0-9]{{1,5}})? "
    rf"(?P<protocol>[A-Za-z0-9/._-]{{1,64}}) (?P<formats>{_TOKEN}{{1,32}}(?: {_TOKEN}{{1,32}}){{0,255}}) *"
)


@dataclass(slots=True)
class Section:
    """The session part, or one media section. Attributes keep their order; a bare one has value ""."""

    kind: str = ""
    """`audio` and the like; empty for the session part."""
    port: int = 0
    protocol: str = ""
    formats: tuple[str, ...] = ()
    mid: str = ""
    attributes: list[tuple[str, str]] = field(default_factory=list)

    @property
    def line(self) -> MediaLine:
        """What an answer repeats of a media section."""
        encodings = (value.partition(" ") for value in self.every("rtpmap"))
        found = next((encoding for fmt, _, encoding in encodings if fmt == self.formats[0]), "")
        encoding = found if _ENCODING.fullmatch(found) else ""
        return MediaLine(self.kind, self.protocol, self.formats[0], self.mid, encoding)

    def first(self, name: str) -> str | None:
        """The value of the first attribute with that name."""
        return next((value for key, value in self.attributes if key == name), None)

    def every(self, name: str) -> list[str]:
        """The values of all attributes with that name."""
        return [value for key, value in self.attributes if key == name]

    def has(self, *names: str) -> bool:
        """Whether one of the attributes is there."""
        return any(key in names for key, _ in self.attributes)


@dataclass(slots=True)
class Description:
    """A whole description."""

    session: Section
    media: list[Section]


def split_untrusted(text: str, *, is_fragment: bool = False) -> Description:
    """The sections of a description, CRLF or LF alike. Raises SdpError.

    A fragment (RFC 8840 §9) may start anywhere; a description starts with `v=0`.
    """
    if len(text) > MAX_SDP_BYTES:
        raise SdpError(SdpReason.TOO_LARGE, f"The description is longer than {MAX_SDP_BYTES} bytes.")
    lines = text.split("\n", MAX_LINES)
    if len(lines) > MAX_LINES:
        raise SdpError(SdpReason.TOO_MANY_LINES, f"The description has more than {MAX_LINES} lines.")
    if not is_fragment and lines[0].rstrip("\r") != "v=0":
        raise SdpError(SdpReason.NOT_SDP, "The body is not SDP: its first line must be v=0.")
    description = Description(Section(), [])
    section = description.session
    for number, raw in enumerate(lines, 1):
        kind, value = _split_line_untrusted(raw.rstrip("\r"), number)
        if kind == "m":
            section = _media_section_untrusted(value, number)
            description.media.append(section)
            if len(description.media) > MAX_MEDIA_SECTIONS:
                raise SdpError(
                    SdpReason.TOO_MANY_LINES, f"The description has more than {MAX_MEDIA_SECTIONS} m= lines."
                )
        elif kind == "a":
            name, _, attribute = value.partition(":")
            section.attributes.append((name, attribute.strip(" ")))
    _set_mids_untrusted(description.media)
    return description


def number_untrusted(text: str | None) -> int | None:
    """A short decimal number; None for anything else, so that lying numbers cost nothing."""
    if text is None or not 0 < len(text) <= MAX_NUMBER_DIGITS or not (text.isascii() and text.isdigit()):
        return None
    return int(text)


def _split_line_untrusted(line: str, number: int) -> tuple[str, str]:
    if not line:
        return "", ""
    match = _LINE.fullmatch(line)
    if match is None:
        raise SdpError(SdpReason.BAD_LINE, f"Line {number} is not of the form x=value (RFC 8866 §5).")
    return match[1], match[2]


def _media_section_untrusted(value: str, number: int) -> Section:
    match = _MEDIA.fullmatch(value)
    if match is None or int(match["port"]) > 65535:
        raise SdpError(
            SdpReason.BAD_MEDIA_LINE,
            f"Line {number} is not a media description: m=KIND PORT PROTOCOL FORMAT… (RFC 8866 §5.14).",
        )
    return Section(
        kind=match["kind"].lower(),
        port=int(match["port"]),
        protocol=match["protocol"].upper(),
        formats=tuple(match["formats"].split(" ")),
    )


def _set_mids_untrusted(sections: list[Section]) -> None:
    """Every mid is checked, since answers repeat it, and names one section (RFC 5888 §4)."""
    seen: set[str] = set()
    for section in sections:
        mid = section.first("mid")
        if mid is None:
            continue
        if _MID.fullmatch(mid) is None:
            raise SdpError(SdpReason.BAD_MID, "An a=mid value is not a token of 1–64 characters.")
        if mid in seen:
            raise SdpError(SdpReason.BAD_MID, "Two media sections have the same a=mid.")
        seen.add(mid)
        section.mid = mid
