"""Which audio a backend takes and gives, as the protocol writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from transceiver.realtime.settings import audio_side


class Encoding(StrEnum):
    """What a sample is written as; values are those of the protocol's `format.type`."""

    PCM = "audio/pcm"
    MU_LAW = "audio/pcmu"
    A_LAW = "audio/pcma"


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """Mono audio of one encoding and rate; PCM is signed 16 bits, little-endian."""

    encoding: Encoding
    rate: int

    @property
    def wire(self) -> dict[str, object]:
        """`audio.input.format` of a session object. G.711 has but one rate, and no member for it."""
        if self.encoding is Encoding.PCM:
            return {"type": str(self.encoding), "rate": self.rate}
        return {"type": str(self.encoding)}

    @property
    def beta(self) -> str:
        """The beta's name. It has none for a rate: PCM is 24 kHz there."""
        return BETA_NAMES[self.encoding]


BETA_NAMES: Final = {Encoding.PCM: "pcm16", Encoding.MU_LAW: "g711_ulaw", Encoding.A_LAW: "g711_alaw"}
FORMATS: Final[Mapping[str, AudioFormat]] = {
    "pcm_24000": AudioFormat(Encoding.PCM, 24_000),
    "pcm_16000": AudioFormat(Encoding.PCM, 16_000),
    "pcmu": AudioFormat(Encoding.MU_LAW, 8_000),
    "pcma": AudioFormat(Encoding.A_LAW, 8_000),
}
"""By their names in the configuration."""
RATES: Final = (8_000, 16_000, 24_000, 48_000)
"""Of PCM, that a backend may say it has."""


def find_formats(
    session: Mapping[str, object], asked: AudioFormat
) -> tuple[AudioFormat | None, AudioFormat | None]:
    """(input, output) that a backend's session object names; `asked` where it does not say, None for what
    nobody here can read.
    """
    return _find(session, "input", asked), _find(session, "output", asked)


def _find(session: Mapping[str, object], side: str, asked: AudioFormat) -> AudioFormat | None:
    named = audio_side(session, side).get("format")
    if named is None:
        beta = session.get(f"{side}_audio_format")
        if beta is None or beta == asked.beta:
            return asked
        return {known.beta: known for known in FORMATS.values() if known.rate != 16_000}.get(str(beta))
    if not isinstance(named, Mapping):
        return None
    rate = named.get("rate", asked.rate)
    for known in FORMATS.values():
        if known.encoding == named.get("type"):
            if known.encoding is not Encoding.PCM:
                return known
            return AudioFormat(Encoding.PCM, rate) if isinstance(rate, int) and rate in RATES else None
    return None
