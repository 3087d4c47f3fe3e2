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

  1. voxpop keys rotate FILE
  2. copy FILE to every PoP, SIGHUP the relays: they accept the new key from now on
  3. copy FILE to every transceiver host, SIGHUP the transceivers: they mint with it
  4. when the longest call (transceiver.max_session_s) is over: voxpop keys rotate FILE --retire OLD_ID,
     copy FILE everywhere and SIGHUP once more

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
    rotate.add_argument(
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
    else:
        key_id = keysfile.rotate(arguments.file)
        standard_files.report(
            f"{arguments.file}: mints with the new key {key_id}; reload relays first, then transceivers"
        )
    return 0
