"""Fuzz session descriptions: offers, answers, and the fragments of trickle ICE.

Invariant: any text either raises SdpError, or is understood. An offer that is understood has an answer,
which has one m-line per m-line of the offer, names no address but ours, consists of printable ASCII, and
reads back as what it was written from.
"""

from __future__ import annotations

from core.addr import Endpoint
from core.errors import SdpError
from transceiver.media.codec import PACKET_MS
from transceiver.sdp import (
    LocalDescription,
    build_answer,
    build_fragment,
    parse_answer_untrusted,
    parse_fragment_untrusted,
    parse_offer_untrusted,
)

_LOCAL = LocalDescription(
    ufrag="T" * 28,
    password="P" * 32,
    fingerprint=("sha-256", ":".join(["AB"] * 32)),
    setup="passive",
    candidates=(Endpoint("192.0.2.1", 3478), Endpoint("2001:db8::1", 3478)),
    ssrc=1,
    cname="cname",
    stream_id="stream",
    track_id="track",
    session_version=0,
)
_PRINTABLE = frozenset(map(chr, range(32, 127)))


def test_one_input(data: bytes) -> None:
    """Read the input as each kind of description."""
    text = data.decode("utf-8", "replace")
    for parse in (parse_answer_untrusted, parse_fragment_untrusted):
        try:
            parse(text)
        except SdpError:
            continue
    _answer(text)


def _answer(text: str) -> None:
    try:
        offer = parse_offer_untrusted(text)
    except SdpError:
        return
    written = build_answer(offer, _LOCAL)
    lines = written.split("\r\n")
    assert all(_PRINTABLE.issuperset(line) for line in lines)
    assert sum(line.startswith("m=") for line in lines) == len(offer.media)
    assert {line.split()[2] for line in lines if line.startswith("c=")} <= {"192.0.2.1", "0.0.0.0"}
    read = parse_answer_untrusted(written)
    assert (read.ufrag, read.password, read.setup) == (_LOCAL.ufrag, _LOCAL.password, _LOCAL.setup)
    assert read.candidates == _LOCAL.candidates
    assert read.codec.payload_type == offer.codec.payload_type
    assert read.codec.packet_ms == offer.codec.packet_ms in PACKET_MS
    assert (read.sctp_port is None) == (offer.data_index is None)
    fragment = parse_fragment_untrusted(build_fragment(offer, _LOCAL))
    assert (fragment.ufrag, fragment.password) == (_LOCAL.ufrag, _LOCAL.password)
