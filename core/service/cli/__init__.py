"""The verbs of this part: keys, tokens, the configuration, and what belongs to no part alone."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from core.service.cli import config, drain, keys, metrics, scale, token

if TYPE_CHECKING:
    from core.service.cli.config import ConfigCheck
    from core.service.cli.metrics import Sections
    from core.service.cli.options import Verbs


def register(
    verbs: Verbs[argparse.ArgumentParser], config_checks: Mapping[str, ConfigCheck], sections: Sections
) -> None:
    """Add this part's verbs to the command line; `config_checks` are for `config check`, `sections` are what
    `metrics reference` is made of.
    """
    keys.register(verbs)
    token.register(verbs)
    config.register(verbs, config_checks)
    metrics.register(verbs, sections)
    drain.register(verbs)
    scale.register(verbs)
