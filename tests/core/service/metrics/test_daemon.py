"""What every daemon tells of itself."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from core.service.build import VERSION
from core.service.metrics.daemon import DAEMON, OUTCOMES, State, families
from core.service.metrics.exposition import render
from tests.exposition import assert_is_catalogue, complaints


@pytest.mark.parametrize("state", State)
def test_one_state_is_on_and_the_others_are_there(state: str) -> None:
    text = render(families(state, dict.fromkeys(OUTCOMES, 0), [], 0.0)).decode()
    states = {
        sample.labels["state"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if family.name == "voxpop_daemon_state"
    }
    assert states == {known: float(known == state) for known in State}


def test_all_that_is_declared_is_shown_and_nothing_else() -> None:
    text = render(families("ready", {"done": 3, "refused": 1}, [0, 2], 1.8e9, schema="6")).decode()
    assert_is_catalogue(text, DAEMON)
    assert complaints(text) == ""
    assert f'voxpop_build_info{{commit="unknown",schema="6",version="{VERSION}"}} 1' in text
    assert 'voxpop_daemon_worker_restarts_total{worker="1"} 2' in text
    assert 'voxpop_daemon_reloads_total{outcome="done"} 3' in text
    assert "voxpop_daemon_drain_deadline_timestamp_seconds 1.8e+09" in text
