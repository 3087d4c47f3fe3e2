"""Every harness holds for the inputs that are kept, and for nothing, without any fuzzer."""

from __future__ import annotations

import importlib

import pytest

from tests.fuzz.run import corpus, harnesses


@pytest.mark.parametrize("name", harnesses())
def test_kept_inputs_hold(name: str) -> None:
    harness = importlib.import_module(f"tests.fuzz.{name}")
    assert "Invariant: " in (harness.__doc__ or "")
    for data in (b"", *(path.read_bytes() for path in sorted(corpus(name).glob("*")))):
        harness.test_one_input(data)


def test_no_inputs_are_kept_without_a_harness() -> None:
    assert {path.name for path in corpus("").iterdir()} <= set(harnesses())
