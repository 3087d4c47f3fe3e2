"""core.scale.assumptions: what follows from them."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.config.tables import DataplaneSettings, RelaySettings, StoreSettings, TransceiverSettings
from core.scale.assumptions import Layout, Plan, PopHost, Shard, TransceiverHost
from edge.host.fastpath import media_rates
from tests.core.scale.kit import ROUND
from tests.transceiver.media.simulation import long_frames, pair, pushed
from transceiver.media.codec import AudioCodec
from transceiver.media.sender import BITRATE

CALLS = ROUND.traffic


def test_a_call_by_hand() -> None:
    assert CALLS.flows_per_call == 2
    assert CALLS.begins_per_s == 10_000
    assert CALLS.call_packets_per_s == 50 + 1 + 2 / 2
    assert replace(CALLS, events_per_s=3).call_packets_per_s == 55
    assert CALLS.frame_bytes == 80 + 12 + 10 + 8 + 20 + 38


@pytest.mark.parametrize(
    ("pops", "lost", "left"),
    [(30, 1 / 3, 20), (12, 1 / 3, 8), (4, 1 / 3, 2), (3, 0.0, 3), (1, 0.9, 1), (2, 0.9, 1)],
)  # fmt: skip
def test_pops_left(pops: int, lost: float, left: int) -> None:
    assert Layout(pops=pops, lost=lost).pops_left == left


@given(st.integers(1, 10_000), st.floats(0, 0.9))
@settings(max_examples=200)
def test_one_pop_at_least_is_left(pops: int, lost: float) -> None:
    assert 1 <= Layout(pops=pops, lost=lost).pops_left <= pops


def test_a_packet_of_ours_is_as_long_as_the_model_has_it() -> None:
    """Real audio through the real sender, with the tag of SRTP."""
    talker, _ = pair(AudioCodec(111))
    sizes = [len(pushed(talker, frame, 0)) for frame in long_frames(8.0)]
    assumed = replace(CALLS, audio_bits_per_s=BITRATE).frame_bytes - 38 - 20 - 8
    assert sum(sizes) / len(sizes) == pytest.approx(assumed, rel=0.05)


def test_defaults_of_the_configuration_are_those_of_the_model() -> None:
    """But for `max_flows`, which every large host has to set."""
    host = PopHost()
    dataplane = DataplaneSettings(interfaces=("eth0",), backbone=("192.0.2.1",))
    assert host.idle_timeout_s == default(RelaySettings, "idle_timeout_s")
    assert host.punt_pps == dataplane.punt_total_pps
    assert (host.punt_media_source_pps, host.punt_media_pps) == media_rates(dataplane, has_store=True)
    first, last = dataplane.nat_ports
    assert host.nat_ports == last - first + 1
    assert TransceiverHost().max_sessions == default(TransceiverSettings, "max_sessions")
    assert Shard().lease_s == default(StoreSettings, "flow_lease_s")


def default(table: type, key: str) -> object:
    """Of a key of the configuration."""
    return next(field.default for field in fields(table) if field.name == key)


def test_the_plan_is_of_ten_million_calls() -> None:
    assert Plan().traffic.calls == 10_000_000
