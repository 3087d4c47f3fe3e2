"""`voxpop token`: what a ufrag says."""

from __future__ import annotations

import argparse
import json
import time
from typing import TYPE_CHECKING

from core.service.cli.options import add_config, add_json

if TYPE_CHECKING:
    from core.service.cli.options import Verbs


def register(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Add `token` to the command line."""
    token = verbs.add_parser("token", help="look into routing tokens")
    actions = token.add_subparsers(metavar="ACTION", required=True)
    explain = actions.add_parser(
        "explain",
        help="decode a ufrag; say whether it is valid, or why not",
        description="Decodes the ufrag of an answer (a=ice-ufrag) or of a STUN USERNAME, checks it as a "
        "relay with this configuration would, and says where it leads. Exit status 0 when it is valid, 1 "
        "when not.",
    )
    explain.add_argument(
        "ufrag", metavar="UFRAG", help="a USERNAME will do: what follows the colon is ignored"
    )
    add_config(explain, "[token], [[cluster]]")
    add_json(explain)
    explain.set_defaults(run=_explain)


def _explain(arguments: argparse.Namespace) -> int:
    from core.service.cli.explain import explain_untrusted, render
    from core.service.files import load_config, load_keyring

    config = load_config(arguments.config)
    keyring = load_keyring(config, arguments.config)
    ufrag = arguments.ufrag.partition(":")[0]
    explanation = explain_untrusted(ufrag, keyring, config.clusters, int(time.time()) // 60)
    print(json.dumps(explanation) if arguments.json else render(explanation))
    return 0 if explanation["valid"] else 1
