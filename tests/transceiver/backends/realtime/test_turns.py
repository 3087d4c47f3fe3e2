"""Turns that are told apart here, and what of the caller leaves for the backend."""

from __future__ import annotations

from tests.sound import frames, silence, speech
from transceiver.backends.realtime.turns import Heard, LocalTurns, local_settings
from transceiver.media import FRAME_MS, FRAME_NS
from transceiver.realtime.settings import TURN_DEFAULTS
from transceiver.turns.budget import NO_WAY, LastWord
from transceiver.turns.rule import START_WINDOW, Transition
from transceiver.turns.settings import SemanticVad, ServerVad

SETTINGS = ServerVad(prefix_padding_ms=100, silence_duration_ms=500)


def hear(turns: LocalTurns, *pieces: object) -> list[Heard]:
    told = []
    for piece in pieces:
        for frame in frames(piece):  # type: ignore[arg-type]
            told.append(turns.hear(frame, (turns.end_ms // FRAME_MS + 1) * FRAME_NS))  # noqa: PERF401
    return told


def test_only_a_turn_is_sent_with_a_little_from_before_it() -> None:
    turns = LocalTurns(SETTINGS, LastWord(NO_WAY))
    told = hear(turns, silence(1000), speech(), silence(1000))
    transitions = [(index, heard.transition) for index, heard in enumerate(told) if heard.transition]
    assert [transition for _, transition in transitions] == [Transition.STARTED, Transition.STOPPED]
    (start, _), (stop, _) = transitions
    sent = [frame for heard in told for frame in heard.frames]
    whole = [frame for piece in (silence(1000), speech(), silence(1000)) for frame in frames(piece)]
    padding = 100 // FRAME_MS + START_WINDOW
    assert sent == whole[start + 1 - padding : stop + 1]
    assert turns.start_ms == (start + 1 - padding) * FRAME_MS
    assert turns.speech_end_ms <= turns.end_ms


def test_an_abandoned_turn_leaves_nothing_behind() -> None:
    turns = LocalTurns(SETTINGS, LastWord(NO_WAY))
    hear(turns, speech()[: 24 * 600])
    assert turns.in_turn
    turns.abandon()
    told = hear(turns, silence(1000))
    assert all(heard == Heard((), None) for heard in told)


def test_settings_of_a_session_are_those_of_the_rule() -> None:
    assert local_settings({**TURN_DEFAULTS["server_vad"], "model_version": "x"}) == ServerVad()
    assert local_settings({**TURN_DEFAULTS["semantic_vad"], "eagerness": "low"}) == SemanticVad("low")
