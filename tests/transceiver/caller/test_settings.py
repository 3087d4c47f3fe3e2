"""What goes along with an offer when nobody said anything about turns, and when somebody did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from yarl import URL

from transceiver.caller.api import calls_url
from transceiver.caller.settings import QUICK_SILENCE_MS, probe_session
from transceiver.turns.settings import SemanticVad, ServerVad, TurnDetection, read_turn_detection

REALTIME = calls_url("https://voice.example.net")
QUICK = ServerVad(silence_duration_ms=QUICK_SILENCE_MS)


@pytest.mark.parametrize(
    "session",
    [
        {},
        {"voice": "parrot"},
        {"audio": {}},
        {"audio": {"output": {"voice": "x"}, "input": {"noise_reduction": None}}},
    ],
)
def test_a_probe_asks_for_quick_turns_and_keeps_what_it_was_given(session: dict[str, Any]) -> None:
    sent: Mapping[str, Any] = probe_session(REALTIME, session)
    assert read_turn_detection(sent, ServerVad()) == QUICK
    assert sent["type"] == "realtime"
    assert {name: sent[name] for name in session if name != "audio"} == {
        name: value for name, value in session.items() if name != "audio"
    }
    for name, value in session.get("audio", {}).items():
        assert sent["audio"][name].items() >= value.items()


@pytest.mark.parametrize(
    ("session", "turns"),
    [
        ({"turn_detection": None}, None),
        ({"audio": {"input": {"turn_detection": None}}}, None),
        ({"turn_detection": {"type": "server_vad"}}, ServerVad()),
        ({"audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}}, SemanticVad()),
    ],
)
def test_turns_that_the_user_speaks_of_are_the_users(
    session: dict[str, Any], turns: TurnDetection | None
) -> None:
    sent = probe_session(REALTIME, session)
    assert sent == session
    assert read_turn_detection(sent, ServerVad()) == turns


@pytest.mark.parametrize("session", [{"audio": 1}, {"audio": None}, {"audio": {"input": "loud"}}])
def test_what_is_malformed_is_the_servers_to_refuse(session: dict[str, Any]) -> None:
    assert probe_session(REALTIME, session) == session


def test_a_whip_endpoint_gets_an_offer_and_nothing_else() -> None:
    assert probe_session(URL("https://media.example.net/whip/room"), {}) == {}
