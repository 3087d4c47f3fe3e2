"""The way to a real server on loopback: stages, media, events, and the end."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from core.addr import Endpoint
from tests.transceiver.net import PATIENCE_S, Server, running, until
from transceiver.caller.call import describe
from transceiver.caller.errors import CallError, Stage
from transceiver.caller.ice import Nomination
from transceiver.caller.transport import Transport
from transceiver.media import FRAME_BYTES
from transceiver.observer import EndReason
from transceiver.sdp import build_answer, build_offer, parse_answer_untrusted, parse_offer_untrusted
from transceiver.transport.certificate import Certificate


@asynccontextmanager
async def transport(
    messages: list[str], to: Endpoint | None = None
) -> AsyncIterator[tuple[Transport, Server]]:
    """Not yet started; to the server, or to another address."""
    async with running() as server:
        certificate = Certificate.generate()
        local = describe(certificate)
        session = server.create(parse_offer_untrusted(build_offer(local)))
        told = dataclasses.replace(session.answer, candidates=(to or server.endpoint,))
        answer = parse_answer_untrusted(build_answer(session.offer, told))
        made = Transport(local, answer, certificate, Nomination.ALWAYS, messages.append)
        try:
            yield made, server
        finally:
            await made.close()


def test_stages_come_one_after_the_other_and_goodbye_is_said() -> None:
    async def run() -> None:
        async with transport([]) as (made, server):
            assert (made.stage, made.local_address, made.path) == (Stage.ICE, None, None)
            made.start()
            await asyncio.wait_for(made.ready, PATIENCE_S)
            marks = made.marks
            assert made.stage is Stage.CONVERSATION
            assert marks.ice_ns is not None
            assert marks.dtls_ns is not None
            assert marks.audio_ns is not None
            assert marks.ice_ns < marks.dtls_ns <= marks.audio_ns
            assert made.local_address is not None
            assert made.local_address.host == "127.0.0.1"
            await asyncio.wait_for(made.next_audio(), PATIENCE_S)
            assert made.gaps.longest_ns > 0
            await made.close()
            await made.close()
            assert made.ended.result() == "closed"
            await until(lambda: server.counts.ended == [EndReason.REMOTE_CLOSED])

    asyncio.run(run())


def test_audio_goes_both_ways_and_events_when_the_channel_is_open() -> None:
    async def run() -> None:
        messages: list[str] = []
        async with transport(messages) as (made, _):
            assert not made.send_event("{}")
            made.start()
            await asyncio.wait_for(made.ready, PATIENCE_S)
            await until(lambda: made.send_event('{"type": "hello"}'))
            await until(lambda: len(messages) >= 2)
            assert [json.loads(each)["type"] for each in messages] == ["session.created", "echo.hello"]
            frame = b"\x00\x10\x00\xf0" * (FRAME_BYTES // 4)
            heard: list[bytes | None] = []

            def is_echoed() -> bool:
                made.say(frame, time.monotonic_ns())
                heard.append(made.hear(time.monotonic_ns()))
                return any(each is not None and any(each) for each in heard)

            await until(is_echoed)

    asyncio.run(run())


def test_what_ends_before_there_is_audio_fails_at_its_stage() -> None:
    async def run() -> None:
        async with transport([]) as (made, _):
            made.end("enough")
            made.end("more than enough")
            for waiting in (made.ready, made.next_audio()):
                with pytest.raises(CallError, match=r"^ice: enough$") as caught:
                    await waiting
                assert caught.value.stage is Stage.ICE

    asyncio.run(run())


def test_nothing_is_sent_on_before_a_check_is_answered() -> None:
    async def run() -> None:
        async with transport([], Endpoint("127.0.0.1", 9)) as (made, server):
            made.start()
            await asyncio.sleep(0.2)
            assert (made.stage, made.local_address) == (Stage.ICE, None)
            assert server.counts.stages == []
            assert not made.ready.done()

    asyncio.run(run())
