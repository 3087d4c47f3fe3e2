"""The verbs of this part."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.service.verbs import Verbs


def register(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Add this part's verbs to the command line."""
