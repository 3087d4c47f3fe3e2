"""The verbs of this part."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING

import edge.lab.cli
from core.service import interrupt
from core.service.cli.options import add_daemon_options
from edge.ops import dataplane, doctor, flows, pops, stats

if TYPE_CHECKING:
    from core.service.cli.options import Verbs

RELAY_EPILOG = """\
signals:
  SIGHUP   read the configuration and the keys again; a faulty one is refused and the old one stays
  SIGTERM  drain: no new flows, existing ones are carried until they end, or for relay.drain_timeout_s;
           a second SIGTERM ends at once; `voxpop drain relay` drains a relay that stays
  SIGINT   end at once

A configuration for one machine:

  [token]
  keys_file = "keys.toml"            # made by: voxpop keys new
  [[cluster]]
  id = 1
  ipv4 = "127.0.0.1/32"
  ports = [40000, 40007]
  [relay]
  pop = "here"
  vips = ["127.0.0.1:3478"]

With [dataplane], and `voxpop dataplane run` before, the kernel carries established calls: docs/dataplane.md.

relay.metrics, 127.0.0.1:9464 if not set, has /metrics, /healthz and /readyz. See docs/relay.md.
"""


def register(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Add this part's verbs to the command line."""
    relay = verbs.add_parser(
        "relay",
        help="carry the calls of one PoP host",
        description="Listens on the VIPs of one PoP host, reads the routing token in each client's first "
        "STUN packet, and carries the flow to the transceiver that it names. Answers nobody itself.",
        epilog=RELAY_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_daemon_options(relay, "[token], [[cluster]], [relay], [dataplane]")
    relay.set_defaults(run=_relay)
    for verb in (dataplane, flows, stats, pops, doctor):
        verb.register(verbs)
    edge.lab.cli.register(verbs)


def _relay(arguments: argparse.Namespace) -> int:
    with interrupt.at_once():
        from core.service import log
        from edge.host.service import RelayService

    log.set_up(arguments.log_level, as_json=arguments.log_format == "json")
    service = RelayService(arguments.config, arguments.log_level, arguments.log_format)
    return asyncio.run(service.run())
