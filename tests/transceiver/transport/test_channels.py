"""Which channel is the event channel, as clients in the world open, close and name them."""

from __future__ import annotations

import pytest
from aiortc.rtcsctptransport import WEBRTC_STRING

from tests.transceiver.net import until
from tests.transceiver.transport.channel_kit import clients, is_answered, make, scenario
from tests.transceiver.transport.test_peer import Pair
from transceiver.transport import channels as channels_module
from transceiver.transport.channels import CHANNEL_LABEL, MAX_WAITING_CHANNELS
from transceiver.transport.reasons import ChannelReason


@pytest.mark.parametrize("label", ["chat", CHANNEL_LABEL + "x", "", "Ereignisse ü"])
def test_the_first_channel_is_the_event_channel_whatever_its_label(label: str) -> None:
    async def test(both: Pair) -> None:
        channel, received = make(both, label)
        await is_answered(both, channel, received)
        assert (both.server.opened, both.server.refused) == (1, {})

    scenario(test, label=None)


def test_one_of_the_right_name_takes_the_place_of_one_of_another() -> None:
    async def test(both: Pair) -> None:
        other, _ = make(both, "keepalive")
        ours, received = make(both)
        await is_answered(both, ours, received)
        await until(lambda: other.readyState == "closed")
        assert (both.server.opened, both.server.refused) == (2, {ChannelReason.OTHER_CHANNEL: 1})

    scenario(test, label=None)


@pytest.mark.parametrize("label", ["chat", CHANNEL_LABEL])
def test_a_second_channel_is_closed_after_a_while_and_counted(
    label: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels_module, "GRACE_S", 0.05)

    async def test(both: Pair) -> None:
        await until(lambda: both.client.opened and both.server.opened)
        second, _ = make(both, label)
        await until(lambda: second.readyState == "closed")
        assert (both.server.opened, both.server.refused) == (1, {ChannelReason.OTHER_CHANNEL: 1})
        assert both.server.peer.send_message("still here")
        await until(lambda: both.client.messages == ["still here"])

    scenario(test)


def test_only_so_many_channels_wait() -> None:
    async def test(both: Pair) -> None:
        first, received = make(both)
        more = [make(both)[0] for _ in range(MAX_WAITING_CHANNELS + 3)]
        await until(lambda: both.server.refused[ChannelReason.OTHER_CHANNEL] == 3)
        await until(lambda: [c.readyState for c in more].count("closed") == 3)
        await is_answered(both, first, received)

    scenario(test, label=None)


def test_json_as_binary_is_text_and_other_bytes_are_answered_and_counted() -> None:
    async def test(both: Pair) -> None:
        channel, _ = make(both)
        await until(lambda: channel.readyState == "open")
        channel.send('{"type":"ü"}'.encode())
        channel.send(b"")
        channel.send(b"\xff\xfe\0")
        await until(lambda: len(both.server.messages) == 3)
        assert both.server.messages == ['{"type":"ü"}', "", ""]
        assert both.server.refused == {ChannelReason.BINARY_MESSAGE: 1}

    scenario(test, label=None)


def test_text_that_is_no_utf_8_is_not_met_with_silence() -> None:
    async def test(both: Pair) -> None:
        channel, _ = make(both)
        await until(lambda: channel.readyState == "open")
        assert channel.id is not None
        await clients(both)._send(channel.id, WEBRTC_STRING, b'{"type":"\xff"}')
        await until(lambda: both.server.messages == ['{"type":"�"}'])

    scenario(test, label=None)


def test_a_channel_that_is_made_before_the_first_is_closed_follows_it() -> None:
    async def test(both: Pair) -> None:
        first, received = make(both)
        await is_answered(both, first, received)
        second, received = make(both)
        await until(lambda: second.readyState == "open")  # the server has seen it
        first.close()
        await is_answered(both, second, received)
        assert (both.server.opened, both.server.refused) == (2, {})

    scenario(test, label=None)
