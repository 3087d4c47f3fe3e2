"""A backend's audio on its way to the caller: in at any speed, out at 20 ms a frame. Sans-IO.

What is said is made of parts: the audio of one content part of one item of one response. Parts are heard
in the order in which their audio began to come. Every sample that has come was handed out, was dropped by
a cut or by the bound, or still waits: `Counts` says how many of each, and the sum is always right.

A part belongs to a generation, which is the time at which its response was asked for. A cut ends all
generations so far, so nothing of theirs can be heard later, whenever it comes: there is no state that could
be read too late.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from transceiver.media import FRAME_SAMPLES, SAMPLE_RATE

FADE_MS = 5
FADE_SAMPLES: Final = SAMPLE_RATE * FADE_MS // 1000
START_SAMPLES: Final = FRAME_SAMPLES + FADE_SAMPLES
"""What must be there for a frame: with it what would fade, should nothing follow."""
RESUME_SAMPLES: Final = SAMPLE_RATE * 60 // 1000
"""What must be there after a part has run dry: 60 ms, so that a slow backend stutters less often."""
STALL_FRAMES: Final = 50
"""A part that has run dry for 1 s lets others pass, if they wait."""
MAX_PARTS: Final = 64
"""At a time; what more there is to hear is dropped."""
SAMPLE_BYTES: Final = 2
_SAMPLES_PER_MS: Final = SAMPLE_RATE // 1000
_RISE: Final = np.linspace(0, 1, FADE_SAMPLES, dtype=np.float32)
_FALL: Final = _RISE[::-1]


class Place(NamedTuple):
    """Where audio belongs."""

    response_id: str
    item_id: str
    content_index: int


class Cut(NamedTuple):
    """A part that will not be heard to its end."""

    place: Place
    played_ms: int
    """Whole milliseconds that the caller has heard, the fade included."""


class Frame(NamedTuple):
    """What one tick gives."""

    pcm: bytes | None
    """`media.FRAME_BYTES`; None where nothing is to be heard."""
    started: tuple[str, ...] = ()
    """Responses whose first sample is in it."""
    finished: tuple[str, ...] = ()
    """Responses that were heard to the end before it."""


@dataclass(slots=True)
class Counts:
    """Samples at `media.SAMPLE_RATE`, since the start."""

    received: int = 0
    played: int = 0
    dropped: int = 0
    """By a cut, or because more waited than may."""
    underruns: int = 0
    """How often a part has run dry before its end."""


class Part:
    """Audio of one place, as far as it has not been played."""

    __slots__ = ("_pcm", "is_complete", "place", "played")

    def __init__(self, place: Place) -> None:
        self.place = place
        self.played = 0
        self.is_complete = False
        self._pcm = bytearray()

    @property
    def waiting(self) -> int:
        """Samples that are still to be played."""
        return len(self._pcm) // SAMPLE_BYTES

    def append(self, pcm: bytes) -> None:
        """More of it."""
        self._pcm += pcm

    def take(self, count: int) -> bytes:
        """The next `count` samples, or as many as there are."""
        taken = bytes(self._pcm[: count * SAMPLE_BYTES])
        del self._pcm[: len(taken)]
        self.played += len(taken) // SAMPLE_BYTES
        return taken


class Playout:
    """The queue of one session. `limit_ms` bounds what waits."""

    def __init__(self, limit_ms: int) -> None:
        self.counts = Counts()
        self._limit = limit_ms * _SAMPLES_PER_MS
        self._parts: deque[Part] = deque()
        self._heard: dict[str, None] = {}
        """Responses that have begun, and of which more may be heard."""
        self._over: dict[str, None] = {}
        """Responses of which no more will come."""
        self._oldest_generation = 0
        self._fading: bytes | None = None
        self._flows = False
        self._needs = START_SAMPLES
        self._has_broken_off = False
        self._dry_frames = 0

    @property
    def waiting(self) -> int:
        """Samples that are still to be played."""
        return sum(part.waiting for part in self._parts)

    def holds(self, place: Place) -> bool:
        """Whether a part may still be heard or cut."""
        return self._find(place) is not None

    def is_live(self, generation: int) -> bool:
        """Whether what was asked for then may still be heard."""
        return generation >= self._oldest_generation

    def append(self, place: Place, generation: int, pcm: bytes) -> bool:
        """More audio of a part. False where some of it was dropped: its generation is over, it was complete,
        or too much waits.
        """
        count = len(pcm) // SAMPLE_BYTES
        self.counts.received += count
        part = self._part(place) if self.is_live(generation) and count else None
        kept = min(max(self._limit - self.waiting, 0), count) if part is not None else 0
        self.counts.dropped += count - kept
        if part is not None:
            part.append(pcm[: kept * SAMPLE_BYTES])
        return kept == count

    def complete(self, place: Place) -> None:
        """The part has all its audio."""
        part = self._find(place)
        if part is not None:
            part.is_complete = True

    def cut_short(self, place: Place) -> Cut | None:
        """What more comes of a part will not be heard, but all that has come; None for a part that is not
        there.
        """
        part = self._find(place)
        if part is None:
            return None
        part.is_complete = True
        return Cut(place, (part.played + part.waiting) // _SAMPLES_PER_MS)

    def complete_response(self, response_id: str) -> None:
        """Nothing more of the response will come. Where any was heard, a later frame tells of its end."""
        self._complete_all(response_id)
        if response_id in self._heard or any(part.place.response_id == response_id for part in self._parts):
            self._over[response_id] = None

    def _part(self, place: Place) -> Part | None:
        """The part that audio of a place goes to; the ones before it in the same response are complete."""
        part = self._find(place)
        if part is not None:
            return None if part.is_complete else part
        if len(self._parts) == MAX_PARTS:
            return None
        self._complete_all(place.response_id)
        self._parts.append(Part(place))
        return self._parts[-1]

    def _find(self, place: Place) -> Part | None:
        return next((part for part in self._parts if part.place == place), None)

    def _complete_all(self, response_id: str) -> None:
        for part in self._parts:
            part.is_complete = part.is_complete or part.place.response_id == response_id

    # Out

    def next_frame(self) -> Frame:
        """The next 20 ms."""
        if self._fading is not None:
            faded, self._fading = self._fading, None
            return Frame(faded)
        finished = self._drop_played()
        ready, is_end = self._ready()
        if not self._flows and (not ready or not (is_end or ready >= self._needs)):
            self._let_others_pass()
            return Frame(None, (), finished)
        self._flows = True
        runs_dry = not is_end and ready < START_SAMPLES
        samples, started = self._take(FRAME_SAMPLES)
        if self._has_broken_off:
            samples[:FADE_SAMPLES] *= _RISE
            self._has_broken_off = False
        if runs_dry:
            self._run_dry(samples, min(ready, FRAME_SAMPLES))
        elif is_end and ready <= FRAME_SAMPLES:
            self._flows, self._needs = False, START_SAMPLES
        return Frame(samples.astype("<i2").tobytes(), started, finished)

    def _ready(self) -> tuple[int, bool]:
        """(samples that can be played without a gap, counted as far as matters; whether all ends there)."""
        ready = 0
        for part in self._parts:
            ready += part.waiting
            if not part.is_complete:
                return ready, False
            if ready >= RESUME_SAMPLES + FRAME_SAMPLES:
                return ready, False
        return ready, True

    def _take(self, count: int) -> tuple[NDArray[np.float32], tuple[str, ...]]:
        """A frame of samples, padded with silence; and the responses that begin in it."""
        taken = bytearray()
        started: list[str] = []
        for part in self._parts:
            name = part.place.response_id
            if part.waiting and name not in self._heard:
                self._heard[name] = None
                started.append(name)
            taken += part.take(count - len(taken) // SAMPLE_BYTES)
            if len(taken) == count * SAMPLE_BYTES or not part.is_complete:
                break
        self.counts.played += len(taken) // SAMPLE_BYTES
        taken += bytes(count * SAMPLE_BYTES - len(taken))
        return np.frombuffer(taken, "<i2").astype(np.float32), tuple(started)

    def _run_dry(self, samples: NDArray[np.float32], end: int) -> None:
        """No click where it stops: the last 5 ms fade."""
        self.counts.underruns += 1
        length = min(end, FADE_SAMPLES)
        samples[end - length : end] *= _FALL[FADE_SAMPLES - length :]
        self._flows, self._needs, self._dry_frames = False, RESUME_SAMPLES, 0
        self._has_broken_off = True

    def _let_others_pass(self) -> None:
        """A part that never ends, though another response waits, is taken for complete after a while."""
        self._dry_frames += 1
        if self._dry_frames >= STALL_FRAMES and len(self._parts) > 1:
            self._dry_frames = 0
            self._parts[0].is_complete = True
            self._needs = START_SAMPLES

    def _drop_played(self) -> tuple[str, ...]:
        """Let go of parts that are done, and tell of responses that are."""
        while self._parts and self._parts[0].is_complete and not self._parts[0].waiting:
            self._parts.popleft()
        left = {part.place.response_id for part in self._parts}
        over = [name for name in self._over if name not in left]
        finished = tuple(name for name in over if name in self._heard)
        for name in over:
            del self._over[name]
            self._heard.pop(name, None)
        return finished

    # The cut

    def cut(self, generation: int) -> list[Cut]:
        """Nothing of the generations before this one is heard any more, but for a fade of 5 ms. What will
        not be heard to its end, in order. Responses that had begun are not told as finished.
        """
        self._oldest_generation = max(generation, self._oldest_generation)
        if self._flows and self._parts:
            self._fading = self._fade_out()
        cuts = [
            Cut(part.place, part.played // _SAMPLES_PER_MS)
            for part in self._parts
            if part.waiting or not part.is_complete
        ]
        self.counts.dropped += self.waiting
        self._parts.clear()
        self._heard.clear()
        self._over.clear()
        self._flows, self._needs, self._dry_frames = False, START_SAMPLES, 0
        self._has_broken_off = False
        return cuts

    def _fade_out(self) -> bytes:
        samples, _ = self._take(FADE_SAMPLES)
        frame = np.zeros(FRAME_SAMPLES, np.float32)
        frame[:FADE_SAMPLES] = samples * _FALL
        return frame.astype("<i2").tobytes()

    def heard(self) -> tuple[str, ...]:
        """Responses of which the caller has heard something, and may hear more."""
        return tuple(self._heard)
