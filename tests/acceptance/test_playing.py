"""What is read of a playbook that is under way."""

from __future__ import annotations

from tests.acceptance.playing import has_begun

SAID = """
TASK [voxpop.edge.transceiver : Ask the transceiver how it is] *****************
ok: [frankfurt1.example.net]

TASK [voxpop.edge.transceiver : Drain the transceiver] *************************
"""


def test_a_task_has_begun_when_it_is_told() -> None:
    assert has_begun(SAID, "voxpop.edge.transceiver : Ask the transceiver how it is")
    assert has_begun(SAID, "voxpop.edge.transceiver : Drain the transceiver")


def test_neither_a_part_of_its_name_nor_what_is_said_of_it_is_a_task() -> None:
    assert not has_begun(SAID, "voxpop.edge.transceiver : Drain")
    assert not has_begun("msg: TASK [a : b] was meant", "a : b")
