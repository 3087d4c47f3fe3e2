"""Forms as bytes: those of clients, those that are none, and those that would cost more than they say."""

from __future__ import annotations

import pytest

from tests.transceiver.signaling.kit import AS_SDP, form
from transceiver.signaling.forms import MAX_HEADER_BYTES, MAX_PARTS, read_form_untrusted
from transceiver.signaling.refusals import HttpReason, Refusal

TYPE = "multipart/form-data; boundary=xyz"
PART = b'--xyz\r\nContent-Disposition: form-data; name="sdp"\r\n\r\nv=0\r\n'
END = b"--xyz--\r\n"


def why(body: bytes, content_type: str = TYPE) -> str:
    with pytest.raises(Refusal) as refused:
        read_form_untrusted(body, content_type)
    assert (refused.value.status, refused.value.reason) == (400, HttpReason.BAD_BODY)
    return refused.value.message


FORMS = {
    "two fields": (form(("sdp", "v=0", ""), ("session", "{}", "")), {"sdp": b"v=0", "session": b"{}"}),
    "a file": (form(("sdp", "v=0", '; filename="offer.sdp"' + AS_SDP)), {"sdp": b"v=0"}),
    "a file without a name": (form(("sdp", "v=0", '; filename=""')), {"sdp": b"v=0"}),
    "the first counts": (form(("sdp", "1", ""), ("sdp", "2", "")), {"sdp": b"1"}),
    "line ends at both ends of a value": (form(("sdp", "\r\nv=0\r\n", "")), {"sdp": b"\r\nv=0\r\n"}),
    "an empty value": (form(("sdp", "", "")), {"sdp": b""}),
    "what looks like a boundary": (form(("sdp", "a--xyz\r\n--xyzzy", "")), {"sdp": b"a--xyz\r\n--xyzzy"}),
    "prologue and epilogue": ("x\r\n" + form(("sdp", "v=0", "")) + "x", {"sdp": b"v=0"}),
    "line feeds alone": (form(("sdp", "v=0", "")).replace("\r", ""), {"sdp": b"v=0"}),
    "blanks behind boundaries": (form(("sdp", "v=0", "")).replace("xyz\r", "xyz \t\r"), {"sdp": b"v=0"}),
    "a name without quotes": (form(("sdp", "v=0", "")).replace('"', ""), {"sdp": b"v=0"}),
    "no part at all": ("--xyz--", {}),
}


@pytest.mark.parametrize(("body", "fields"), FORMS.values(), ids=FORMS)
def test_what_clients_send(body: str, fields: dict[str, bytes]) -> None:
    assert read_form_untrusted(body.encode(), TYPE) == fields


@pytest.mark.parametrize(
    "content_type",
    ['multipart/form-data; boundary="xyz"', "multipart/form-data; charset=utf-8; Boundary=xyz; x=y"],
)
def test_boundaries_as_they_are_written(content_type: str) -> None:
    assert read_form_untrusted(PART + END, content_type) == {"sdp": b"v=0"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "is missing"),
        (PART, "is missing"),
        (b"--xyz\r\n\r\nv=0\r\n" + END, "no name"),
        (b"--xyz\r\nContent-Disposition: form-data\r\n\r\nv=0\r\n" + END, "no name"),
        (b"--xyz\r\nv=0\r\n" + END, "no header"),
        (b"--xyz\r\n--xyz\r\n" + END, "no header"),
        (PART.replace(b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: base64\r\n\r\n") + END, "Transfer"),
    ],
)
def test_what_is_no_form(body: bytes, words: str) -> None:
    assert words in why(body)


@pytest.mark.parametrize("content_type", ["multipart/form-data", f"multipart/form-data; boundary={'x' * 71}"])
def test_without_a_boundary_of_use(content_type: str) -> None:
    assert "no boundary" in why(PART + END, content_type)


def test_parts_beyond_the_bound_are_not_looked_at() -> None:
    """2,000 of them took 100 ms. Nothing behind the ninth delimiter is read: it is not even a form."""
    assert len(read_form_untrusted(PART * MAX_PARTS + END, TYPE)) == 1
    assert "more than 8 parts" in why(PART * (MAX_PARTS + 1) + b"x" * 100_000)


def test_the_header_of_a_part_is_short() -> None:
    room = MAX_HEADER_BYTES - len(b'\r\nContent-Disposition: form-data; name="sdp"\r\nX: \r\n\r\n')
    long = PART.replace(b"\r\n\r\n", b"\r\nX: " + b"a" * room + b"\r\n\r\n")
    assert read_form_untrusted(long + END, TYPE) == {"sdp": b"v=0"}
    assert "1024 bytes" in why(long.replace(b"X: ", b"X: a") + END)


def test_no_part_says_how_it_is_decoded() -> None:
    """Python's punycode takes 0.4 s for these bytes, and much longer for more."""
    value = b"a" * 30_000 + b"-" + b"a" * 30_000
    slow = PART.replace(b"\r\n\r\nv=0", b"\r\nContent-Type: text/plain; charset=punycode\r\n\r\n" + value)
    assert read_form_untrusted(slow + END, TYPE) == {"sdp": value}
