"""`voxpop config`: checking a configuration, and the reference of its keys."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import ConfigError
from core.service.cli.options import add_json

if TYPE_CHECKING:
    from core.service.cli.options import Verbs

ConfigCheck = Callable[[Path], object]
"""Reads a configuration as a daemon would at its start. Raises ConfigError."""


def register(verbs: Verbs[argparse.ArgumentParser], checks: Mapping[str, ConfigCheck]) -> None:
    """Add `config` to the command line.

    `checks` has, by table, what `config check` runs where a file has that table: this part knows what the
    settings are, but not all that a daemon wants of them.
    """
    config = verbs.add_parser("config", help="check the configuration, or print its reference")
    actions = config.add_subparsers(metavar="ACTION", required=True)
    check = actions.add_parser(
        "check",
        help="name every fault of a configuration and of the files that it points to",
        description="Reads a configuration and the files with secrets that it names as the daemons "
        "would, and names every fault. Exit status 0 when there is none, 1 otherwise.",
    )
    check.add_argument("file", type=Path, metavar="FILE")
    add_json(check)
    check.set_defaults(run=lambda arguments: _config_check(arguments, checks))
    reference = actions.add_parser(
        "reference", help="print every table and key", description="Prints docs/configuration.md."
    )
    reference.set_defaults(run=_config_reference)


def _config_check(arguments: argparse.Namespace, checks: Mapping[str, ConfigCheck]) -> int:
    problems, notes = _check(arguments.file, checks)
    if arguments.json:
        print(json.dumps({"ok": not problems, "problems": problems, "notes": notes}))
    else:
        for note in notes:
            print(f"voxpop: {note}", file=sys.stderr)
        for problem in problems:
            print(f"voxpop: {problem}", file=sys.stderr)
        if not problems:
            print(f"{arguments.file}: no problems found")
    return 1 if problems else 0


def _check(path: Path, checks: Mapping[str, ConfigCheck]) -> tuple[list[str], list[str]]:
    """(problems, notes) of a configuration; notes say what could not be looked at."""
    from core.service.files import keys_path, load_config, load_masters, load_secret_toml
    from core.service.handover import load_store_secrets

    try:
        config = load_config(path)
    except ConfigError as error:
        return error.problems, []
    secrets = [keys_path(config, path)]
    if config.transceiver is not None and config.transceiver.api_keys_file is not None:
        secrets.append(path.parent / config.transceiver.api_keys_file)
    closed = [secret for secret in secrets if secret.exists() and not os.access(secret, os.R_OK)]
    if closed:
        return [], [f"{secret}: not checked, for this user cannot read it" for secret in closed]
    tables = {"relay": config.relay, "transceiver": config.transceiver}
    files: list[Callable[[], object]] = [partial(load_secret_toml, secret) for secret in secrets]
    files.append(partial(load_store_secrets, config, path))
    daemons = [partial(check, path) for table, check in checks.items() if tables[table] is not None]
    return _gather([partial(load_masters, secrets[0]), *files, *daemons]), []


def _gather(runs: Sequence[Callable[[], object]]) -> list[str]:
    """The problems of all, each once."""
    problems: dict[str, None] = {}
    for run in runs:
        try:
            run()
        except ConfigError as error:
            problems |= dict.fromkeys(error.problems)
    return list(problems)


def _config_reference(_: argparse.Namespace) -> int:
    from core.config.reference import write

    print(write(), end="")
    return 0
