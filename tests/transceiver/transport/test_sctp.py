"""Data channels as clients in the world open, close and name them, over a real association."""

from __future__ import annotations

import asyncio

import pytest
from aiortc.rtcsctptransport import WEBRTC_BINARY, WEBRTC_DCEP, WEBRTC_STRING

from tests.transceiver.net import until
from tests.transceiver.transport.channel_kit import clients, is_answered, make, scenario, servers
from tests.transceiver.transport.test_peer import Pair
from transceiver.transport.sctp import MAX_HELD_MESSAGES, Association
from transceiver.transport.sctp_guard import MAX_STREAMS

OPEN = b"\x03" + bytes(11)
"""DATA_CHANNEL_OPEN (RFC 8832 §5.1) of a reliable, ordered channel without label or protocol."""


@pytest.mark.parametrize("channel_id", [0, 1, 2, 1000, MAX_STREAMS - 1])
def test_a_channel_that_was_negotiated_is_there_with_its_first_message(channel_id: int) -> None:
    async def test(both: Pair) -> None:
        channel, received = make(both, negotiated=True, id=channel_id)
        await is_answered(both, channel, received)
        channel.close()
        await until(lambda: channel.readyState == "closed")
        again, received = make(both, negotiated=True, id=channel_id)
        await is_answered(both, again, received)
        assert (both.server.opened, both.server.refused) == (2, {})

    scenario(test, label=None)


@pytest.mark.parametrize("turns", [0, 1, 5, 50])
def test_a_channel_may_be_closed_and_made_again(turns: int) -> None:
    """In one tick, in the next one, or when the first is gone."""

    async def test(both: Pair) -> None:
        channel, received = make(both)
        await is_answered(both, channel, received)
        for number in range(3):
            channel.close()
            for _ in range(turns):
                await asyncio.sleep(0)
            channel, received = make(both)
            await is_answered(both, channel, received)
            assert both.server.opened == 2 + number
        assert not both.server.refused

    scenario(test, label=None)


async def _reset(both: Pair, stream_id: int) -> None:
    """The client's half of a close, of which it does not wait for the other."""
    clients(both)._reconfig_queue.append(stream_id)
    await clients(both)._transmit_reconfig()


def test_a_stream_may_be_used_again_before_our_reset_is_done() -> None:
    async def test(both: Pair) -> None:
        sctp = clients(both)
        channel, received = make(both)
        await is_answered(both, channel, received)
        assert channel.id is not None
        both.pass_down = lambda _: False  # our answer, and our reset, are late
        await _reset(both, channel.id)
        await until(lambda: servers(both)._reconfig_request is not None)
        sctp._outbound_stream_seq.pop(channel.id, None)
        await sctp._send(channel.id, WEBRTC_DCEP, OPEN)
        await sctp._send(channel.id, WEBRTC_STRING, b"new")
        await until(lambda: servers(both)._held)
        assert both.server.messages == ["up"]
        both.pass_down = lambda _: True
        await until(lambda: both.server.messages == ["up", "new"])
        assert (both.server.opened, both.server.refused) == (2, {})
        assert not servers(both)._held

    scenario(test, label=None)


def test_what_is_held_for_a_stream_is_bounded() -> None:
    async def test(both: Pair) -> None:
        sctp = clients(both)
        channel, received = make(both)
        await is_answered(both, channel, received)
        assert channel.id is not None
        both.pass_down = lambda _: False
        await _reset(both, channel.id)
        await until(lambda: servers(both)._reconfig_request is not None)
        for _ in range(MAX_HELD_MESSAGES):
            await servers(both)._data_channel_receive(channel.id, WEBRTC_BINARY, b"x")
        with pytest.raises(ValueError, match="reset"):
            await servers(both)._data_channel_receive(channel.id, WEBRTC_BINARY, b"x")
        sctp.let_go()

    scenario(test, label=None)


def test_open_on_an_open_channel_is_of_a_client_that_resets_no_streams() -> None:
    async def test(both: Pair) -> None:
        channel, received = make(both)
        await is_answered(both, channel, received)
        assert channel.id is not None
        await clients(both)._send(channel.id, WEBRTC_DCEP, OPEN)
        await until(lambda: both.server.opened == 2)
        await is_answered(both, channel, received)
        assert not both.server.refused

    scenario(test, label=None)


# Restart (RFC 9260 §5.2.2)


async def _start_anew(both: Pair) -> Association:
    """The client's SCTP stack, as after a crash: it knows nothing of the association that stands."""
    peer = both.client.peer
    assert peer._terms is not None
    peer._dtls._unregister_data_receiver(peer._carrier)
    peer._carrier._sctp = None
    clients(both)._t3_cancel()
    peer._sctp = Association(peer._carrier, is_passive=False)
    await peer._start_sctp(peer._sctp, peer._terms)
    return peer._sctp


@pytest.mark.parametrize("how", ["crashed", "aborted"])
def test_a_client_may_start_its_association_anew(how: str) -> None:
    async def test(both: Pair) -> None:
        channel, received = make(both)
        await is_answered(both, channel, received)
        before = servers(both)
        if how == "aborted":
            await clients(both)._abort()
            await until(lambda: before.is_closed)
        for number in range(3):
            await _start_anew(both)
            channel, received = make(both)
            await is_answered(both, channel, received)
            assert both.server.opened == 2 + number
        assert servers(both) is not before
        assert before.is_closed
        assert not both.server.refused

    scenario(test, label=None)


def test_an_init_without_the_cookie_changes_nothing() -> None:
    async def test(both: Pair) -> None:
        channel, received = make(both)
        await is_answered(both, channel, received)
        stands, old = servers(both), clients(both)
        tag = old._local_verification_tag
        old._local_verification_tag = tag ^ 1
        old._remote_verification_tag, theirs = 0, old._remote_verification_tag
        for _ in range(3):
            await old._init()
            old._t1_cancel()
        old._local_verification_tag, old._remote_verification_tag = tag, theirs
        await old._init()  # with the tag that is known: a late copy of the first one
        old._t1_cancel()
        old._set_state(old.State.ESTABLISHED)
        await is_answered(both, channel, received)
        assert servers(both) is stands

    scenario(test, label=None)
