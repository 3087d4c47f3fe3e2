"""How many examples a property is tried on."""

from __future__ import annotations

from hypothesis import settings


def examples(few: int) -> int:
    """`few`, and many times that with `--hypothesis-profile=fuzz`, which may take hours."""
    return settings.get_profile("fuzz").max_examples if settings.get_current_profile_name() == "fuzz" else few
