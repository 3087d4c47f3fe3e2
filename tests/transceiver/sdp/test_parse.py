import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.addr import Endpoint
from core.errors import SdpError
from tests.transceiver.descriptions import (
    ANSWERS,
    CHROMIUM,
    FINGERPRINT,
    FIREFOX,
    LOCAL,
    OFFERS,
    VIDEO_SECTION,
    WERIFT,
    attributes,
    audio_only,
    section,
    without,
)
from transceiver.sdp import (
    MAX_SDP_BYTES,
    SdpReason,
    build_answer,
    parse_answer_untrusted,
    parse_fragment_untrusted,
    parse_offer_untrusted,
)


def answer_to(offer_text: str, **changes: Any) -> str:
    return build_answer(parse_offer_untrusted(offer_text), dataclasses.replace(LOCAL, **changes))


def refused(offer_text: str) -> SdpReason:
    with pytest.raises(SdpError) as caught:
        parse_offer_untrusted(offer_text)
    assert caught.value.detail.endswith((".", "§5).", "§4)."))
    reason = caught.value.reason
    assert isinstance(reason, SdpReason)
    return reason


# Offers of real clients


@pytest.mark.parametrize("name", OFFERS)
def test_every_captured_offer_is_understood(name: str) -> None:
    offer = parse_offer_untrusted(OFFERS[name])
    assert offer.ufrag == attributes(OFFERS[name], "ice-ufrag")[0]
    assert offer.password == attributes(OFFERS[name], "ice-pwd")[0]
    assert offer.setup == "actpass"
    assert (offer.audio_mid, offer.data_mid, offer.sctp_port) == ("0", "1", 5000)
    assert offer.audio_direction == "sendrecv"
    assert offer.bundle == ("0", "1")
    assert [algorithm for algorithm, _ in offer.fingerprints] == ["sha-256"]


def test_codec_parameters_of_each_client() -> None:
    chromium = parse_offer_untrusted(CHROMIUM).codec
    assert (chromium.payload_type, chromium.fec, chromium.telephone_event) == (111, True, 110)
    firefox = parse_offer_untrusted(FIREFOX).codec
    assert (firefox.payload_type, firefox.fec) == (109, True)
    assert firefox.telephone_event is None, "it has only the 8 kHz clock, which is not the stream's"
    assert parse_offer_untrusted(WERIFT).codec.fec is False, "no fmtp: RFC 7587 defaults"


def test_firefox_has_fingerprint_and_direction_in_the_session_part() -> None:
    moved = without(FIREFOX, "a=setup").replace("t=0 0\n", "t=0 0\na=setup:actpass\n")
    offer = parse_offer_untrusted(moved)
    assert offer.fingerprints == parse_offer_untrusted(FIREFOX).fingerprints
    assert offer.setup == "actpass"


def test_line_ends_and_blank_lines_do_not_matter() -> None:
    plain = CHROMIUM.replace("\r\n", "\n")
    assert parse_offer_untrusted(plain) == parse_offer_untrusted(plain.replace("\n", "\r\n"))
    assert parse_offer_untrusted(plain + "\n\n") == parse_offer_untrusted(plain.rstrip("\n"))


def test_candidates_are_not_needed() -> None:
    """The OpenAI SDK posts before it has gathered any; Firefox says that there will be none."""
    bare = without(without(CHROMIUM, "a=candidate"), "a=end-of-candidates")
    assert parse_offer_untrusted(bare).ufrag == "QEPM"
    assert parse_offer_untrusted(without(FIREFOX, "a=candidate")).ufrag == "dc778869"


def test_audio_without_bundle_and_data_channel() -> None:
    offer = parse_offer_untrusted(audio_only(CHROMIUM))
    assert (offer.bundle, offer.data_mid, offer.sctp_port) == ((), None, None)
    answer = build_answer(offer, LOCAL)
    assert "a=group" not in answer
    assert answer.count("m=") == 1


@pytest.mark.parametrize("value", ["", ":", ": ", ":BUNDLE", ":BUNDLE  ", ": 0 1", ":LS 0 1"])
def test_a_group_that_says_nothing_is_passed_over(value: str) -> None:
    offer = parse_offer_untrusted(CHROMIUM.replace("a=group:BUNDLE 0 1", f"a=group{value}"))
    assert offer.bundle == ()


def test_audio_without_mid() -> None:
    answer = answer_to(without(audio_only(CHROMIUM), "a=mid"))
    assert "a=mid" not in answer
    assert parse_answer_untrusted(answer).ufrag == LOCAL.ufrag


def test_a_data_channel_outside_the_bundle_is_refused_and_the_audio_taken() -> None:
    answer = answer_to(CHROMIUM.replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 0"))
    assert "m=application 0 UDP/DTLS/SCTP webrtc-datachannel" in answer
    assert parse_answer_untrusted(answer).sctp_port is None


def test_transport_attributes_of_a_bundle_only_section_stand_in_the_tagged_one() -> None:
    data, audio = "m=" + section(CHROMIUM, 2), "m=" + section(CHROMIUM, 1) + "\n"
    for name in ("a=ice-ufrag", "a=ice-pwd", "a=fingerprint", "a=setup", "a=candidate"):
        audio = without(audio, name)
    audio = audio.replace("m=audio 41567", "m=audio 0").replace("a=mid:0", "a=mid:0\na=bundle-only")
    session = section(CHROMIUM, 0).lstrip("\n").replace("BUNDLE 0 1", "BUNDLE 1 0") + "\n"
    offer = parse_offer_untrusted(session + data + audio)
    assert (offer.ufrag, offer.bundle, offer.audio_index, offer.data_index) == ("QEPM", ("1", "0"), 1, 0)
    answer = build_answer(offer, LOCAL)
    assert attributes(answer, "mid") == ["1", "0"]
    assert attributes(answer, "group") == ["BUNDLE 1 0"]


def max_bundle(offer: str) -> str:
    """As Chromium offers under the policy max-bundle: video first, and all else bundle-only."""
    audio = section(offer, 1).replace("audio 41567", "audio 0").replace("a=mid:0", "a=mid:0\na=bundle-only")
    data = (
        section(offer, 2)
        .replace("application 43447", "application 0")
        .replace("a=mid:1", "a=mid:1\na=bundle-only")
    )
    transport = [
        line for line in section(offer, 1).splitlines() if line.startswith(("a=ice", "a=finger", "a=setup"))
    ]
    for line in transport:
        audio, data = (part.replace(line + "\n", "") for part in (audio, data))
    session = section(offer, 0).lstrip("\n").replace("BUNDLE 0 1", "BUNDLE 2 0 1")
    return f"{session}\n{VIDEO_SECTION}" + "\n".join(transport) + f"\nm={audio}\nm={data}\n"


def test_a_section_that_the_bundle_hangs_on_is_held_and_not_refused() -> None:
    offer = parse_offer_untrusted(max_bundle(CHROMIUM))
    assert (offer.held_index, offer.audio_index, offer.data_index) == (0, 1, 2)
    answer = build_answer(offer, LOCAL)
    assert attributes(answer, "group") == ["BUNDLE 2 0 1"]
    held = section(answer.replace("\r\n", "\n"), 1).splitlines()
    assert held[0] == "video 3478 UDP/TLS/RTP/SAVPF 96"
    assert {"a=inactive", "a=rtcp-mux", "a=rtpmap:96 VP8/90000", f"a=ice-ufrag:{LOCAL.ufrag}"} <= set(held)


@pytest.mark.parametrize(
    ("found", "replaced"),
    [
        ("m=video 9", "m=video 0"),
        ("a=rtpmap:96 VP8/90000", "a=rtpmap:96 <script>/90000"),
        ("a=rtpmap:96 VP8/90000", "a=x"),
        ("BUNDLE 2 0 1", "BUNDLE 3 0 1"),
    ],
)
def test_a_bundle_without_a_section_to_hang_on(found: str, replaced: str) -> None:
    offer = max_bundle(CHROMIUM).replace(found, replaced)
    if "3 0 1" in replaced:
        offer = offer.replace("a=group:BUNDLE 3 0 1", "a=group:LS 0 1")
    with pytest.raises(SdpError) as caught:
        parse_offer_untrusted(offer)
    assert caught.value.reason in (SdpReason.BAD_BUNDLE, SdpReason.NO_ICE)


def test_unknown_attributes_and_fields_are_passed_over() -> None:
    strange = CHROMIUM.replace("t=0 0", "t=0 0\nb=AS:1\nk=prompt\na=no-such-thing:x\na=\na=:\nz=1")
    assert parse_offer_untrusted(strange) == parse_offer_untrusted(CHROMIUM)


def test_lying_numbers_in_parameters_fall_back_to_defaults() -> None:
    huge = CHROMIUM.replace("minptime=10;", f"maxaveragebitrate={'9' * 5000};;=;")
    assert parse_offer_untrusted(huge).codec.max_average_bitrate is None
    low = CHROMIUM.replace("minptime=10", "maxaveragebitrate=1")
    assert parse_offer_untrusted(low).codec.max_average_bitrate is None
    fair = CHROMIUM.replace("minptime=10", "maxaveragebitrate=24000;usedtx=1")
    assert parse_offer_untrusted(fair).codec.max_average_bitrate == 24000
    assert parse_offer_untrusted(fair).codec.dtx
    size = CHROMIUM.replace("a=max-message-size:262144", f"a=max-message-size:{'9' * 5000}")
    assert parse_offer_untrusted(size).max_message_bytes == 65_536


def test_stronger_fingerprints_beside_a_weak_one() -> None:
    weak = CHROMIUM.replace("a=setup:actpass", f"a=fingerprint:sha-1 {SHA_1}\na=setup:actpass")
    assert [a for a, _ in parse_offer_untrusted(weak).fingerprints] == ["sha-256"]
    lower = CHROMIUM.replace("sha-256 F5:FD", "SHA-256 f5:fd")
    assert parse_offer_untrusted(lower).fingerprints == parse_offer_untrusted(CHROMIUM).fingerprints


# Offers that are refused

SHA_1 = ":".join(["AB"] * 20)
ONLY_VIDEO = without(section(CHROMIUM, 0).lstrip("\n"), "a=group") + "\n" + VIDEO_SECTION

REFUSALS = {
    "empty": ("", SdpReason.NOT_SDP),
    "prose": ("hello", SdpReason.NOT_SDP),
    "other version": (CHROMIUM.replace("v=0", "v=1"), SdpReason.NOT_SDP),
    "2 MB": (CHROMIUM + "a=x\n" * 500_000, SdpReason.TOO_LARGE),
    "many lines": (CHROMIUM + "a=x\n" * 3_000, SdpReason.TOO_MANY_LINES),
    "many sections": (CHROMIUM + "m=audio 9 RTP/SAVPF 0\n" * 40, SdpReason.TOO_MANY_LINES),
    "not a line": (CHROMIUM.replace("a=rtcp-mux", "hello"), SdpReason.BAD_LINE),
    "line folding": (CHROMIUM.replace("a=rtcp-mux", " a=rtcp-mux"), SdpReason.BAD_LINE),
    "m-line without formats": (CHROMIUM + "m=audio 9 RTP/SAVPF\n", SdpReason.BAD_MEDIA_LINE),
    "m-line with port 70000": (CHROMIUM + "m=audio 70000 RTP/SAVPF 0\n", SdpReason.BAD_MEDIA_LINE),
    "m-line with markup": (CHROMIUM + "m=<b> 9 RTP/SAVPF 0\n", SdpReason.BAD_MEDIA_LINE),
    "session part alone": ("v=0\nt=0 0\n", SdpReason.NO_AUDIO),
    "no audio": (without(CHROMIUM, "m=audio"), SdpReason.NO_AUDIO),
    "audio off": (CHROMIUM.replace("m=audio 41567", "m=audio 0"), SdpReason.NO_AUDIO),
    "video only": (ONLY_VIDEO, SdpReason.VIDEO_ONLY),
    "no Opus": (CHROMIUM.replace("opus/48000/2", "speex/16000"), SdpReason.NO_OPUS),
    "rtpmap of a format not on the m-line": (CHROMIUM.replace("SAVPF 111 ", "SAVPF "), SdpReason.NO_OPUS),
    "rtpmap that is cut": (CHROMIUM.replace("a=rtpmap:111 opus/48000/2", "a=rtpmap:111"), SdpReason.NO_OPUS),
    "payload type 72": (
        CHROMIUM.replace("SAVPF 111", "SAVPF 72").replace("rtpmap:111", "rtpmap:72"),
        SdpReason.BAD_PAYLOAD_TYPE,
    ),
    "payload type 128": (
        CHROMIUM.replace("SAVPF 111", "SAVPF 128").replace("rtpmap:111", "rtpmap:128"),
        SdpReason.BAD_PAYLOAD_TYPE,
    ),
    "payload type in words": (
        CHROMIUM.replace("SAVPF 111", "SAVPF x").replace("rtpmap:111", "rtpmap:x"),
        SdpReason.BAD_PAYLOAD_TYPE,
    ),
    "plain RTP": (CHROMIUM.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"), SdpReason.BAD_PROFILE),
    "no rtcp-mux": (without(CHROMIUM, "a=rtcp-mux"), SdpReason.NO_RTCP_MUX),
    "mid with line break": (CHROMIUM.replace("a=mid:0", "a=mid:0\x0ba=evil"), SdpReason.BAD_MID),
    "empty mid": (CHROMIUM.replace("a=mid:0", "a=mid:"), SdpReason.BAD_MID),
    "long mid": (CHROMIUM.replace("a=mid:0", f"a=mid:{'x' * 65}"), SdpReason.BAD_MID),
    "two sections of one mid": (CHROMIUM.replace("a=mid:1", "a=mid:0"), SdpReason.BAD_MID),
    "no ICE": (without(without(CHROMIUM, "a=ice-ufrag"), "a=ice-pwd"), SdpReason.NO_ICE),
    "no password": (without(CHROMIUM, "a=ice-pwd"), SdpReason.BAD_ICE),
    "short ufrag": (CHROMIUM.replace("a=ice-ufrag:QEPM", "a=ice-ufrag:QEP"), SdpReason.BAD_ICE),
    "long ufrag": (CHROMIUM.replace("a=ice-ufrag:QEPM", f"a=ice-ufrag:{'Q' * 257}"), SdpReason.BAD_ICE),
    "ufrag of other characters": (CHROMIUM.replace("QEPM", "QE:M"), SdpReason.BAD_ICE),
    "short password": (CHROMIUM.replace("uEE0igt6Ac6aTLrDV0M7Uqtt", "uEE0"), SdpReason.BAD_ICE),
    "no fingerprint": (without(CHROMIUM, "a=fingerprint"), SdpReason.NO_FINGERPRINT),
    "no hash function": (CHROMIUM.replace("print:sha-256 ", "print:"), SdpReason.BAD_FINGERPRINT),
    "short digest": (CHROMIUM.replace("sha-256 F5:", "sha-256 "), SdpReason.BAD_FINGERPRINT),
    "digest that is not hex": (CHROMIUM.replace("sha-256 F5:", "sha-256 GG:"), SdpReason.BAD_FINGERPRINT),
    "ten fingerprints": (
        CHROMIUM.replace("a=setup", f"a=fingerprint:sha-256 {FINGERPRINT}\n" * 9 + "a=setup"),
        SdpReason.BAD_FINGERPRINT,
    ),
    "SHA-1 alone": (
        without(CHROMIUM, "a=fingerprint").replace("a=setup", f"a=fingerprint:sha-1 {SHA_1}\na=setup"),
        SdpReason.WEAK_FINGERPRINT,
    ),
    "unknown setup": (CHROMIUM.replace("a=setup:actpass", "a=setup:holdconn"), SdpReason.BAD_SETUP),
    "no SCTP port": (without(CHROMIUM, "a=sctp-port"), SdpReason.BAD_SCTP),
    "SCTP port 65536": (CHROMIUM.replace("sctp-port:5000", "sctp-port:65536"), SdpReason.BAD_SCTP),
    "SCTP port, all digits": (CHROMIUM.replace("sctp-port:5", "sctp-port:" + "5" * 5000), SdpReason.BAD_SCTP),
    "SCTP port in other digits": (CHROMIUM.replace("sctp-port:5000", "sctp-port:٥٠٠٠"), SdpReason.BAD_SCTP),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_refused_with_its_reason(case: str) -> None:
    text, reason = REFUSALS[case]
    assert refused(text) == reason


@pytest.mark.parametrize("case", REFUSALS)
def test_details_never_repeat_what_was_sent(case: str) -> None:
    text, _ = REFUSALS[case]
    with pytest.raises(SdpError) as caught:
        parse_offer_untrusted(text)
    assert "evil" not in caught.value.detail
    assert len(caught.value.detail) < 200


def test_the_longest_offer_that_is_taken() -> None:
    offer = CHROMIUM + "a=x:" + "y" * (MAX_SDP_BYTES - len(CHROMIUM) - 4)
    assert len(offer) == MAX_SDP_BYTES
    parse_offer_untrusted(offer)
    assert refused(offer + "y") == SdpReason.TOO_LARGE


def test_truncation_at_every_length() -> None:
    for length in range(len(CHROMIUM)):
        try:
            parse_offer_untrusted(CHROMIUM[:length])
        except SdpError:
            continue


# Answers


def test_the_first_audio_section_with_opus_is_the_one() -> None:
    other = "m=audio 9 UDP/TLS/RTP/SAVPF 0\na=mid:x\na=rtcp-mux\n"
    offer = parse_offer_untrusted(
        section(CHROMIUM, 0).lstrip("\n") + "\n" + other + f"m={section(CHROMIUM, 1)}\n"
    )
    assert (offer.audio_index, offer.audio_mid) == (1, "0")


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_of_other_servers(name: str) -> None:
    answer = parse_answer_untrusted(ANSWERS[name])
    assert answer.ice_lite == ("stock" not in name)
    assert answer.setup == ("active" if "stock" in name else "passive")
    assert answer.candidates[0].host == "127.0.0.1"
    assert [algorithm for algorithm, _ in answer.fingerprints] == ["sha-256", "sha-384", "sha-512"]


def test_candidates_that_cannot_be_used_are_passed_over() -> None:
    answer = answer_to(CHROMIUM).replace(
        "a=end-of-candidates",
        "a=candidate:3 1 udp 1 host.local 1 typ host\n"
        "a=candidate:4 1 tcp 9 192.0.2.9 443 typ host tcptype passive\n"
        "a=candidate:5 2 udp 9 192.0.2.9 443 typ host\n"
        "a=candidate:6 1 udp 9 192.0.2.9 0 typ host\n"
        "a=candidate:7 1 udp x 192.0.2.9 443 typ host\n"
        "a=candidate:8\n"
        "a=candidate:9 1 UDP 2130706432 192.0.2.7 443 typ host generation 0",
    )
    assert parse_answer_untrusted(answer).candidates == (Endpoint("192.0.2.7", 443), *LOCAL.candidates)
    with pytest.raises(SdpError) as caught:
        parse_answer_untrusted(without(answer, "a=candidate"))
    assert caught.value.reason == SdpReason.NO_CANDIDATE


def test_an_answer_must_choose_a_dtls_role() -> None:
    with pytest.raises(SdpError) as caught:
        parse_answer_untrusted(answer_to(CHROMIUM, setup="actpass"))
    assert caught.value.reason == SdpReason.BAD_SETUP


# Fragments


def test_fragment_of_a_trickling_client() -> None:
    """RFC 9725 §4.3.2's example."""
    fragment = parse_fragment_untrusted(
        "a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:EsAw\r\n"
        "a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n"
        "a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw\r\n"
        "a=end-of-candidates\r\n"
    )
    assert (fragment.ufrag, fragment.password) == ("EsAw", "P2uYro0UCOQ4zxjKXaWCBui1")


def test_fragment_without_credentials() -> None:
    assert parse_fragment_untrusted("a=end-of-candidates\r\n").ufrag is None


@pytest.mark.parametrize(
    "text",
    [
        "a=ice-ufrag:EsAw\r\n",
        "a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n",
        "a=ice-ufrag:E\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n",
        "a=ice-ufrag:EsAw\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\nm=audio 9 X 0\n"
        "a=ice-ufrag:EsAx\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\n",
    ],
)
def test_fragments_that_are_refused(text: str) -> None:
    with pytest.raises(SdpError) as caught:
        parse_fragment_untrusted(text)
    assert caught.value.reason == SdpReason.BAD_ICE


# Anything at all

LINES = sorted({line for sdp in (*OFFERS.values(), *ANSWERS.values()) for line in sdp.splitlines()})


@st.composite
def mutated_offers(draw: st.DrawFn) -> str:
    lines = draw(st.sampled_from(sorted(OFFERS.values()))).splitlines()
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(lines) - 1))
        change = draw(st.sampled_from(["drop", "insert", "swap", "cut", "replace"]))
        if change == "drop" and len(lines) > 1:
            del lines[at]
        elif change == "insert":
            lines.insert(at, draw(st.one_of(st.sampled_from(LINES), st.text(max_size=40))))
        elif change == "swap":
            other = draw(st.integers(0, len(lines) - 1))
            lines[at], lines[other] = lines[other], lines[at]
        elif change == "cut":
            lines[at] = lines[at][: draw(st.integers(0, len(lines[at])))]
        else:
            lines[at] = draw(st.from_regex(r"a=[a-z-]{1,10}:[ -~]{0,40}", fullmatch=True))
    return draw(st.sampled_from(["\n", "\r\n"])).join(lines)


@settings(max_examples=400, deadline=None)
@given(mutated_offers())
def test_mutated_offers_are_answered_or_refused(text: str) -> None:
    try:
        offer = parse_offer_untrusted(text)
    except SdpError:
        return
    answer = build_answer(offer, LOCAL)
    assert parse_answer_untrusted(answer).candidates == LOCAL.candidates
    assert answer.count("\r\nm=") == len(offer.media)
    assert set("".join(answer.split("\r\n"))) <= {chr(code) for code in range(32, 127)}


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=400))
def test_text_never_raises_anything_but_sdp_errors(text: str) -> None:
    for parse in (parse_offer_untrusted, parse_answer_untrusted, parse_fragment_untrusted):
        for candidate in (text, "v=0\n" + text):
            try:
                parse(candidate)
            except SdpError:
                continue
