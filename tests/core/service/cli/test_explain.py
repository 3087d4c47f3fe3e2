"""What is told about a ufrag."""

from __future__ import annotations

from core.service.cli.explain import WHY
from core.token import TokenReason


def test_every_reason_has_an_explanation() -> None:
    assert WHY.keys() == set(TokenReason)
