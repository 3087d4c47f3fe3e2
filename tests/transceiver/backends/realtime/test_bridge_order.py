"""Whatever a backend and a client say, in whatever order: no crash, no sound of what is over, bounded."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.transceiver.backends.realtime.wire import Wire
from transceiver.backends.realtime.answers import MAX_RESPONSES
from transceiver.backends.realtime.dialect import Dialect
from transceiver.media import FRAME_MS, SAMPLE_RATE

LIMIT_MS = 500
numbers = st.integers(1, 4)
ids = st.sampled_from(["item_1", "item_2", "resp_1", "vox_1", "vox_2", "vox_3", "", None, 7])
junk: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "audio", "resp_1", "none"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "type", "audio", "input", "session", "content"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)
MEMBERS = (
    "response", "session", "item", "item_id", "response_id", "content_index", "delta", "error", "event_id",
    "previous_item_id", "audio_end_ms", "transcript",
)  # fmt: skip
SERVER = (
    "error", "session.created", "session.updated", "conversation.item.added", "conversation.item.done",
    "conversation.item.deleted", "conversation.item.truncated", "conversation.item.retrieved",
    "conversation.item.input_audio_transcription.completed", "input_audio_buffer.committed",
    "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped", "output_audio_buffer.started",
    "response.created", "response.done", "response.output_audio.delta", "response.output_audio.done",
    "response.output_audio_transcript.done", "response.output_item.done", "rate_limits.updated", "x",
)  # fmt: skip
CLIENT = (
    "session.update", "input_audio_buffer.append", "input_audio_buffer.commit", "input_audio_buffer.clear",
    "output_audio_buffer.clear", "conversation.item.create", "conversation.item.retrieve",
    "conversation.item.delete", "conversation.item.truncate", "response.create", "response.cancel", "x",
)  # fmt: skip
OURS = {f"item_{number}_{part}" for number in range(1, 5) for part in range(2)}
"""Items whose truncations only the bridge asks for."""
members = st.dictionaries(st.sampled_from(MEMBERS), junk | ids, max_size=4)


class AnyOrder(RuleBasedStateMachine):
    @initialize(
        turns=st.sampled_from(["ours", "backend"]),
        audio=st.sampled_from(["pcm_24000", "pcm_16000", "pcmu"]),
        dialect=st.sampled_from(list(Dialect)),
    )
    def begin(self, turns: str, audio: str, dialect: Dialect) -> None:
        self.wire = Wire(turns=turns, audio=audio, dialect=dialect, limit_ms=LIMIT_MS)
        self.begun: Counter[object] = Counter()
        """How often a response of that id was said to begin."""

    @rule(kind=st.sampled_from(SERVER), more=members)
    def backend_says_anything(self, kind: str, more: dict[str, Any]) -> None:
        if kind == "response.output_audio.delta":
            more = {**more, "delta": "AAAA"}
        if kind == "response.created" and isinstance(more.get("response"), dict):
            self.begun[str(more["response"].get("id"))] += 1
        self.wire.say(kind, **{**more, "event_id": "event_b"})

    @rule(kind=st.sampled_from(CLIENT), more=members)
    def client_says_anything(self, kind: str, more: dict[str, Any]) -> None:
        before = len(self.wire.client)
        self.wire.ask(kind, **more)
        errors = [event for event in self.wire.client[before:] if event["type"] == "error"]
        assert len(errors) <= 1 + kind.startswith(("response.cancel", "output_audio")) * 8

    @rule(number=numbers)
    def begins(self, number: int) -> None:
        self.begun[f"resp_{number}"] += 1
        self.wire.respond(number)

    @rule(number=numbers, audio_ms=st.integers(0, 700), part=st.integers(0, 1))
    def speaks(self, number: int, audio_ms: int, part: int) -> None:
        self.wire.delta(audio_ms, number, item=f"item_{number}_{part}")

    @rule(number=numbers)
    def ends(self, number: int) -> None:
        self.wire.done(number)

    @rule()
    def client_interrupts(self) -> None:
        self.wire.ask("output_audio_buffer.clear")
        self.wire.tick()  # the fade
        self.wire.wait(FRAME_MS * 2)
        assert self.wire.bridge.is_lost or self.wire.is_silent(2)
        assert self.wire.bridge.answers.playout.waiting == 0

    @rule()
    def backend_goes_and_comes(self) -> None:
        if not self.wire.bridge.is_lost:
            self.wire.bridge.lost()
            self.wire.backend.clear()  # the next one is another
        else:
            self.wire.bridge.connected()

    @rule(count=st.integers(1, 10))
    def time_passes(self, count: int) -> None:
        self.wire.wait(count * FRAME_MS)

    @invariant()
    def nothing_is_lost_made_up_or_without_end(self) -> None:
        if not hasattr(self, "wire"):
            return
        playout = self.wire.bridge.answers.playout
        counts = playout.counts
        assert counts.received == counts.played + counts.dropped + playout.waiting
        assert playout.waiting <= LIMIT_MS * SAMPLE_RATE // 1000
        assert len(self.wire.bridge.answers._responses) <= MAX_RESPONSES

    @invariant()
    def every_event_is_one(self) -> None:
        """With an id of its own, as JSON; and sounds that begin and end in pairs."""
        if not hasattr(self, "wire"):
            return
        told = self.wire.client
        json.dumps(told)
        assert len({event["event_id"] for event in told}) == len(told)
        sounding: list[object] = []
        for event in told:
            if event["type"] == "output_audio_buffer.started":
                assert event["response_id"] not in sounding
                sounding.append(event["response_id"])
            elif event["type"] in ("output_audio_buffer.stopped", "output_audio_buffer.cleared"):
                sounding.remove(event["response_id"])

    @invariant()
    def nothing_is_cancelled_twice(self) -> None:
        if hasattr(self, "wire"):
            sent = [event for event in self.wire.backend if event["type"] == "response.cancel"]
            assert Counter(event["response_id"] for event in sent) <= self.begun

    @invariant()
    def truncations_are_whole_and_no_more_than_is_heard(self) -> None:
        """Of an item the last one counts; one that was longer than the queue has others before it."""
        if not hasattr(self, "wire"):
            return
        playout = self.wire.bridge.answers.playout
        heard_ms = (playout.counts.played + playout.waiting) * 1000 // SAMPLE_RATE
        for events, kind in ((self.wire.backend, "truncate"), (self.wire.client, "truncated")):
            truncations = [event for event in events if event["type"] == f"conversation.item.{kind}"]
            last = {str(event.get("item_id")): event.get("audio_end_ms") for event in truncations}
            for item_id in OURS & last.keys():
                end_ms = last[item_id]
                assert isinstance(end_ms, int)
                assert 0 <= end_ms <= heard_ms


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
