"""The table, in its three forms."""

from __future__ import annotations

import json

import pytest

from edge.lab.drills.drill import CALLS, GAP, PACKETS, Bar, Drill, Figure, Outcome, judge
from edge.lab.drills.table import BEGIN, END, as_json, machine, markdown, render, replaced

QUIET = judge(
    Drill("quiet", "nothing happens", (Bar(CALLS, 0),), lambda _: Outcome({})),
    Outcome({GAP: Figure(20, "ms"), PACKETS: Figure(0), CALLS: Figure(0), "moves": Figure(3)}),
    12.34,
)
LOUD = judge(
    Drill("loud", "all dies", (Bar(CALLS, 0),), lambda _: Outcome({})),
    Outcome({CALLS: Figure(2)}, ("call 3 broke off",)),
    1.0,
)


def test_a_terminal_has_a_line_for_each_and_the_reasons_below() -> None:
    lines = render([QUIET, LOUD]).splitlines()
    assert lines[0].split() == ["drill", "audio", "gap", "packets", "lost", "calls", "lost", "also"]
    assert lines[1].split() == ["quiet", "20", "ms", "0", "0", "moves", "3", "yes"]
    assert lines[2].split() == ["loud", "—", "—", "2", "**no**"]
    assert lines[3:5] == ["loud: calls lost 2, at most 0", "loud: call 3 broke off"]
    assert lines[-1] == machine()


def test_the_page_has_titles_and_bars() -> None:
    rows = markdown([QUIET, LOUD]).splitlines()
    assert rows[2] == "| nothing happens | no calls lost | 20 ms | 0 | 0 | moves 3 | yes |"
    assert rows[3] == "| all dies | no calls lost | — | — | 2 |  | **no** |"
    assert len({row.count("|") for row in rows[:4]}) == 1


def test_a_page_keeps_all_but_its_table() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert replaced(page, "new") == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
    assert replaced(replaced(page, "newer"), "new") == replaced(page, "new")
    for broken in ("", f"{BEGIN}\nold", f"{END}{BEGIN}"):
        with pytest.raises(ValueError, match="the page has no"):
            replaced(broken, "new")


def test_json_has_figures_with_units_and_what_was_missed() -> None:
    plain = json.loads(json.dumps(as_json([QUIET, LOUD])))
    assert plain["machine"] == machine()
    quiet, loud = plain["drills"]
    assert (quiet["name"], quiet["is_met"], quiet["took_s"]) == ("quiet", True, 12.3)
    assert quiet["figures"][GAP] == {"value": 20, "unit": "ms"}
    assert quiet["bars"] == [{"figure": CALLS, "at_most": 0, "unit": ""}]
    assert loud["misses"] == ["calls lost 2, at most 0", "call 3 broke off"]
    assert not loud["is_met"]
