"""What is read of Ansible's last lines."""

from __future__ import annotations

from tests.acceptance.ansible import Recap, recaps

SAID = """\
TASK [voxpop.edge.edge : Ask the doctor] ***************************************
ok: [fra1.example.net]

PLAY RECAP *********************************************************************
fra1.example.net        : ok=63   changed=31   unreachable=0    failed=0    skipped=4  rescued=0  ignored=0
frankfurt1.example.net  : ok=40   changed=0    unreachable=1    failed=2    skipped=9  rescued=0  ignored=0
"""


def test_the_recap_is_read_by_host() -> None:
    assert recaps(SAID) == {
        "fra1.example.net": Recap(ok=63, changed=31, unreachable=0, failed=0),
        "frankfurt1.example.net": Recap(ok=40, changed=0, unreachable=1, failed=2),
    }


def test_a_play_that_did_not_come_to_its_end_has_none() -> None:
    assert recaps(SAID.partition("PLAY RECAP")[0]) == {}
