"""The verbs of this part."""

from __future__ import annotations

import argparse
import asyncio
from functools import partial
from typing import TYPE_CHECKING

import edge.lab.cli
from core.service import interrupt
from core.service.cli.options import add_daemon_options, add_json
from edge.ops import dataplane, doctor, flows, pops, stats, version

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


ANNOUNCE_EPILOG = """\
While the relay is well, there is an interface, announce.interface; while it is not, there is none, and
none either when this process ends, is killed or hangs. A routing daemon announces what leads to it, such as
BIRD 2:

  protocol static vips4 { ipv4; route 198.51.100.0/24 via "voxpop-up"; }
  protocol static vips6 { ipv6; route 2001:db8:f::/48 via "voxpop-up"; }

and BGP exports these two protocols, the kernel's does not. The addresses of the VIPs stay where they are.

  the relay answers 200           announced after announce.rise answers in a row
  503, `voxpop drain relay`       withdrawn with the first
  anything else, or nothing       withdrawn after announce.fall in a row, and held down for a while

announce.metrics, 127.0.0.1:9466 if not set, has /metrics, /healthz, and /readyz: 200 while announced. See
docs/health.md.
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
    announce = verbs.add_parser(
        "announce",
        help="let the VIPs of a PoP host be announced while its relay is well",
        description="Asks the relay of this host whether it is ready, again and again, and makes or removes "
        "the interface by which a routing daemon knows whether to announce the host's VIPs.",
        epilog=ANNOUNCE_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_daemon_options(announce, "[relay], [announce]")
    add_json(announce, "print a JSON object for each change, besides the log")
    announce.set_defaults(run=_announce)
    for verb in (dataplane, flows, stats, pops, doctor, version):
        verb.register(verbs)
    edge.lab.cli.register(verbs)


def _relay(arguments: argparse.Namespace) -> int:
    with interrupt.at_once():
        from core.service import log
        from core.service.privileges import keep_while_opening
        from edge.host.capabilities import RELAY

        keep_while_opening(RELAY)
        from edge.host.service import RelayService

    log.set_up(arguments.log_level, as_json=arguments.log_format == "json")
    service = RelayService(arguments.config, arguments.log_level, arguments.log_format)
    return asyncio.run(service.run())


def _announce(arguments: argparse.Namespace) -> int:
    with interrupt.at_once():
        from core.service import log
        from core.service.privileges import keep_while_opening
        from edge.health.handover import Program
        from edge.health.service import RIGHTS, Announcer, load

        keep_while_opening(RIGHTS)
    log.set_up(arguments.log_level, as_json=arguments.log_format == "json")
    tell = partial(print, flush=True) if arguments.json else None
    successor = Program.of_this_process(arguments.config)
    return asyncio.run(Announcer(load(arguments.config), successor, tell).run())
