"""The kept sequences hold, and would not if what they are kept for were taken away."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, run_state_machine_as_test

from edge.forwarders.room import Room
from tests.edge.forwarders.test_room import RoomMachine
from tests.edge.relay.test_decide_attacks import UserspaceAttacks
from tests.fuzz import sequences
from tests.fuzz.sequences import FOLDERS, MAX_KEPT, Machine, kept, read, replay, rule
from tests.transceiver.transport.test_mux_attacks import MuxAttacks
from tests.transceiver.transport.test_paths_attacks import Hostile
from transceiver.transport.agent import IceAgent
from transceiver.transport.mux import Mux
from transceiver.transport.paths import Paths
from transceiver.transport.seen import SeenTransactions

MACHINES: dict[str, type[Machine]] = {
    machine.kept_in: machine for machine in (Hostile, UserspaceAttacks, RoomMachine, MuxAttacks)
}
FILES = {f"{name}/{path.stem}": path for name, machine in MACHINES.items() for path in kept(machine)}


@pytest.mark.parametrize("name", FILES)
def test_kept_sequences_hold(name: str) -> None:
    sequence, machine = read(FILES[name]), MACHINES[name.partition("/")[0]]
    ended, _ = replay(machine, sequence.events)
    if sequence.without is not None:
        others = [event for event in sequence.events if event["do"] != sequence.without]
        assert len(others) < len(sequence.events)
        assert replay(machine, others)[0] == ended


def test_no_sequences_are_kept_without_a_machine() -> None:
    assert {path.name for path in FOLDERS.iterdir()} == {"README.md", *MACHINES}
    assert all(MACHINES[name.partition("/")[0]] for name in FILES)


TAKEN_AWAY: dict[str, tuple[str, type, str, Callable[..., object]]] = {
    "credit": ("paths/aimed-speaking", Paths, "pay", lambda *_, **__: True),
    "what was seen": ("paths/replayed-while-silent", SeenTransactions, "add", lambda *_: True),
    "who is gone": (
        "paths/gone-and-all-replayed",
        SeenTransactions,
        "add",
        lambda *_: True,
    ),
    "proof": ("paths/forwarder-wins-each-race", Paths, "_is_enough", lambda *_: True),
    "company": ("paths/first-with-a-copy-and-a-new-port", Paths, "_accompany", lambda *_: None),
    "copies of media": ("paths/to-and-fro", IceAgent, "hear_copy", lambda *_: None),
    "who makes room": ("room/many-sources-fill", Room, "next_to_go", lambda *_: None),
    "who makes room of a ufrag": (
        "flows/replayed-from-everywhere-then-rebound",
        Room,
        "_of_owner",
        lambda _, owner, flows: max(flows, key=lambda each: each[1])[0] if flows else None,
    ),
    "whose an address is": ("mux/thief-at-a-callers-address", Mux, "claim", lambda *_: False),
    "endings": ("mux/noise-and-endings", Mux, "forget_ssrc", lambda *_: None),
}


@pytest.mark.parametrize(("name", "owner", "rule", "instead"), TAKEN_AWAY.values(), ids=TAKEN_AWAY)
def test_a_rule_that_is_taken_away_is_missed(
    name: str, owner: type, rule: str, instead: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, rule, instead)
    with pytest.raises(AssertionError):
        test_kept_sequences_hold(name)


class Counting(Machine):
    """Counts."""

    kept_in = "counting"

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    @rule(by=st.integers(1, 9))
    def add(self, by: int) -> None:
        self.count += by

    @rule()
    def begin_anew(self) -> None:
        self.count = 0

    def mark(self) -> object:
        """The count, coarsely."""
        return self.count // 5


class Breaking(Counting):
    """The same with an invariant that does not hold."""

    @invariant()
    def it_is_below_ten(self) -> None:
        assert self.count < 10


@pytest.fixture
def fuzzing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As in a round of `make fuzz`, with a folder of its own."""
    monkeypatch.setattr(sequences, "ROUND", 1)
    monkeypatch.setattr(sequences, "FOLDERS", tmp_path)
    sequences._known_marks.cache_clear()
    return tmp_path / Counting.kept_in


FEW = settings(
    max_examples=15,
    stateful_step_count=6,
    deadline=None,
    database=None,
    derandomize=True,
    phases=(Phase.generate, Phase.shrink),
)


def test_what_breaks_a_machine_is_kept_as_short_as_can_be(fuzzing: Path) -> None:
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Breaking, settings=FEW)
    broke = fuzzing / "broke-it_is_below_ten.jsonl"
    found = read(broke)
    assert [event["do"] for event in found.events] == ["add", "add"]
    assert "it_is_below_ten" in found.why
    with pytest.raises(AssertionError):
        replay(Breaking, found.events)
    replay(Counting, found.events)


def test_what_leads_somewhere_new_is_kept_once(fuzzing: Path) -> None:
    run_state_machine_as_test(Counting, settings=FEW)
    before = kept(Counting)
    assert 1 <= len(before) <= MAX_KEPT
    assert {event["do"] for path in before for event in read(path).events} == {"add", "begin_anew"}
    sequences._known_marks.cache_clear()
    run_state_machine_as_test(Counting, settings=FEW)
    assert kept(Counting) == before, "the same runs say nothing new"


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ([{}], ValueError),
        ([{"why": "w"}, {"by": 1}], ValueError),
        ([{"why": "w"}, {"do": "nothing"}], LookupError),
        ([{"why": "w"}, {"do": "add"}], LookupError),
    ],
)
def test_what_is_no_sequence_is_said(
    tmp_path: Path, lines: list[dict[str, object]], error: type[Exception]
) -> None:
    path = tmp_path / "some.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(error):
        replay(Counting, read(path).events)
