"""Descriptions as lines: what their ends may look like, and what is said of those that are none."""

from __future__ import annotations

import contextlib
import dataclasses
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import SdpError
from tests.transceiver.descriptions import CASES, CHROMIUM, FIREFOX, WERIFT
from transceiver.sdp import MAX_SDP_BYTES, SdpReason, parse_fragment_untrusted, parse_offer_untrusted
from transceiver.sdp.lines import EDGES, MAX_LINES, split_untrusted

FRAGMENT = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n"
PARSED = {text: parse_offer_untrusted(text) for text in (CHROMIUM, FIREFOX, WERIFT)}


def refusal(text: str) -> SdpError:
    with pytest.raises(SdpError) as caught:
        parse_offer_untrusted(text)
    return caught.value


# Blanks and line ends


@pytest.mark.parametrize("name", ["trailing-blanks", "trailing-blanks-but-first-line"])
def test_blanks_at_the_end_of_lines_are_no_content(name: str) -> None:
    text = CASES[name]
    bare = "\r\n".join(line.rstrip() for line in text.split("\r\n"))
    assert bare != text
    assert parse_offer_untrusted(text) == parse_offer_untrusted(bare)
    assert parse_offer_untrusted(text).data_index == 1


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_blanks_at_the_end_of_any_lines(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(sorted(PARSED)))
    blanks = st.text(" \t", max_size=3)
    lines = [line + data.draw(blanks) for line in text.splitlines()]
    assert parse_offer_untrusted("\r\n".join(lines)) == PARSED[text]


@pytest.mark.parametrize(
    "end", ["\n", "\r\n", "\r", "\r\r\n", "\n\r", "\n\n", "\r\n\r\n", " \r\n", "\r\n\t\r\n"]
)
@pytest.mark.parametrize("text", PARSED.values(), ids=["chromium", "firefox", "werift"])
def test_whatever_lines_end_with(end: str, text: object) -> None:
    original = next(source for source, offer in PARSED.items() if offer is text)
    assert parse_offer_untrusted(end.join(original.splitlines()) + end) == text


@settings(max_examples=200, deadline=None)
@given(st.text(EDGES, max_size=20), st.text(EDGES, max_size=20), st.sampled_from(sorted(PARSED)))
def test_what_editors_and_c_programs_leave_at_either_end(before: str, after: str, text: str) -> None:
    assert parse_offer_untrusted(before + text + after) == PARSED[text]
    assert parse_fragment_untrusted(before + FRAGMENT + after) == parse_fragment_untrusted(FRAGMENT)


@pytest.mark.parametrize("before", ["", "\ufeff", "\n\n", " \r\n\r\n", "\r\r"])
def test_a_refused_line_has_the_number_that_an_editor_shows(before: str) -> None:
    error = refusal(before + "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\nhello\r\n")
    skipped = len((before + ".").splitlines()) - 1
    if before != "\r\r":
        assert error.detail.startswith(f"Line {3 + skipped} "), error.detail


def test_blanks_between_the_fields_of_an_m_line() -> None:
    text = CHROMIUM.replace(
        "m=audio 41567 UDP/TLS/RTP/SAVPF 111 ", "m=audio  41567  UDP/TLS/RTP/SAVPF  111   "
    )
    assert text != CHROMIUM
    assert parse_offer_untrusted(text) == PARSED[CHROMIUM]


# What is said of the rest


@pytest.mark.parametrize(
    ("text", "reason", "word"),
    [
        ("", SdpReason.NOT_SDP, "empty"),
        (" \r\n\0", SdpReason.NOT_SDP, "empty"),
        ('{"type": "offer"}', SdpReason.NOT_SDP, "application/json"),
        (f'"{CHROMIUM}"', SdpReason.NOT_SDP, "JSON"),
        (CHROMIUM.replace("\n", "\\r\\n"), SdpReason.NOT_SDP, "backslash"),
        (CHROMIUM.replace("\n", " "), SdpReason.NOT_SDP, "line ends were lost"),
        ("hello", SdpReason.NOT_SDP, "v=0"),
        (CHROMIUM.replace("v=0", "v=1"), SdpReason.NOT_SDP, "v=0"),
        (CHROMIUM.encode("utf-16-le").decode(), SdpReason.NOT_SDP, "UTF-8"),
        (CHROMIUM.replace("a=rtcp-mux", "a=rtcp-mux\0"), SdpReason.NOT_SDP, "NUL"),
        (CHROMIUM.replace("\n", "\n  "), SdpReason.BAD_LINE, "begins with a blank"),
        (CHROMIUM.replace("a=rtcp-mux", "\ta=rtcp-mux"), SdpReason.BAD_LINE, "begins with a blank"),
        (CHROMIUM.replace("a=rtcp-mux", "rtcp-mux"), SdpReason.BAD_LINE, "x=value"),
    ],
)
def test_a_refusal_names_what_is_wrong(text: str, reason: SdpReason, word: str) -> None:
    error = refusal(text)
    assert error.reason == reason
    assert word in error.detail


@pytest.mark.parametrize("filler", ["\r", "\n", "\r\n", "\0", " ", "\r\r\n", "\ufeff", "x\r"])
def test_line_ends_without_end_cost_no_time(filler: str) -> None:
    text = "v=0\n" + filler * ((MAX_SDP_BYTES - 4) // len(filler) - 1)
    started = time.process_time()
    for candidate in (text, text + "a"):
        with contextlib.suppress(SdpError):
            split_untrusted(candidate)
    assert time.process_time() - started < 0.5


def test_the_bound_of_lines_is_the_same_for_every_line_end() -> None:
    for end in ("\n", "\r\n", "\r", "\r\r\n"):
        head = CHROMIUM.splitlines()
        most = [*head, *["a=x"] * (MAX_LINES - len(head))]
        assert dataclasses.asdict(parse_offer_untrusted(end.join(most)))["ufrag"] == "QEPM"
        assert refusal(end.join([*most, "a=x"])).reason == SdpReason.TOO_MANY_LINES
