"""Speech by espeak-ng, streamed: a process for each sentence, of which the first audio comes in 20 ms."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncGenerator

import numpy as np

from core.errors import UnavailableError
from core.service import launch
from transceiver.media import SAMPLE_RATE
from transceiver.media.resample import Resampler

PROGRAM = "espeak-ng"
OPTIONS = ("-v", "en-us", "-s", "160", "--stdin", "--stdout")
WAV_HEADER_BYTES = 44
RATE = 22_050
CHUNK_BYTES = 8_820
"""0.2 s."""
AT_ONCE = 8
"""Processes; more sentences wait."""


class EspeakVoice:
    """The voice of one process of ours."""

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(AT_ONCE)

    def check(self) -> None:
        """Raises UnavailableError where there is no espeak-ng."""
        if shutil.which(PROGRAM) is None:
            raise UnavailableError(f"the clerk speaks by {PROGRAM}; install it: apt install {PROGRAM}")

    async def speak(self, words: str) -> AsyncGenerator[bytes, None]:
        """24 kHz PCM of a sentence, as it is made. Raises UnavailableError."""
        async with self._room:
            process = await asyncio.create_subprocess_exec(
                *(PROGRAM, *OPTIONS),
                env=launch.environment(),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            try:
                async with contextlib.aclosing(self._read(process, words)) as speech:
                    async for pcm in speech:
                        yield pcm
            finally:
                if process.returncode is None:
                    process.kill()
                await process.communicate()  # what nobody reads would keep its pipe open for ever

    async def _read(self, process: asyncio.subprocess.Process, words: str) -> AsyncGenerator[bytes, None]:
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(words.encode(errors="replace") + b"\n")  # JSON may have half a surrogate pair
        stdin.close()
        resampler = Resampler(RATE, SAMPLE_RATE)
        try:
            await stdout.readexactly(WAV_HEADER_BYTES)
        except asyncio.IncompleteReadError:
            raise UnavailableError(f"{PROGRAM} has said nothing") from None
        rest = b""
        while chunk := await stdout.read(CHUNK_BYTES):
            rest += chunk
            whole = len(rest) & ~1
            yield resampler.push(np.frombuffer(rest[:whole], "<i2")).tobytes()
            rest = rest[whole:]
        yield resampler.flush().tobytes()
        if await process.wait():
            raise UnavailableError(f"{PROGRAM} has failed with status {process.returncode}")
