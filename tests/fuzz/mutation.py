"""Changes to a good text, for harnesses of what is signed or has a grammar that chance does not find."""

from __future__ import annotations


def changed(good: str, data: bytes) -> str:
    """`data` as pairs of a place in the good text and the character to put there."""
    text = list(good)
    for at, character in zip(data[::2], data[1::2], strict=False):
        text[at % len(text)] = chr(character)
    return "".join(text)
