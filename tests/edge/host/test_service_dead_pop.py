"""The clients of a PoP that died arrive at one host as media at once, many from behind one address."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.edge.dead_pop import BEHIND_ONE_NAT, FLOWS, drill

pytestmark = [
    pytest.mark.netns,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]


def test_all_are_carried_again_and_the_budgets_do_not_strangle_those_behind_one_address(
    tmp_path: Path, say: Callable[[str], None]
) -> None:
    outcome = drill(tmp_path)
    samples = outcome.samples
    refused = {
        name: samples["fastpath_packets_total", "ipv4", name]
        for name in ("punt_media", "drop_source_budget", "drop_total_budget")
    }
    failures = {key[1]: n for key, n in samples.items() if key[0] == "relay_store_failures_total" and n}
    outcomes = {key[1]: n for key, n in samples.items() if key[0] == "relay_recalls_total" and n}
    assert outcomes["restored"] == FLOWS, "none by a check"
    assert "not_found" not in outcomes
    cpu = ", ".join(f"{who} {seconds:.1f} s" for who, seconds in outcome.cpu_s.items())
    say(
        f"{FLOWS:,} flows of a dead PoP, {BEHIND_ONE_NAT:,} behind one NAT: carried again within "
        f"{outcome.took_s:.1f} s; CPU of {cpu}; {refused}, asked {outcomes}, store failures {failures}; an "
        f"established call exchanged {outcome.exchanged} packets each way and lost none"
    )
