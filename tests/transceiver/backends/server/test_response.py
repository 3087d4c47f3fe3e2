"""The events of a response, in the protocol's order, and what they say together."""

from __future__ import annotations

import json
from typing import Any

from transceiver.backends.server.client import Client
from transceiver.backends.server.response import Response
from transceiver.media import FRAME_BYTES
from transceiver.realtime.event import Event


class Told:
    def __init__(self, **settings: object) -> None:
        self.events: list[Event] = []
        self.client = Client("sess_test", "m", self._receive, lambda: False)
        self.client.settings = self.client.settings.updated(settings)

    def _receive(self, event: Event) -> None:
        self.events.append(json.loads(json.dumps(event)))

    def kinds(self) -> list[object]:
        return [event["type"] for event in self.events]

    def done(self) -> dict[str, Any]:
        response = self.events[-1]["response"]
        assert isinstance(response, dict)
        return response


def test_speech_comes_after_its_words_and_ends_in_an_item_that_has_them() -> None:
    told = Told()
    response = Response(told.client)
    response.say("It is ")
    response.speak(bytes(FRAME_BYTES))
    response.say("three.")
    response.speak(bytes(FRAME_BYTES))
    response.complete(total_ms=7)
    assert told.kinds() == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
    ]
    (item,) = told.done()["output"]
    assert item["content"] == [{"type": "output_audio", "transcript": "It is three."}]
    assert told.client.conversation.find(item["id"]) == item
    assert told.events[-1]["voxpop"] == {"total_ms": 7}
    assert told.done()["status"] == "completed"


def test_a_client_that_wants_text_gets_text() -> None:
    told = Told(output_modalities=["text"])
    response = Response(told.client)
    assert response.is_text
    response.say("Three.")
    response.complete()
    assert "response.output_text.delta" in told.kinds()
    assert not any("audio" in str(kind) for kind in told.kinds())
    (item,) = told.done()["output"]
    assert item["content"] == [{"type": "output_text", "text": "Three."}]


def test_one_response_may_want_what_the_session_does_not() -> None:
    request = {"response": {"output_modalities": ["text"], "metadata": {"mine": "1"}}}
    told = Told()
    response = Response(told.client, request)
    response.complete()
    assert told.done()["output_modalities"] == ["text"]
    assert told.done()["metadata"] == {"mine": "1"}


def test_a_function_call_is_an_item_of_its_own() -> None:
    told = Told()
    response = Response(told.client)
    response.say("A moment.")
    call_id = response.call("get_time", '{"zone":"UTC"}')
    response.complete()
    message, call = told.done()["output"]
    assert (message["type"], call["type"], call["call_id"]) == ("message", "function_call", call_id)
    assert (call["name"], call["arguments"], call["status"]) == ("get_time", '{"zone":"UTC"}', "completed")
    places = [event["output_index"] for event in told.events if event["type"] == "response.output_item.done"]
    assert places == [0, 1]


def test_what_is_broken_off_says_why_and_is_incomplete() -> None:
    told = Told()
    response = Response(told.client)
    response.say("It is")
    response.cancel("turn_detected")
    done = told.done()
    assert (done["status"], done["status_details"]) == (
        "cancelled",
        {"type": "cancelled", "reason": "turn_detected"},
    )
    assert done["output"][0]["status"] == "incomplete"
    Response(told.client).fail("no_voice")
    assert told.done()["status_details"] == {
        "type": "failed",
        "error": {"type": "server_error", "code": "no_voice"},
    }
