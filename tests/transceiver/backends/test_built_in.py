"""Our own backends, as the registry finds them."""

from __future__ import annotations

from tests.imports import heavy_imports
from transceiver.backends.built_in import PARROT
from transceiver.backends.parrot import Parrots
from transceiver.backends.registry import choose


def test_the_parrot_is_built_with_what_the_configuration_says() -> None:
    chosen = choose("parrot", {"parrot": {"threshold": 0.25}})
    assert (chosen.type, chosen.settings.threshold) == (PARROT, 0.25)
    assert isinstance(chosen.build(), Parrots)


def test_settings_are_judged_without_what_only_a_built_one_needs() -> None:
    assert heavy_imports("transceiver.backends.built_in", "transceiver.backends.registry") == set()
