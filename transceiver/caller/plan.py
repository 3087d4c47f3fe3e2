"""What `voxpop call` is to do, with everything read and checked before anything is sent."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from yarl import URL

from transceiver.caller.api import calls_url
from transceiver.caller.ice import Nomination
from transceiver.caller.limits import DEFAULT_RATE, KEY_VARIABLE, MAX_RECORDED_SECONDS
from transceiver.caller.settings import probe_session
from transceiver.caller.sound import default_recording, read_frames
from transceiver.media import FRAME_MS

MAX_KEY_FILE_BYTES = 8192
"""A client secret has its session in it."""
LONGER_ANSWER_S = 30.0


@dataclass(frozen=True, slots=True)
class Plan:
    """One call, or each of a crowd."""

    url: URL
    api_key: str | None
    recording: Sequence[bytes]
    turns: int | None
    seconds: float
    session: Mapping[str, object]
    nomination: Nomination
    calls: int | None = None
    """How many; None for one that is reported by itself."""
    rate: float = DEFAULT_RATE
    """Of a crowd, calls that begin in a second."""


def make_plan(arguments: argparse.Namespace) -> Plan:
    """Raises ValueError or SoundError with a sentence for an operator."""
    if arguments.out is not None and arguments.calls is not None:
        raise ValueError("--out records one call, not the many of --calls")
    if arguments.out is not None and (arguments.seconds or 0) > MAX_RECORDED_SECONDS:
        raise ValueError(
            f"--out records {MAX_RECORDED_SECONDS} s at most: say --seconds {MAX_RECORDED_SECONDS}"
        )
    if arguments.rate is not None and arguments.calls is None:
        raise ValueError("--rate says how fast the calls of --calls begin, which is not given")
    if arguments.out is not None and not arguments.out.absolute().parent.is_dir():
        raise ValueError(f"{arguments.out}: there is no directory {arguments.out.absolute().parent}")
    recording = read_frames(arguments.wav or default_recording())
    turns = arguments.turns
    if turns is None and arguments.seconds is None:
        turns = 1
    url = calls_url(arguments.url)
    return Plan(
        url=url,
        api_key=_api_key(arguments.api_key_file),
        recording=recording,
        turns=turns,
        seconds=arguments.seconds or _enough_s(len(recording), turns or 1),
        session=probe_session(url, arguments.session),
        nomination=arguments.nomination,
        calls=arguments.calls,
        rate=arguments.rate or DEFAULT_RATE,
    )


def _enough_s(frames: int, turns: int) -> float:
    """For a server that answers in about the length of the question; one that never stops is cut off."""
    return min(MAX_RECORDED_SECONDS, turns * (2 * frames * FRAME_MS / 1000 + LONGER_ANSWER_S))


def _api_key(path: Path | None) -> str | None:
    if path is None:
        return os.environ.get(KEY_VARIABLE) or None
    try:
        with path.open("rb") as file:
            key = file.read(MAX_KEY_FILE_BYTES).decode("ascii").strip()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not an API key") from None
    if not key or not key.isprintable() or " " in key:
        raise ValueError(f"{path}: must hold one API key and nothing else")
    return key
