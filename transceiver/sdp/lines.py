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
EDGES = "\ufeff\0\x1a \t\r\n\v\f"
"""What editors and C programs leave at either end: a byte order mark, NULs, Ctrl-Z, blanks, empty lines."""
BLANKS = " \t"

_LINE_END = re.compile(r"\r+\n?|\n")
"""CRLF, LF or CR, and the CR CR LF of a CRLF that was written as text."""
_LINE = re.compile(r"([a-z])=(.*)", re.DOTALL)
_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]"  # noqa: S105 - `token` of RFC 8866 §9
_MID = re.compile(_TOKEN + "{1,64}")
_ENCODING = re.compile(r"[A-Za-z0-9_-]{1,32}/[0-9]{1,6}(?:/[0-9]{1,2})?")
_MEDIA = re.compile(
    rf"(?P<kind>{_TOKEN}{{1,32}}) +(?P<port>[0-9]{{1,5}})(?:/[0-9]{{1,5}})? +"
    rf"(?P<protocol>[A-Za-z0-9/._-]{{1,64}}) +(?P<formats>{_TOKEN}{{1,32}}(?: +{_TOKEN}{{1,32}}){{0,255}})"
)


@dataclass(slots=True, eq=False)
class Section:
    """The session part, or one media section. Attributes keep their order; a bare one has value "".

    Two are the same when they are one: a description may have sections that do not differ.
    """

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
        known = ((fmt, name) for fmt, name in self.encodings.items() if _ENCODING.fullmatch(name))
        fmt, encoding = next(known, (self.formats[0], ""))
        return MediaLine(self.kind, self.protocol, fmt, self.mid, encoding, self.port != 0)

    @property
    def encodings(self) -> dict[str, str]:
        """What the formats of the m-line are, in its order; the first rtpmap of a format counts."""
        maps: dict[str, str] = {}
        for value in self.every("rtpmap"):
            fmt, _, encoding = value.partition(" ")
            maps.setdefault(fmt, encoding.strip(BLANKS))
        return {fmt: maps[fmt] for fmt in self.formats if fmt in maps}

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
    """The sections of a description, whatever its lines end with. Raises SdpError.

    A fragment (RFC 8840 §9) may start anywhere; a description starts with `v=0`.
    """
    if len(text) > MAX_SDP_BYTES:
        raise SdpError(SdpReason.TOO_LARGE, f"The description is longer than {MAX_SDP_BYTES} bytes.")
    content = text.strip(EDGES)
    lines = _LINE_END.split(content, MAX_LINES)
    if len(lines) > MAX_LINES:
        raise SdpError(SdpReason.TOO_MANY_LINES, f"The description has more than {MAX_LINES} lines.")
    if "\0" in content:
        raise SdpError(SdpReason.NOT_SDP, "There are NUL bytes amid the description; it must be UTF-8 text.")
    if not is_fragment and lines[0].rstrip(BLANKS) != "v=0":
        raise SdpError(SdpReason.NOT_SDP, _describe_start(lines[0]))
    before = text[: len(text) - len(text.lstrip(EDGES))]
    return _sections_untrusted(lines, 1 + len(_LINE_END.findall(before)))


def _sections_untrusted(lines: list[str], first_number: int) -> Description:
    description = Description(Section(), [])
    section = description.session
    for number, raw in enumerate(lines, first_number):
        kind, value = _split_line_untrusted(raw.rstrip(BLANKS), number)
        if kind == "m":
            section = _media_section_untrusted(value, number)
            description.media.append(section)
            if len(description.media) > MAX_MEDIA_SECTIONS:
                raise SdpError(
                    SdpReason.TOO_MANY_LINES, f"The description has more than {MAX_MEDIA_SECTIONS} m= lines."
                )
        elif kind == "a":
            name, _, attribute = value.partition(":")
            section.attributes.append((name, attribute.strip(BLANKS)))
    _set_mids_untrusted(description.media)
    return description


def _describe_start(line: str) -> str:
    """Why a description does not begin as it should, for its author."""
    if not line:
        return "The description is empty."
    if line[0] in '{["':
        return "This is JSON where SDP is expected: send application/json, or the text of its sdp alone."
    if "\\n" in line or "\\r" in line:
        return "Line ends are written as a backslash and a letter; send real ones."
    if line.startswith("v=0"):
        return "The first line must be v=0 alone; it seems that line ends were lost."
    return "The body is not SDP: its first line must be v=0."


def number_untrusted(text: str | None) -> int | None:
    """A short decimal number; None for anything else, so that lying numbers cost nothing."""
    if text is None or not 0 < len(text) <= MAX_NUMBER_DIGITS or not (text.isascii() and text.isdigit()):
        return None
    return int(text)


def _split_line_untrusted(line: str, number: int) -> tuple[str, str]:
    if not line:
        return "", ""
    match = _LINE.fullmatch(line)
    if match is None and line[0] in BLANKS:
        raise SdpError(SdpReason.BAD_LINE, f"Line {number} begins with a blank; lines are not indented.")
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
        formats=tuple(match["formats"].split()),
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
