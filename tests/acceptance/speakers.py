"""Who speaks BGP with the PoP: a BIRD in the router's namespace, with BFD, and whom that one speaks with.

The router takes from the PoP what the example inventory says that it announces, tells it nothing, and passes
it on to the upstream, from where clients come. The second announces the VIPs as well, from further away: the
router leads there while the PoP is not announced.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ebpf.net import netns
from edge.lab.bird.control import BirdControl, command
from edge.lab.bird.replies import BirdError
from tests.acceptance import wires
from tests.acceptance.errors import UnmetError
from tests.processes import end

POP_ASN, ROUTER_ASN, UPSTREAM_ASN, SECOND_ASN = 65011, 65000, 65100, 65200
POLL_S, START_S = 0.01, 10.0
_COMMON = """\
log stderr all;
router id {router_id};
protocol device {{ scan time 1; }}
protocol kernel {{ ipv4 {{ import none; export where source = RTS_BGP; }}; }}
"""
# As fast as the PoP has it.
ROUTER_CONFIG = (
    _COMMON.format(router_id=wires.ROUTER_TRANSIT)
    + f"""
protocol bfd {{ interface "public" {{ interval 400 ms; multiplier 3; idle tx interval 400 ms; }}; }}

protocol bgp fra1 {{
  local {wires.LINKS["public"]} as {ROUTER_ASN};
  neighbor {wires.POP_PUBLIC} as {POP_ASN};
  bfd on;
  hold time 30;
  connect delay time 1;
  connect retry time 1;
  error wait time 1, 4;
  ipv4 {{ import where net ~ [ {wires.VIP_PREFIX}, {wires.SIGNALING_PREFIX} ]; export none; }};
}}

protocol bgp to_second {{
  local {wires.ROUTER_ASIDE} as {ROUTER_ASN};
  neighbor {wires.SECOND_ASIDE} as {SECOND_ASN};
  connect delay time 1;
  connect retry time 1;
  ipv4 {{ import where net = {wires.VIP_PREFIX}; export none; }};
}}

protocol bgp to_upstream {{
  local {wires.ROUTER_TRANSIT} as {ROUTER_ASN};
  neighbor {wires.UPSTREAM_TRANSIT} as {UPSTREAM_ASN};
  connect delay time 1;
  connect retry time 1;
  ipv4 {{ import where net ~ [ {wires.CLIENTS} ]; export where source = RTS_BGP; next hop self; }};
}}
"""
)
UPSTREAM_CONFIG = (
    _COMMON.format(router_id=wires.UPSTREAM_TRANSIT)
    + f"""
protocol direct {{ ipv4; interface "clients"; }}

protocol bgp to_router {{
  local {wires.UPSTREAM_TRANSIT} as {UPSTREAM_ASN};
  neighbor {wires.ROUTER_TRANSIT} as {ROUTER_ASN};
  connect delay time 1;
  connect retry time 1;
  ipv4 {{ import all; export where net ~ [ {wires.CLIENTS} ]; }};
}}
"""
)
# A path that is longer is taken when there is no other.
SECOND_CONFIG = (
    _COMMON.format(router_id=wires.SECOND_ASIDE)
    + f"""
protocol static {{ ipv4; route {wires.VIP_PREFIX} unreachable; }}

protocol bgp to_router {{
  local {wires.SECOND_ASIDE} as {SECOND_ASN};
  neighbor {wires.ROUTER_ASIDE} as {ROUTER_ASN};
  connect delay time 1;
  connect retry time 1;
  ipv4 {{
    import none;
    export filter {{
      if source != RTS_STATIC then reject;
      bgp_path.prepend({SECOND_ASN});
      bgp_path.prepend({SECOND_ASN});
      accept;
    }};
  }};
}}
"""
)
_SPEAKERS = {
    "router": (wires.ROUTER, ROUTER_CONFIG),
    "upstream": (wires.UPSTREAM, UPSTREAM_CONFIG),
    "second": (wires.SECOND, SECOND_CONFIG),
}


class Speakers:
    """All of them, while they run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.controls = {name: BirdControl(folder / f"{name}.bird") for name in _SPEAKERS}

    def until_answers(self, name: str) -> None:
        """Wait until a speaker has read its configuration. Raises UnmetError."""
        self.until(lambda: bool(self.controls[name].protocols()), f"{name} answers", START_S)

    def lead_to_pop(self, prefix: str) -> bool:
        """Whether what clients send to a prefix comes to the PoP. Raises BirdError."""
        known = [route for route in self.controls["router"].routes(4) if route.prefix == prefix]
        hops = {hop.address for route in known if route.is_best for hop in route.next_hops}
        passed_on = any(route.prefix == prefix for route in self.controls["upstream"].routes(4))
        return hops == {wires.POP_PUBLIC} and passed_on

    def until(self, what: Callable[[], bool], told: str, patience_s: float) -> float:
        """Wait until it is so; how long that took, in seconds. Raises UnmetError with `told`."""
        began = time.monotonic()
        while True:
            with contextlib.suppress(BirdError):
                if what():
                    return time.monotonic() - began
            if time.monotonic() - began > patience_s:
                raise UnmetError(f"after {patience_s:.0f} s not: {told}; see {self.folder}/*.bird.log")
            time.sleep(POLL_S)  # BIRD tells nobody when something has changed

    def until_announced(self, prefix: str, patience_s: float) -> float:
        """Wait until a prefix leads to the PoP; how long that took, in seconds. Raises UnmetError."""
        return self.until(lambda: self.lead_to_pop(prefix), f"{prefix} announced by the PoP", patience_s)


@contextlib.contextmanager
def speaking(folder: Path) -> Iterator[Speakers]:
    """All run meanwhile, in the namespaces of `wires`; their logs are in a folder. Raises UnmetError."""
    made = Speakers(folder)
    with contextlib.ExitStack() as stack:
        for name, (namespace, text) in _SPEAKERS.items():
            config = folder / f"{name}.bird.conf"
            config.write_text(text)
            words = ["setpriv", "--pdeathsig", "KILL", *command(config, folder / f"{name}.bird")]
            with netns.inside(namespace), (folder / f"{name}.bird.log").open("ab") as log:
                bird = subprocess.Popen(words, stderr=log, start_new_session=True)
            stack.callback(end, bird, signal.SIGKILL)
            made.until_answers(name)
        yield made
