"""A PoP host with two uplinks, each to a router of its own, behind which are client and region alike.

    client ─┬─ router 0 ── up0 ─┐
            │                   ├─ PoP, VIPs and backbone addresses on lo
    region ─┴─ router 1 ── up1 ─┘

Each of client, PoP and region has its addresses on lo and a link to either router: what comes and goes may
take any of them. Routers count the UDP packets that the PoP sends them.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path

from core.addr import IpFamily, family_of
from ebpf.net import netns
from ebpf.net.netns import Wiring
from tests.edge.xdp_scene import BACKBONES, CLIENTS, TRANSCEIVERS, VIPS, Scene

UPLINKS = ("up0", "up1")
_COUNTER = (
    "table netdev seen {{ counter fromclient {{}}\ncounter fromregion {{}}\n"
    "chain c {{ type filter hook ingress device p0 priority 0\n"
    "ip saddr {vip4} meta l4proto udp counter name fromclient\n"
    "ip6 saddr {vip6} meta l4proto udp counter name fromclient\n"
    "ip saddr {backbone4} meta l4proto udp counter name fromregion\n"
    "ip6 saddr {backbone6} meta l4proto udp counter name fromregion\n}}\n}}\n"
)


class Uplinks(Scene):
    """The namespaces and links; a context manager."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        prefix = self.pop.removesuffix("-pop")
        self.routers = (f"{prefix}-r0", f"{prefix}-r1")
        self._sites = {
            self.pop: ("p", "up", [*(vip.host for vip in VIPS), *BACKBONES]),
            self.client: ("c", "c", list(CLIENTS)),
            self.region: ("r", "r", list(TRANSCEIVERS)),
        }

    def _wire(self) -> None:
        with contextlib.ExitStack() as stack:
            for router in self.routers:
                netns.create(router)
                stack.callback(netns.remove, router)
            for place, (namespace, (at_router, own, hosts)) in enumerate(self._sites.items()):
                with Wiring(namespace) as site:
                    for host in hosts:
                        site.address("lo", f"{host}/{8 * family_of(host).address_bytes}")
                for number, router in enumerate(self.routers):
                    self._link(router, f"{at_router}0", namespace, f"{own}{number}", 10 * number + place)
                    for host in hosts:
                        self.ip(router, "route", "add", host, "via", self._far(host, 10 * number + place))
                self.use(namespace, (0, 1))
            for router in self.routers:
                self._forward_and_count(router)
            self._balance()
            self._stack_routers = stack.pop_all()

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._stack_routers.close()

    def _link(self, router: str, at_router: str, namespace: str, own: str, net: int) -> None:
        """A router has address 1 of each link, the other end 2."""
        with Wiring(router) as here, Wiring(namespace) as there:
            here.veth(at_router, own, namespace)
            for wiring, name, end in ((here, at_router, 1), (there, own, 2)):
                wiring.address(name, f"10.255.{net}.{end}/24")
                wiring.address(name, f"2001:db8:ff{net:02x}::{end}/64")
                wiring.up(name)
            here.prepare_for_xdp(at_router)
            there.prepare_for_xdp(own)

    def _far(self, host: str, net: int) -> str:
        return f"10.255.{net}.2" if family_of(host) is IpFamily.V4 else f"2001:db8:ff{net:02x}::2"

    def _forward_and_count(self, router: str) -> None:
        for option in ("ipv4/ip_forward", "ipv6/conf/all/forwarding", "ipv6/conf/all/keep_addr_on_down"):
            netns.set_option(router, f"net/{option}", 1)
        with netns.inside(router):
            rules = _COUNTER.format(
                vip4=VIPS[0].host, vip6=VIPS[1].host, backbone4=BACKBONES[0], backbone6=BACKBONES[1]
            )
            subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)

    def _balance(self) -> None:
        """What a host with two uplinks sets: spread by ports as well, over links that are up."""
        for family in ("ipv4", "ipv6"):
            netns.set_option(self.pop, f"net/{family}/fib_multipath_hash_policy", 1)
            for name in UPLINKS:
                netns.set_option(self.pop, f"net/{family}/conf/{name}/ignore_routes_with_linkdown", 1)

    def gateway(self, namespace: str, number: int, family: IpFamily) -> str:
        """The router's address on the link to a site."""
        net = 10 * number + list(self._sites).index(namespace)
        return f"10.255.{net}.1" if family is IpFamily.V4 else f"2001:db8:ff{net:02x}::1"

    def use(self, namespace: str, numbers: tuple[int, ...], weights: tuple[int, int] = (1, 1)) -> None:
        """Route a site's packets by these routers, as a routing daemon does: in one step."""
        own = self._sites[namespace][1]
        for family in IpFamily:
            legs = []
            for number in numbers:
                gateway = self.gateway(namespace, number, family)
                legs += ["nexthop", "via", gateway, "dev", f"{own}{number}", "weight", str(weights[number])]
            own_host = next(host for host in reversed(self._sites[namespace][2]) if family_of(host) is family)
            self.ip(namespace, f"-{family}", "route", "replace", "default", "src", own_host, *legs)

    def use_objects(self, *, compat: bool) -> None:
        """Route the PoP's packets by groups of nexthop objects, 40 and 60, of the objects behind them."""
        if not compat:
            netns.set_option(self.pop, "net/ipv4/nexthop_compat_mode", 0)
        for family in IpFamily:
            group = 10 * family
            ids = group + 2, group + 1
            for number in range(2):
                gateway = self.gateway(self.pop, number, family)
                words = ("nexthop", "add", "id", str(ids[number]), "via", gateway, "dev", UPLINKS[number])
                self.ip(self.pop, *words)
            self.ip(self.pop, "nexthop", "add", "id", str(group), "group", f"{ids[0]}/{ids[1]}")
            self.ip(self.pop, f"-{family}", "route", "replace", "default", "nhid", str(group))

    def route_by_source(self, to_clients: int, to_transceivers: int) -> None:
        """Have packets from VIPs leave by one uplink, and those from backbone addresses by another."""
        for family, vip, backbone in zip(IpFamily, VIPS, BACKBONES, strict=True):
            for number, source, table in ((to_clients, vip.host, "100"), (to_transceivers, backbone, "200")):
                gateway = self.gateway(self.pop, number, family)
                route = ("default", "via", gateway, "dev", UPLINKS[number], "table", table)
                self.ip(self.pop, f"-{family}", "route", "replace", *route)
                rule = ("rule", "add", "from", source, "pref", table, "lookup", table)
                with contextlib.suppress(subprocess.CalledProcessError):  # it is there already
                    self.ip(self.pop, f"-{family}", *rule)

    def mute(self, number: int) -> None:
        """Let a router drop all that the PoP sends it, the questions for its address as well."""
        rules = "table netdev mute {\nchain c {\ntype filter hook ingress device p0 priority -1\ndrop\n}\n}\n"
        with netns.inside(self.routers[number]):
            subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)

    def cut(self, number: int) -> None:
        """Take the router's end of an uplink down, which the PoP's kernel sees as a lost carrier."""
        self.ip(self.routers[number], "link", "set", "p0", "down")

    def mend(self, number: int) -> None:
        """Put it up again, with what the kernel has dropped of the router's routes meanwhile."""
        self.ip(self.routers[number], "link", "set", "p0", "up")
        _, _, hosts = self._sites[self.pop]
        for host in hosts:
            self.ip(self.routers[number], "route", "replace", host, "via", self._far(host, 10 * number))

    def sent_to(self, number: int) -> tuple[int, int]:
        """UDP packets that the PoP has sent to a router so far: to clients, and to transceivers."""
        words = ["nft", "-j", "list", "counters", "table", "netdev", "seen"]
        with netns.inside(self.routers[number]):
            told = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        counters = [row["counter"] for row in json.loads(told)["nftables"] if "counter" in row]
        found = {counter["name"]: counter["packets"] for counter in counters}
        return found["fromclient"], found["fromregion"]
