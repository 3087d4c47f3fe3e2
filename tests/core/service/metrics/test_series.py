"""core.service.metrics.series: what can be declared, and what rows follow from it."""

from __future__ import annotations

from enum import StrEnum

import pytest

from core.service.metrics import WORKER, Bound, Kind, Series, counter, gauge, histogram

HELP = "Packets by direction and outcome."


class Direction(StrEnum):
    UP = "up"
    DOWN = "down"


def test_rows_are_every_combination_but_those_that_cannot_be() -> None:
    series = counter(
        "voxpop_x_packets_total",
        HELP,
        without=[("down", "refused")],
        direction=Direction,
        outcome=("sent", "refused"),
    )
    assert series.rows == (("up", "sent"), ("up", "refused"), ("down", "sent"))
    assert series.is_closed
    assert all(series.admits(row) for row in series.rows)
    assert not series.admits(("down", "refused"))
    assert not series.admits(("sideways", "sent"))
    assert not series.admits(("up",))


def test_without_labels_there_is_one_row() -> None:
    assert gauge("voxpop_x_tasks", "Tasks of the event loop.").rows == ((),)


def test_a_label_that_the_configuration_bounds_has_no_place_in_the_rows() -> None:
    series = gauge(
        "voxpop_x_links", "Links by interface and state.", interface=Bound("of ours"), state=("up",)
    )
    assert series.rows == (("up",),)
    assert not series.is_closed
    assert series.admits(("eth0", "up"))
    assert not series.admits(("eth0", "down"))


def test_of_each_worker_puts_the_worker_first() -> None:
    series = counter("voxpop_x_packets_total", HELP, direction=Direction).of_each_worker()
    assert series.labels == {"worker": WORKER, "direction": ("up", "down")}


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("voxpop_x_bytes_total", "bytes"),
        ("voxpop_x_lag_seconds", "seconds"),
        ("voxpop_x_busy_ratio", "ratio"),
        ("voxpop_x_packets_total", None),
    ],
)
def test_the_unit_is_told_by_the_name(name: str, unit: str | None) -> None:
    kind = Kind.COUNTER if name.endswith("_total") else Kind.GAUGE
    assert Series(name, kind, HELP).unit == unit


@pytest.mark.parametrize(
    ("fault", "declare"),
    [
        ("is not voxpop_", lambda: gauge("x_tasks", HELP)),
        ("is not voxpop_", lambda: gauge("voxpop_xTasks", HELP)),
        ("_total if and only if", lambda: counter("voxpop_x_packets", HELP)),
        ("_total if and only if", lambda: gauge("voxpop_x_packets_total", HELP)),
        ("no sentence", lambda: gauge("voxpop_x_tasks", "tasks of the event loop")),
        ("buckets if and only if", lambda: histogram("voxpop_x_seconds", HELP, buckets=())),
        ("out of order", lambda: histogram("voxpop_x_seconds", HELP, buckets=(2.0, 1.0))),
        ("value twice", lambda: gauge("voxpop_x_tasks", HELP, state=("a", "a"))),
        ("without values", lambda: gauge("voxpop_x_tasks", HELP, state=())),
        ("cannot have", lambda: counter("voxpop_x_total", HELP, without=[("c",)], state=("a", "b"))),
    ],
)
def test_what_breaks_a_convention_cannot_be_declared(fault: str, declare: object) -> None:
    with pytest.raises(ValueError, match=fault):
        declare()  # type: ignore[operator]
