"""Whole calls of aiortc's own peer connections, which offer what browsers do not: a ufrag per section,
data channels in the form of the drafts, sections in any order.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import aioice.ice
import aiortc.rtcpeerconnection
import pytest
from aiortc import (
    AudioStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCIceGatherer,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)

from core.addr import Endpoint
from core.demux import PacketKind, classify_untrusted
from tests.transceiver.net import PATIENCE_S, Server, running, until
from transceiver.observer import EndReason
from transceiver.sdp import build_answer, parse_offer_untrusted
from transceiver.session.session import Session
from transceiver.transport.certificate import Certificate
from transceiver.transport.channels import CHANNEL_LABEL

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


# Event channels of a peer connection of aiortc's


async def _connected(server: Server, pc: RTCPeerConnection) -> Session:
    pc.addTrack(AudioStreamTrack())
    await pc.setLocalDescription(await pc.createOffer())
    offer = parse_offer_untrusted(pc.localDescription.sdp)
    session = server.create(offer)
    local = replace(session.answer, candidates=(server.endpoint,))
    await pc.setRemoteDescription(RTCSessionDescription(build_answer(offer, local), "answer"))
    return session


def _listening(channel: RTCDataChannel) -> asyncio.Queue[dict[str, object]]:
    events: asyncio.Queue[dict[str, object]] = asyncio.Queue()
    channel.on("message", lambda text: events.put_nowait(json.loads(text)))
    return events


async def _next(events: asyncio.Queue[dict[str, object]]) -> dict[str, object]:
    async with asyncio.timeout(PATIENCE_S):
        return await events.get()


CHANNELS: dict[str, tuple[str, dict[str, object]]] = {
    "other label": ("messages", {}),
    "no label": ("", {}),
    "unordered": (CHANNEL_LABEL, {"ordered": False}),
    "no repetitions": (CHANNEL_LABEL, {"maxRetransmits": 0}),
    "with a protocol": (CHANNEL_LABEL, {"protocol": "json"}),
    "negotiated": (CHANNEL_LABEL, {"negotiated": True, "id": 0}),
    "negotiated, another id": ("", {"negotiated": True, "id": 511}),
}


@pytest.mark.parametrize(("label", "options"), CHANNELS.values(), ids=CHANNELS)
def test_any_channel_has_session_created_and_answers(label: str, options: dict[str, Any]) -> None:
    async def scenario() -> None:
        async with running() as server:
            pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
            try:
                channel = pc.createDataChannel(label, **options)
                events = _listening(channel)
                await _connected(server, pc)
                await until(lambda: channel.readyState == "open")
                channel.send(b'{"type":"a"}')
                assert (await _next(events))["type"] == "session.created"
                assert (await _next(events))["type"] == "echo.a"
                channel.send(b"\xff")
                assert (await _next(events))["error"]["code"] == "invalid_event"  # type: ignore[index]
                channel.close()
                events = _listening(pc.createDataChannel(CHANNEL_LABEL))
                assert (await _next(events))["type"] == "session.created"
                assert server.counts.refused == {"channel_binary_message": 1}
            finally:
                await pc.close()

    asyncio.run(scenario())


def test_a_channel_too_many_is_closed_with_a_reason() -> None:
    async def scenario() -> None:
        async with running() as server:
            pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
            try:
                events = _listening(pc.createDataChannel(CHANNEL_LABEL))
                more = pc.createDataChannel("more")
                await _connected(server, pc)
                assert (await _next(events))["type"] == "session.created"
                told = await _next(events)
                assert told["error"]["code"] == "channel_not_ours"  # type: ignore[index]
                assert told["event_id"]
                await until(lambda: more.readyState == "closed")
                assert server.counts.refused["channel_not_ours"] == 1
            finally:
                await pc.close()

    asyncio.run(scenario())


# The end


ENDS = {
    EndReason.TOO_LONG: ["session_expired"],
    EndReason.DRAINED: ["server_shutting_down"],
    EndReason.CRASHED: ["session_crashed"],
    EndReason.SILENT: ["session_silent"],
    EndReason.BACKEND_GONE: ["backend_gone"],
    EndReason.HANGUP: [],
}


async def _hear_the_end(server: Server, reason: EndReason) -> list[str]:
    """The codes of the errors that a client was told when it noticed, which took it 2 s at most."""
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        channel = pc.createDataChannel(CHANNEL_LABEL)
        events = _listening(channel)
        session = await _connected(server, pc)
        assert (await _next(events))["type"] == "session.created"
        server.manager.close(session, reason)
        async with asyncio.timeout(2.0):
            await until(lambda: pc.connectionState == "closed" and channel.readyState == "closed")
        told: list[Any] = [events.get_nowait() for _ in range(events.qsize())]
        assert all(event["event_id"] for event in told)
        return [event["error"]["code"] for event in told]
    finally:
        await pc.close()


@pytest.mark.parametrize("first", range(3))
def test_the_end_and_its_reason_are_heard_though_a_third_of_all_packets_is_lost(first: int) -> None:
    """Of the copies of each datagram every third, as chance would lose all four now and then."""

    async def scenario() -> None:
        async with running() as server:
            copies, send = Counter[bytes](), server.mux.send

            def lose(datagram: bytes, to: Endpoint) -> None:
                is_goodbye = classify_untrusted(datagram) is PacketKind.DTLS and not server.manager.count
                if not is_goodbye or copies[datagram] % 3 != first:
                    send(datagram, to)
                copies[datagram] += is_goodbye

            server.mux.send = lose  # type: ignore[method-assign]
            for reason, codes in ENDS.items():
                assert await _hear_the_end(server, reason) == codes

    asyncio.run(scenario())
