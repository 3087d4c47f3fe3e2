"""The exposition of a whole host."""

from __future__ import annotations

import math

from prometheus_client.parser import text_string_to_metric_families

from core.addr import Endpoint
from core.config import PopSettings
from core.keyring import Keyring
from core.service.metrics.daemon import OUTCOMES
from core.service.metrics.exposition import plain, render
from tests.exposition import complaints
from transceiver.host.catalogue import TASKS
from transceiver.host.metrics import HostStatus, host_exposition
from transceiver.host.pop_reports import PopReports
from transceiver.host.status_client import StatusClient

POPS = PopReports(
    [PopSettings("here", (Endpoint("192.0.2.1", 3478),))], Keyring({1: bytes(32)}, 1), None, StatusClient()
)
STATUS = HostStatus(
    "draining",
    restarts=[0, 3],
    reloads=dict.fromkeys(OUTCOMES, 1),
    pops=POPS,
    lost=[0, 2],
    regions={"https://us.example": True, "https://eu.example": False},
    locations_age_s=86_400.0,
)


def samples(expositions: dict[int, str]) -> dict[tuple[str, ...], float]:
    text = host_exposition(expositions, STATUS).decode()
    assert complaints(text) == ""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_workers_are_told_apart_and_one_that_is_silent_is_down() -> None:
    found = samples({1: render([plain(TASKS, 7)]).decode()})
    assert found["voxpop_transceiver_worker_up", "0"] == 0
    assert found["voxpop_transceiver_worker_up", "1"] == 1
    assert found["voxpop_transceiver_tasks", "1"] == 7
    assert ("voxpop_transceiver_tasks", "0") not in found


def test_what_the_supervisor_knows_is_there_without_any_worker() -> None:
    found = samples({})
    assert found["voxpop_daemon_state", "draining"] == 1
    assert found["voxpop_daemon_state", "ready"] == 0
    assert found["voxpop_daemon_worker_restarts_total", "1"] == 3
    assert found["voxpop_transceiver_calls_lost_total", "1"] == 2
    assert found["voxpop_transceiver_pop_up", "here"] == 1, "nobody can ask it"
    assert math.isnan(found["voxpop_transceiver_pop_load_ratio", "here"])
    assert found["voxpop_transceiver_region_up", "https://us.example"] == 1
    assert found["voxpop_transceiver_region_up", "https://eu.example"] == 0
    assert found["voxpop_transceiver_location_database_age_seconds",] == 86_400
    assert math.isnan(found["voxpop_transceiver_pop_clock_ahead_seconds", "here"])
