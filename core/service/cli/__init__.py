"""The verbs of this part: keys, tokens and the configuration."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from core.service.cli import config, keys, token

if TYPE_CHECKING:
    from core.service.cli.config import ConfigCheck
    from core.service.cli.options import Verbs


def register(
    verbs: Verbs[argparse.ArgumentParser], config_checks: Mapping[str, ConfigCheck] | None = None
) -> None:
    """Add this part's verbs to the command line; `config_checks` are for `config check`."""
    keys.register(verbs)
    token.register(verbs)
    config.register(verbs, config_checks or {})
