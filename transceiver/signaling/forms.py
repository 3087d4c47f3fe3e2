"""`multipart/form-data` (RFC 7578), as clients write an offer with it: few small fields, all in memory.

A framework's parser takes whatever a form may have: thousands of parts, any charset that Python knows, one
of which takes a time that grows with the square of its length. A form here has `MAX_PARTS` parts, with
headers of `MAX_HEADER_BYTES`, and its values are bytes; so what one costs follows from its length alone.
"""

from __future__ import annotations

import re
from typing import Final

from transceiver.signaling.refusals import HttpReason, Refusal

MAX_PARTS: Final = 8
MAX_HEADER_BYTES: Final = 1_024
"""Of one part."""
PLAIN: Final = frozenset({b"", b"7bit", b"8bit", b"binary"})
"""Content-Transfer-Encodings that change nothing. Others are deprecated in forms (RFC 7578 §4.7)."""

_BOUNDARY = re.compile(r""";\s*boundary=(?:"([^"]{1,70})"|([^\s";,]{1,70}))\s*(?:;|$)""", re.IGNORECASE)
_LF = 0x0A
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_NAME = re.compile(rb""";\s*name=(?:"([^"]*)"|([^\s";]+))\s*(?:;|$)""", re.IGNORECASE)


def read_form_untrusted(body: bytes, content_type: str) -> dict[str, bytes]:
    """The fields of a form by name, the first of each; files and text are the same to us. `content_type` is
    the header, for its boundary. Raises Refusal.
    """
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        raise _malformed("its Content-Type has no boundary of 1–70 characters")
    fields: dict[str, bytes] = {}
    for part in _parts(body, (boundary[1] or boundary[2]).encode(errors="surrogateescape")):
        name, value = _read_part(part)
        fields.setdefault(name, value)
    return fields


def _parts(body: bytes, boundary: bytes) -> list[bytes]:
    """What stands between the delimiters (RFC 2046 §5.1.1). The line end before one belongs to it; a bare LF
    will do, as with the parsers of others.
    """
    # Looked for without the line end before it, which is told by hand: so the search is for a fixed text.
    delimiter = re.compile(rb"--" + re.escape(boundary) + rb"(--)?[ \t]{0,64}(?=\r?\n|\Z)")
    parts: list[bytes] = []
    start: int | None = None
    for found in delimiter.finditer(body):
        at = found.start()
        if at and body[at - 1] != _LF:
            continue
        if start is not None:
            parts.append(body[start : at - 1 - body.endswith(b"\r\n", 0, at)])
        if found[1] is not None:
            return parts
        if len(parts) == MAX_PARTS:
            raise Refusal(400, HttpReason.BAD_BODY, f"The form has more than {MAX_PARTS} parts.")
        start = found.end()
    raise _malformed("its last boundary, which ends it, is missing")


def _read_part(part: bytes) -> tuple[str, bytes]:
    """Name and value. It begins with the end of the delimiter's line."""
    blank = _BLANK_LINE.search(part, 0, MAX_HEADER_BYTES)
    if blank is None:
        raise _malformed(f"a part has no header, or one of more than {MAX_HEADER_BYTES} bytes")
    headers: dict[bytes, bytes] = {}
    for line in part[: blank.start()].splitlines():
        key, _, value = line.partition(b":")
        headers[key.strip().lower()] = value.strip()
    encoding = headers.get(b"content-transfer-encoding", b"")
    if encoding.lower() not in PLAIN:
        raise _malformed("a part has a Content-Transfer-Encoding")
    name = _NAME.search(headers.get(b"content-disposition", b""))
    if name is None:
        raise _malformed("a part has no name")
    return (name[1] or name[2] or b"").decode(errors="replace"), part[blank.end() :]


def _malformed(what: str) -> Refusal:
    return Refusal(400, HttpReason.BAD_BODY, f"The body is not a well-formed multipart form: {what}.")
