"""Recordings as 20 ms frames of Voxpop's PCM, and back to a WAV file."""

from __future__ import annotations

import wave
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import av
import numpy as np

from core.errors import VoxpopError
from core.service.exhausted import reason
from transceiver.media import FRAME_BYTES, SAMPLE_RATE

AUDIBLE_DBFS = -50.0
"""RMS of a frame from which on it counts as heard: a quiet room after noise suppression is below -60,
conversational speech around -26.
"""
FULL_SCALE = 32_768.0
MAX_RECORDING_S = 600
SILENCE = bytes(FRAME_BYTES)


class SoundError(VoxpopError):
    """A recording that cannot be read or played; the message names it and says why."""


def default_recording() -> Path:
    """The sentence that comes with Voxpop."""
    return Path(str(resources.files("transceiver") / "data" / "hello.wav"))


def read_frames(path: Path) -> list[bytes]:
    """Any sound file at any rate as frames of `FRAME_BYTES`, the last one filled up. Raises SoundError."""
    try:
        pcm = _decode(path)
    except OSError as error:
        raise SoundError(f"{path}: {error.strerror or error}") from None
    except (av.FFmpegError, IndexError, ValueError):
        raise SoundError(f"{path}: is not a sound file that can be read") from None
    frames = [pcm[i : i + FRAME_BYTES].ljust(FRAME_BYTES, b"\0") for i in range(0, len(pcm), FRAME_BYTES)]
    if not any(map(is_audible, frames)):
        raise SoundError(f"{path}: has nothing in it that is louder than {AUDIBLE_DBFS:g} dBFS")
    return frames


def _decode(path: Path) -> bytes:
    """FFmpeg mixes the channels down and resamples, through the same libraries that browsers use."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
    chunks: list[bytes] = []
    size = 0
    with av.open(str(path)) as container:
        for decoded in (*container.decode(audio=0), None):
            for frame in resampler.resample(decoded):
                chunks.append(frame.to_ndarray().tobytes())
                size += len(chunks[-1])
            if size > MAX_RECORDING_S * SAMPLE_RATE * 2:
                raise SoundError(f"{path}: is longer than {MAX_RECORDING_S} s")
    return b"".join(chunks)


def level_dbfs(pcm: bytes) -> float:
    """RMS level of PCM, full scale being 0; silence is -inf."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float32)
    power = float(np.dot(samples, samples)) / max(len(samples), 1) / FULL_SCALE**2
    return 10 * float(np.log10(power)) if power else float("-inf")


def is_audible(pcm: bytes) -> bool:
    """Whether somebody would hear it."""
    return level_dbfs(pcm) >= AUDIBLE_DBFS


def write_wav(path: Path, frames: Sequence[bytes]) -> None:
    """Frames as a WAV file. Raises SoundError."""
    try:
        with path.open("wb") as raw, wave.open(raw, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(SAMPLE_RATE)
            file.writeframes(b"".join(frames))
    except OSError as error:
        raise SoundError(f"{path}: cannot be written: {reason(error)}") from None
