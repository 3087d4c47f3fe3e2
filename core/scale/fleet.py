"""The load of each resource of a fleet, and how many hosts it takes. No I/O.

Three tiers: hosts of PoPs, hosts of transceivers, servers of stores. A tier has as many as its most
demanding resource wants; a PoP has enough that the fleet carries everything when the share of PoPs is gone
that may be lost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from core.scale.assumptions import Plan

CORES, WORKERS, SIGNALING, COMMANDS = "cores", "relay workers", "signaling", "commands"
"""Resources that failures need again."""
LEAST_POP_HOSTS = 2
"""One alone would make each of its deaths the death of a PoP."""
PORT_REST_S = 30.0
"""Before a NAT port stands for another flow (edge/fastpath/nat_slots.py)."""
RENEWED_AFTER = 2 / 3
"""Of a lease (edge/recall/leases.py)."""
GIB = float(1 << 30)


@dataclass(frozen=True, slots=True)
class Resource:
    """Something that can run out."""

    name: str
    unit: str
    load: float
    """Of the whole fleet."""
    capacity: float
    """Of one host."""

    def hosts(self, fill: float) -> int:
        """How many it takes, filled so far."""
        return max(1, math.ceil(self.load / (self.capacity * fill) - 1e-9))

    def filled(self, hosts: float) -> float:
        """How full it is on so many; 1 is all of what was measured."""
        return self.load / (self.capacity * hosts)


@dataclass(frozen=True, slots=True)
class Tier:
    """Hosts of one kind."""

    name: str
    resources: tuple[Resource, ...]
    fill: float
    needed: int
    """By load alone."""
    hosts: int
    """That there are: spread evenly, and of PoPs as many as losses take, or as were asked for."""

    @property
    def tightest(self) -> Resource:
        """The one that breaks first."""
        return max(self.resources, key=lambda resource: resource.filled(1))

    def filled(self) -> float:
        """Of the tightest resource."""
        return self.tightest.filled(self.hosts)


@dataclass(frozen=True, slots=True)
class Fleet:
    """What a plan comes to."""

    plan: Plan
    pop: Tier
    transceiver: Tier
    store: Tier
    status: Tier
    """Of the PoPs, one each, which every transceiver host asks for: more hosts do not help."""
    flows: float
    """In all PoPs together."""

    @property
    def tiers(self) -> tuple[Tier, Tier, Tier]:
        """Those that have as many hosts as they need."""
        return self.pop, self.transceiver, self.store

    @property
    def pop_hosts(self) -> int:
        """Of one PoP."""
        return self.pop.hosts // self.plan.layout.pops

    @property
    def pop_hosts_left(self) -> int:
        """When the PoPs are gone that may be lost."""
        return self.pop_hosts * self.plan.layout.pops_left


def size(plan: Plan) -> Fleet:
    """The fleet for it."""
    layout = plan.layout
    pop = pop_resources(plan)
    needed = max(resource.hosts(plan.pop.fill) for resource in pop)
    each = layout.pop_hosts or max(LEAST_POP_HOSTS, -(-needed // layout.pops_left))
    transceiver = _of_regions(plan, "transceiver host", transceiver_resources(plan), plan.transceiver.fill)
    asked = transceiver.hosts * layout.pops / layout.status_s
    status = Resource("requests", "/s", asked, plan.figures.statuses_per_relay_s)
    return Fleet(
        plan,
        Tier("PoP host", pop, plan.pop.fill, needed, each * layout.pops),
        transceiver,
        _of_regions(plan, "store server", store_resources(plan), plan.store.fill),
        Tier("status of a PoP", (status,), 1.0, layout.pops, layout.pops),
        flows(plan),
    )


def _of_regions(plan: Plan, name: str, resources: tuple[Resource, ...], fill: float) -> Tier:
    """Spread over the regions evenly."""
    needed, regions = max(resource.hosts(fill) for resource in resources), plan.layout.regions
    return Tier(name, resources, fill, needed, -(-needed // regions) * regions)


def flows(plan: Plan) -> float:
    """At once: of calls that last, and of those that ended a while ago (Little's law)."""
    traffic = plan.traffic
    return traffic.begins_per_s * traffic.flows_per_call * (traffic.call_s + plan.pop.idle_timeout_s)


def flow_begins_per_s(plan: Plan) -> float:
    """In the busiest second."""
    return plan.traffic.begins_per_s * plan.traffic.surge * plan.traffic.flows_per_call


def packets_per_s(plan: Plan) -> float:
    """Into all PoPs, of both directions together; as many leave them."""
    return plan.traffic.calls * plan.traffic.call_packets_per_s * 2


def bits_per_s(plan: Plan) -> float:
    """The same, on the wire. A host has it twice: into its interfaces, and out of them."""
    return packets_per_s(plan) * plan.traffic.frame_bytes * 8


def renewals_per_s(plan: Plan) -> float:
    """SETs that keep the records of flows alive."""
    return flows(plan) / (plan.store.lease_s * RENEWED_AFTER)


def records(plan: Plan) -> float:
    """In all stores: a record outlives its flow by a lease at most."""
    ending_per_s = plan.traffic.begins_per_s * plan.traffic.flows_per_call
    return flows(plan) + ending_per_s * plan.store.lease_s


def pop_resources(plan: Plan) -> tuple[Resource, ...]:
    """Of PoP hosts."""
    pop, figures = plan.pop, plan.figures
    begins = flow_begins_per_s(plan)
    slow_path = begins * figures.new_flow_us / 1e6
    writing = (begins + renewals_per_s(plan)) * figures.record_us / 1e6
    carrying = packets_per_s(plan) * figures.packet_ns(pop.max_flows) / 1e9
    flow_bytes = figures.map_bytes_per_flow + figures.worker_bytes_per_flow
    return (
        Resource(CORES, "cores", carrying + slow_path + writing, pop.cores),
        Resource(WORKERS, "cores", slow_path + writing, pop.workers),
        Resource("network, each way", "Gbit/s", bits_per_s(plan) / 1e9, pop.nic_gbit_s),
        Resource("flows", "flows", flows(plan), pop.max_flows),
        Resource("NAT ports", "ports", flows(plan) + begins * PORT_REST_S, pop.backbones * pop.nat_ports),
        Resource("first packets, budget", "/s", begins, pop.punt_pps),
        Resource("memory", "GiB", flows(plan) * flow_bytes / GIB, pop.memory_gib),
    )


def transceiver_resources(plan: Plan) -> tuple[Resource, ...]:
    """Of transceiver hosts."""
    traffic, host, figures = plan.traffic, plan.transceiver, plan.figures
    begins = traffic.begins_per_s * traffic.surge
    cores = (traffic.calls * figures.call_ms_per_s + begins * figures.set_up_ms) / 1e3
    free_gib = max(host.memory_gib - host.cores * figures.process_mib / 1024, 1e-3)
    return (
        Resource(CORES, "cores", cores, host.cores),
        Resource("sessions", "calls", traffic.calls, host.cores * host.max_sessions),
        Resource(SIGNALING, "calls/s", begins, host.cores * figures.answers_per_process_s),
        Resource("network, each way", "Gbit/s", bits_per_s(plan) / 2e9, host.nic_gbit_s),
        Resource("memory for calls", "GiB", traffic.calls * figures.call_kib / 1024**2, free_gib),
    )


def store_resources(plan: Plan) -> tuple[Resource, ...]:
    """Of the servers of all stores."""
    written = renewals_per_s(plan) + flow_begins_per_s(plan)
    return (
        Resource(COMMANDS, "SET/s", written, plan.figures.commands_per_server_s),
        Resource("memory", "GiB", records(plan) * plan.figures.record_bytes / GIB, plan.store.memory_gib),
    )
