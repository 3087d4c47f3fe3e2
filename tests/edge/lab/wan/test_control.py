"""What a lab may tell its WAN, and what it is answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.errors import UnavailableError
from edge.lab.wan.control import WanControl, answer
from edge.lab.wan.delay import Conditions
from edge.lab.wan.links import End, Link, Wan


@pytest.fixture
def wan() -> Wan:
    return Wan([Link("one", (End("a", "ns-a", "to-b"), End("b", "ns-b", "to-a")), Conditions(5))])


def drops() -> dict[str, dict[str, int]]:
    return {"one": {"a": 3, "b": 0}}


def ask(wan: Wan, **request: object) -> dict[str, Any]:
    told = answer(wan, json.dumps(request).encode(), drops)
    assert told.endswith(b"\n")
    assert told.count(b"\n") == 1
    return dict(json.loads(told))


def test_links_are_set_cut_and_restored(wan: Wan) -> None:
    assert ask(wan, do="set", link="one", changes={"delay_ms": 8, "loss": 0.1}) == {}
    assert wan.directions[0].line.conditions == wan.directions[1].line.conditions == Conditions(8, loss=0.1)
    assert ask(wan, do="cut", link="one", sender="b") == {}
    assert [d.line.is_cut for d in wan.directions] == [False, True]
    assert ask(wan, do="restore", link="one", sender=None) == {}
    assert not any(d.line.is_cut for d in wan.directions)


def test_the_state_has_conditions_and_counts_of_each_direction(wan: Wan) -> None:
    wan.offer(0, b"x", 0)
    pair = ask(wan, do="state")["links"]["one"]
    assert pair["a"]["queued"] == pair["a"]["counts"]["offered"] == 1
    assert (pair["a"]["unread"], pair["b"]["unread"]) == (3, 0)
    assert pair["b"]["conditions"]["delay_ms"] == 5


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"[]", b"null", b'{"do": "dance", "link": "one"}', b'{"do": "set"}', b'{"link": "one"}',
     b'{"do": "set", "link": [], "changes": {}}', b'{"do": "set", "link": "one"}', b"\xff", b"[" * 100_000],
    ids=["empty", "half", "list", "null", "verb", "no-link", "no-verb", "list-link", "no-changes", "bytes",
         "deep"],
)  # fmt: skip
def test_what_is_no_request_is_answered_as_such(wan: Wan, line: bytes) -> None:
    before = wan.state()
    assert json.loads(answer(wan, line, drops)).keys() == {"error"}
    assert wan.state() == before


def test_where_nobody_listens_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no WAN answers"):
        WanControl(tmp_path / "wan.sock").state()
