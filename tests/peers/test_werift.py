"""A call by werift: a WebRTC stack that shares no code with any browser's, nor with ours."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.peers.front import front
from tests.peers.judge import judge
from tests.peers.packages import script
from tests.peers.test_agents_npm import LEAST_LIKENESS, spoken
from tests.sound import Samples, frames, likeness_in_pieces, silence
from tests.transceiver.backends.clerk.kit import words
from transceiver.media import FRAME_SAMPLES
from transceiver.media.opus import Decoder, Encoder

PACKETS = "packets.json"


def encode(samples: Samples) -> list[str]:
    encoder = Encoder(32_000, complexity=5, fec=True, dtx=False)
    packets = [encoder.encode(frame) for frame in frames(samples)]
    encoder.close()
    return [base64.b64encode(packet).decode() for packet in packets]


def decode(packets: Sequence[tuple[int, int, str]]) -> Samples:
    """In the order of their timestamps; where there are none, silence."""
    decoder = Decoder()
    first = min(timestamp for _, timestamp, _ in packets)
    last = max(timestamp for _, timestamp, _ in packets)
    heard = np.zeros((last - first) // 2 + FRAME_SAMPLES, np.int16)
    for _, timestamp, payload in sorted(packets, key=lambda packet: packet[1]):
        at = (timestamp - first) // 2
        pcm = np.frombuffer(decoder.decode(base64.b64decode(payload)), "<i2")
        heard[at : at + len(pcm)] = pcm
    decoder.close()
    return heard


def test_werift_talks_with_the_clerk_by_track_and_channel(tmp_path: Path) -> None:
    async def scenario() -> Any:
        said = encode(words("call me robert"))
        (tmp_path / PACKETS).write_text(json.dumps({"said": said, "silence": encode(silence(20))[0]}))
        async with front(tmp_path, "clerk") as here:
            environment = {"URL_OF_CALLS": f"{here.url}/realtime/calls", "KEY": here.key}
            told = await script("werift.js", {**environment, "PACKETS": str(tmp_path / PACKETS)})
            return told, await spoken("Hello, Robert.")

    told, expected = asyncio.run(scenario())
    assert told["states"][:2] == ["connecting", "connected"]
    assert told["status"] == 200
    events = judge(told["events"])
    assert events[0].type == "session.created"
    transcripts = [event.transcript for event in events if event.type.endswith("transcription.completed")]
    assert transcripts == ["call me robert"]
    assert likeness_in_pieces(np.trim_zeros(expected), decode(told["heard"])) > LEAST_LIKENESS
