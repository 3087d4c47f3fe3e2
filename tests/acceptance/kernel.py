"""`tests/ebpf` on Debian's own kernel: every program is loaded there, and its tests pass."""

from __future__ import annotations

import re
import time

from tests.acceptance.errors import UnmetError
from tests.acceptance.scene import Scene

SECONDS = 5400.0
LEFT_OUT = (
    "test_every_truncation_of_every_seed",
    "test_mutations_are_never_misread",
    "test_any_other_character_is_refused",
    "test_fuzz",
    "test_any_order_of_events",
    "test_any_address_keeps_its_checksums",
    "test_the_compiler_names_the_part",
    "test_the_verifier_names_the_part and not relay_xdp.c",
)
"""What asks the same a hundred times over, or of each part of the program, and no kernel answers otherwise: a
minute or two each where the processor is emulated.
"""
# The checkout is a disk that is only read; what tests write is in memory.
_MOUNT = (
    "mkdir /checkout /over && mount -o ro /dev/vdb /mnt && mount -t tmpfs over /over"
    " && mkdir /over/upper /over/work && cd /over"
    " && mount -t overlay -o lowerdir=/mnt,upperdir=upper,workdir=work checkout /checkout"
)


def play(scene: Scene) -> str:
    """Raises UnmetError."""
    began = time.monotonic()
    with scene.tester() as tester:
        tester.run(_MOUNT)
        kernel = tester.run("uname -r")
        selected = f"not ({' or '.join(f'({each})' for each in LEFT_OUT)})"
        words = f"-q -p no:cacheprovider --durations=40 -k '{selected}' tests/ebpf"
        tests = f"cd /checkout && CI=true .venv/bin/python -m pytest {words}"
        said = tester.run(f"{tests} >/root/tests.log 2>&1; cat /root/tests.log", SECONDS)
    (scene.folders.run / "ebpf.log").write_text(said + "\n")
    counted = re.search(r"^.*?(\d+) passed.*? in .*$", said, re.MULTILINE)
    if counted is None or re.search(r"\d+ (failed|error)", counted[0]):
        raise UnmetError(f"tests/ebpf on Linux {kernel}, see {scene.folders.run}/ebpf.log:\n{said[-3000:]}")
    minutes = (time.monotonic() - began) / 60
    return (
        f"Linux {kernel}: {counted[1]} tests of tests/ebpf passed, in {minutes:.0f} minutes beside the rest"
    )
