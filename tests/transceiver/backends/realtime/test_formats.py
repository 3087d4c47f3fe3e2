"""What a backend says of its audio."""

from __future__ import annotations

import pytest

from transceiver.backends.realtime.formats import FORMATS, AudioFormat, Encoding, find_formats

PCM, NARROW, MU = FORMATS["pcm_24000"], FORMATS["pcm_16000"], FORMATS["pcmu"]


def session(**sides: object) -> dict[str, object]:
    return {"audio": {side: {"format": named} for side, named in sides.items()}}


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_asked_for_is_found_in_its_echo(name: str) -> None:
    asked = FORMATS[name]
    assert find_formats(session(input=asked.wire, output=asked.wire), asked) == (asked, asked)
    beta = {"input_audio_format": asked.beta, "output_audio_format": asked.beta}
    assert find_formats(beta, asked) == (asked, asked)


def test_what_is_not_said_is_as_asked() -> None:
    assert find_formats({}, NARROW) == (NARROW, NARROW)
    assert find_formats(session(input={"type": "audio/pcm"}), NARROW)[0] == NARROW


def test_either_side_may_be_another() -> None:
    said = session(input={"type": "audio/pcmu"}, output={"type": "audio/pcm", "rate": 48_000})
    assert find_formats(said, PCM) == (MU, AudioFormat(Encoding.PCM, 48_000))
    assert find_formats({"output_audio_format": "g711_alaw"}, PCM) == (PCM, FORMATS["pcma"])


@pytest.mark.parametrize(
    "named",
    [7, {"type": "opus"}, {"type": "audio/pcm", "rate": 44_100}, {"type": "audio/pcm", "rate": "x"}, {}],
    ids=range(5),
)
def test_what_nobody_can_read_is_none(named: object) -> None:
    assert find_formats(session(output=named), PCM) == (PCM, None)
    assert find_formats({"output_audio_format": "opus"}, PCM) == (PCM, None)
