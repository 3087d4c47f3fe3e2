"""Which sections of an offer are used, and whose transport: several audio sections, several ufrags."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import SdpError
from tests.transceiver.descriptions import CASES, FINGERPRINT, LOCAL, attributes
from transceiver.sdp import (
    SdpReason,
    build_answer,
    parse_answer_untrusted,
    parse_fragment_untrusted,
    parse_offer_untrusted,
)

DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")


def transport(name: str, setup: str = "actpass") -> list[str]:
    return [
        f"a=ice-ufrag:{name * 4}",
        f"a=ice-pwd:{name * 22}",
        f"a=fingerprint:sha-256 {FINGERPRINT.replace('AB', name * 2)}",
        f"a=setup:{setup}",
    ]


def audio(mid: str, *more: str, port: int = 9, encoding: str = "opus/48000/2") -> list[str]:
    return [
        f"m=audio {port} UDP/TLS/RTP/SAVPF 111",
        f"a=mid:{mid}",
        "a=rtcp-mux",
        f"a=rtpmap:111 {encoding}",
        *more,
    ]


def video(mid: str, *more: str, port: int = 9, rtpmap: str = "a=rtpmap:96 VP8/90000") -> list[str]:
    return [f"m=video {port} UDP/TLS/RTP/SAVPF 96", f"a=mid:{mid}", "a=rtcp-mux", rtpmap, *more]


def data(mid: str, *more: str, port: int = 9) -> list[str]:
    return [
        f"m=application {port} UDP/DTLS/SCTP webrtc-datachannel",
        f"a=mid:{mid}",
        "a=sctp-port:5000",
        *more,
    ]


def describe(bundle: str, *sections: list[str], session: tuple[str, ...] = ()) -> str:
    lines = ["v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0", f"a=group:BUNDLE {bundle}", *session]
    return "\r\n".join(lines + [line for section in sections for line in section]) + "\r\n"


def m_lines(answer: str) -> list[str]:
    return [" ".join(line.split()[:2]) for line in answer.split("\r\n") if line.startswith("m=")]


def answered_directions(answer: str) -> list[str]:
    return [line[2:] for line in answer.split("\r\n") if line[2:] in DIRECTIONS]


# Whose audio


@pytest.mark.parametrize(
    ("name", "direction", "heard"),
    [("inactive-audio-first", "sendrecv", "sendrecv"), ("recvonly-audio-first", "sendonly", "recvonly")],
)
def test_the_section_that_carries_the_caller_is_the_one(name: str, direction: str, heard: str) -> None:
    offer = parse_offer_untrusted(CASES[name])
    assert (offer.audio_index, offer.audio_direction, offer.held_index) == (1, direction, 0)
    answer = build_answer(offer, LOCAL)
    assert m_lines(answer) == ["m=audio 3478", "m=audio 3478", "m=application 3478"]
    assert answered_directions(answer) == ["inactive", heard]
    assert attributes(answer, "group") == ["BUNDLE 0 1 2"]
    assert parse_answer_untrusted(answer).audio_direction == heard


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(DIRECTIONS), min_size=1, max_size=5))
def test_of_any_audio_sections_the_first_of_the_best_is_taken_and_the_others_are_not(
    directions: list[str],
) -> None:
    sections = [audio(str(i), f"a={direction}", *transport("A")) for i, direction in enumerate(directions)]
    offer = parse_offer_untrusted(describe(" ".join(map(str, range(len(directions)))), *sections))
    best = min(directions, key=DIRECTIONS.index)
    assert (offer.audio_index, offer.audio_direction) == (directions.index(best), best)
    answer = build_answer(offer, LOCAL)
    others = answered_directions(answer)
    del others[offer.audio_index]
    assert set(others) <= {"inactive"}
    assert answer.count("a=msid:") == (best in ("sendrecv", "recvonly"))
    kept = {0, offer.audio_index}
    assert [line != "m=audio 0" for line in m_lines(answer)] == [i in kept for i in range(len(directions))]
    assert attributes(answer, "group") == [f"BUNDLE {' '.join(map(str, sorted(kept)))}"]


def test_a_direction_in_the_session_part_holds_for_sections_without_one() -> None:
    text = describe(
        "0 1", audio("0", *transport("A")), audio("1", "a=sendrecv", *transport("A")), session=("a=inactive",)
    )
    offer = parse_offer_untrusted(text)
    assert (offer.audio_index, offer.audio_direction) == (1, "sendrecv")


@pytest.mark.parametrize(
    "other",
    [
        audio("0", encoding="PCMU/8000"),
        audio("0", port=0),
        [line for line in audio("0") if line != "a=rtcp-mux"],
        [line.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP") for line in audio("0")],
    ],
    ids=["no Opus", "off", "no rtcp-mux", "plain RTP"],
)
def test_a_section_that_we_cannot_do_does_not_spoil_one_that_we_can(other: list[str]) -> None:
    live = audio("1", "a=recvonly", *transport("A"))
    offer = parse_offer_untrusted(describe("1", [*other, "a=sendrecv"], live))
    assert (offer.audio_index, offer.ufrag) == (1, "AAAA")


def test_two_audio_sections_without_mids_are_told_apart() -> None:
    bare = [line for line in audio("", "a=inactive", *transport("A")) if "a=mid" not in line]
    live = [line.replace("a=inactive", "a=sendrecv") for line in bare]
    offer = parse_offer_untrusted(describe("", bare, bare, live))
    assert offer.audio_index == 2
    assert m_lines(build_answer(offer, LOCAL)) == ["m=audio 0", "m=audio 0", "m=audio 3478"]


# Whose transport (RFC 9143 §7.3.1)


def test_a_ufrag_per_section_and_video_first() -> None:
    offer = parse_offer_untrusted(CASES["ufrag-per-section"])
    assert (offer.held_index, offer.audio_index) == (0, 1)
    assert (offer.ufrag, offer.password) == ("WzB2", "OH6pQW7NFBqFPZDwBelG9Q")
    assert attributes(build_answer(offer, LOCAL), "group") == ["BUNDLE 0 1"]


@settings(max_examples=200, deadline=None)
@given(st.permutations(["a", "d", "v"]), st.permutations(["a", "d", "v"]))
def test_whatever_the_order_of_sections_and_of_the_group(order: list[str], group: list[str]) -> None:
    """The tag of the answer's group and the transport that is used are of one section."""
    sections = {
        "a": audio("a", *transport("A", "active")),
        "d": data("d", *transport("D", "passive")),
        "v": video("v", *transport("E", "actpass")),
    }
    offer = parse_offer_untrusted(describe(" ".join(group), *(sections[mid] for mid in order)))
    tag = attributes(build_answer(offer, LOCAL), "group")[0].split()[1]
    assert tag == group[0]
    expected = {"a": ("AAAA", "active", "AA"), "d": ("DDDD", "passive", "DD"), "v": ("EEEE", "actpass", "EE")}
    assert (offer.ufrag, offer.setup, offer.fingerprints[0][1][:2]) == expected[tag]
    assert offer.password == expected[tag][0][0] * 22


@pytest.mark.parametrize(
    "first",
    [
        video("v", *transport("E"), port=0),
        video("v", *transport("E"), rtpmap="a=x"),
        video("v", "a=bundle-only", port=0),
    ],
    ids=["off", "cannot be held", "bundle-only itself"],
)
def test_the_next_of_the_group_where_the_first_is_not_kept_or_has_no_port(first: list[str]) -> None:
    text = describe("v d a", first, audio("a", *transport("A")), data("d", *transport("D")))
    offer = parse_offer_untrusted(text)
    assert offer.ufrag == "DDDD"
    offered = parse_offer_untrusted(text.replace("BUNDLE v d a", "BUNDLE v a d"))
    assert offered.ufrag == "AAAA"


def test_ufrags_that_are_given_up_are_known_for_trickling() -> None:
    offer = parse_offer_untrusted(CASES["ufrag-per-section"])
    assert offer.other_ufrags == {"ad0p"}
    assert parse_offer_untrusted(CASES["inactive-audio-first"]).other_ufrags == frozenset()


@pytest.mark.parametrize(("tag", "ufrag"), [("a", "AAAA"), ("v", "EEEE")])
def test_of_several_ufrags_of_a_fragment_the_tagged_section_s_counts(tag: str, ufrag: str) -> None:
    """RFC 8840 §9 has a section per m-line, each with its own until BUNDLE is answered."""
    lines = [f"a=group:BUNDLE {tag} x", *video("v", *transport("E")), *audio("a", *transport("A"))]
    fragment = parse_fragment_untrusted("\r\n".join(lines))
    assert (fragment.ufrag, fragment.password) == (ufrag, ufrag[0] * 22)


def test_without_bundle_it_is_the_audio_s_own() -> None:
    sections = (video("v", *transport("E")), data("d", *transport("D")), audio("a", *transport("A")))
    offer = parse_offer_untrusted(describe("", *sections))
    assert (offer.ufrag, offer.data_index) == ("AAAA", None)


def test_the_session_part_holds_for_a_tagged_section_that_says_nothing() -> None:
    text = describe("v a", video("v"), audio("a", *transport("A")), session=tuple(transport("C", "passive")))
    offer = parse_offer_untrusted(text)
    assert (offer.ufrag, offer.setup, offer.fingerprints[0][1][:2]) == ("CCCC", "passive", "CC")


def test_a_tagged_section_without_any_transport_does_not_make_an_offer_worthless() -> None:
    assert parse_offer_untrusted(describe("v a", video("v"), audio("a", *transport("A")))).ufrag == "AAAA"


# At which level (RFC 8839 §5.4)


def test_password_in_the_session_part_and_ufrag_at_the_section() -> None:
    offer = parse_offer_untrusted(CASES["password-in-session-part"])
    assert (offer.ufrag, offer.password) == ("59oV", "VDj8082oKOhUT5P0Xfcny0Md")


@settings(max_examples=100, deadline=None)
@given(st.fixed_dictionaries({f"a={n}": st.sampled_from(["session", "section", "both"])
                              for n in ("ice-ufrag", "ice-pwd", "fingerprint", "setup")}))  # fmt: skip
def test_each_attribute_is_taken_from_where_it_stands(levels: dict[str, str]) -> None:
    def at(level: str, lines: list[str]) -> list[str]:
        return [line for line in lines if levels[line.partition(":")[0]] in (level, "both")]

    session, section = at("session", transport("C", "passive")), at("section", transport("A", "active"))
    offer = parse_offer_untrusted(describe("0", audio("0", *section), session=tuple(session)))
    named = {line.partition(":")[0]: line.partition(":")[2] for line in [*session, *section]}
    assert (offer.ufrag, offer.password) == (named["a=ice-ufrag"], named["a=ice-pwd"])
    assert (" ".join(offer.fingerprints[0]), offer.setup) == (named["a=fingerprint"], named["a=setup"])


@pytest.mark.parametrize("missing", ["ice-ufrag", "ice-pwd"])
def test_half_of_the_credentials_is_named(missing: str) -> None:
    lines = [line for line in transport("A") if missing not in line]
    with pytest.raises(SdpError) as caught:
        parse_offer_untrusted(describe("0", audio("0", *lines)))
    assert caught.value.reason == SdpReason.BAD_ICE
    assert f"a={missing} is missing" in caught.value.detail


def test_a_refused_section_says_what_picky_clients_want_to_read() -> None:
    """Learnt from aiortc 1.16 and werift 0.24, which fail without; void by RFC 3264 §6 otherwise."""
    text = describe("a d", audio("a", *transport("A")), video("v"), video("w", port=0), data("d"))
    answer = build_answer(parse_offer_untrusted(text), LOCAL)
    live, off = (part.split("\r\n") for part in answer.split("m=video ")[1:])
    assert [part[0] for part in (live, off)] == ["0 UDP/TLS/RTP/SAVPF 96"] * 2
    for part in (live, off):
        assert {"a=rtcp-mux", "a=rtpmap:96 VP8/90000", f"a=ice-ufrag:{LOCAL.ufrag}", "a=inactive"} <= set(
            part
        )
    assert "a=end-of-candidates" in live[: live.index("a=setup:passive")]
    assert "a=end-of-candidates" not in off[: off.index("a=setup:passive")]
