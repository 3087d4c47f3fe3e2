"""What the clerk needs, said where it is missing."""

from __future__ import annotations

import asyncio
import importlib.util

import pytest

from core.errors import UnavailableError
from transceiver.backends.clerk.backend import Clerks


def start() -> None:
    asyncio.run(Clerks(1, lambda: 0, lambda: "noon").start())


def test_without_a_voice_it_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UnavailableError, match="apt install espeak-ng"):
        start()


def test_without_a_recogniser_it_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match=r"pip install 'voxpop\[clerk\]'"):
        start()
