"""What clients in the world write otherwise than browsers, and mean no worse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import SdpError
from tests.transceiver.descriptions import CASES, CHROMIUM, LOCAL, attributes, without
from transceiver.sdp import (
    SdpReason,
    build_answer,
    build_offer,
    parse_answer_untrusted,
    parse_fragment_untrusted,
    parse_offer_untrusted,
)


def refusal(text: str) -> SdpError:
    with pytest.raises(SdpError) as caught:
        parse_offer_untrusted(text)
    return caught.value


def answer_to(text: str) -> str:
    return build_answer(parse_offer_untrusted(text), LOCAL)


@pytest.mark.parametrize("name", sorted(set(CASES) - {"ice-lite"}))
def test_every_case_is_answered(name: str) -> None:
    offer = parse_offer_untrusted(CASES[name])
    answer = parse_answer_untrusted(build_answer(offer, LOCAL))
    assert answer.codec.payload_type == offer.codec.payload_type
    assert answer.sctp_port == offer.sctp_port == (None if name == "ufrag-per-section" else 5000)


# Opus by its name


def test_opus_16000_1_is_opus() -> None:
    offer = parse_offer_untrusted(CASES["opus-16000-1"])
    assert (offer.codec.payload_type, offer.setup, offer.data_index) == (111, "passive", 1)
    answer = answer_to(CASES["opus-16000-1"])
    assert attributes(answer, "rtpmap") == ["111 opus/48000/2"]
    assert "m=audio 3478 UDP/TLS/RTP/SAVP 111\r\n" in answer


cased = st.lists(st.booleans(), min_size=4, max_size=4).map(
    lambda upper: "".join(c.upper() if up else c for c, up in zip("opus", upper, strict=True))
)
behind = st.sampled_from(["", "/", "/48000", "/48000/2", "/8000", "/16000/1", "/24000/1/x", "/no", " "])


@given(cased, behind)
def test_opus_whatever_stands_behind_its_name(name: str, rest: str) -> None:
    text = CHROMIUM.replace("opus/48000/2", name + rest)
    assert parse_offer_untrusted(text).codec.payload_type == 111


@pytest.mark.parametrize(
    "other", ["multiopus/48000/6", "opusx/48000/2", "x-opus/48000", "L16/48000/2", "", "/48000"]
)
def test_what_is_not_opus(other: str) -> None:
    assert refusal(CHROMIUM.replace("opus/48000/2", other)).reason == SdpReason.NO_OPUS


def test_names_of_other_encodings_in_any_case() -> None:
    text = CHROMIUM.replace("telephone-event/48000", "Telephone-Event/48000")
    assert text != CHROMIUM
    assert parse_offer_untrusted(text).codec.telephone_event == 110


# Data channels of the drafts before RFC 8841


def test_sctpmap_is_taken_and_answered_in_its_own_form() -> None:
    offer = parse_offer_untrusted(CASES["sctpmap"])
    assert (offer.data_index, offer.sctp_port, offer.max_message_bytes) == (1, 5000, 65_536)
    answer = answer_to(CASES["sctpmap"])
    assert "m=application 3478 DTLS/SCTP 5000\r\n" in answer
    assert attributes(answer, "sctpmap") == ["5000 webrtc-datachannel 256"]
    assert "a=sctp-port" not in answer
    assert parse_answer_untrusted(answer).sctp_port == 5000


DATA = "m=application 43447 UDP/DTLS/SCTP webrtc-datachannel"
FORMS = {
    "as the drafts": ("DTLS/SCTP 5001", ["sctpmap:5001 webrtc-datachannel 1024"], 5001, True),
    "Firefox of old": ("DTLS/SCTP 5001", ["sctpmap:5001 webrtc-DataChannel 256"], 5001, True),
    "no sctpmap": ("DTLS/SCTP 5001", [], 5001, True),
    "drafts of 2012": ("DTLS/SCTP 5001", ["fmtp:5001 protocol=webrtc-datachannel;streams=16"], 5001, True),
    "new protocol, old form": ("UDP/DTLS/SCTP 5001", ["sctpmap:5001 webrtc-datachannel 65535"], 5001, True),
    "old protocol, new form": ("DTLS/SCTP webrtc-datachannel", ["sctp-port:5001"], 5001, False),
    "both forms": ("DTLS/SCTP 5000", ["sctpmap:5000 webrtc-datachannel 9", "sctp-port:5001"], 5001, True),
    "sctpmap alone": ("UDP/DTLS/SCTP webrtc-datachannel", ["sctpmap:5001 webrtc-datachannel 9"], 5001, False),
    "over TCP": ("TCP/DTLS/SCTP webrtc-datachannel", ["sctp-port:5001"], 5001, False),
    "in lower case": ("udp/dtls/sctp webrtc-datachannel", ["sctp-port:5001"], 5001, False),
}


@pytest.mark.parametrize(("form", "attribute_lines", "port", "is_old"), FORMS.values(), ids=FORMS)
def test_forms_of_a_data_channel(form: str, attribute_lines: list[str], port: int, is_old: bool) -> None:
    replaced = "".join(f"\na={line}" for line in attribute_lines)
    text = without(CHROMIUM, "a=sctp-port").replace(DATA, f"m=application 9 {form}{replaced}")
    offer = parse_offer_untrusted(text)
    assert (offer.data_index, offer.sctp_port) == (1, port)
    answer = build_answer(offer, LOCAL)
    assert f"m=application 3478 {form.split()[0].upper()} " in answer
    assert ("a=sctpmap:5000 " in answer, "a=sctp-port:5000" in answer) == (is_old, not is_old)
    assert parse_answer_untrusted(answer).sctp_port == 5000


@pytest.mark.parametrize("form", ["DTLS/SCTP 0", "DTLS/SCTP 65536", "DTLS/SCTP x", "UDP/DTLS/SCTP *"])
def test_a_data_channel_without_a_port(form: str) -> None:
    text = without(CHROMIUM, "a=sctp-port").replace(DATA, f"m=application 9 {form}")
    assert refusal(text).reason == SdpReason.BAD_SCTP


# ICE


def test_a_password_that_is_padded() -> None:
    assert parse_offer_untrusted(CASES["padded-password"]).password == "8GIbrAJ4wDiGjci0nvbkq9=="


@pytest.mark.parametrize("character", "-_=#+/")
def test_characters_that_libwebrtc_takes_too(character: str) -> None:
    text = CHROMIUM.replace("QEPM", f"QE{character}M").replace("uEE0igt6Ac6aTLrDV0M7Uqtt", character * 22)
    offer = parse_offer_untrusted(text)
    assert (offer.ufrag, offer.password) == (f"QE{character}M", character * 22)
    fragment = parse_fragment_untrusted(f"a=ice-ufrag:QE{character}M\na=ice-pwd:{character * 22}\n")
    assert fragment.ufrag == offer.ufrag


@pytest.mark.parametrize("character", [*':;,.!"$%&()*<>?@[]^`{|}~\\', "é", "\u0660", "\v"])
def test_characters_that_nobody_takes(character: str) -> None:
    for old in ("QEPM", "uEE0igt6Ac6aTLrDV0M7Uqtt"):
        assert refusal(CHROMIUM.replace(old, character + old)).reason == SdpReason.BAD_ICE


def test_a_lite_agent_is_told_that_nobody_would_send_checks() -> None:
    error = refusal(CASES["ice-lite"])
    assert error.reason == SdpReason.ICE_LITE
    assert "lite" in error.detail
    full = CASES["ice-lite"].replace("a=ice-lite\r\n", "")
    assert parse_offer_untrusted(full).ufrag == "YHIx"
    assert refusal(full.replace("a=mid:audio", "a=mid:audio\r\na=ice-lite")).reason == SdpReason.ICE_LITE


def test_a_fragment_with_ufrag_and_password_at_two_levels() -> None:
    text = "a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\nm=audio 9 X 0\na=mid:0\na=ice-ufrag:EsAw\n"
    fragment = parse_fragment_untrusted(text)
    assert (fragment.ufrag, fragment.password) == ("EsAw", "P2uYro0UCOQ4zxjKXaWCBui1")


# DTLS


def test_every_fingerprint_of_two_certificates_is_kept() -> None:
    offer = parse_offer_untrusted(CASES["two-certificates"])
    assert [digest[:5] for _, digest in offer.fingerprints] == ["36:2F", "1B:4C"]


@pytest.mark.parametrize("setup", ["ACTPASS", "ActPass", "Active", "PASSIVE"])
def test_setup_in_any_case(setup: str) -> None:
    """ABNF compares strings without regard to case (RFC 5234 §2.3)."""
    assert parse_offer_untrusted(CHROMIUM.replace("actpass", setup)).setup == setup.lower()


# Lengths of packets


def test_ten_milliseconds_are_agreed_on_and_told() -> None:
    assert parse_offer_untrusted(CASES["maxptime-10"]).codec.packet_ms == 10
    answer = answer_to(CASES["maxptime-10"])
    assert attributes(answer, "ptime") == ["10"]
    assert parse_answer_untrusted(answer).codec.packet_ms == 10


LENGTHS = {
    "nothing": ([], 20),
    "ptime 10": (["ptime:10"], 10),
    "ptime 20": (["ptime:20"], 20),
    "ptime 30": (["ptime:30"], 20),
    "ptime 40": (["ptime:40"], 40),
    "ptime 60": (["ptime:60"], 60),
    "ptime 120": (["ptime:120"], 60),
    "ptime 2.5": (["ptime:2.5"], 10),
    "ptime 60.0": (["ptime:60.0"], 60),
    "maxptime 10": (["maxptime:10"], 10),
    "maxptime 15": (["maxptime:15"], 10),
    "maxptime 60": (["maxptime:60"], 20),
    "maxptime 120": (["maxptime:120"], 20),
    "both": (["ptime:60", "maxptime:40"], 40),
    "the other way round": (["maxptime:60", "ptime:60"], 60),
    "at odds": (["ptime:60", "maxptime:10"], 10),
    "short wish, long limit": (["ptime:5", "maxptime:60"], 10),
    "parameters": (["fmtp:111 maxptime=10; ptime=60"], 10),
    "a parameter": (["fmtp:111 PTime=40"], 40),
    "attribute before parameter": (["fmtp:111 ptime=60", "ptime:10"], 10),
    "zero": (["ptime:0", "maxptime:0"], 20),
    "words": (["ptime:x", "maxptime:"], 20),
    "lies": ([f"ptime:{'9' * 5000}", "maxptime:-1"], 20),
    "other digits": (["ptime:٦٠"], 20),
}


@pytest.mark.parametrize(("lines", "packet_ms"), LENGTHS.values(), ids=LENGTHS)
def test_packets_are_as_long_as_the_client_asks(lines: list[str], packet_ms: int) -> None:
    bare = without(CHROMIUM, "a=fmtp:111")
    text = bare.replace("a=mid:0\n", "a=mid:0\n" + "".join(f"a={line}\n" for line in lines))
    assert parse_offer_untrusted(text).codec.packet_ms == packet_ms
    assert attributes(answer_to(text), "ptime") == [str(packet_ms)]


@pytest.mark.parametrize("limit", ["2.5", "3", "5", "9", "9.999"])
def test_a_limit_that_we_cannot_keep_is_refused(limit: str) -> None:
    error = refusal(CHROMIUM.replace("a=mid:0\n", f"a=mid:0\na=maxptime:{limit}\n"))
    assert error.reason == SdpReason.BAD_PTIME
    assert "10" in error.detail


def test_our_own_offer_asks_for_the_usual() -> None:
    assert attributes(build_offer(LOCAL), "ptime") == ["20"]
