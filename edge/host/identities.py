"""The numbers by which flows know our VIPs and backbone addresses, over any number of restarts.

The program is never told that a number means something else while a flow may refer to it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np

from core.addr import Endpoint, IpFamily, family_of, pack_address
from ebpf import layout
from ebpf.errors import DataplaneError
from ebpf.ids import BackboneIndex, VipId
from ebpf.tables import LocalAddress, Tables
from edge.host.dataplane import Plan
from edge.nexthops.views import Sources


class HostIdentities:
    """Numbers VIPs and backbone addresses, and writes down what the numbers mean.

    Raises DataplaneError where flows still use so many old ones that there is none left for a new one.
    """

    def __init__(self, tables: Tables, plan: Plan) -> None:
        self._plan = plan
        self.vip_ids = _number_vips(tables, plan.relay.vips)
        """In the order of the VIPs in the configuration."""
        self.backbones = {
            family: _number_backbones(tables, family, plan.settings.backbone) for family in IpFamily
        }

    def local_addresses(self) -> list[LocalAddress]:
        """What we are at each of our addresses."""
        vips: dict[str, dict[int, VipId]] = {}
        for number, vip in zip(self.vip_ids, self._plan.relay.vips, strict=True):
            vips.setdefault(vip.host, {})[vip.port] = number
        backbones = {host: index for hosts in self.backbones.values() for index, host in hosts.items()}
        return [
            LocalAddress(host, vips.get(host, {}), backbones.get(host), self._plan.settings.nat_ports)
            for host in dict.fromkeys([*vips, *backbones])
        ]

    def sources(self) -> Sources:
        """From which addresses packets go."""
        vips = {number: vip.host for number, vip in zip(self.vip_ids, self._plan.relay.vips, strict=True)}
        return Sources(vips, {family: list(hosts.values()) for family, hosts in self.backbones.items()})

    def message(self) -> dict[str, object]:
        """For workers; `edge.fastpath.open.read_identities` reads it."""
        return {
            "pin_dir": str(self._plan.directory),
            "vip_ids": self.vip_ids,
            "backbones": {str(family): list(hosts.items()) for family, hosts in self.backbones.items()},
            "nat_ports": self._plan.settings.nat_ports,
        }


def _number_vips(tables: Tables, vips: Sequence[Endpoint]) -> list[VipId]:
    """An id for each VIP: the one that it has, or one that stands for nothing that a flow needs."""
    in_use: set[int] = set()
    for family in IpFamily:
        records = tables.records[family][layout.UPSTREAM]["common"]["vip"]
        in_use.update(np.unique(records[tables.live(family)]).tolist())
    wanted = [_identity(vip) for vip in vips]
    there = [row["addr"].tobytes() + row["port"].tobytes() for row in tables.config["vip"]]
    ids = [VipId(number) for number in assign(wanted, there, in_use, "VIPs")]
    for number, vip, identity in zip(ids, vips, wanted, strict=True):
        if there[number] != identity:
            tables.set_vip(number, vip)
    return ids


def _number_backbones(tables: Tables, family: IpFamily, backbone: Iterable[str]) -> dict[BackboneIndex, str]:
    """Index → address."""
    hosts = [host for host in backbone if family_of(host) is family]
    in_use = np.unique(tables.live(family) // layout.PORTS).tolist()
    known = tables.config[f"backbone{family}"]["addr"]
    there = [row.tobytes() for row in known[: max(1, len(hosts))]]
    wanted = [pack_address(host).ljust(16, b"\0") for host in hosts]
    numbers = assign(wanted, there, in_use, "dataplane.backbone: addresses")
    numbered = {BackboneIndex(number): host for number, host in zip(numbers, hosts, strict=True)}
    for index, host in numbered.items():
        tables.set_backbone(index, host)
    return numbered


def _identity(vip: Endpoint) -> bytes:
    return pack_address(vip.host).ljust(16, b"\0") + vip.port.to_bytes(2, "big")


def assign(wanted: Sequence[bytes], there: Sequence[bytes], in_use: Collection[int], what: str) -> list[int]:
    """A number for each wanted identity: the one that has it already, else one that no flow refers to.

    `there` are the identities by number, all zeros for none. Raises DataplaneError, of `what`.
    """
    numbers: dict[bytes, int] = {identity: n for n, identity in enumerate(there) if identity in wanted}
    free = [n for n in range(len(there)) if n not in numbers.values() and n not in in_use]
    free.sort(key=lambda n: any(there[n]))
    for identity in wanted:
        if identity not in numbers:
            if not free:
                raise DataplaneError(
                    f"{what} have changed while flows still use the old ones: set those again, or end the "
                    "calls with `voxpop dataplane detach --unpin` and `voxpop dataplane run`"
                )
            numbers[identity] = free.pop(0)
    return [numbers[identity] for identity in wanted]
