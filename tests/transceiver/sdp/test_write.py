"""Answers, offers and fragments as they are written, and read back."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from core.addr import Endpoint
from tests.transceiver.descriptions import (
    CHROMIUM,
    FINGERPRINT,
    LOCAL,
    OFFERS,
    VIDEO_SECTION,
    attributes,
    section,
)
from transceiver.sdp import (
    build_answer,
    build_fragment,
    build_offer,
    parse_answer_untrusted,
    parse_fragment_untrusted,
    parse_offer_untrusted,
)


def answer_to(offer_text: str, **changes: Any) -> str:
    return build_answer(parse_offer_untrusted(offer_text), dataclasses.replace(LOCAL, **changes))


def test_a_track_without_a_stream() -> None:
    offer = CHROMIUM.replace("a=msid:e0fbf9d6-cd4c-47bb-94f7-5423010f6b54 ", "a=msid:- ")
    assert attributes(answer_to(offer), "msid") == ["stream track"]


@pytest.mark.parametrize("name", OFFERS)
def test_an_answer_to_every_captured_offer(name: str) -> None:
    offer = parse_offer_untrusted(OFFERS[name])
    answer = parse_answer_untrusted(build_answer(offer, LOCAL))
    assert answer.ice_lite
    assert (answer.ufrag, answer.password, answer.setup) == (LOCAL.ufrag, LOCAL.password, "passive")
    assert answer.fingerprints == (LOCAL.fingerprint,)
    assert answer.candidates == LOCAL.candidates
    assert answer.codec.payload_type == offer.codec.payload_type
    assert answer.codec.fec
    assert answer.sctp_port == 5000


def test_an_answer_line_by_line() -> None:
    """Nothing that is not here may get in by accident: clients are picky, and addresses would leak."""
    lines = answer_to(CHROMIUM).split("\r\n")
    transport = [
        "a=candidate:1 1 udp 2130706431 192.0.2.1 3478 typ host",
        "a=candidate:2 1 udp 2130706175 2001:db8::1 3479 typ host",
        "a=end-of-candidates",
        f"a=ice-ufrag:{LOCAL.ufrag}",
        f"a=ice-pwd:{LOCAL.password}",
        f"a=fingerprint:sha-256 {FINGERPRINT}",
        "a=setup:passive",
    ]
    assert lines == [
        "v=0",
        "o=- 4277006349 1 IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
        "a=ice-lite",
        "a=group:BUNDLE 0 1",
        "a=msid-semantic:WMS *",
        "m=audio 3478 UDP/TLS/RTP/SAVPF 111 110",
        "c=IN IP4 192.0.2.1",
        "a=rtcp:9 IN IP4 0.0.0.0",
        "a=mid:0",
        "a=sendrecv",
        "a=rtcp-mux",
        "a=rtpmap:111 opus/48000/2",
        "a=fmtp:111 minptime=10;useinbandfec=1;maxplaybackrate=24000",
        "a=ptime:20",
        "a=rtpmap:110 telephone-event/48000",
        "a=fmtp:110 0-15",
        "a=msid:stream track",
        "a=ssrc:4277006349 cname:cname",
        "a=ssrc:4277006349 msid:stream track",
        *transport,
        "m=application 3478 UDP/DTLS/SCTP webrtc-datachannel",
        "c=IN IP4 192.0.2.1",
        "a=mid:1",
        "a=sctp-port:5000",
        "a=max-message-size:262144",
        *transport,
        "",
    ]


@pytest.mark.parametrize(
    ("offered", "answered"),
    [("sendrecv", "sendrecv"), ("sendonly", "recvonly"), ("recvonly", "sendonly"), ("inactive", "inactive")],
)
def test_directions_are_mirrored(offered: str, answered: str) -> None:
    answer = answer_to(CHROMIUM.replace("a=sendrecv", f"a={offered}"))
    assert f"a={answered}" in answer.split("\r\n")
    assert ("a=msid:" in answer) == (answered in ("sendrecv", "sendonly"))


def test_what_is_not_wanted_is_refused_in_the_order_of_the_offer() -> None:
    offer = section(CHROMIUM, 0).lstrip("\n").replace("BUNDLE 0 1", "BUNDLE 0 2 1") + "\n" + VIDEO_SECTION
    offer += f"m={section(CHROMIUM, 1)}\nm={section(CHROMIUM, 2)}\nm=audio 9 UDP/TLS/RTP/SAVPF 0\n"
    answer = answer_to(offer)
    assert [line for line in answer.split("\r\n") if line.startswith("m=")] == [
        "m=video 0 UDP/TLS/RTP/SAVPF 96",
        "m=audio 3478 UDP/TLS/RTP/SAVPF 111 110",
        "m=application 3478 UDP/DTLS/SCTP webrtc-datachannel",
        "m=audio 0 UDP/TLS/RTP/SAVPF 0",
    ]
    assert attributes(answer, "group") == ["BUNDLE 0 1"]
    assert attributes(answer, "mid") == ["2", "0", "1"]


def test_ipv6_first() -> None:
    answer = answer_to(CHROMIUM, candidates=(Endpoint("2001:db8::1", 443),))
    assert "c=IN IP6 2001:db8::1" in answer
    assert "m=audio 443 " in answer


def test_an_answer_without_a_candidate_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="VIP"):
        answer_to(CHROMIUM, candidates=())


@pytest.mark.parametrize("has_data", [True, False])
def test_our_offer_reads_back(has_data: bool) -> None:
    local = dataclasses.replace(LOCAL, candidates=(), setup="actpass")
    offer = parse_offer_untrusted(build_offer(local, has_data=has_data))
    assert (offer.ufrag, offer.password, offer.setup) == (LOCAL.ufrag, LOCAL.password, "actpass")
    assert offer.codec.payload_type == 111
    assert offer.codec.fec
    assert offer.data_mid == ("1" if has_data else None)
    answer = parse_answer_untrusted(build_answer(offer, LOCAL))
    assert answer.sctp_port == (5000 if has_data else None)


def test_our_fragment_reads_back() -> None:
    text = build_fragment(parse_offer_untrusted(CHROMIUM), LOCAL)
    assert text.startswith(
        "a=ice-lite\r\na=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n"
    )
    fragment = parse_fragment_untrusted(text)
    assert (fragment.ufrag, fragment.password) == (LOCAL.ufrag, LOCAL.password)
