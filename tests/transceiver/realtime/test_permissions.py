"""transceiver.realtime.permissions: what is read of them, and what they let through."""

from __future__ import annotations

import pytest

from core.errors import ConfigError
from transceiver.realtime.permissions import (
    EVERYTHING,
    MAX_TYPE_CHARS,
    MAX_TYPES,
    Permissions,
    take_permissions,
)

UPDATE, CANCEL, DONE = "session.update", "response.cancel", "response.done"


def client(**lists: object) -> dict[str, object]:
    return {"client": {"data_channel": lists}}


def test_without_lists_everything_goes() -> None:
    assert EVERYTHING.lets({"type": UPDATE})
    assert EVERYTHING.shows({"type": DONE})


def test_each_list_is_for_its_direction() -> None:
    _, found = take_permissions(client(allowed_client_events=[CANCEL], allowed_server_events=[DONE]))
    assert (found.lets({"type": CANCEL}), found.lets({"type": UPDATE})) == (True, False)
    assert (found.shows({"type": DONE}), found.shows({"type": CANCEL})) == (True, False)


def test_an_empty_list_lets_nothing_through_and_none_at_all_everything() -> None:
    _, found = take_permissions(client(allowed_client_events=[]))
    assert not found.lets({"type": CANCEL})
    assert found.shows({"type": DONE})


def test_the_backend_does_not_get_them() -> None:
    session = {"instructions": "x", **client(allowed_client_events=[])}
    assert take_permissions(session)[0] == {"instructions": "x"}
    assert take_permissions({"instructions": "x"}) == ({"instructions": "x"}, EVERYTHING)


def test_the_forms_of_gpt_live_are_taken_too() -> None:
    """Text, or a selector; of the type that has others nested in it, each by its name."""
    both = client(allowed_client_events="all", allowed_server_events="all")
    assert take_permissions(both, HELD)[1] == EVERYTHING
    nested = {"type": "response.event", "response_event": DONE}
    _, found = take_permissions(client(allowed_server_events=[{"type": DONE}, CANCEL, nested]))
    assert (found.shows({"type": DONE}), found.shows({"type": CANCEL})) == (True, True)
    assert not found.shows({"type": "response.event"})


def test_they_are_told_in_a_sentence() -> None:
    found = Permissions(frozenset({UPDATE, CANCEL}), frozenset())
    assert found.describe() == "This client may send response.cancel, session.update, and is sent none."
    assert EVERYTHING.describe() == "This client may send every event, and is sent every event."


HELD = Permissions(frozenset({CANCEL}), frozenset({DONE}))


@pytest.mark.parametrize(
    ("session", "after"),
    [
        ({}, HELD),
        (client(), HELD),
        (client(allowed_client_events=[UPDATE]), Permissions(frozenset({UPDATE}), HELD.sees)),
        (client(allowed_server_events=None), Permissions(HELD.sends, None)),
        ({"client": {"data_channel": None}}, EVERYTHING),
        ({"client": None}, EVERYTHING),
    ],
    ids=["nothing", "empty", "one", "null list", "null channel", "null client"],
)
def test_only_what_is_there_changes(session: dict[str, object], after: Permissions) -> None:
    assert take_permissions(session, HELD)[1] == after


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"client": 1}, "session.client must"),
        ({"client": {"data_chanel": {}}}, "session.client may have data_channel"),
        ({"client": {"data_channel": []}}, "session.client.data_channel must"),
        (client(allowed_client_event=[]), "session.client.data_channel may have"),
        (client(allowed_client_events="response.cancel"), "data_channel.allowed_client_events must"),
        (client(allowed_client_events=[1]), "data_channel.allowed_client_events must"),
        (client(allowed_server_events=["x"] * (MAX_TYPES + 1)), "data_channel.allowed_server_events must"),
        (client(allowed_server_events=["x" * (MAX_TYPE_CHARS + 1)]), "allowed_server_events must"),
        (client(allowed_server_events=[{"type": "response.event"}]), "allowed_server_events must"),
        (client(allowed_server_events=[{"type": DONE, "response_event": "x"}]), "allowed_server_events must"),
        (client(allowed_server_events=[{"type": DONE, "x": 1}]), "allowed_server_events must"),
    ],
    ids=[
        "number",
        "mistyped",
        "array",
        "mistyped list",
        "text",
        "types",
        "many",
        "long",
        "nothing nested",
        "nested elsewhere",
        "mistyped selector",
    ],
)
def test_what_is_wrong_is_named(wrong: dict[str, object], where: str) -> None:
    with pytest.raises(ConfigError, match=where):
        take_permissions(wrong)
