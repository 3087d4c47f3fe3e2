"""Which steps are played, and what is kept of them."""

from __future__ import annotations

import pytest

from tests.acceptance.steps import Done, UnknownStepError, chosen, from_text, lacking, table, to_text

NAMES = ["images", "boot", "provision", "call"]
DONE = {"images": Done(61.4, "2 images"), "boot": Done(3600.0, "both answer")}


def test_without_a_wish_all_steps_are_played() -> None:
    assert chosen(NAMES, None, []) == NAMES


def test_from_a_step_on() -> None:
    assert chosen(NAMES, "boot", []) == ["boot", "provision", "call"]


def test_only_some_and_in_their_order() -> None:
    assert chosen(NAMES, None, ["call", "boot"]) == ["boot", "call"]
    assert chosen(NAMES, "boot", ["call", "images"]) == ["call"]


@pytest.mark.parametrize(("first", "only"), [("bot", []), (None, ["call", "bot"])], ids=["from", "only"])
def test_a_name_that_no_step_has_is_refused_with_those_that_there_are(
    first: str | None, only: list[str]
) -> None:
    with pytest.raises(UnknownStepError, match=r"no step bot\. Steps: images, boot, provision, call"):
        chosen(NAMES, first, only)


def test_what_was_never_done_before_the_first_is_told() -> None:
    assert lacking(NAMES, ["call"], DONE) == ["provision"]
    assert lacking(NAMES, ["provision", "call"], DONE) == []
    assert lacking(NAMES, NAMES, {}) == []


def test_the_state_of_a_run_is_found_again() -> None:
    assert from_text(to_text(DONE)) == DONE


@pytest.mark.parametrize("text", ["", "[1]", '{"boot": {}}', '{"boot": {"seconds": "x", "found": ""}}'])
def test_another_file_is_no_state(text: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
        from_text(text)


def test_the_table_has_the_time_of_each_step_and_says_which_failed() -> None:
    assert table(NAMES, DONE, "provision").splitlines() == [
        "step        time  seen",
        "images      1:01  2 images",
        "boot       60:00  both answer",
        "provision      —  FAILED",
        "call           —  not played",
        "all        61:01",
    ]
