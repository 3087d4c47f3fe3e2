"""One call between its client and a backend of the Realtime protocol: who is told what. Sans-IO.

The client speaks the protocol as it is over WebRTC, the backend as it is over a WebSocket. The difference
is audio, and with it everything that only who plays it can know: when the caller hears something, how much
of it, and what a cut has cost. docs/realtime.md has the rules, event by event.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final

from transceiver.backends.realtime.answers import Answers
from transceiver.backends.realtime.item_ids import ItemIds
from transceiver.backends.realtime.loss import LossTone
from transceiver.backends.realtime.outbox import Asked, Outbox
from transceiver.backends.realtime.replay import items_to_retell
from transceiver.backends.realtime.terms import BridgePlan, Terms
from transceiver.backends.realtime.turns import LocalTurns, local_settings
from transceiver.realtime.event import EmitEvent, Event
from transceiver.realtime.items import Conversation
from transceiver.realtime.server_events import EventChannel, shortened, unknown_item_code
from transceiver.realtime.settings import SessionSettings
from transceiver.turns.budget import Budgets, TurnAccount
from transceiver.turns.rule import Transition

logger = logging.getLogger(__name__)

NOT_TOLD: Final = (
    "session.created",
    "conversation.created",
    "output_audio_buffer.started",
    "output_audio_buffer.stopped",
    "output_audio_buffer.cleared",
)
"""Of a backend's events: what the client is not told, for it is not so, or we tell it ourselves."""
SPEECH: Final = (
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.timeout_triggered",
)


COMMIT_EMPTY: Final = "input_audio_buffer_commit_empty"


class Bridge:
    """`emit` takes events for the client, `send` those for the backend, in the words of the GA version.

    `settings` are what the client has asked for so far.
    """

    def __init__(
        self,
        plan: BridgePlan,
        session_id: str,
        settings: SessionSettings,
        budgets: Budgets,
        emit: EmitEvent,
        send: Callable[[Event], None],
    ) -> None:
        self._plan = plan
        self._session_id = session_id
        self._channel = EventChannel(session_id, emit)
        self._ids = ItemIds()
        self._outbox = Outbox(send, self._ids.to_backend)
        self._budgets = budgets
        self._conversation = Conversation()
        self._answers = Answers(self._channel, self._outbox, self._conversation, budgets, plan.limit_ms)
        self._terms = Terms(plan, session_id, settings, self._channel, self._outbox)
        self._turns: LocalTurns | None = None
        self._turn_item = ""
        self._has_spoken = False
        """The backend has sent its first event."""
        self._tone: LossTone | None = None
        """While the backend is lost."""
        self._now_ns = 0
        self._follow_turns()

    # The connection

    def connected(self) -> None:
        """A connection is there, whose backend knows nothing yet. Also called after each `lost`."""
        self._tone = None
        self._terms.begin()
        retold = items_to_retell(self._conversation.items)
        self._ids.retell(retold)
        for item in retold:
            self._outbox.send("conversation.item.create", item=item)

    def lost(self) -> None:
        """The connection is gone, and with it what the backend knew."""
        self._answers.lost()
        self._terms.lost()
        self._outbox.clear()
        self._ids.lost()
        self._follow_turns()
        if self._turns is not None:
            self._turns.abandon()
        self._tone = LossTone()
        message = "The backend was lost; another one will be told in words what was said before."
        self._channel.send("error", error=_error("server_error", "backend_lost", message))

    @property
    def is_lost(self) -> bool:
        """Whether there was a connection and is none."""
        return self._tone is not None

    @property
    def answers(self) -> Answers:
        """For its playout's counts."""
        return self._answers

    # The session's clock

    def opened(self) -> None:
        """The client's event channel has opened."""
        self._channel.is_open = True
        if self._has_spoken:
            self._channel.send("session.created", session=self._terms.wire())

    def hear(self, pcm: bytes, now_ns: int) -> None:
        """One frame of the caller."""
        self._now_ns = now_ns
        if self.is_lost:
            return
        if self._turns is None:
            self._outbox.send_audio(self._terms.uplink.encode(pcm))
            return
        heard = self._turns.hear(pcm, now_ns)
        if heard.transition is Transition.STARTED:
            self._turn_started(self._turns)
        for frame in heard.frames:
            self._outbox.send_audio(self._terms.uplink.encode(frame))
        if heard.transition is Transition.STOPPED:
            self._turn_stopped(self._turns)

    def speak(self, now_ns: int) -> bytes | None:
        """One frame for the caller."""
        self._now_ns = now_ns
        frame = self._answers.speak(now_ns)
        if frame is None and self._tone is not None and self._plan.has_tone:
            return self._tone.next_frame()
        return frame

    def close(self) -> None:
        """Let go of all audio."""
        self._channel.is_open = False
        self._answers.playout.cut(self._answers.generation + 1)
        self._conversation.clear()
        self._outbox.close()

    # Turns that are ours

    def _follow_turns(self) -> None:
        wanted = self._terms.settings.turn_detection
        if wanted is None or self._plan.has_own_turns:
            self._turns = None
            return
        settings = local_settings(wanted)
        if self._turns is None or self._turns.settings != settings:
            self._turns = LocalTurns(settings, self._budgets.last_word())

    def _turn_started(self, turns: LocalTurns) -> None:
        self._turn_item = self._channel.new_id("item")
        self._channel.send(
            "input_audio_buffer.speech_started", item_id=self._turn_item, audio_start_ms=turns.start_ms
        )
        if turns.settings.interrupt_response:
            self._answers.interrupt(self._now_ns)

    def _turn_stopped(self, turns: LocalTurns) -> None:
        self._channel.send(
            "input_audio_buffer.speech_stopped",
            item_id=self._turn_item,
            audio_end_ms=turns.end_ms,
            voxpop={"speech_end_ms": turns.speech_end_ms},
        )
        self._outbox.send_audio(self._terms.uplink.flush())
        self._ids.commit(self._outbox.send("input_audio_buffer.commit"), self._turn_item, self._now_ns)
        if turns.settings.create_response:
            self._answers.request(None, TurnAccount(self._now_ns, turns.last_word))

    # The client's events

    def receive_event(self, event: Event) -> None:
        """Do what the client asks for, or have it done, or say why not."""
        kind = event.get("type")
        if kind == "session.update":
            self._terms.update_by_client(event, self.is_lost)
            self._follow_turns()
        elif kind == "conversation.item.retrieve":
            self._retrieve(event)
        elif kind == "output_audio_buffer.clear":
            self._answers.interrupt(self._now_ns)
        elif kind == "input_audio_buffer.append":
            message = "On a call the caller's audio comes by its media track."
            self._channel.refuse(event, "invalid_event_for_transport", message, "type")
        elif self.is_lost:
            self._channel.refuse(event, "backend_lost", "There is no backend at the moment.")
        elif kind == "response.create":
            self._create(event)
        elif kind == "response.cancel":
            self._cancel(event)
        else:
            self._pass_on(event)

    def _pass_on(self, event: Event) -> None:
        if event.get("type") in ("input_audio_buffer.commit", "input_audio_buffer.clear"):
            rest = self._terms.uplink.flush()
            is_commit = event["type"] == "input_audio_buffer.commit"
            if is_commit:
                self._outbox.send_audio(rest)
            in_turn = self._turns is not None and self._turns.in_turn
            if self._turns is not None:
                self._turns.abandon()
            sent = self._outbox.pass_on(event)
            if is_commit:
                self._ids.commit(sent, self._turn_item if in_turn else None, self._now_ns)
        else:
            self._outbox.pass_on(event)

    def _retrieve(self, event: Event) -> None:
        item = self._conversation.find(event.get("item_id"))
        if item is not None:
            self._channel.send("conversation.item.retrieved", item=item)
        elif self.is_lost:
            code, message = unknown_item_code(event), "There is no such item any more."
            self._channel.refuse(event, code, message, "item_id")
        else:
            self._outbox.pass_on(event)

    def _create(self, event: Event) -> None:
        if not self._answers.request(event):
            message = "Too many responses wait for the one that is running."
            self._channel.refuse(event, "conversation_already_has_active_response", message)

    def _cancel(self, event: Event) -> None:
        if self._answers.find(event.get("response_id")):
            self._answers.interrupt(self._now_ns)
        else:
            message = "No such response is running or being heard."
            self._channel.refuse(event, "response_cancel_not_active", message, "response_id")

    # The backend's events

    def receive_server_event_untrusted(self, event: Event, now_ns: int) -> None:
        """Do and tell what it says, which came at `now_ns`. Takes any event in any order. Raises
        BackendError for audio that is none.
        """
        kind = event.get("type")
        if not self._has_spoken:
            self._has_spoken = True
            self._channel.send("session.created", session=self._terms.wire())
        if kind == "response.output_audio.delta":
            self._answers.delta_untrusted(event, self._terms.given, now_ns)
        elif kind == "session.updated":
            self._terms.answered_untrusted(event)
            self._follow_turns()
        elif kind == "error":
            self._error(event)
        elif kind in SPEECH:
            self._speech(event, now_ns)
        elif kind not in NOT_TOLD:
            told = self._ids.from_backend_untrusted(event, self._now_ns)
            if told is not None:
                self._tell(told)

    def _tell(self, event: Event) -> None:
        """What the client hears of as well, and before what follows from it."""
        kind = event["type"]
        if kind == "conversation.item.truncated" and self._answers.acknowledged_untrusted(event):
            return
        self._conversation.learn_untrusted(event)
        self._forward(event)
        if kind == "response.created":
            self._answers.created_untrusted(event)
        elif kind == "response.done":
            self._answers.done_untrusted(event)
        elif kind == "response.output_audio.done":
            self._answers.audio_done_untrusted(event)

    def _forward(self, event: Event) -> None:
        members = {key: value for key, value in event.items() if key not in ("type", "event_id")}
        self._channel.send(str(event["type"]), **members)

    def _speech(self, event: Event, now_ns: int) -> None:
        """The backend's ear, if it is the one that counts."""
        if not self._plan.has_own_turns:
            return
        self._forward(event)
        if event["type"] == "input_audio_buffer.speech_stopped":
            self._answers.turn_ended(TurnAccount(now_ns))
            return
        if event["type"] != "input_audio_buffer.speech_started":
            return
        self._answers.turn_ended(None)
        wanted = self._terms.settings.turn_detection
        does_interrupt = wanted is None or wanted.get("interrupt_response") is not False
        if does_interrupt:
            self._answers.interrupt(self._now_ns, by_backend=True)

    def _error(self, event: Event) -> None:
        """Under the client's own id, if the client's event it is about; not at all for what only we did."""
        error = event.get("error")
        members = dict(error) if isinstance(error, Mapping) else _error("server_error", "unknown", "")
        event_id = members.get("event_id")
        if not isinstance(event_id, str):
            event_id, asked = self._guess(members.get("code"))
        else:
            asked = self._outbox.pop_untrusted(event_id)
        self._terms.failed(event_id)
        self._ids.refused(event_id)
        self._answers.refused(event_id)
        if asked is not None and asked.is_ours and asked.kind not in ("session.update", "response.create"):
            logger.info("session %s: %s was refused: %s", self._session_id, asked.kind, _code(members))
            return
        members["event_id"] = None if asked is None else asked.client_id
        self._channel.send("error", error=members)

    def _guess(self, code: object) -> tuple[str, Asked | None]:
        """What an error without an id is about: who waits for an answer would wait for ever without one."""
        if code == COMMIT_EMPTY and self._ids.oldest_commit:
            event_id = self._ids.oldest_commit
        elif self._ids.refused_retold():
            return "", Asked("conversation.item.create", is_ours=True)
        else:
            event_id = self._answers.asked or self._terms.oldest_update
        return event_id, self._outbox.pop_untrusted(event_id)


def _error(kind: str, code: str, message: str) -> dict[str, object]:
    return {"type": kind, "code": code, "message": message, "param": None, "event_id": None}


def _code(error: Event) -> str | None:
    """For the log: a stranger's text, but short and without line breaks."""
    code = shortened(error.get("code"))
    return None if code is None else repr(code[:64])
