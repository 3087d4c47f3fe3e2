"""PCM as backends want it, and back."""

from __future__ import annotations

import base64
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BackendError
from tests.sound import find, frames, speech
from transceiver.backends.realtime.audio import Downlink, Uplink
from transceiver.backends.realtime.formats import FORMATS

LEAST = {"pcm_24000": 0.9999, "pcm_16000": 0.98, "pcmu": 0.9, "pcma": 0.9}


@pytest.mark.parametrize("name", FORMATS)
def test_speech_goes_there_and_back(name: str) -> None:
    uplink, downlink = Uplink(FORMATS[name]), Downlink(FORMATS[name])
    sent = [uplink.encode(frame) for frame in frames(speech())] + [uplink.flush()]
    heard = b"".join(downlink.decode_untrusted(delta) for delta in sent) + downlink.flush()
    assert find(speech(), np.frombuffer(heard + bytes(9600), "<i2")).likeness > LEAST[name]
    frame_count = len(frames(speech()))
    assert abs(downlink.received_ms - frame_count * 20) <= 1
    assert abs(len(heard) // 2 - frame_count * 480) <= 3


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=5))
def test_samples_may_be_torn_between_deltas(pcm: bytes, cuts: list[int]) -> None:
    downlink = Downlink(FORMATS["pcm_24000"])
    ends = [0, *sorted(cuts), len(pcm)]
    pieces = [pcm[a:b] for a, b in itertools.pairwise(ends)]
    heard = b"".join(downlink.decode_untrusted(base64.b64encode(piece).decode()) for piece in pieces)
    whole = b"".join(pieces)
    assert heard == whole[: len(whole) & ~1]
    assert downlink.received_ms == len(heard) // 48


@pytest.mark.parametrize("delta", ["x", "AAA", "A A=", "äöü=", "AA\n=="])
def test_what_is_no_base64_is_refused(delta: str) -> None:
    with pytest.raises(BackendError):
        Downlink(FORMATS["pcm_24000"]).decode_untrusted(delta)
