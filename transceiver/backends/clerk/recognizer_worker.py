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

from pocketsphinx import Decoder, get_model_path

from core.service.privileges import keep_only
from transceiver.backends.clerk.orders import GRAMMAR

HEAD = struct.Struct("<cI")
MODEL = "en-us"
SEARCH = "orders"
READY = "ready"
MEAN = "53.9,-5.4,-3.2,14.1,-4.9,-3.0,-2.0,-11.2,-3.5,-6.5,1.1,-3.3,-3.9"
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


def recognise(decoder: Decoder, source: BinaryIO) -> str | None:
    """One utterance of what comes; what was said. None at the end of the input, or where it was forgotten."""
    decoder.set_cmn(MEAN)
    decoder.start_utt()
    try:
        while len(head := source.read(HEAD.size)) == HEAD.size:
            kind, length = HEAD.unpack(head)
            audio = source.read(length)
            if kind == b"X":
                return ""
            if kind == b"E":
                break
            if audio:
                decoder.process_raw(audio)
        else:
            return None
    finally:
        decoder.end_utt()
    found = decoder.hyp()
    return "" if found is None else str(found.hypstr)


def main() -> None:
    """Recognise until the input ends."""
    keep_only()
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
