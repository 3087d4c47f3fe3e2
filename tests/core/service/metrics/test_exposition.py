"""core.service.metrics.exposition: what Prometheus gets to read."""

from __future__ import annotations

import os

import pytest

from core.service.metrics import WORKER, Bound, Recorder, counter, gauge, histogram
from core.service.metrics.exposition import (
    PROCESS,
    by_label,
    by_worker,
    family,
    merge,
    of_this_process,
    plain,
    recorded,
    render,
)
from tests.exposition import assert_is_catalogue, complaints

PACKETS = counter(
    "voxpop_x_packets_total", "Packets by direction and outcome.", direction=("up", "down"), outcome=("sent",)
)
TASKS = gauge("voxpop_x_tasks", "Tasks of the event loop.")
FLOWS = gauge("voxpop_x_flows", "Flows by worker, as they are.", worker=WORKER)
LINKS = gauge("voxpop_x_links", "Links by interface and mode.", interface=Bound("ours"), mode=("on", "off"))
TOOK = histogram("voxpop_x_took_seconds", "What things took, all in all.", buckets=(0.1, 1.0))


def test_the_text_is_what_prometheus_reads() -> None:
    text = render(
        [family(PACKETS, {("up", "sent"): 3, ("down", "sent"): 0}), plain(TASKS, 2), by_worker(FLOWS, [5, 7])]
    ).decode()
    assert text == (
        "# HELP voxpop_x_packets_total Packets by direction and outcome.\n"
        "# TYPE voxpop_x_packets_total counter\n"
        'voxpop_x_packets_total{direction="up",outcome="sent"} 3.0\n'
        'voxpop_x_packets_total{direction="down",outcome="sent"} 0.0\n'
        "# HELP voxpop_x_tasks Tasks of the event loop.\n"
        "# TYPE voxpop_x_tasks gauge\n"
        "voxpop_x_tasks 2.0\n"
        "# HELP voxpop_x_flows Flows by worker, as they are.\n"
        "# TYPE voxpop_x_flows gauge\n"
        'voxpop_x_flows{worker="0"} 5.0\n'
        'voxpop_x_flows{worker="1"} 7.0\n'
    )
    assert complaints(text) == ""
    assert_is_catalogue(text, [PACKETS, TASKS, FLOWS])


def test_the_linter_is_heard() -> None:
    assert "no help text" in complaints("voxpop_x_tasks 2.0\n")


def test_a_histogram_is_cumulative() -> None:
    recorder = Recorder([TOOK])
    for seconds in (0.05, 0.5, 0.5, 7.0):
        recorder.observe(TOOK, seconds)
    lines = render(recorded(recorder)).decode().splitlines()
    assert lines[2:] == [
        'voxpop_x_took_seconds_bucket{le="0.1"} 1.0',
        'voxpop_x_took_seconds_bucket{le="1.0"} 3.0',
        'voxpop_x_took_seconds_bucket{le="+Inf"} 4.0',
        "voxpop_x_took_seconds_count 4.0",
        "voxpop_x_took_seconds_sum 8.05",
    ]


@pytest.mark.parametrize(
    "values",
    [
        {("up", "sent"): 1},
        {("up", "sent"): 1, ("down", "sent"): 1, ("down", "lost"): 1},
        {("up", "sent"): 1, ("down",): 1},
    ],
)
def test_rows_that_were_not_declared_or_are_missing_are_not_shown(values: dict[tuple[str, ...], int]) -> None:
    with pytest.raises(ValueError, match="voxpop_x_packets_total: undeclared"):
        family(PACKETS, values)


def test_a_value_that_was_not_declared_is_not_shown_beside_one_that_is_bounded_by_the_configuration() -> None:
    with pytest.raises(ValueError, match="voxpop_x_links: undeclared"):
        family(LINKS, {("eth0", "on"): 1, ("eth0", "broken"): 1})


def test_the_texts_of_workers_become_one() -> None:
    one, other = (
        render(
            [
                by_label(
                    gauge("voxpop_x_states", "Things by state of them.", state=("a", "b")), {"a": n, "b": 0}
                )
            ]
        )
        for n in (1, 2)
    )
    merged = render(merge({0: one.decode(), 2: other.decode()})).decode()
    assert merged.splitlines()[2:] == [
        'voxpop_x_states{state="a",worker="0"} 1.0',
        'voxpop_x_states{state="b",worker="0"} 0.0',
        'voxpop_x_states{state="a",worker="2"} 2.0',
        'voxpop_x_states{state="b",worker="2"} 0.0',
    ]


def test_the_standard_series_of_a_process_are_those_that_are_declared() -> None:
    families = list(of_this_process())
    assert_is_catalogue(render(families).decode(), PROCESS)
    [start] = [f.samples[0].value for f in families if f.name == "process_start_time_seconds"]
    assert start == pytest.approx(os.stat("/proc/self").st_ctime, abs=30)  # noqa: PTH116 - not a file
