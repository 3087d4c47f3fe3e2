"""The verbs of this part: keys, tokens and the configuration."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import ConfigError

if TYPE_CHECKING:
    from core.service.verbs import Verbs

ConfigCheck = Callable[[Path], object]
"""Reads a configuration as a daemon would at its start. Raises ConfigError."""

KEYS_EPILOG = """\
The file, TOML, mode 0600, is token.keys_file of relays and transceivers alike:

  mint_with = 2                # the key id that new tokens carry
  [master]                     # 32 bytes each, base64; every one is accepted
  1 = "…"
  2 = "…"

To rotate without dropping a call:

  1. voxpop keys rotate FILE
  2. copy FILE to every PoP, SIGHUP the relays: they accept the new key from now on
  3. copy FILE to every transceiver host, SIGHUP the transceivers: they mint with it
  4. when the longest call (transceiver.max_session_s) is over: voxpop keys rotate FILE --retire OLD_ID,
     copy FILE everywhere and SIGHUP once more

See docs/token.md.
"""


def register(
    verbs: Verbs[argparse.ArgumentParser], config_checks: Mapping[str, ConfigCheck] | None = None
) -> None:
    """Add this part's verbs to the command line.

    `config_checks` has, by table, what `config check` runs where a file has that table: this part
    knows what the settings are, but not all that a daemon wants of them.
    """
    _register_keys(verbs)
    _register_token(verbs)
    _register_config(verbs, config_checks or {})


def _register_keys(verbs: Verbs[argparse.ArgumentParser]) -> None:
    keys = verbs.add_parser("keys", help="make and rotate the master keys of tokens")
    actions = keys.add_subparsers(metavar="ACTION", required=True)
    new = actions.add_parser(
        "new",
        help="make a keys file",
        description="Makes a keys file with one random key, mode 0600. Never overwrites a file.",
        epilog=KEYS_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    new.add_argument("file", type=Path, metavar="FILE")
    new.set_defaults(run=_keys_new)
    rotate = actions.add_parser(
        "rotate",
        help="add a key and mint with it, or retire an old one",
        description="Adds a random key under a free id and mints with it from now on; older keys stay "
        "accepted.",
        epilog=KEYS_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    rotate.add_argument("file", type=Path, metavar="FILE")
    rotate.add_argument(
        "--retire", type=int, metavar="ID", help="drop this key instead; tokens minted with it are refused"
    )
    rotate.set_defaults(run=_keys_rotate)


def _register_token(verbs: Verbs[argparse.ArgumentParser]) -> None:
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
    explain.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="TOML; reads [token], [[cluster]]"
    )
    explain.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    explain.set_defaults(run=_token_explain)


def _register_config(verbs: Verbs[argparse.ArgumentParser], checks: Mapping[str, ConfigCheck]) -> None:
    config = verbs.add_parser("config", help="check the configuration, or print its reference")
    actions = config.add_subparsers(metavar="ACTION", required=True)
    check = actions.add_parser(
        "check",
        help="name every fault of a configuration and of the files that it points to",
        description="Reads a configuration, its keys file and its API keys file as the daemons would, and "
        "names every fault. Exit status 0 when there is none, 1 otherwise.",
    )
    check.add_argument("file", type=Path, metavar="FILE")
    check.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    check.set_defaults(run=lambda arguments: _config_check(arguments, checks))
    reference = actions.add_parser(
        "reference", help="print every table and key", description="Prints docs/configuration.md."
    )
    reference.set_defaults(run=_config_reference)


def _keys_new(arguments: argparse.Namespace) -> int:
    from core.service import keysfile

    key_id = keysfile.new(arguments.file)
    print(f"{arguments.file}: made, with key {key_id}")
    return 0


def _keys_rotate(arguments: argparse.Namespace) -> int:
    from core.service import keysfile

    if arguments.retire is not None:
        keysfile.retire(arguments.file, arguments.retire)
        print(f"{arguments.file}: key {arguments.retire} is gone; reload transceivers and relays")
    else:
        key_id = keysfile.rotate(arguments.file)
        print(f"{arguments.file}: mints with the new key {key_id}; reload relays first, then transceivers")
    return 0


def _token_explain(arguments: argparse.Namespace) -> int:
    from core.service.explain import explain_untrusted, render
    from core.service.files import load_config, load_keyring

    config = load_config(arguments.config)
    keyring = load_keyring(config, arguments.config)
    ufrag = arguments.ufrag.partition(":")[0]
    explanation = explain_untrusted(ufrag, keyring, config.clusters, int(time.time()) // 60)
    print(json.dumps(explanation) if arguments.json else render(explanation))
    return 0 if explanation["valid"] else 1


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
    files = [partial(load_secret_toml, secret) for secret in secrets]
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
    from core.service.reference import write

    print(write(), end="")
    return 0
