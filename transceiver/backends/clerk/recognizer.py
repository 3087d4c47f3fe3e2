"""Recognition, as the serving process has it: some processes that recognise, one utterance each at a time."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
from collections.abc import AsyncIterator

import numpy as np
from numpy.typing import NDArray

from core.errors import UnavailableError
from core.service import launch
from transceiver.media import SAMPLE_RATE
from transceiver.media.resample import Resampler

RATE = 16_000
"""What the model was made for."""
PADDING = np.zeros(RATE // 10, np.int16)
"""A tenth of a second of silence after the words, which the recogniser wants to hear."""
NOISE = np.random.default_rng(1).normal(0, 80, RATE)
"""A second of what a quiet room sounds like, -52 dBFS. The model was made from microphones and takes digital
silence for nothing that it knows: with it, words that it hears well come to nothing now and then.
"""
START_S = 20.0
END_S = 2.0
MODULE = "transceiver.backends.clerk.recognizer_worker"


class Recognizer:
    """One process. Raises UnavailableError when it has ended."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._resampler = Resampler(SAMPLE_RATE, RATE)
        self._heard = 0

    @classmethod
    async def start(cls) -> Recognizer:
        """Start one, and wait until it is ready. Raises UnavailableError."""
        process = await asyncio.create_subprocess_exec(
            *launch.module(MODULE),
            env=launch.environment(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        started, is_ready = cls(process), False
        try:
            async with asyncio.timeout(START_S):
                await started._line()
            is_ready = True
        except TimeoutError:
            raise UnavailableError(f"a recogniser was not ready within {START_S:g} s") from None
        finally:
            if not is_ready:
                await started.close()
        return started

    async def hear(self, pcm: bytes) -> None:
        """More of an utterance, 24 kHz. Waits where the process is behind."""
        await self._hear(self._resampler.push(np.frombuffer(pcm, "<i2")))

    async def end(self) -> str:
        """The utterance is over; what was said, as the grammar has it, or nothing."""
        await self._hear(np.concatenate([self._resampler.flush(), PADDING]))
        self._heard = 0
        await self._send(b"E", b"")
        return await self._line()

    async def forget(self) -> None:
        """The utterance is of no interest any more."""
        self._resampler.flush()
        self._heard = 0
        await self._send(b"X", b"")
        await self._line()

    async def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(END_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.communicate()

    async def _hear(self, samples: NDArray[np.int16]) -> None:
        """In a room that is the same for each utterance."""
        room = np.take(NOISE, np.arange(self._heard, self._heard + len(samples)), mode="wrap")
        self._heard += len(samples)
        limits = np.iinfo(np.int16)
        await self._send(b"A", np.clip(samples + room, limits.min, limits.max).astype("<i2").tobytes())

    async def _send(self, kind: bytes, body: bytes) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(kind + len(body).to_bytes(4, "little") + body)
            await stdin.drain()
        except ConnectionError:
            raise UnavailableError("a recogniser has ended") from None

    async def _line(self) -> str:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise UnavailableError("a recogniser has ended")
        return str(json.loads(line)["text"])


class Recognizers:
    """All that there are. More utterances at once than these wait for their turn."""

    def __init__(self, count: int) -> None:
        self._free: asyncio.Queue[Recognizer | None] = asyncio.Queue(count)
        """None in place of one that has yet to be started."""
        for _ in range(count):
            self._free.put_nowait(None)

    async def start(self) -> None:
        """Start them. Raises UnavailableError."""
        if importlib.util.find_spec("pocketsphinx") is None:
            raise UnavailableError("the clerk needs pocketsphinx; run: pip install 'voxpop[clerk]'")
        for _ in range(self._free.maxsize):
            self._free.get_nowait()
            self._free.put_nowait(await Recognizer.start())

    @contextlib.asynccontextmanager
    async def one(self) -> AsyncIterator[Recognizer]:
        """One for an utterance, when there is one free. It is ended by `end` or `forget`; a recogniser that
        was left in the middle, or has died, is replaced. Raises UnavailableError.
        """
        found = await self._free.get()
        whole: Recognizer | None = None
        try:
            found = found or await Recognizer.start()
            yield found
            whole = found
        finally:
            if whole is None and found is not None:
                await found.close()
            self._free.put_nowait(whole)

    async def close(self) -> None:
        """End all, which are free once the last session is closed."""
        while not self._free.empty():
            found = self._free.get_nowait()
            if found is not None:
                await found.close()
