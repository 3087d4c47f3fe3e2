"""Descriptions as values."""

from __future__ import annotations

import dataclasses

import pytest

from tests.transceiver.descriptions import CHROMIUM, LOCAL, audio_only
from transceiver.sdp import build_answer, parse_answer_untrusted, parse_offer_untrusted


def test_mids_are_those_of_the_sections_that_are_accepted() -> None:
    offer = parse_offer_untrusted(CHROMIUM)
    assert (offer.audio_mid, offer.data_mid) == ("0", "1")
    swapped = dataclasses.replace(offer, audio_index=1, data_index=0)
    assert (swapped.audio_mid, swapped.data_mid) == ("1", "0")
    assert parse_offer_untrusted(audio_only(CHROMIUM)).data_mid is None


def test_passwords_stay_out_of_logs() -> None:
    offer = parse_offer_untrusted(CHROMIUM)
    answer = parse_answer_untrusted(build_answer(offer, LOCAL))
    for value in (offer, answer, LOCAL):
        assert value.password not in repr(value)


def test_nobody_changes_a_description() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        parse_offer_untrusted(CHROMIUM).ufrag = "x"  # type: ignore[misc]
