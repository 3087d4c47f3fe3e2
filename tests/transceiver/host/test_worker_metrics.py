"""transceiver.host.worker_metrics: what a worker was told of, as series."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from core.service.metrics import gauge
from core.service.metrics.exposition import plain
from transceiver.host import catalogue
from transceiver.host.worker_metrics import Metrics
from transceiver.media.path import PathStats
from transceiver.observer import EVENTS, SESSIONS_ENDED, EndReason, Observer, Stage
from transceiver.realtime.client_events import EventStats
from transceiver.session.manager import COUNTERS


def grown(metrics: Metrics) -> dict[str, float]:
    """Samples of ours that are not 0, but for the buckets."""
    return {
        f"{sample.name}{{{','.join(sample.labels.values())}}}": sample.value
        for family in text_string_to_metric_families(metrics.exposition().decode())
        for sample in family.samples
        if sample.value and sample.name.startswith("voxpop_") and "le" not in sample.labels
    }


def test_each_event_is_shown_under_its_name() -> None:
    metrics = Metrics()
    observer: Observer = metrics
    observer.setup_stage(Stage.ICE, 0.25)
    observer.turn(0.5)
    observer.session_ended(EndReason.SILENT)
    observer.count(SESSIONS_ENDED, EndReason.SILENT)
    observer.packet_refused("unknown_ufrag")
    observer.packet_refused("made up")
    observer.request_refused("sdp_no_audio")
    assert grown(metrics) == {
        "voxpop_transceiver_session_setup_seconds_count{ice}": 1,
        "voxpop_transceiver_session_setup_seconds_sum{ice}": 0.25,
        "voxpop_transceiver_turn_latency_seconds_count{}": 1,
        "voxpop_transceiver_turn_latency_seconds_sum{}": 0.5,
        "voxpop_transceiver_sessions_ended_total{silent}": 2,
        "voxpop_transceiver_refusals_total{unknown_ufrag}": 1,
        "voxpop_transceiver_refusals_total{other}": 1,
        "voxpop_transceiver_http_refusals_total{sdp_no_audio}": 1,
    }


def test_what_was_not_declared_cannot_be_reported() -> None:
    with pytest.raises(KeyError):
        Metrics().setup_stage("lunch", 1.0)
    with pytest.raises(KeyError):
        Metrics().count(EVENTS[0], "ice")


def test_what_is_registered_is_read_at_each_scrape() -> None:
    depth = gauge("voxpop_transceiver_depth", "How deep it is at the moment.")
    values = iter((1.0, 2.0))
    metrics = Metrics()
    metrics.register(lambda: [plain(depth, next(values))])
    assert grown(metrics) == {"voxpop_transceiver_depth{}": 1.0}
    assert grown(metrics) == {"voxpop_transceiver_depth{}": 2.0}


def test_session_counters_name_what_sessions_count() -> None:
    named = [member for counted in catalogue.SESSION_COUNTERS for member in counted.members.values()]
    assert set(named) <= set(COUNTERS)
    assert len(set(named)) == len(named), "each is shown once"
    for member in named:
        stats = EventStats() if member.startswith("events_") else PathStats()
        assert getattr(stats, member.removeprefix("events_")) == 0
