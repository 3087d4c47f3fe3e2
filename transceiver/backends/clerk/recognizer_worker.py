"""A process that recognises: `python -m transceiver.backends.clerk.recognizer_worker`.

Recognition takes a tenth of a core for each caller who speaks, and pocketsphinx holds the interpreter while
it works; so it is not done in the process that serves. On standard input come frames: a letter, the length
of what follows (4 bytes, little-endian), and that. `A` is audio, 16 kHz PCM; `E` ends the utterance, `X`
forgets it. For each `E` a line of JSON goes to standard output.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
from typing import BinaryIO

import numpy as np
from pocketsphinx import Decoder, get_model_path

from transceiver.backends.clerk.orders import GRAMMAR

HEAD = struct.Struct("<cI")
MODEL = "en-us"
SEARCH = "orders"
READY = "ready"
LEVEL = 30.0
"""Of the noise under what is said, as the standard deviation of 16-bit samples: -61 dBFS."""
NOISE = (np.random.default_rng(1).standard_normal(16_000) * LEVEL).astype(np.float32)
"""The model was made of rooms. Digital silence, which callers with DTX have between their words, is none:
with it half of the orders were misheard. Always the same noise, so that the same words are heard the same.
"""
MEAN = "51.7,-3.7,-5.3,16.4,-8.3,-2.9,-1.6,-13.2,-2.1,-9.9,1.9,-3.6,-2.9"
"""Of the cepstrum of orders, which each utterance begins with: the decoder would go on with that of the one
before, which another caller has said.
"""


def make_decoder() -> Decoder:
    """One that knows the grammar, by the model that is in pocketsphinx's wheel."""
    folder = get_model_path(MODEL)
    decoder = Decoder(
        hmm=os.path.join(folder, MODEL),  # noqa: PTH118 - for a C library
        dict=os.path.join(folder, f"cmudict-{MODEL}.dict"),  # noqa: PTH118
        lm=None,
        loglevel="FATAL",
    )
    decoder.add_jsgf_string(SEARCH, GRAMMAR)
    decoder.activate_search(SEARCH)
    return decoder


def in_a_room(audio: bytes, position: int) -> bytes:
    """PCM with noise under it; `position` is how many samples of the utterance came before."""
    samples = np.frombuffer(audio, "<i2")
    noise = NOISE[np.arange(position, position + len(samples)) % len(NOISE)]
    return np.clip(np.rint(samples + noise), -32768, 32767).astype("<i2").tobytes()


def recognise(decoder: Decoder, source: BinaryIO) -> str | None:
    """One utterance of what comes; what was said. None at the end of the input, or where it was forgotten."""
    decoder.set_cmn(MEAN)
    decoder.start_utt()
    heard = 0
    try:
        while len(head := source.read(HEAD.size)) == HEAD.size:
            kind, length = HEAD.unpack(head)
            audio = source.read(length)
            if kind == b"X":
                return ""
            if kind == b"E":
                break
            if audio:
                decoder.process_raw(in_a_room(audio, heard))
                heard += len(audio) // 2
        else:
            return None
    finally:
        decoder.end_utt()
    found = decoder.hyp()
    return "" if found is None else str(found.hypstr)


def main() -> None:
    """Recognise until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it ends it
    decoder = make_decoder()
    source, sink = sys.stdin.buffer, sys.stdout
    sink.write(json.dumps({"text": READY}) + "\n")
    sink.flush()
    while (text := recognise(decoder, source)) is not None:
        sink.write(json.dumps({"text": text}) + "\n")
        sink.flush()


if __name__ == "__main__":
    main()
