"""Whole calls of aiortc's own peer connections, which offer what browsers do not: a ufrag per section,
data channels in the form of the drafts, sections in any order.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, replace

import aioice.ice
import aiortc.rtcpeerconnection
import pytest
from aiortc import (
    AudioStreamTrack,
    RTCConfiguration,
    RTCIceGatherer,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)

from tests.transceiver.net import PATIENCE_S, Server, running, until
from transceiver.sdp import build_answer, parse_offer_untrusted
from transceiver.transport.peer import CHANNEL_LABEL, Certificate

Change = Callable[[str], str]


@pytest.fixture(autouse=True)
def on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Aioice leaves out loopback addresses, and a test needs no others."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])


def three_audio_sections(pc: RTCPeerConnection) -> None:
    pc.addTransceiver("audio", direction="recvonly")
    pc.addTransceiver("audio", direction="inactive")
    pc.addTransceiver(AudioStreamTrack(), direction="sendonly")


def stopped_first(pc: RTCPeerConnection) -> None:
    pc.addTransceiver("audio", direction="inactive")
    pc.addTransceiver(AudioStreamTrack(), direction="sendrecv")


def player_first(pc: RTCPeerConnection) -> None:
    pc.addTransceiver("audio", direction="recvonly")
    pc.addTransceiver(AudioStreamTrack(), direction="sendonly")


def video_first(pc: RTCPeerConnection) -> None:
    pc.addTransceiver("video", direction="recvonly")
    pc.addTrack(AudioStreamTrack())


def video_between(pc: RTCPeerConnection) -> None:
    pc.addTrack(AudioStreamTrack())
    pc.addTransceiver("video", direction="recvonly")


def audio_alone(pc: RTCPeerConnection) -> None:
    pc.addTrack(AudioStreamTrack())


def sctpmap(pc: RTCPeerConnection) -> None:
    pc.addTrack(AudioStreamTrack())
    pc._sctpLegacySdp = True


def signal_another_certificate_before(text: str) -> str:
    algorithm, digest = Certificate.generate().fingerprint
    line = f"a=fingerprint:{algorithm} {digest}\r\n"
    return text.replace("a=fingerprint:sha-256", line + "a=fingerprint:sha-256")


def write_carelessly(text: str) -> str:
    careless = (
        text.replace("opus/48000/2", "OPUS/16000/1").replace("\r\n", " \r\r\n").replace("actpass", "ACTPASS")
    )
    assert careless.count("OPUS") == text.count("opus/")
    return f"\ufeff\r\n{careless}\0\0"


def as_it_is(text: str) -> str:
    return text


def make_unlike_gatherer(*, iceServers: list[RTCIceServer], **_: object) -> RTCIceGatherer:  # noqa: N803
    return RTCIceGatherer(iceServers)


@dataclass(frozen=True)
class Case:
    prepare: Callable[[RTCPeerConnection], None]
    change: Change = as_it_is
    has_own_ufrags: bool = False
    """A ufrag per section, as in aiortc before 1.11."""


CASES = {
    "as it is": Case(audio_alone),
    "video first": Case(video_first),
    "video between": Case(video_between),
    "stopped audio first": Case(stopped_first),
    "receive-only audio first": Case(player_first),
    "video first, own ufrags": Case(video_first, has_own_ufrags=True),
    "video between, own ufrags": Case(video_between, has_own_ufrags=True),
    "stopped audio first, own ufrags": Case(stopped_first, has_own_ufrags=True),
    "three audio sections": Case(three_audio_sections, has_own_ufrags=True),
    "sctpmap, own ufrags": Case(sctpmap, has_own_ufrags=True),
    "sctpmap": Case(sctpmap),
    "two certificates": Case(audio_alone, signal_another_certificate_before),
    "written carelessly": Case(video_first, write_carelessly),
}


async def call(server: Server, case: Case) -> None:
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    messages: asyncio.Queue[str] = asyncio.Queue()
    try:
        case.prepare(pc)
        pc.createDataChannel(CHANNEL_LABEL).on("message", messages.put_nowait)
        await pc.setLocalDescription(await pc.createOffer())
        offer = parse_offer_untrusted(case.change(pc.localDescription.sdp))
        session = server.create(offer)
        local = replace(session.answer, candidates=(server.endpoint,))
        await pc.setRemoteDescription(RTCSessionDescription(build_answer(offer, local), "answer"))
        async with asyncio.timeout(PATIENCE_S):
            assert json.loads(await messages.get())["type"] == "session.created"
        await until(lambda: session.audio_stats.packets_received > 5)
        assert "ice_wrong_username" not in server.counts.refused
    finally:
        await pc.close()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_peer_connection_of_aiortc_is_heard_and_has_events(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    if case.has_own_ufrags:
        monkeypatch.setattr(aiortc.rtcpeerconnection, "RTCIceGatherer", make_unlike_gatherer)

    async def scenario() -> None:
        async with running() as server:
            await call(server, case)

    asyncio.run(scenario())
