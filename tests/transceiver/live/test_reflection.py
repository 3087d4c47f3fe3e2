"""transceiver.live.reflection: who watches hears both voices, and nobody else pays for it."""

from __future__ import annotations

import base64

from tests.transceiver.live.kit import Audience
from transceiver.live.reflection import CHUNK_FRAMES, Reflection
from transceiver.live.transcripts import TimeLine
from transceiver.media import FRAME_BYTES, FRAME_NS


def frame(number: int) -> bytes:
    return bytes([number]) * FRAME_BYTES


def test_the_caller_comes_in_chunks_without_a_gap() -> None:
    audience = Audience()
    reflection = Reflection(audience, TimeLine())
    reflection.hear(frame(0))
    audience.wants_audio = True
    frames = [frame(1 + number) for number in range(2 * CHUNK_FRAMES + 2)]
    for pcm in frames:
        reflection.hear(pcm)
    reflection.close()
    assert [event["type"] for event in audience.got] == ["session.input_audio.append"] * 3
    assert all(event.keys() == {"type", "audio"} for event in audience.got), "as the API has it"
    assert b"".join(base64.b64decode(event["audio"]) for event in audience.got) == b"".join(frames)


def test_the_answer_comes_with_its_place_and_with_its_gaps() -> None:
    audience, line = Audience(), TimeLine()
    audience.wants_audio = True
    reflection = Reflection(audience, line)
    speaks = [True] * (CHUNK_FRAMES + 1) + [False] * 3 + [True]
    for number, is_speech in enumerate(speaks):
        line.tick(number * FRAME_NS)
        reflection.speak(frame(number) if is_speech else None)
    reflection.close()
    assert [event["type"] for event in audience.got] == ["session.output_audio.delta"] * 3
    assert [(event["start_ms"], event["end_ms"]) for event in audience.got] == [
        (0, 100),
        (100, 120),
        (180, 200),
    ]
    for event in audience.got:
        pcm = base64.b64decode(event["delta"])
        assert len(pcm) * 20 == (event["end_ms"] - event["start_ms"]) * FRAME_BYTES


def test_ticks_that_come_early_do_not_make_two_voices_of_one() -> None:
    audience, line = Audience(), TimeLine()
    audience.wants_audio = True
    reflection = Reflection(audience, line)
    for number in range(2 * CHUNK_FRAMES):
        line.tick(number * (FRAME_NS - 1_000_000))
        reflection.speak(frame(number))
    assert [(event["start_ms"], event["end_ms"]) for event in audience.got] == [(0, 100), (100, 200)]


def test_who_has_left_hears_no_more() -> None:
    audience, line = Audience(), TimeLine()
    audience.wants_audio = True
    reflection = Reflection(audience, line)
    reflection.hear(frame(0))
    reflection.speak(frame(0))
    audience.wants_audio = False
    reflection.hear(frame(1))
    reflection.speak(frame(1))
    reflection.close()
    assert audience.got == []
