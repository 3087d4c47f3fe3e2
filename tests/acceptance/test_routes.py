"""What is read of `ip -tshort monitor route`, as iproute2 6.1 says it."""

from __future__ import annotations

from tests.acceptance.routes import Change, changed, changes

SAID = """\
[2026-11-30T23:03:48.369862] 198.51.100.0/24 via 10.0.0.2 dev d0 proto bird metric 32 
[2026-11-30T23:03:48.379444] 198.51.100.0/24 via 10.0.0.3 dev d0 proto bird metric 32 
[2026-11-30T23:03:48.381169] Deleted 198.51.100.0/24 via 10.0.0.3 dev d0 proto bird metric 32 
[2026-11-30T23:03:48.386819] 198.51.100.0/24 proto bird metric 32 
\tnexthop via 10.0.0.2 dev d0 weight 1 
\tnexthop via 10.0.0.3 dev d0 weight 1 
[2026-11-30T23:05:25.092088] unreachable 203.0.113.255 
[2026-11-30T23:05:25.099776] 198.51.100.0/24 dev lo scope link 
"""  # noqa: W291 - it ends its lines with a blank
START_S = 1796079828.0
PREFIX = "198.51.100.0/24"


def test_each_change_has_its_time_and_where_it_leads() -> None:
    assert changes(SAID) == [
        Change(START_S + 0.369862, PREFIX, ("10.0.0.2",)),
        Change(START_S + 0.379444, PREFIX, ("10.0.0.3",)),
        Change(START_S + 0.381169, PREFIX, ()),
        Change(START_S + 0.386819, PREFIX, ("10.0.0.2", "10.0.0.3")),
        Change(START_S + 97.092088, "203.0.113.255", ()),
        Change(START_S + 97.099776, PREFIX, ("dev lo",)),
    ]


def test_a_line_that_is_not_whole_is_waited_for() -> None:
    whole = SAID.splitlines(keepends=True)
    assert changes(whole[0] + whole[1][:60]) == changes(whole[0])


def test_the_first_change_since_a_time_that_leads_there_is_found() -> None:
    heard = changes(SAID)
    assert changed(heard, PREFIX, START_S, ()) == Change(START_S + 0.381169, PREFIX, ())
    assert changed(heard, PREFIX, START_S, ("10.0.0.3",)) == heard[1]
    assert changed(heard, PREFIX, START_S + 0.38, ("10.0.0.3",)) is None
    assert changed(heard, "198.51.0.0/16", START_S, ()) is None
