"""Real offers, and what tests make of them."""

from __future__ import annotations

from core.addr import Endpoint
from tests.paths import TESTS
from transceiver.sdp import LocalDescription

CAPTURES = TESTS / "captures"
OFFERS = {path.name.removesuffix(".offer.sdp"): path.read_text() for path in CAPTURES.glob("*.offer.sdp")}
ANSWERS = {path.name.removesuffix(".answer.sdp"): path.read_text() for path in CAPTURES.glob("*.answer.sdp")}
CASES = {path.stem: path.read_bytes().decode() for path in (TESTS / "cases" / "offers").glob("*.sdp")}
"""Offers in the shape of those that clients in the world send; tests/cases/offers/README.md."""
CHROMIUM = OFFERS["chromium-lite"]
FIREFOX = OFFERS["firefox-lite"]
WERIFT = OFFERS["werift-lite"]
FINGERPRINT = ":".join(["AB"] * 32)
VIDEO_SECTION = """\
m=video 9 UDP/TLS/RTP/SAVPF 96
c=IN IP4 0.0.0.0
a=mid:2
a=sendrecv
a=rtcp-mux
a=rtpmap:96 VP8/90000
"""

LOCAL = LocalDescription(
    ufrag="T" * 28,
    password="P" * 32,
    fingerprint=("sha-256", FINGERPRINT),
    setup="passive",
    candidates=(Endpoint("192.0.2.1", 3478), Endpoint("2001:db8::1", 3479)),
    ssrc=0xFEEDF00D,
    cname="cname",
    stream_id="stream",
    track_id="track",
    session_version=1,
)


def without(sdp: str, start: str) -> str:
    """The description without the lines that begin so."""
    return "".join(line for line in sdp.splitlines(keepends=True) if not line.startswith(start))


def section(sdp: str, index: int) -> str:
    """Session part (0) or the n-th media section, as text."""
    return ("\n" + sdp).split("\nm=")[index]


def audio_only(sdp: str) -> str:
    """Without the data channel section and without BUNDLE."""
    return without(sdp[: sdp.index("m=application")], "a=group")


def attributes(sdp: str, name: str) -> list[str]:
    """Values of `a=name:` lines."""
    return [line.partition(":")[2] for line in sdp.splitlines() if line.startswith(f"a={name}:")]
