"""The clock of a record's `seen`: jiffies, which the program reads by one load.

Nothing else tells userspace what they are at present, so a program of one line is run for it; how long
one lasts is the resolution of the coarse clocks.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from ebpf import pins, testrun

PROGRAM = "voxpop_clock"
FRAME = bytes(14)
"""The shortest that the kernel runs a program on."""


CLOCK_MONOTONIC_COARSE = 6
"""linux/time.h; the time module does not name it."""


STAMP_BITS = 16
STAMPS_LAST_NS = 4_050 * 10**9
"""At least, before they begin anew: the longest idle timeout, and until a sweep has looked at each flow."""


def tick_ns() -> int:
    """Nanoseconds of one jiffy."""
    return round(time.clock_getres(CLOCK_MONOTONIC_COARSE) * 1e9)


def seen_shift() -> int:
    """VP_SEEN_SHIFT of the program: how many bits of the jiffies are too fine for a stamp."""
    return (STAMPS_LAST_NS // (tick_ns() << STAMP_BITS)).bit_length()


class JiffiesClock:
    """Tells the present in jiffies mod 2^32. Raises PinError where the dataplane is not there."""

    def __init__(self, pin_dir: Path) -> None:
        self._fd = pins.open_pinned_program(pin_dir, PROGRAM)

    @property
    def now(self) -> int:
        """Jiffies, mod 2^32; some microseconds of work."""
        return testrun.returned(self._fd, FRAME)

    def close(self) -> None:
        """Close the program; once."""
        os.close(self._fd)
