"""What it takes to put up the program: header tree, compiler, verifier; and the same of what is kept.

Of CPU time, since a neighbour's work is not ours, and the best of some runs, each a process of its own as
`voxpop dataplane` is. Needs root.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from ebpf import pins
from ebpf.kernel import bpffs
from tests.bench.result import Figure

ROUNDS = 5
SCRIPT = """
import resource
from pathlib import Path
from ebpf import loader, pins
pins.ensure_maps(Path({pin_dir!r}), pins.Sizes())
{load}
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_utime + used.ru_stime)
"""


def run() -> list[Figure]:
    """Both figures; none without root."""
    if os.geteuid() != 0:
        return []
    with tempfile.TemporaryDirectory() as folder:
        pin_root, cache = Path(folder, "bpf"), Path(folder, "cache")
        pin_root.mkdir()
        bpffs.mount(pin_root)
        try:
            pin_dir = pin_root / "v1"
            anew = _least_s(pin_dir, f"loader.load(Path({str(pin_dir)!r}))")
            kept = _least_s(pin_dir, f"loader.load_kept(Path({str(pin_dir)!r}), Path({str(cache)!r}))")
        finally:
            bpffs.unmount(pin_root)
    return [
        Figure("from nothing to loaded", anew, "s", at_most=3.0, note="CPU; header tree, compile, verify"),
        Figure("what was compiled before", kept, "s", at_most=1.0, note="CPU; imports, verify"),
    ]


def _least_s(pin_dir: Path, load: str) -> float:
    """CPU seconds of the cheapest of some runs."""
    command = [sys.executable, "-c", SCRIPT.format(pin_dir=str(pin_dir), load=load)]
    used_s = []
    for _ in range(ROUNDS):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        pins.unpin(pin_dir)
        used_s.append(float(done.stdout))
    return min(used_s)
