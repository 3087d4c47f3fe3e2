"""`voxpop keys`: the master keys of tokens."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.service.cli.options import Verbs

KEYS_EPILOG = """\
The file, TOML, mode 0600, is token.keys_file of relays and transceivers alike:

  mint_with = 2                # the key id that new tokens carry
  [master]                     # 32 bytes each, base64; every one is accepted
  1 = "…"
  2 = "…"

To rotate without dropping a call:

  1. voxpop keys rotate FILE --add, copy FILE to every host of PoPs and regions, SIGHUP relays and
     transceivers: they accept the new key from now on, which `voxpop drain status --json` shows
  2. voxpop keys rotate FILE --switch, copy, SIGHUP: they mint and sign with it
  3. when the longest call (transceiver.max_session_s) is over: voxpop keys rotate FILE --retire OLD_ID,
     copy, SIGHUP

Without --add and --switch it is both in one: right for a single host.

See docs/token.md.
"""


def register(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Add `keys` to the command line."""
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
    new.set_defaults(run=_new)
    rotate = actions.add_parser(
        "rotate",
        help="add a key and mint with it, or retire an old one",
        description="Adds a random key under a free id and mints with it from now on; older keys stay "
        "accepted.",
        epilog=KEYS_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    rotate.add_argument("file", type=Path, metavar="FILE")
    step = rotate.add_mutually_exclusive_group()
    step.add_argument(
        "--add", action="store_true", help="add a key, unless one waits already, and mint as before"
    )
    step.add_argument("--switch", action="store_true", help="mint with the key that waits, if one does")
    step.add_argument(
        "--retire", type=int, metavar="ID", help="drop this key instead; tokens minted with it are refused"
    )
    rotate.set_defaults(run=_rotate)


def _new(arguments: argparse.Namespace) -> int:
    from core.service import keysfile, standard_files

    key_id = keysfile.new(arguments.file)
    standard_files.report(f"{arguments.file}: made, with key {key_id}")
    return 0


def _rotate(arguments: argparse.Namespace) -> int:
    from core.service import keysfile, standard_files

    if arguments.retire is not None:
        keysfile.retire(arguments.file, arguments.retire)
        standard_files.report(
            f"{arguments.file}: key {arguments.retire} is gone; reload transceivers and relays"
        )
    elif arguments.add:
        key_id = keysfile.add(arguments.file)
        standard_files.report(f"{arguments.file}: key {key_id} waits; when all hosts know it: --switch")
    elif arguments.switch:
        key_id = keysfile.switch(arguments.file)
        standard_files.report(f"{arguments.file}: mints with key {key_id}; reload transceivers and relays")
    else:
        key_id = keysfile.rotate(arguments.file)
        standard_files.report(
            f"{arguments.file}: mints with the new key {key_id}; reload relays first, then transceivers"
        )
    return 0
