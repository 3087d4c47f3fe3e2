"""What every test shares: one hypothesis profile."""

from __future__ import annotations

from hypothesis import settings

# A loaded machine makes single examples slow; a slow example is not a failed one.
settings.register_profile("voxpop", deadline=None)
settings.load_profile("voxpop")
