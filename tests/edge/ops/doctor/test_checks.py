"""What checks come to, as values."""

from __future__ import annotations

from edge.ops.doctor.checks import Check, Status, failed, note, ok, skipped


def test_who_has_to_do_something_is_told_what() -> None:
    assert ok("a", "b") == Check("a", Status.OK, "b", "")
    assert note("a", "b", "c") == Check("a", Status.NOTE, "b", "c")
    assert failed("a", "b", "c") == Check("a", Status.FAILED, "b", "c")
    assert skipped("a", "b").status is Status.SKIPPED


def test_as_json_it_is_plain_text() -> None:
    assert failed("a", "b", "c").to_json() == {"name": "a", "status": "failed", "finding": "b", "fix": "c"}
