"""What the clerk understands, and what it replies."""

from __future__ import annotations

import pytest

from transceiver.backends.clerk.orders import MAX_WORDS_CHARS, Clerk, Order, Reply, time_function, understand

NOW = "3:15 PM"
TOOL = {"type": "function", "name": "get_local_time", "parameters": {"type": "object"}}


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("what time is it", Order("time")),
        ("Please, what  time is it now?", Order("time")),
        ("tell me the time please", Order("time")),
        ("Repeat one two three.", Order("repeat", "one two three")),
        ("repeat whatever you like, in any words!", Order("repeat", "whatever you like, in any words")),
        ("call me Robert", Order("name", "robert")),
        ("who am i", Order("who")),
        ("what time", Order("time")),
        ("please", Order("unknown")),
        ("what is my name?", Order("who")),
        ("", Order("unknown")),
        ("call me 7", Order("unknown")),
        ("tell me the time or else", Order("unknown")),
        ("repeat", Order("unknown")),
    ],
)
def test_orders_are_understood_as_typed_and_as_said(text: str, order: Order) -> None:
    assert understand(text) == order


def test_what_is_repeated_is_bounded() -> None:
    assert len(understand("repeat " + "one " * 10_000).words) == MAX_WORDS_CHARS


def test_it_learns_a_name() -> None:
    clerk = Clerk()
    assert "do not know" in clerk.reply(Order("who"), [], NOW).words
    assert clerk.reply(Order("name", "mary ann"), [], NOW) == Reply("Hello, Mary Ann.")
    assert clerk.reply(Order("who"), [], NOW) == Reply("Mary Ann.")
    assert clerk.reply(Order("time"), [], NOW) == Reply("It is 3:15 PM, Mary Ann.")


def test_it_repeats_and_it_says_what_it_could_do() -> None:
    assert Clerk().reply(Order("repeat", "one two"), [], NOW) == Reply("One two.")
    assert "what time is it" in Clerk().reply(Order("unknown"), [], NOW).words


def test_a_client_that_can_tell_the_time_is_asked() -> None:
    clerk = Clerk()
    assert clerk.reply(Order("time"), [TOOL], NOW) == Reply("", "get_local_time")
    assert clerk.report("noon") == Reply("It is noon.")
    assert clerk.report('{"error": 0, "time": "half past two"}') == Reply("It is half past two.")
    assert clerk.report("[1]") == Reply("It is [1].")


@pytest.mark.parametrize(
    "tools",
    [
        None,
        "time",
        7,
        [],
        [7],
        [{"type": "mcp", "name": "time"}],
        [{"type": "function"}],
        [{**TOOL, "name": "x"}],
    ],
)
def test_other_tools_are_left_alone(tools: object) -> None:
    assert time_function(tools) is None
