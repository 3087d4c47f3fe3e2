"""What a scrape of a checker reads."""

from __future__ import annotations

from collections import Counter

from prometheus_client.parser import text_string_to_metric_families

from edge.health.answers import Outcome
from edge.health.metrics import ANNOUNCE, render
from edge.health.standing import State
from tests.exposition import assert_is_catalogue, complaints


def test_a_scrape_is_what_is_declared_and_what_prometheus_likes() -> None:
    text = render(State.WITHDRAWN, Counter(), Counter()).decode()
    assert_is_catalogue(text, ANNOUNCE)
    assert complaints(text) == ""


def test_every_row_is_there_from_the_first_scrape() -> None:
    text = render(State.DRAINING, Counter({Outcome.LATE: 3}), Counter()).decode()
    read = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert [read["voxpop_announce_state", state] for state in State] == [0, 0, 0, 1]
    assert [read["voxpop_announce_changes_total", state] for state in State] == [0] * 4
    assert {outcome: read["voxpop_announce_checks_total", outcome] for outcome in Outcome} == {
        outcome: 3 * (outcome is Outcome.LATE) for outcome in Outcome
    }
