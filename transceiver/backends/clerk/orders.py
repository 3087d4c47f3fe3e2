"""What the clerk understands, as a grammar for what is said and for what is typed, and what it replies."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from transceiver.realtime.json_text import decode_object_untrusted

MAX_WORDS_CHARS = 500
"""Of what is repeated."""

WORDS: Final = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("elephant", "banana", "telephone", "yesterday", "tomorrow", "yellow", "orange", "purple", "butterfly"),
    *("september", "october", "november", "december", "washington", "alligator", "umbrella", "hospital"),
)
"""What can be repeated. Long ones, and numbers: a recogniser of this kind takes short ones for each other."""
NAMES: Final = (
    *("alice", "anna", "barbara", "carol", "david", "emma", "frank", "george", "henry", "isabel", "jennifer"),
    *("linda", "mary", "nicholas", "oliver", "patricia", "peter", "robert", "susan", "thomas", "victor"),
)

GRAMMAR: Final = f"""#JSGF V1.0;
grammar clerk;
public <order> = [please] (<time> | <repeat> | <name> | <who>) [please];
<time> = what time is it [now] | what is the time | tell me the time;
<repeat> = repeat ({" | ".join(WORDS)})+;
<name> = call me ({" | ".join(NAMES)});
<who> = who am i | what is my name;
"""
"""JSpeech Grammar Format (https://www.w3.org/TR/jsgf/). A closed one is recognised ten times faster than a
whole language, and better."""

# The recogniser may lose the last words of an order.
_ORDERS: Final = (
    ("time", re.compile(r"what time( is( it( now)?)?)?|what(?:'s| is) the time|tell me the time")),
    ("repeat", re.compile(r"repeat (?P<words>.+)")),
    ("name", re.compile(r"call me (?P<words>[a-z][a-z' -]{0,40})")),
    ("who", re.compile(r"who am i|what(?:'s| is) my( name)?")),
)


@dataclass(frozen=True, slots=True)
class Order:
    """What a caller wants: `time`, `repeat`, `name`, `who`, or `unknown`."""

    kind: str
    words: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the clerk does: says something, or, with `function`, has the client run that first."""

    words: str
    function: str | None = None


def understand(text: str) -> Order:
    """The order in what was said or typed."""
    plain = re.sub(r"\s+", " ", text.lower()).strip(" .,!?")
    plain = re.sub(r"^please\b[ ,]*|[ ,]*\bplease$", "", plain)
    for kind, pattern in _ORDERS:
        match = pattern.fullmatch(plain)
        if match is not None:
            return Order(kind, match.groupdict().get("words", "")[:MAX_WORDS_CHARS])
    return Order("unknown")


def time_function(tools: object) -> str | None:
    """The name of the client's function that tells the time, if it has one: its name says so."""
    if not isinstance(tools, Sequence):
        return None
    names = (
        tool.get("name") for tool in tools if isinstance(tool, Mapping) and tool.get("type") == "function"
    )
    return next((name for name in names if isinstance(name, str) and "time" in name.lower()), None)


class Clerk:
    """What it has learnt of one caller, and its replies."""

    def __init__(self) -> None:
        self.name: str | None = None

    def reply(self, order: Order, tools: object, time_of_day: str) -> Reply:
        """The reply to an order. `time_of_day` is as it is said, for a client that cannot tell it."""
        match order.kind:
            case "time":
                function = time_function(tools)
                return Reply("" if function else f"It is {time_of_day}{self._address()}.", function)
            case "repeat":
                return Reply(f"{order.words[:1].upper()}{order.words[1:]}.")
            case "name":
                self.remember(order)
                return Reply(f"Hello, {self.name}.")
            case "who":
                return Reply("I do not know. Say: call me Robert." if self.name is None else f"{self.name}.")
            case _:
                return Reply("Sorry? You can say: what time is it, repeat seven elephant, or call me Robert.")

    def remember(self, order: Order) -> None:
        """What an order tells of the caller. A client that has lost its connection writes all of the
        conversation again, which is not answered again.
        """
        if order.kind == "name":
            self.name = order.words.title()

    def report(self, output: str) -> Reply:
        """What the client's function has told."""
        return Reply(f"It is {_told(output)}{self._address()}.")

    def _address(self) -> str:
        return "" if self.name is None else f", {self.name}"


def _told(output: str) -> str:
    """A function's result: text as it is, or the first text in a JSON object."""
    try:
        told = decode_object_untrusted(output)
    except ValueError:
        return output[:MAX_WORDS_CHARS]
    return next((value for value in told.values() if isinstance(value, str)), output)[:MAX_WORDS_CHARS]
