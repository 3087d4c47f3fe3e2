"""What a lab is made of: names, addresses, and the configuration that fits them.

    client 203.0.113.128 ── .2 [link] .1 ── PoP, VIP 198.51.100.1 ── 192.0.2.0/24 ── region 192.0.2.2

The addresses are those set aside for documentation (RFC 5737, RFC 3849), so none is anybody's, or others
where this machine uses these: `subnets` chooses. Only those of the public side differ from lab to lab: the
client may be this machine itself. To the PoP the client is behind a router, as clients are; the other
address of its interface is that router's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from ipaddress import ip_network
from pathlib import Path

from core.addr import Endpoint, IpFamily
from edge.lab.subnets import Purpose, Subnets, part

DIRECTORY = Path("/run/voxpop/lab")
"""A directory for each lab."""
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,11}")
"""An interface, `vp-NAME`, has at most 15 characters."""
DEFAULT_NAME = "lab"
MAX_LABS = 32
MAX_BACKBONES = 64
VIP_PORT, RELAY_METRICS_PORT = 3478, 9464
LOOPBACK = "127.0.0.1"
SIGNALING_PORT = 8080
MAX_LOOP_LAG_MS = 2000
"""A machine that runs everything may stutter; it is not to turn its only caller away."""


class Place(StrEnum):
    """Where things run."""

    CLIENT = "client"
    POP = "pop"
    REGION = "region"


@dataclass(frozen=True, slots=True)
class Link:
    """One end of a veth pair."""

    interface: str
    addresses: tuple[str, ...]
    """`HOST/LENGTH`"""


@dataclass(frozen=True, slots=True)
class LabPlan:
    """One lab."""

    name: str = DEFAULT_NAME
    index: int = 0
    """Below MAX_LABS; no two labs of a machine have the same."""
    subnets: Subnets = field(default_factory=Subnets)
    """Where the addresses are from; that no two labs of a machine have the same is the index's doing."""
    host_is_client: bool = False
    """The client is no namespace but this machine: its browsers call through the PoP."""
    forwarder: str = "xdp"
    families: tuple[IpFamily, ...] = tuple(IpFamily)
    """IP versions of the VIPs that answers name; the relay serves both."""
    http_port: int = SIGNALING_PORT
    """Of 127.0.0.1 at the client, where signaling and the page are."""
    backbones: int = 1
    """Backbone addresses of each family; each is worth some 20,000 flows."""
    processes: int = 2
    """Of the transceiver."""
    workers: int = 2
    """Of the relay."""
    relay: Mapping[str, object] = field(default_factory=dict)
    dataplane: Mapping[str, object] = field(default_factory=dict)
    transceiver: Mapping[str, object] = field(default_factory=dict)
    store: Mapping[str, object] = field(default_factory=dict)
    """What differs from the usual, by the names of the configuration; there is no store else."""

    @property
    def directory(self) -> Path:
        """Configuration, keys, logs and the lab's own bpffs."""
        return DIRECTORY / self.name

    @property
    def config_path(self) -> Path:
        """One file for all processes."""
        return self.directory / "voxpop.toml"

    @property
    def bpffs(self) -> Path:
        """Where the fast path is pinned."""
        return self.directory / "bpf"

    @property
    def url(self) -> str:
        """Where to call from the client."""
        return f"http://{LOOPBACK}:{self.http_port}"

    @property
    def signaling(self) -> Endpoint:
        """The same in the region."""
        return Endpoint(LOOPBACK, SIGNALING_PORT)

    @property
    def namespaces(self) -> dict[Place, str | None]:
        """The network namespace of each place; None is this machine's own."""
        names: dict[Place, str | None] = {place: f"voxpop-{self.name}-{place}" for place in Place}
        if self.host_is_client:
            names[Place.CLIENT] = None
        return names

    def _part(self, purpose: Purpose, *numbers: int) -> tuple[str, str]:
        """Addresses of our part of a subnet, in IPv4 and in IPv6, by their number in it."""
        texts: tuple[str, str] = getattr(self.subnets, purpose.name.lower())
        ipv4, ipv6 = (part(purpose, ip_network(text), self.index) for text in texts)
        return str(ipv4[numbers[0]]), str(ipv6[numbers[-1]])

    @property
    def vips(self) -> tuple[Endpoint, Endpoint]:
        """Of each family."""
        ipv4, ipv6 = self._part(Purpose.VIPS, 0)
        return Endpoint(ipv4, VIP_PORT), Endpoint(ipv6, VIP_PORT)

    @property
    def client(self) -> Link:
        """The client's end."""
        interface = f"vp-{self.name}" if self.host_is_client else "eth0"
        router = (f"{self.routers[0]}/30", f"{self.routers[1]}/64")
        return Link(interface, (*router, f"{self.client_hosts[0]}/32", f"{self.client_hosts[1]}/128"))

    @property
    def client_hosts(self) -> tuple[str, str]:
        """What the client calls from."""
        return self._part(Purpose.CLIENTS, 0, 1)

    @property
    def routers(self) -> tuple[str, str]:
        """What the client is behind, as the PoP sees it."""
        return self._part(Purpose.LINKS, 2)

    @property
    def public(self) -> Link:
        """The PoP's end towards clients, VIPs included."""
        own = (f"{self.gateways[0]}/30", f"{self.gateways[1]}/64")
        return Link("public", (*own, f"{self.vips[0].host}/32", f"{self.vips[1].host}/128"))

    @property
    def gateways(self) -> tuple[str, str]:
        """The PoP's end of the link."""
        return self._part(Purpose.LINKS, 1)

    @property
    def backbone_hosts(self) -> tuple[str, ...]:
        """The PoP's addresses towards transceivers."""
        hosts = [self._part(Purpose.BACKBONE, 10 + n, 16 + n) for n in range(self.backbones)]
        return (*(ipv4 for ipv4, _ in hosts), *(ipv6 for _, ipv6 in hosts))

    @property
    def backbone(self) -> Link:
        """The PoP's end towards the region."""
        lengths = {False: 24, True: 64}
        return Link("backbone", tuple(f"{host}/{lengths[':' in host]}" for host in self.backbone_hosts))

    @property
    def region_hosts(self) -> tuple[str, str]:
        """The transceiver host's addresses."""
        return self._part(Purpose.BACKBONE, 2)

    @property
    def region(self) -> Link:
        """The region's end."""
        return Link("eth0", (f"{self.region_hosts[0]}/24", f"{self.region_hosts[1]}/64"))

    @property
    def relay_status(self) -> Endpoint:
        """Where the relay's state is, for the transceivers to see."""
        return Endpoint(self.backbone_hosts[0], RELAY_METRICS_PORT)

    def config(self) -> str:
        """The TOML of all processes."""
        vips = [str(vip) for vip in self.vips]
        offered = [str(vip) for vip in self.vips if vip.family in self.families]
        ports = (40000, 40000 + self.processes - 1)
        ipv4, ipv6 = self.region_hosts
        cluster = {"id": 1, "ipv4": f"{ipv4}/32", "ipv6": f"{ipv6}/128", "ports": ports}
        relay = {
            "pop": self.name,
            "vips": vips,
            "forwarder": self.forwarder,
            "workers": self.workers,
            "metrics": str(self.relay_status),
            "admin_socket": "relay.sock",
        }
        dataplane = {
            "interfaces": (self.public.interface, self.backbone.interface),
            "public_only": (self.public.interface,),
            "backbone": self.backbone_hosts,
            "pin_dir": str(self.bpffs / "voxpop"),
        }
        transceiver = {
            "cluster": 1,
            "host": 0,
            "http": str(self.signaling),
            "processes": self.processes,
            "open": True,
            "page": True,
            "max_loop_lag_ms": MAX_LOOP_LAG_MS,
            "admin_socket": "transceiver.sock",
        }
        return "\n".join(
            [
                table("[token]", {"keys_file": "keys.toml"}),
                table("[[cluster]]", cluster),
                table("[[pop]]", {"id": self.name, "vips": offered, "status": str(self.relay_status)}),
                table("[relay]", relay | dict(self.relay)),
                table("[dataplane]", dataplane | dict(self.dataplane)),
                table("[transceiver]", transceiver | dict(self.transceiver)),
                *([table("[store]", self.store)] if self.store else []),
            ]
        )

    def dump(self) -> str:
        """For `load`."""
        return json.dumps(asdict(self))


def load(name: str) -> LabPlan:
    """The plan that a lab was made from; what is known without it, where that is not there."""
    try:
        made = json.loads((DIRECTORY / name / "lab.json").read_text())
        subnets = Subnets(**{purpose: tuple(texts) for purpose, texts in made.pop("subnets", {}).items()})
        return LabPlan(**made, subnets=subnets)
    except (FileNotFoundError, ValueError):
        return LabPlan(name=name)


def table(header: str, values: Mapping[str, object]) -> str:
    """A table of TOML, which writes texts, numbers, booleans and lists of them as JSON does."""
    return "\n".join([header, *(f"{key} = {json.dumps(value)}" for key, value in values.items()), ""])
