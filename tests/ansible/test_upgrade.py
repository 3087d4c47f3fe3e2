"""An upgrade takes every unit of ours along, and says which version a host is: by the order of its tasks."""

from __future__ import annotations

import re

import pytest

from tests.ansible import traces
from tests.ansible.units import ROLES

ONESHOT = {"voxpop-dataplane", "voxpop-irqs", "voxpop-vips", "voxpop-addresses"}
"""No processes: what they have done stays done, and the first is reloaded."""


def test_all_daemons_of_ours_are_in_the_list_that_an_upgrade_proves() -> None:
    made = {path for role in traces.roles() for path in traces.made(role)}
    matches = (re.fullmatch(r"/etc/systemd/system/(voxpop-[a-z-]+)[.]service", path) for path in made)
    units = {match[1] for match in matches if match}
    assert "voxpop-announce-signaling" in units
    assert units - ONESHOT == traces.meanings(traces.scope()["base_daemons"], traces.scope())


def included(role: str, name: str) -> list[str]:
    """Task files that a task file includes, in their order, as role/file."""
    found: list[str] = []
    for task in traces.tasks(ROLES / role / "tasks" / f"{name}.yml"):
        files = (task.get(f"ansible.builtin.{module}") for module in ("include_tasks", "import_tasks"))
        found += [f"{role}/{file.removesuffix('.yml')}" for file in files if file]
        if other := task.get("ansible.builtin.include_role"):
            found.append(f"{other['name'].rpartition('.')[2]}/{other['tasks_from']}")
    return found


@pytest.mark.parametrize("role", ["edge", "transceiver"])
def test_a_host_takes_work_again_when_all_of_it_is_of_the_version_and_says_so(role: str) -> None:
    order = included(role, "upgrade")
    assert "monitoring/facts" in order
    assert order.index(f"{role}/main") < order.index("monitoring/facts") < order.index("base/proven")
    assert order.index("base/proven") < order.index(f"{role}/undrain") < order.index("base/call")
    if role == "edge":
        assert order.index("signaling_ingress/upgrade") < order.index("base/proven")
