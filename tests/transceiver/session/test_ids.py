"""Session ids: made, and read back by whoever gets one in a path."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transceiver.session.ids import new_session_id, owner_of


@given(st.integers(0, 255))
def test_an_id_names_its_owner(owner: int) -> None:
    assert owner_of(new_session_id(owner)) == owner


def test_no_two_are_alike_and_each_has_128_random_bits() -> None:
    ids = {new_session_id(7) for _ in range(1000)}
    assert len(ids) == 1000
    assert {len(each.partition("-")[2]) for each in ids} == {22}, "16 bytes in base64"


GOOD = "rtc_7-b2VoNR6Nn69IuSoQ6nTRSg"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rtc_",
        GOOD.removeprefix("rtc_"),
        GOOD.upper(),
        GOOD + "x",
        GOOD[:-1],
        GOOD + "\n",
        " " + GOOD,
        "rtc_-" + "x" * 22,
        "rtc_1000-" + "x" * 22,
        "rtc_٣-" + "x" * 22,
        "rtc_7-" + "x" * 21 + "/",
    ],
)
def test_what_is_no_id_has_no_owner(text: str) -> None:
    assert owner_of(GOOD) == 7
    assert owner_of(text) is None


@given(st.text(max_size=40))
def test_any_text_may_be_asked_for(text: str) -> None:
    assert owner_of(text) is None or text.startswith("rtc_")
