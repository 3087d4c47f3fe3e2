"""Which tests run side by side, and in what order they begin (docs/decisions/0112).

A worker gets one test after another, whichever is next: most of them wait for real time to pass, and have
names, ports and namespaces of their own. What must not meet itself is a group, which one worker has.
"""

from __future__ import annotations

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.suite.alone import MARK

GROUPS = {
    "labs that are made and removed": ("tests/edge/lab/", "tests/transceiver/demo/"),
    "browsers": ("tests/browser/", "tests/lab/test_fast_path.py::test_the_kernel_carries_a_browsers_call"),
}
"""By the beginnings of node ids. Labs of one machine are made one at a time, so those that are interrupted
at a stage would be interrupted while they wait; two browsers are more than two CPUs play without a gap.
"""

LONG = ("slow", "netns")
"""Marks of what takes seconds."""


def group_of(nodeid: str) -> str:
    """The group of a test; it is its own where it is in none."""
    return next((group for group, beginnings in GROUPS.items() if nodeid.startswith(beginnings)), nodeid)


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """In the order of collection; a group is one piece of work."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


class Schedule:
    """Gives the order to every process of a run, and the scheduler to the one that has workers."""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """First who is alone, since nobody then has to be waited for; then the groups, which are the longest
        pieces, then what takes long; with the short ones all workers come to their end together.
        """
        order = list(GROUPS)

        def rank(item: pytest.Item) -> int:
            if item.get_closest_marker(MARK) is not None:
                return -1
            group = group_of(item.nodeid)
            if group in GROUPS:
                return order.index(group)
            return len(order) + (not any(map(item.get_closest_marker, LONG)))

        items.sort(key=rank)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Producer) -> Scheduling:
        """For `-n`, whatever `--dist` says."""
        config.option.loadscopereorder = False
        return Scheduling(config, log)
