"""transceiver.session.hub: who gets which event, and who may send it."""

from __future__ import annotations

import gc
import json
import weakref
from typing import Any

import pytest

from core.bucket import NS_PER_S, TokenBucket
from transceiver.realtime.event import Event
from transceiver.realtime.permissions import EVERYTHING, Permissions
from transceiver.realtime.server_events import MAX_ECHOED
from transceiver.session.api import LIVE
from transceiver.session.hub import CHARS_OF_ONE, MAX_WATCHERS, EventHub, NotAllowedError, weakly

CREATED = {"type": "session.created", "event_id": "event_1", "session": {"model": "parrot"}}
UPDATED = {"type": "session.updated", "event_id": "event_2", "session": {"model": "other"}}
DONE = {"type": "response.done", "event_id": "event_3"}
LAST = {"type": "error", "error": {"code": "session_expired"}}
CANCEL = {"type": "response.cancel", "event_id": "mine"}
LIMITED = Permissions(frozenset({"response.cancel", "session.update"}), frozenset({"response.done"}))


class Sideband:
    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.got: list[Any] = []
        self.is_over = False

    def show(self, text: str) -> bool:
        assert not self.is_over
        if len(self.got) >= self.room:
            return False
        self.got.append(json.loads(text))
        return True

    def end(self) -> None:
        self.is_over = True


class Backend:
    """Says `session.created` when somebody is there, and repeats what it gets."""

    def __init__(self, to: EventHub) -> None:
        self._emit = weakly(to.publish)
        self.got: list[Event] = []

    def opened(self) -> None:
        self._emit(CREATED)

    def receive_event(self, event: Event) -> None:
        self.got.append(event)


def hub(permissions: Permissions = EVERYTHING) -> EventHub:
    made = EventHub("rtc_0-x", permissions)
    made.backend = Backend(made)
    return made


def take(on: EventHub, event: Event, *, is_trusted: bool = False) -> Event:
    return on.take_untrusted(json.dumps(event), is_trusted=is_trusted)


def objection(on: EventHub, event: Event, *, is_trusted: bool = False) -> Any:
    with pytest.raises(NotAllowedError) as caught:
        take(on, event, is_trusted=is_trusted)
    answer: Any = caught.value.answer
    assert answer["type"] == "error"
    return answer


def test_a_call_sends_no_more_events_than_it_may() -> None:
    on, refused = hub(), []
    on.limit(TokenBucket(2, 3, 0), lambda: refused.append(1))
    for _ in range(3):
        take(on, {"type": "response.create"})
    error = objection(on, {"type": "response.create"}, is_trusted=True)["error"]
    assert error["code"] == "rate_limit_exceeded"
    for _ in range(5):
        with pytest.raises(NotAllowedError) as caught:
            on.take_untrusted("no event, and never decoded", is_trusted=False)
        assert caught.value.answer is None, "it is said once, until time has passed"
    assert (on.stats.received, on.stats.limited, on.stats.invalid, len(refused)) == (3, 6, 0, 6)
    on.refill(NS_PER_S // 2)
    take(on, {"type": "response.create"})
    assert objection(on, {"type": "response.create"})["error"]["code"] == "rate_limit_exceeded"


def test_a_long_event_is_as_many_as_its_length_would_make() -> None:
    on = hub()
    on.limit(TokenBucket(1, 10, 0), lambda: None)
    take(on, {"type": "response.create", "x": "a" * 9 * CHARS_OF_ONE})
    assert objection(on, {"type": "response.create"})["error"]["code"] == "rate_limit_exceeded"


def test_what_the_backend_says_goes_to_all_that_watch_and_to_the_channel() -> None:
    one = hub()
    sidebands = Sideband(), Sideband()
    for sideband in sidebands:
        one.attach(sideband, is_trusted=True)
    assert json.loads(one.publish(DONE)) == DONE
    assert [sideband.got for sideband in sidebands] == [[CREATED, DONE], [CREATED, DONE]]


def test_who_comes_later_begins_with_the_session_as_it_is() -> None:
    one, sideband = hub(), Sideband()
    for event in (CREATED, UPDATED, DONE):
        one.publish(event)
    assert one.attach(sideband, is_trusted=True)
    assert sideband.got == [{**UPDATED, "type": "session.created"}]


def test_who_comes_before_the_session_has_said_anything_is_told_of_it() -> None:
    one, sideband, other = hub(), Sideband(), Sideband()
    for each in (sideband, other):
        assert one.attach(each, is_trusted=True)
    assert (sideband.got, other.got) == ([CREATED], [CREATED]), "to each once"


def test_who_comes_later_does_not_hear_whose_update_it_was() -> None:
    one, sideband = EventHub("live_0-x", EVERYTHING, LIVE), Sideband()
    one.backend = Backend(one)
    one.publish({"type": "session.updated", "client_event_id": "theirs", "session": {}})
    assert one.attach(sideband, is_trusted=True)
    assert sideband.got == [{"type": "session.started", "session": {}}]


def test_what_is_reflected_is_for_those_who_are_trusted_alone() -> None:
    one, trusted, slow, page = hub(), Sideband(), Sideband(room=1), Sideband()
    one.attach(page, is_trusted=False)
    assert not one.wants_audio
    for sideband in (trusted, slow):
        one.attach(sideband, is_trusted=True)
    assert one.wants_audio
    one.reflect(DONE)
    assert [len(sideband.got) for sideband in (trusted, slow, page)] == [2, 1, 1]
    one.close([])
    assert (trusted.is_over, slow.is_over) == (True, False), "it was left behind"


def test_a_client_of_gpt_live_is_refused_in_its_words_and_its_permissions_stay() -> None:
    one = EventHub("live_0-x", LIMITED, LIVE)
    one.backend = Backend(one)
    for text in ("no", json.dumps({"type": "session.close", "event_id": "mine"})):
        with pytest.raises(NotAllowedError) as caught:
            one.take_untrusted(text, is_trusted=False)
        answer: Any = caught.value.answer
        assert answer["event_id"].startswith("event_0-x_hub")
        assert "event_id" not in answer["error"]
    assert answer["client_event_id"] == answer["error"]["client_event_id"] == "mine"
    update = {"type": "session.update", "session": {"client": None}}
    assert take(one, update, is_trusted=True) == update, "for who stands behind, to refuse"
    assert one.permissions == LIMITED


def test_nobody_joins_a_session_that_is_over_or_has_no_backend_yet() -> None:
    one, sideband = hub(), Sideband()
    one.close([])
    for each in (one, EventHub("rtc_0-x", EVERYTHING)):
        assert not each.attach(sideband, is_trusted=True)
        assert each.receive_untrusted(json.dumps(CANCEL), is_trusted=True) is None
        each.hear_untrusted(json.dumps(CANCEL), sideband)
    assert sideband.got == []


def test_what_a_sideband_says_reaches_the_backend_or_is_answered_to_it_alone() -> None:
    one, trusted, other = hub(LIMITED), Sideband(), Sideband()
    backend = one.backend
    assert isinstance(backend, Backend)
    one.publish(CREATED)
    one.attach(trusted, is_trusted=True)
    one.attach(other, is_trusted=False)
    create = {"type": "response.create"}
    for sideband in (trusted, other):
        one.hear_untrusted(json.dumps(create), sideband)
    assert backend.got == [create]
    assert (len(trusted.got), [each["type"] for each in other.got]) == (1, ["error"])


def test_one_that_is_too_slow_is_left_behind_and_the_others_are_not() -> None:
    one, slow, quick = hub(), Sideband(room=2), Sideband()
    one.attach(slow, is_trusted=True)
    one.attach(quick, is_trusted=True)
    for _ in range(3):
        one.publish(DONE)
    assert (len(slow.got), len(quick.got)) == (2, 4)
    one.close([])
    assert (slow.is_over, quick.is_over) == (False, True)


def test_there_are_so_many_and_one_that_goes_makes_room() -> None:
    one = hub()
    sidebands = [Sideband() for _ in range(MAX_WATCHERS)]
    for sideband in sidebands:
        assert one.attach(sideband, is_trusted=True)
    assert not one.has_room
    assert not one.attach(Sideband(), is_trusted=True)
    one.detach(sidebands[0])
    one.detach(sidebands[0])
    assert one.has_room
    one.publish(DONE)
    assert sidebands[0].got == [CREATED]


def test_the_end_comes_with_its_reason() -> None:
    one, sideband = hub(LIMITED), Sideband()
    one.attach(sideband, is_trusted=False)
    one.close([LAST])
    assert (sideband.got, sideband.is_over, one.is_watched) == ([LAST], True, False)


def test_an_event_of_the_client_is_let_through_as_it_is() -> None:
    one = hub(LIMITED)
    assert take(one, CANCEL) == CANCEL
    assert one.stats.received == 1


def test_one_that_it_may_not_send_is_answered_with_its_id() -> None:
    one = hub(LIMITED)
    error = objection(one, {"type": "response.create", "event_id": "mine"})["error"]
    assert (error["code"], error["event_id"]) == ("event_not_allowed", "mine")
    assert "response.create" in error["message"]
    assert (one.stats.refused, one.stats.received) == (1, 0)
    assert take(one, {"type": "response.create"}, is_trusted=True) == {"type": "response.create"}


def test_the_end_does_not_tell_a_page_what_its_server_has_told_the_session() -> None:
    bare = {"id": "live_0-x", "expires_at": 9, "status": "active", "model": "gpt-live-1"}
    whole = {"type": "session.closed", "session": {**bare, "instructions": "Secret.", "input": []}}
    for permissions, told in (
        (LIMITED, {**whole, "session": bare}),
        (Permissions(sees=frozenset({"session.closed"})), whole),
        (EVERYTHING, whole),
    ):
        one, server, page = EventHub("live_0-x", permissions, LIVE), Sideband(), Sideband()
        one.backend = Backend(one)
        one.attach(server, is_trusted=True)
        one.attach(page, is_trusted=False)
        one.close([whole])
        assert (server.got[-1], page.got[-1]) == (whole, told)
        assert one.last_word(whole, is_trusted=False) == told


def test_objections_have_ids_of_their_own_and_repeat_little() -> None:
    one = hub(Permissions(frozenset(), None))
    answers = [objection(one, {"type": "x" * 5000, "event_id": "y" * 5000}) for _ in range(2)]
    assert answers[0]["event_id"] != answers[1]["event_id"]
    assert answers[0]["error"]["event_id"] == "y" * MAX_ECHOED
    assert len(json.dumps(answers[0])) < 1000
    assert objection(one, {"type": "x", "event_id": {}})["error"]["event_id"] is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"type": 1}', "no"])
def test_what_is_no_event_is_counted_and_answered(text: str) -> None:
    one, ids = hub(LIMITED), set()
    for is_trusted in (True, False):
        with pytest.raises(NotAllowedError) as caught:
            one.take_untrusted(text, is_trusted=is_trusted)
        answer: Any = caught.value.answer
        assert answer["error"]["code"] == "invalid_event"
        ids.add(answer["event_id"])
    assert (one.stats.invalid, len(ids)) == (2, 2)


def update(client: object) -> dict[str, object]:
    return {"type": "session.update", "session": {"instructions": "x", "client": client}}


def test_a_client_cannot_give_itself_permissions() -> None:
    for permissions in (LIMITED, EVERYTHING):
        one = hub(permissions)
        assert objection(one, update(None))["error"]["code"] == "event_not_allowed"
        assert one.permissions == permissions


def test_a_sideband_can_and_the_backend_gets_the_rest() -> None:
    one = hub()
    taken = take(one, update({"data_channel": {"allowed_client_events": []}}), is_trusted=True)
    assert taken == {"type": "session.update", "session": {"instructions": "x"}}
    objection(one, CANCEL)
    take(one, update(None), is_trusted=True)
    assert take(one, CANCEL) == CANCEL


def test_permissions_that_are_none_change_nothing() -> None:
    one = hub(LIMITED)
    error = objection(one, update({"data_channel": 1}), is_trusted=True)["error"]
    assert (error["code"], one.permissions) == ("invalid_value", LIMITED)
    assert "session.client.data_channel" in error["message"]


def test_a_sideband_with_a_client_secret_is_shown_what_the_client_is() -> None:
    one, trusted, other = hub(LIMITED), Sideband(), Sideband()
    one.publish(CREATED)
    one.attach(trusted, is_trusted=True)
    one.attach(other, is_trusted=False)
    for event in (UPDATED, DONE):
        one.publish(event)
    assert trusted.got == [CREATED, UPDATED, DONE]
    assert other.got == [DONE]


def test_what_concerns_one_goes_to_it_alone() -> None:
    one, sideband, other = hub(), Sideband(room=2), Sideband()
    one.attach(sideband, is_trusted=True)
    one.attach(other, is_trusted=True)
    one.tell(sideband, LAST)
    one.tell(sideband, LAST)
    assert (sideband.got, other.got) == ([CREATED, LAST], [CREATED])
    one.publish(DONE)
    assert sideband.got == [CREATED, LAST], "it had no room for the second"


def test_a_weak_method_does_nothing_once_its_object_is_gone() -> None:
    class Taker:
        def __init__(self) -> None:
            self.got: list[Event] = []

        def take(self, event: Event) -> None:
            self.got.append(event)

    taker = Taker()
    emit, gone = weakly(taker.take), weakref.ref(taker)
    emit(DONE)
    assert taker.got == [DONE]
    gc.disable()
    try:
        del taker
        assert gone() is None, "without a collection"
    finally:
        gc.enable()
    emit(DONE)
