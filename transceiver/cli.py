"""The verbs of this part."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import transceiver.backends.server.cli
import transceiver.caller.cli
import transceiver.demo.cli
from core.errors import UnavailableError
from core.service import interrupt
from core.service.cli.options import add_daemon_options

if TYPE_CHECKING:
    from core.service.cli.options import Verbs

TRANSCEIVER_EPILOG = """\
signals:
  SIGHUP   read the configuration, the keys and the API keys again; if anything is wrong, the old ones stay
  SIGTERM  drain: no new calls, existing ones are carried until they end, or for transceiver.drain_timeout_s;
           a second SIGTERM ends at once; `voxpop drain transceiver` drains one that stays
  SIGINT   hang up every call and end

A configuration for one machine:

  [token]
  keys_file = "keys.toml"            # made by: voxpop keys new
  [[cluster]]
  id = 1
  ipv4 = "127.0.0.1/32"
  ports = [40000, 40007]
  [[pop]]
  id = "here"
  vips = ["127.0.0.1:3478"]
  [transceiver]
  cluster = 1
  host = 0
  http = "127.0.0.1:8080"
  open = true                        # or: api_keys_file = "api-keys.toml"

See docs/signaling.md for the HTTP API.
"""
API_KEY_EPILOG = """\
The key is printed once and stored nowhere: the file keeps its SHA-256. To take a key back, delete its
[key.NAME] table. A running transceiver reads the file again on SIGHUP.
"""


def register(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Add this part's verbs to the command line."""
    _register_transceiver(verbs)
    _register_api_key(verbs)
    transceiver.backends.server.cli.register(verbs, _load_api_keys)
    transceiver.caller.cli.register(verbs)
    transceiver.demo.cli.register(verbs)


def _register_transceiver(verbs: Verbs[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "transceiver",
        help="terminate calls on one host of a cluster",
        description="Serves the signaling API, terminates WebRTC and bridges each call to its backend. "
        "Several processes share the HTTP port; each has one UDP port for all its calls.",
        epilog=TRANSCEIVER_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_daemon_options(parser, "[token], [[cluster]], [[pop]], [transceiver]")
    parser.set_defaults(run=_transceiver)


def _register_api_key(verbs: Verbs[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser("api-key", help="manage the keys that callers send")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    new = actions.add_parser(
        "new",
        help="make a key and print it",
        description="Makes an API key, adds its digest to FILE under NAME, and prints the key.",
        epilog=API_KEY_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    new.add_argument("file", type=Path, metavar="FILE", help="transceiver.api_keys_file; made when missing")
    new.add_argument("name", metavar="NAME", help="whose key it is: letters, digits, - and _")
    new.set_defaults(run=_new_api_key)


def _transceiver(arguments: argparse.Namespace) -> int:
    with interrupt.at_once():
        from core.service import log
        from core.service.privileges import Capability, keep_while_opening

        keep_while_opening((Capability.NET_ADMIN,))  # which is for buffers of sockets
        from transceiver.host.supervisor import run

    log.set_up(arguments.log_level, as_json=arguments.log_format == "json")
    return run(arguments.config, arguments.log_level, arguments.log_format)


def _new_api_key(arguments: argparse.Namespace) -> int:
    from core.service import standard_files
    from transceiver.signaling.apikeys import create_api_key, drop_newest_api_key

    key = create_api_key(arguments.file, arguments.name)
    try:
        print(key, flush=True)
    except OSError as error:
        standard_files.give_up_output()
        drop_newest_api_key(arguments.file, arguments.name)
        reason = os.strerror(error.errno or 0)
        raise UnavailableError(f"the key cannot be told, so it was not kept: {reason}") from None
    return 0


def _load_api_keys(path: Path) -> Callable[[str], str | None]:
    from transceiver.signaling.apikeys import load_api_keys

    return load_api_keys(path, ours=True).name_of
