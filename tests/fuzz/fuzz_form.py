"""Fuzz multipart forms, in which offers come.

Invariant: any bytes either raise a Refusal, or are few fields that are no longer than the form together;
what a client writes is read back.
"""

from __future__ import annotations

from transceiver.signaling.forms import MAX_PARTS, read_form_untrusted
from transceiver.signaling.refusals import Refusal

TYPE = "multipart/form-data; boundary=xyz"
BEGIN = b'--xyz\r\nContent-Disposition: form-data; name="sdp"\r\n\r\n'
END = b"\r\n--xyz--\r\n"


def test_one_input(data: bytes) -> None:
    """Read the input as a form, as the header that names its boundary, and as a value."""
    _read(data, TYPE)
    _read(BEGIN + data + END, data.decode("utf-8", "surrogateescape"))
    if b"--xyz" not in data:
        assert _read(BEGIN + data + END, TYPE) == {"sdp": data}


def _read(body: bytes, content_type: str) -> dict[str, bytes] | None:
    try:
        fields = read_form_untrusted(body, content_type)
    except Refusal:
        return None
    assert len(fields) <= MAX_PARTS
    assert sum(map(len, fields.values())) <= len(body)
    return fields
