"""Packets through flows that begin and end all the while: how many of 100 million reach a wrong address.

One CPU runs the program by BPF_PROG_TEST_RUN on flows drawn at random, in both directions and families, and
looks at every packet that is forwarded (tests/edge/churn_harness.c). On the other a relay's forwarder makes
and ends these flows; in a second run, look-up entries change hands as fast as the kernel takes it.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from tests.bench.result import Figure
from tests.edge.churn_scene import Churner, Traffic, fast_path
from tests.edge.churner import CLIENTS

PACKETS = 100_000_000


def run() -> list[Figure]:
    """Every figure; none without root."""
    if os.geteuid() != 0:
        return []
    return [
        *_churn("churner", "flows made by a relay"),
        *_churn("entry_churner", "entries put back"),
    ]


def _churn(module: str, what: str) -> list[Figure]:
    with tempfile.TemporaryDirectory() as root, fast_path(Path(root)) as pin_dir:
        traffic = Traffic(pin_dir)
        began = time.perf_counter()
        with Churner(module, pin_dir) as changing:
            outcome = traffic.send_until(PACKETS)
            seconds = time.perf_counter() - began
        traffic.close()
    note = f"upstream {outcome.right[0]:,}, downstream {outcome.right[1]:,}; {2 * CLIENTS} flows"
    wrong = sum(outcome.wrong)
    return [
        Figure(f"{what} meanwhile", changing.changes / seconds, "/s"),
        Figure(f"{what}: packets to the right address", sum(outcome.right), "", at_least=PACKETS, note=note),
        Figure(f"{what}: to a wrong one", wrong, "", at_most=0, note=outcome.last_wrong if wrong else ""),
        Figure(f"{what}: met no flow", sum(outcome.absent), "", note="dropped, or passed up to the relay"),
    ]
