"""Upgrades and rollbacks over live calls: a version that adds something, and one whose layout is another.

The other version is a copy of the sources with what it adds, by the same walk as CONTRIBUTING tells, and its
commands run like this one's.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ebpf import layout
from tests.edge.kit import REPOSITORY
from tests.edge.xdp_scene import Call, Pop, running
from tests.sources import copy_of_the_sources
from tests.walks import FIELD, ODD_PACKETS, REASON

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]

ODD_BYTES = 777
"""Of the packets that the next version drops: as an IP packet, and as the datagram in it."""
ODD = bytes([0x80]) + bytes(ODD_BYTES - 29)


@pytest.fixture
def next_version(tmp_path: Path) -> Path:
    """It has a reason more, and a field of the configuration, which is 0 where nobody has heard of it."""
    return copy_of_the_sources(tmp_path / "next", {**REASON, **FIELD, **ODD_PACKETS})


BREATH_S = 0.01
"""What goes on needs the CPU too."""


class Talk:
    """Calls whose packets are counted, so that every other count can be held against them."""

    def __init__(self, pop: Pop) -> None:
        self.pop = pop
        self.calls = [Call(pop, index).begin() for index in (0, 1, 0, 1)]
        self.mark()

    def mark(self) -> None:
        """Count from here."""
        self.exchanged = 0
        self.counts_before, self.flows_before = self._counts(), self._flows()

    def exchange(self, count: int = 1) -> None:
        """Of each call, both ways. Fails if one packet does not arrive, or not as it has to."""
        for call in self.calls:
            call.exchange(count)
        self.exchanged += count

    def go_on_during(self, work: Callable[[], object]) -> None:
        """Exchange packets from before it begins until after it has ended, thousands in a second."""
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            self.exchange()
            done = pool.submit(work)
            while concurrent.futures.wait([done], BREATH_S).not_done:
                self.exchange(10)
            done.result()
        self.exchange(10)

    def _counts(self) -> dict[tuple[str, str], int]:
        rows = json.loads(self.pop.succeed("stats", "--json"))["counters"]
        return {(row["verdict"], row["family"]): row["packets"] for row in rows}

    def _flows(self) -> dict[str, dict[str, object]]:
        return {
            row["client"]: row for row in json.loads(self.pop.succeed("flows", "list", "--json"))["flows"]
        }

    def check(self, **drops: int) -> None:
        """Since the mark: no counter has lost anything, all packets are accounted for; every flow is as it
        was, but for what it has carried. `drops` are all that were not forwarded.
        """
        now = self._counts()
        new = {key: count - self.counts_before.get(key, 0) for key, count in now.items()}
        assert min(new.values()) == 0
        each = self.exchanged * len(self.calls) // 2
        for family in ("ipv4", "ipv6"):
            assert new["forward_upstream", family] == new["forward_downstream", family] == each
        assert {
            verdict: count
            for (verdict, _), count in new.items()
            if count and not verdict.startswith(("forward_", "pass_not_"))
        } == drops
        flows = self._flows()
        assert flows.keys() == self.flows_before.keys()
        for client, flow in flows.items():
            was = self.flows_before[client]
            assert all(flow[key] == was[key] for key in ("vip", "transceiver", "nat_port"))
            carried = self.exchanged if client in {str(call.client.address) for call in self.calls} else 0
            assert [flow[key] - was[key] for key in ("packets_up", "packets_down")] == [carried] * 2  # type: ignore[operator]


def restart(pop: Pop) -> None:
    pop.stop()
    pop.start()


def test_a_version_that_adds_something_keeps_calls_and_so_does_the_way_back(
    pop: Pop, next_version: Path
) -> None:
    """Either relay over either program, in the order of an upgrade and of a rollback."""
    talk = Talk(pop)
    odd = talk.calls[0]

    pop.tree = next_version
    talk.go_on_during(lambda: pop.succeed("dataplane", "run"))
    talk.check()
    set_odd_bytes(next_version, pop)
    odd.client.send(ODD, odd.vip)
    assert odd.transceiver.is_silent()
    talk.exchange()
    talk.check(drop_odd=1)

    pop.tree = REPOSITORY
    talk.check(unknown=1)
    assert pop.samples()["fastpath_packets_total", "ipv4", "unknown"] == 1, "of the relay before the upgrade"
    Call(pop).begin().exchange()

    pop.tree = next_version
    talk.mark()
    talk.go_on_during(lambda: restart(pop))
    talk.check()
    assert pop.samples()["fastpath_packets_total", "ipv4", "drop_odd"] == 1
    Call(pop, 1).begin().exchange()

    pop.tree = REPOSITORY
    talk.mark()
    talk.go_on_during(lambda: pop.succeed("dataplane", "run"))
    talk.check()
    odd.client.send(ODD, odd.vip)
    assert odd.transceiver.receive() == (ODD, odd.nat), "to the program of before the field is nothing"
    Call(pop).begin().exchange()

    talk.mark()
    talk.go_on_during(lambda: restart(pop))
    talk.check()
    assert pop.samples()["fastpath_packets_total", "ipv4", "unknown"] == 1
    assert pop.summary()["flows"] == len(talk.calls) + 3
    Call(pop, 1).begin().exchange()


def set_odd_bytes(tree: Path, pop: Pop) -> None:
    """As a relay of that version would."""
    script = (
        "from pathlib import Path; from ebpf.tables import Tables; "
        f"Tables(Path({str(pop.scene.pins)!r})).config['odd_bytes'] = {ODD_BYTES}"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tree, check=True)


def test_another_layout_is_warned_of_before_calls_end(pop: Pop, tmp_path: Path) -> None:
    calls = [Call(pop, 0).begin(), Call(pop, 1).begin()]
    version = layout.SCHEMA_VERSION
    pop.tree = copy_of_the_sources(
        tmp_path / "next",
        {"ebpf/layout.py": (f"SCHEMA_VERSION = {version}", f"SCHEMA_VERSION = {version + 1}")},
    )
    told = pop.run("dataplane", "run", "--force")
    assert told.returncode == 0, told.stderr
    warning = (
        f"/v{version} is in use, whose maps have another layout than those of v{version + 1}: its 2 flows"
    )
    assert warning in told.stderr
    assert told.stderr.index(warning) < told.stderr.index("made "), "before anything is done"
    restart(pop)
    assert pop.summary()["flows"] == 0
    for call in calls:
        call.nat = None
        call.begin().exchange()
    again = pop.run("dataplane", "run")
    assert again.returncode == 0
    assert "in use" not in again.stderr


@pytest.fixture
def pop(tmp_path: Path) -> Iterator[Pop]:
    with running(tmp_path, idle_timeout_s=600) as started:  # however slow the machine
        yield started
