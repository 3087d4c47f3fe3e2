"""The responses of one conversation: asked for, spoken, cut off. Sans-IO.

A response belongs to the generation in which it was asked for, or in which it began where the backend began
it by itself. A cut starts another generation, so a response that was asked for before and begins after is
dead from its first sample.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from transceiver.backends.realtime.audio import Downlink
from transceiver.backends.realtime.formats import AudioFormat
from transceiver.backends.realtime.outbox import Outbox
from transceiver.backends.realtime.playout import MAX_PARTS, Cut, Place, Playout
from transceiver.realtime.event import Event
from transceiver.realtime.items import Conversation
from transceiver.realtime.server_events import EventChannel
from transceiver.turns.budget import Budgets, TurnAccount

logger = logging.getLogger(__name__)

MAX_RESPONSES: Final = 32
"""That are remembered; one runs at a time, and of those out of band a few."""
MAX_REQUESTS: Final = 8
"""That wait for the response before them."""
CANCEL_GRACE_NS: Final = 3_000_000_000
"""Within which a backend ends a response that was cancelled; then we do, so that others may follow."""
BEGIN_GRACE_NS: Final = 15_000_000_000
"""Within which a response that was asked for begins; then others may be asked for."""
LATE_NS: Final = 1_000_000_000
"""After a cut, until which audio of what was cut off may be under way; then it is a word in the log."""


@dataclass(slots=True)
class Request:
    """A `response.create` in the conversation."""

    event: Event | None
    """The client's; None for an answer to a turn that we have ended."""
    generation: int
    account: TurnAccount | None
    """Of the turn that it answers."""
    event_id: str = ""
    """Towards the backend, once it is sent."""


@dataclass(slots=True)
class Response:
    """What the backend says, or has said."""

    id: str
    generation: int
    account: TurnAccount | None
    in_conversation: bool
    is_done: bool = False
    is_cancelled: bool = False
    is_lost: bool = False
    """Its backend is gone; only the client can still be told of it."""
    silent_since_ns: int | None = None
    """When it was cancelled, or was over."""
    is_blamed: bool = False
    """The log has it that it goes on all the same."""


class Answers:
    """`limit_ms` bounds what waits to be heard; `conversation` learns what was not heard."""

    def __init__(
        self,
        channel: EventChannel,
        outbox: Outbox,
        conversation: Conversation,
        budgets: Budgets,
        limit_ms: int,
    ) -> None:
        self._channel = channel
        self._outbox = outbox
        self._conversation = conversation
        self._budgets = budgets
        self.playout = Playout(limit_ms)
        self.generation = 0
        self._responses: OrderedDict[str, Response] = OrderedDict()
        self._downlinks: dict[Place, Downlink] = {}
        self._waiting: deque[Request] = deque()
        self._asked: Request | None = None
        """Sent, and not begun yet."""
        self._unanswered: TurnAccount | None = None
        """Of a turn that the backend has ended, and will answer by itself."""
        self._running: Response | None = None
        """The one that writes to the conversation."""
        self._begin_by_ns: int | None = None
        self._give_up_ns: int | None = None
        self._now_ns = 0
        self._underruns_told = 0
        """Of the playout's, of which the log has word."""
        self._truncated: deque[str] = deque(maxlen=MAX_PARTS)
        """Items whose truncation the backend has still to acknowledge."""

    # Asking

    def request(self, event: Event | None, account: TurnAccount | None = None) -> bool:
        """Ask for a response as soon as none is running. False where too many wait already."""
        if event is not None and _is_out_of_band(event):
            self._outbox.pass_on(event)
            return True
        request = Request(event, self.generation, account)
        if self._asked is None and self._running is None:
            self._ask(request)
            return True
        same = next((each for each in self._waiting if event is None and each.event is None), None)
        if same is not None:
            same.account = account  # one answer for both turns, after the last word of the second
            return True
        if len(self._waiting) == MAX_REQUESTS:
            return False
        self._waiting.append(request)
        return True

    def _ask(self, request: Request) -> None:
        self._asked = request
        if request.event is None:
            request.event_id = self._outbox.send("response.create")
        else:
            request.event_id = self._outbox.pass_on(request.event)

    def _ask_next(self) -> None:
        if self._waiting and self._asked is None and self._running is None:
            self._ask(self._waiting.popleft())

    def turn_ended(self, account: TurnAccount | None) -> None:
        """The backend says that a turn is over; or, with None, that another has begun."""
        self._unanswered = account

    @property
    def asked(self) -> str:
        """The id of the event that asks for what has not begun; empty where none does."""
        return "" if self._asked is None else self._asked.event_id

    def refused(self, event_id: str) -> None:
        """The backend does not do what was sent under that id, if that asks for what has not begun."""
        if self._asked is not None and self._asked.event_id == event_id:
            self._asked = self._begin_by_ns = None
            self._ask_next()

    # What the backend says

    def created_untrusted(self, event: Event) -> None:
        """A response begins."""
        members = event.get("response")
        response_id = members.get("id") if isinstance(members, Mapping) else None
        if not isinstance(members, Mapping) or not isinstance(response_id, str):
            return
        known = self._responses.pop(response_id, None)
        if known is not None and not known.is_lost:
            self._responses[response_id] = known
            return
        in_conversation = members.get("conversation_id", response_id) is not None
        response = Response(response_id, self.generation, None, in_conversation)
        if in_conversation:
            if self._asked is not None:
                response.generation = self._asked.generation
                response.account = self._asked.account
                self._asked = self._begin_by_ns = None
            else:
                response.account, self._unanswered = self._unanswered, None
            self._running = response
        self._responses[response_id] = response
        if len(self._responses) > MAX_RESPONSES:
            self._end(self._responses.popitem(last=False)[1])
        if not self.playout.is_live(response.generation):
            self._cancel(response)

    def delta_untrusted(self, event: Event, given: AudioFormat, now_ns: int) -> None:
        """Audio. It is heard if its response has begun and was not cut off. Raises BackendError."""
        place, delta = _place(event), event.get("delta")
        response = self._responses.get(place.response_id) if place is not None else None
        if place is None or response is None or not isinstance(delta, str):
            return
        is_live = self.playout.is_live(response.generation)
        if response.is_done or response.is_cancelled or not is_live:
            self._blame(response)
            return
        downlink = self._downlinks.get(place)
        if downlink is None:
            if len(self._downlinks) >= MAX_PARTS:
                return
            downlink = self._downlinks[place] = Downlink(given)
        if response.account is not None:
            response.account.audio_came(now_ns)
        if not self.playout.append(place, response.generation, downlink.decode_untrusted(delta)):
            self._log("the backend has said more than may wait (buffer_s); the response is cut short")
            self._cancel(response)
            cut = self.playout.cut_short(place)
            if cut is not None:
                self._truncate(cut)

    def _blame(self, response: Response) -> None:
        """It goes on although it is over: once, and not for what was under way."""
        if response.silent_since_ns is None:
            response.silent_since_ns = self._now_ns
        elif not response.is_blamed and self._now_ns - response.silent_since_ns >= LATE_NS:
            response.is_blamed = True
            self._log("the backend goes on with a response that is over; it is not heard")

    def _log(self, what: str) -> None:
        logger.warning("session %s: %s", self._channel.session_id, what)

    def audio_done_untrusted(self, event: Event) -> None:
        """A part has all its audio."""
        place = _place(event)
        if place is not None:
            self._complete(place)

    def _complete(self, place: Place) -> None:
        downlink, response = self._downlinks.get(place), self._responses.get(place.response_id)
        if downlink is not None and response is not None:
            self.playout.append(place, response.generation, downlink.flush())
        self.playout.complete(place)

    def done_untrusted(self, event: Event) -> None:
        """A response is over; what there is of it may still be heard."""
        members = event.get("response")
        response_id = members.get("id") if isinstance(members, Mapping) else None
        response = self._responses.get(response_id) if isinstance(response_id, str) else None
        if response is not None:
            self._end(response)

    def _end(self, response: Response) -> None:
        response.is_done = True
        response.silent_since_ns = response.silent_since_ns or self._now_ns
        for place in [place for place in self._downlinks if place.response_id == response.id]:
            self._complete(place)
            if not self.playout.holds(place):
                del self._downlinks[place]
        self.playout.complete_response(response.id)
        if response is self._running:
            self._running = None
            self._give_up_ns = None
            self._ask_next()

    def acknowledged_untrusted(self, event: Event) -> bool:
        """Whether a `conversation.item.truncated` is the answer to ours, of which the client knows."""
        item_id = event.get("item_id")
        if isinstance(item_id, str) and item_id in self._truncated:
            self._truncated.remove(item_id)
            return True
        return False

    # Out

    def speak(self, now_ns: int) -> bytes | None:
        """20 ms for the caller."""
        self._now_ns = now_ns
        self._lose_patience(now_ns)
        frame = self.playout.next_frame()
        if frame.finished:
            self._tell_dry()
        for response_id in frame.finished:
            self._let_go(response_id)
            self._channel.send("output_audio_buffer.stopped", response_id=response_id)
        for response_id in frame.started:
            measured = self._measure(response_id, now_ns)
            self._channel.send("output_audio_buffer.started", response_id=response_id, voxpop=measured)
        return frame.pcm

    def _tell_dry(self) -> None:
        underruns = self.playout.counts.underruns
        times, self._underruns_told = underruns - self._underruns_told, underruns
        if times:
            self._log(f"the backend was slower than real time; what it said ran dry {times} times")

    def _lose_patience(self, now_ns: int) -> None:
        """A backend that neither begins nor ends what it should must not keep others from being asked for."""
        if self._asked is None:
            self._begin_by_ns = None
        elif self._begin_by_ns is None:
            self._begin_by_ns = now_ns + BEGIN_GRACE_NS
        elif now_ns >= self._begin_by_ns:
            self._log("the backend has not begun a response that it was asked for")
            if self._asked.event is not None:
                self._channel.refuse(
                    self._asked.event, "response_not_created", "The backend did not begin it."
                )
            self.refused(self._asked.event_id)
        if self._give_up_ns is not None and now_ns >= self._give_up_ns and self._running is not None:
            self._log("the backend has not ended a response that was cancelled")
            self._tell_end(self._running, "cancelled", {"type": "cancelled", "reason": "client_cancelled"})
            self._end(self._running)

    def _measure(self, response_id: str, now_ns: int) -> dict[str, object]:
        response = self._responses.get(response_id)
        if response is None or response.account is None:
            return {}
        return self._budgets.close(response.account, now_ns)

    def _let_go(self, response_id: str) -> None:
        for place in [place for place in self._downlinks if place.response_id == response_id]:
            del self._downlinks[place]

    # Cutting off

    def find(self, response_id: object) -> bool:
        """Whether there is a response to cancel: any, or the one with that id. It runs, was asked for, or is
        still to be heard.
        """
        if response_id is None:
            return bool(self._running or self._asked or self._waiting or self.playout.waiting)
        response = self._responses.get(response_id) if isinstance(response_id, str) else None
        return response is not None and (not response.is_done or response.id in self.playout.heard())

    def interrupt(self, now_ns: int, by_backend: bool = False) -> None:
        """Silence from the next frame on, but for a fade, and nothing more of what was asked for until now.
        `by_backend`: it has cancelled what was running itself, and is not told to.
        """
        self.generation += 1
        self._tell_dry()
        heard = self.playout.heard()
        cuts = self.playout.cut(self.generation)
        if self._running is not None and not self._running.is_cancelled:
            self._give_up_ns = now_ns + CANCEL_GRACE_NS
            if by_backend:
                self._running.is_cancelled = True
            else:
                self._cancel(self._running)
        for cut in cuts:
            self._truncate(cut)
        self._downlinks.clear()
        for response_id in heard:
            self._channel.send("output_audio_buffer.cleared", response_id=response_id)
        self._drop_requests("The caller has spoken, or the response was cancelled, before this one began.")

    def _cancel(self, response: Response) -> None:
        """Once, and not what is over."""
        if not response.is_cancelled and not response.is_done:
            response.is_cancelled = True
            response.silent_since_ns = self._now_ns
            self._outbox.send("response.cancel", response_id=response.id)

    def _truncate(self, cut: Cut) -> None:
        response, downlink = self._responses.get(cut.place.response_id), self._downlinks.get(cut.place)
        if response is None or not response.in_conversation or downlink is None:
            return
        where: dict[str, object] = {
            "item_id": cut.place.item_id,
            "content_index": cut.place.content_index,
            "audio_end_ms": min(cut.played_ms, downlink.received_ms),
        }
        if not response.is_lost:
            self._truncated.append(cut.place.item_id)
            self._outbox.send("conversation.item.truncate", **where)
        self._conversation.truncate(cut.place.item_id, cut.place.content_index)
        self._channel.send("conversation.item.truncated", **where)

    def _drop_requests(self, message: str) -> None:
        while self._waiting:
            request = self._waiting.popleft()
            if request.event is not None:
                self._channel.refuse(request.event, "response_not_created", message)

    def lost(self) -> None:
        """The backend is gone. What has come of its audio is still heard."""
        for response in list(self._responses.values()):
            if not response.is_done:
                error = {"type": "server_error", "code": "backend_lost"}
                self._tell_end(response, "failed", {"type": "failed", "error": error})
        asked, self._asked = self._asked, None
        if asked is not None and asked.event is not None:
            self._waiting.appendleft(asked)
        self._drop_requests("The backend was lost before the response began.")
        for response in list(self._responses.values()):
            self._end(response)
            response.is_lost = True
        self._truncated.clear()
        self._unanswered = None

    def _tell_end(self, response: Response, status: str, details: Mapping[str, object]) -> None:
        self._channel.send(
            "response.done",
            response={
                "object": "realtime.response",
                "id": response.id,
                "status": status,
                "status_details": details,
                "output": [],
                "output_modalities": ["audio"],
            },
        )


def _is_out_of_band(event: Event) -> bool:
    response = event.get("response")
    return isinstance(response, Mapping) and response.get("conversation") == "none"


def _place(event: Event) -> Place | None:
    response_id, item_id = event.get("response_id"), event.get("item_id")
    index = event.get("content_index", 0)
    if not isinstance(response_id, str) or not isinstance(item_id, str) or not isinstance(index, int):
        return None
    return Place(response_id, item_id, index)
