"""The clock of a record's `seen`: jiffies, which the program reads by one load.

Nothing else tells userspace what they are at present, so a program of one line is run for it; how long
one lasts is the resolution of the coarse clocks.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from ebpf import pins
from ebpf.kernel import testrun

PROGRAM = "voxpop_clock"
FRAME = bytes(14)
"""The shortest that the kernel runs a program on."""


CLOCK_MONOTONIC_COARSE = 6
"""linux/time.h; the time module does not name it."""


STAMP_BITS = 16
STAMPS_LAST_NS = 4_050 * 10**9
"""At least, before they begin anew: the longest idle timeout, and until a sweep has looked at each flow."""
STAMP_MASK = (1 << STAMP_BITS) - 1
MAY_BE_AHEAD = 16
"""Units by which a stamp may be of what is the future here, since clocks are read one after the other."""


Stamps = npt.NDArray[np.uint16] | np.uint16


def tick_ns() -> int:
    """Nanoseconds of one jiffy."""
    return round(time.clock_getres(CLOCK_MONOTONIC_COARSE) * 1e9)


def seen_shift() -> int:
    """VP_SEEN_SHIFT of the program: how many bits of the jiffies are too fine for a stamp."""
    return (STAMPS_LAST_NS // (tick_ns() << STAMP_BITS)).bit_length()


def ago(seen: Stamps, present: int) -> npt.NDArray[np.int32]:
    """How many units before the present stamp others are, of one or of an array."""
    # In 32 bits: of a single number, unlike of an array, numpy says that it has wrapped.
    return _ago(np.asarray(seen, np.int32), present)


_Seen = TypeVar("_Seen", int, npt.NDArray[np.int32])


def _ago(seen: _Seen, present: int) -> _Seen:
    """Stamps wrap, and may be a little ahead."""
    return (present + MAY_BE_AHEAD - seen & STAMP_MASK) - MAY_BE_AHEAD


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


class SeenClock:
    """The stamps of records as monotonic time: both clocks go alike, so only their distance is asked for.

    `monotonic_ns` is read for that distance alone, beside the jiffies; the present is told by whoever asks.
    Stamps begin anew after an hour and more: silence that has lasted longer looks shorter, which no flow
    lives to see while there is a relay.
    """

    def __init__(self, pin_dir: Path, monotonic_ns: Callable[[], int]) -> None:
        self._monotonic_ns = monotonic_ns
        self._jiffies = JiffiesClock(pin_dir)
        self._tick_ns, self._shift = tick_ns(), seen_shift()
        self.unit_ns = self._tick_ns << self._shift
        """From one stamp to the next."""
        self.adjust()

    def adjust(self) -> None:
        """Ask again; now and then, as one of the clocks may be slewed."""
        self._ahead = self._jiffies.now - self._monotonic_ns() // self._tick_ns

    def stamp(self, now_ns: int) -> int:
        """The stamp of a time."""
        return (now_ns // self._tick_ns + self._ahead) >> self._shift & STAMP_MASK

    def units(self, duration_ns: int) -> int:
        """A duration in the unit of stamps; who is idle for more units was silent for longer than that."""
        return -(-duration_ns // self.unit_ns)

    def idle(self, seen: Stamps, now_ns: int) -> npt.NDArray[np.int32]:
        """How many units ago stamps were; one or an array of them."""
        return ago(seen, self.stamp(now_ns))

    def time_of(self, seen: int, now_ns: int) -> int:
        """The time of a stamp."""
        return now_ns - max(_ago(seen, self.stamp(now_ns)), 0) * self.unit_ns

    def close(self) -> None:
        """Close the clock; once."""
        self._jiffies.close()
