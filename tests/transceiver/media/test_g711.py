"""G.711 against FFmpeg's tables, and by its own rule: the nearest of what a byte can say."""

from __future__ import annotations

from collections.abc import Callable

import av
import numpy as np
import pytest

from transceiver.media.g711 import (
    G711_RATE,
    Samples,
    decode_a_law,
    decode_mu_law,
    encode_a_law,
    encode_mu_law,
)

EVERY_BYTE = bytes(range(256))
EVERY_SAMPLE = np.arange(-32_768, 32_768).astype(np.int16)
LAWS = [("pcm_mulaw", encode_mu_law, decode_mu_law), ("pcm_alaw", encode_a_law, decode_a_law)]


@pytest.mark.parametrize(("codec", "encode", "decode"), LAWS, ids=["mu", "a"])
def test_every_byte_means_what_it_means_to_ffmpeg(
    codec: str, encode: Callable[[Samples], bytes], decode: Callable[[bytes], Samples]
) -> None:
    decoder = av.CodecContext.create(codec, "r")
    decoder.rate, decoder.layout = G711_RATE, "mono"  # type: ignore[attr-defined]
    theirs = np.concatenate([frame.to_ndarray()[0] for frame in decoder.decode(av.Packet(EVERY_BYTE))])  # type: ignore[attr-defined]
    assert np.array_equal(decode(EVERY_BYTE), theirs)
    assert np.array_equal(decode(encode(theirs.astype(np.int16))), theirs)


@pytest.mark.parametrize(("codec", "encode", "decode"), LAWS, ids=["mu", "a"])
def test_every_sample_becomes_one_of_its_two_neighbours(
    codec: str, encode: Callable[[Samples], bytes], decode: Callable[[bytes], Samples]
) -> None:
    levels = np.unique(decode(EVERY_BYTE).astype(int))
    said = decode(encode(EVERY_SAMPLE)).astype(int)
    above = np.clip(np.searchsorted(levels, EVERY_SAMPLE), 1, len(levels) - 1)
    assert np.all((said == levels[above]) | (said == levels[above - 1])), codec
    assert np.all(np.diff(said) >= 0)
    assert np.abs(said - EVERY_SAMPLE).max() <= 1024
