"""Pion, by the example of docs/clients.md as it stands there."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest

from tests.decoding import decode
from tests.e2e.clients import PAGE, serving
from tests.e2e.kit import LEAST_LIKENESS
from tests.pages import block
from tests.sound import Samples, likeness_in_pieces, silence, speech
from transceiver.media import SAMPLE_RATE

DEBIAN = Path("/usr/share/gocode")
"""Where the distribution's packages of Go are: sources, for builds without modules."""
BUILD_TIMEOUT_S = 300


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, built."""
    path = tmp_path_factory.mktemp("go")
    source = path / "src/client"
    source.mkdir(parents=True)
    (source / "main.go").write_text(block(PAGE, "main.go"))
    (source / "go.mod").write_text("module client\n")  # lets its imports end in /v3
    assert subprocess.run(["gofmt", "-l", "."], cwd=source, capture_output=True, check=True).stdout == b""
    environment = {**os.environ, "GO111MODULE": "off", "GOFLAGS": "", "GOPATH": f"{path}:{DEBIAN}"}
    for command in (["go", "vet", "."], ["go", "build", "-o", "client", "."]):
        subprocess.run(command, cwd=source, env=environment, check=True, timeout=BUILD_TIMEOUT_S)
    return source / "client"


def write_ogg(path: Path, samples: Samples) -> None:
    """As FFmpeg would with the options that the page names: PyAV is the same library."""
    with av.open(str(path), "w", format="ogg", options={"page_duration": "20000"}) as container:
        stream = container.add_stream("libopus", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        resampler = av.AudioResampler(format="s16", layout="mono", rate=48_000, frame_size=960)
        for part in [*resampler.resample(frame), *resampler.resample(None), None]:
            container.mux(stream.encode(part))


def test_it_is_answered_and_hangs_up(program: Path, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as server:
            write_ogg(server.folder / "question.ogg", np.concatenate((speech(), silence(100))))
            printed = await server.run(program, "question.ogg", "answer.ogg")
            kinds = [line.split()[0] for line in printed.splitlines()]
            assert (kinds[0], kinds[-1]) == ("session.created", "output_audio_buffer.stopped")
            assert "error" not in kinds
            heard = decode((server.folder / "answer.ogg").read_bytes())
            assert likeness_in_pieces(speech(), heard) > LEAST_LIKENESS
            assert await server.ended("hangup") == 1

    asyncio.run(scenario())
