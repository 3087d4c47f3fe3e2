"""Sequences of events for state machines: kept ones are replayed, new ones are written by `make fuzz`.

A machine is a hypothesis state machine whose rules take numbers, words and truth values, so that any run of
it is a text: JSON lines, of which the first says why it is kept and each other one is an event. README.md,
beside the folders, has the form. Replayed, a sequence needs no chance: the same events, and all invariants
after each.
"""

from __future__ import annotations

import functools
import hashlib
import json
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

from hypothesis import strategies as st
from hypothesis.errors import HypothesisException
from hypothesis.stateful import RuleBasedStateMachine
from hypothesis.stateful import rule as hypothesis_rule

from tests.suite.fuzzing import ROUND

FOLDERS = Path(__file__).parent / "sequences"
MAX_KEPT = 24
"""Sequences of a machine beyond which only those that break it are written."""

Scalar = int | float | str | bool
Event = dict[str, Scalar]


@dataclass(frozen=True)
class Sequence:
    """One file."""

    why: str
    without: str | None
    """A rule without whose events all ends the same."""
    events: list[Event]


class Machine(RuleBasedStateMachine):
    """A state machine of which sequences are kept in the folder `kept_in`."""

    kept_in: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Event] = []
        self.marks: set[str] = set()

    def mark(self) -> object:
        """What there is to be seen of the state, coarsely: of few values. A run that has an event lead to one
        where no kept sequence has is worth keeping.
        """
        raise NotImplementedError

    def end(self) -> None:
        """After the last event: what has to hold then, and what has to be closed."""

    def taken(self, event: Event) -> None:
        """A rule has done that."""
        if ROUND:
            self.marks.add(f"{event['do']}: {self.mark()}")

    def teardown(self) -> None:
        """End, and keep the sequence where it has broken something or is new; only in a round of fuzzing."""
        error = sys.exc_info()[1]
        try:
            self.end()
        except Exception as own:
            error = error or own
            raise
        finally:
            # What is no Exception, or is hypothesis's own, ends a run that it has no more use for.
            if ROUND and (error is None or _is_broken(error)):
                _keep(self, error)

    def ended_with(self) -> object:
        """What a sequence with `without` compares."""
        return self.mark()


def rule(**arguments: Any) -> Callable[[Callable[..., None]], Any]:
    """As hypothesis's, of strategies, for rules of a `Machine`, whose arguments are written down."""

    def accept(function: Callable[..., None]) -> Any:
        @functools.wraps(function)
        def recorded(machine: Machine, **values: Scalar) -> None:
            event: Event = {"do": function.__name__, **values}
            machine.events.append(event)
            function(machine, **values)
            machine.taken(event)

        return cast(Any, hypothesis_rule)(**arguments)(recorded)

    return accept


def word(of: Mapping[str, Any]) -> st.SearchStrategy[str]:
    """A name of one of these, by which a sequence can be read."""
    return st.sampled_from(list(of))


def read(path: Path) -> Sequence:
    """A file. Raises ValueError for one that is no sequence."""
    first, *events = map(json.loads, path.read_text().splitlines())
    if not isinstance(first, dict) or not first.keys() <= {"why", "without"} or not first.get("why"):
        raise ValueError(f"{path.name}: its first line does not say why it is kept")
    if not all(isinstance(event, dict) and "do" in event for event in events):
        raise ValueError(f"{path.name}: a line is no event")
    return Sequence(first["why"], first.get("without"), events)


def replay(make: Callable[[], Machine], events: list[Event]) -> tuple[object, set[str]]:
    """What the machine `ended_with`, and the marks that it has come by, where those are noted. Raises what a
    rule or an invariant raises; LookupError for an event that the machine does not have, or not then.
    """
    machine = make()
    rules = {each.function.__name__: each for each in machine.rules}
    try:
        _check_invariants(machine)
        for number, event in enumerate(events, 2):
            found = rules[str(event["do"])]
            arguments = {name: value for name, value in event.items() if name != "do"}
            if arguments.keys() != found.arguments.keys():
                raise LookupError(f"line {number}: {event['do']} takes {', '.join(found.arguments)}")
            if not all(holds(machine) for holds in found.preconditions):
                raise LookupError(f"line {number}: {event['do']} cannot be at this point")
            found.function(machine, **arguments)
            _check_invariants(machine)
        return machine.ended_with(), machine.marks
    finally:
        machine.end()


def _check_invariants(machine: Machine) -> None:
    for invariant in machine.invariants:
        if all(holds(machine) for holds in invariant.preconditions):
            invariant.function(machine)


def kept(machine: type[Machine]) -> list[Path]:
    """The files of a machine, ascending by name."""
    return sorted((FOLDERS / machine.kept_in).glob("*.jsonl"))


@functools.cache
def _known_marks(machine: type[Machine]) -> set[str]:
    marks: set[str] = set()
    for path in kept(machine):
        marks |= replay(machine, read(path).events)[1]
    return marks


def _keep(machine: Machine, error: BaseException | None) -> None:
    kind = type(machine)
    if error is not None:
        # The last to break it is the shortest, as hypothesis goes on until then; so one file for each cause.
        names = {"end"} | _names(machine.rules) | _names(machine.invariants)
        frames = traceback.extract_tb(error.__traceback__)
        cause = next((frame.name for frame in reversed(frames) if frame.name in names), "elsewhere")
        _write(machine, f"broke-{cause}", f"It broke {cause}: {type(error).__name__}.")
        return
    new = machine.marks - _known_marks(kind)
    if new and len(kept(kind)) < MAX_KEPT:
        _known_marks(kind).update(new)
        digest = hashlib.sha256(json.dumps(machine.events).encode()).hexdigest()[:8]
        _write(machine, f"found-{digest}", f"Found: {', '.join(sorted(new)[:3])}.")


def _is_broken(error: BaseException) -> bool:
    return isinstance(error, Exception) and not isinstance(error, HypothesisException)


def _names(rules: list[Any]) -> set[str]:
    return {each.function.__name__ for each in rules}


def _write(machine: Machine, name: str, why: str) -> None:
    folder = FOLDERS / machine.kept_in
    folder.mkdir(parents=True, exist_ok=True)
    lines = [{"why": why}, *machine.events]
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
