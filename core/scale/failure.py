"""What breaks first in a fleet, and what a death costs those who live. No I/O.

The flows of a dead host come to its neighbours as packets that these know nothing of. With a store each is
asked for and restored (docs/redis.md); without one it waits for its client's next check. How long that takes
is bounded by rates, of which the slowest counts: what comes up (budgets), what is asked for (look-ups), what
workers can do, and what the store can answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from core.scale.assumptions import PopHost
from core.scale.figures import Figures
from core.scale.fleet import COMMANDS, CORES, SIGNALING, WORKERS, Fleet, Resource, Tier

LOOKUPS_PER_WORKER_S = 10_000.0
"""Questions that a worker asks at most (edge/recall/lookups.py)."""
REWRITES_PER_WORKER_S = 6_400.0
"""Records that a worker writes at most (edge/recall/recall.py)."""
READ_PER_RESTORED = 4.0
"""Packets that a worker reads for each flow that it restores, when it has more than it can do: 64 to 16
(edge/host/worker.py, edge/recall/recall.py).
"""


def named(tier: Tier, name: str) -> Resource:
    """One of the tier's resources."""
    return next(resource for resource in tier.resources if resource.name == name)


@dataclass(frozen=True, slots=True)
class Limit:
    """Where a tier ends if calls grow and nothing else does."""

    tier: str
    resource: Resource
    filled: float
    calls: float


def limits(fleet: Fleet) -> list[Limit]:
    """Of every resource, the first to break first."""
    calls = fleet.plan.traffic.calls
    found = [
        Limit(tier.name, resource, filled, calls / filled if filled else math.inf)
        for tier in (*fleet.tiers, fleet.status)
        for resource in tier.resources
        for filled in [resource.filled(tier.hosts)]
    ]
    return sorted(found, key=lambda limit: -limit.filled)


@dataclass(frozen=True, slots=True)
class Recovery:
    """Flows that come to one host at once, until each is carried again."""

    flows: float
    seconds: float
    """inf where there is nothing left that could do it."""
    limit: str
    """What it is that takes so long."""
    lookups_per_s: float
    """Questions to the store, on average of that time."""


@dataclass(frozen=True, slots=True)
class Spare:
    """What a host has left for those who come."""

    workers: float
    """Cores that its workers may use for them."""
    commands_per_s: float
    """Its share of what the store has left."""


class Media(NamedTuple):
    """What the clients of flows send."""

    packets_per_s: float
    """Of each."""
    behind_nat: float
    """Share of the flows that come from one address, by way of a carrier-grade NAT."""


def restore(flows: float, media: Media, host: PopHost, spare: Spare, figures: Figures) -> Recovery:
    """With a store."""
    if flows <= 0:
        return Recovery(0.0, 0.0, "nothing", 0.0)
    sent = flows * media.packets_per_s
    up = min(host.punt_media_pps, sent)
    seconds = {
        "budget": _over(flows, up),
        "budget of a NAT": _over(flows * media.behind_nat, host.punt_media_source_pps),
        "look-ups": _over(flows, host.workers * LOOKUPS_PER_WORKER_S),
        "store": _over(flows, spare.commands_per_s),
        "workers": _worked(flows, _mean(sent, up), spare.workers, figures),
    }
    limit = max(seconds, key=lambda name: seconds[name])
    return Recovery(flows, seconds[limit], limit, _over(flows, seconds[limit]))


def _mean(sent: float, up: float) -> float:
    """Packets a second that come up, on average: as many as may, until so few flows are left that they send
    less. The flows that are left become fewer evenly.
    """
    return up * (1 - up / (2 * sent))


def _worked(flows: float, up: float, cores: float, figures: Figures) -> float:
    """Seconds of so many cores.

    Packets of flows that wait come up too, and take their time. Where all of them can be read, what is left
    is for restoring; where they cannot, a worker reads so many for each flow that it restores, and the
    kernel drops the others.
    """
    whole, other = figures.restore_us / 1e6, figures.stranger_us / 1e6
    alone = max(whole - other, 0.0)
    all_read = _over(flows * alone, max(0.0, cores - up * other)) if alone else 0.0
    crowded = _over(flows * (alone + READ_PER_RESTORED * other), cores)
    return max(_over(flows * whole, cores), min(all_read, crowded))


def checks(flows: float, check_s: float, host: PopHost, spare: Spare, figures: Figures) -> Recovery:
    """Without a store, or of flows without media: each comes by its client's next check."""
    if flows <= 0:
        return Recovery(0.0, 0.0, "nothing", 0.0)
    seconds = {
        "check interval": check_s,
        "budget": _over(flows, host.punt_pps),
        "workers": _over(flows, spare.workers * 1e6 / figures.new_flow_us),
    }
    limit = max(seconds, key=lambda name: seconds[name])
    return Recovery(flows, seconds[limit], limit, 0.0)


def _over(amount: float, rate: float) -> float:
    if amount <= 0:
        return 0.0
    return amount / rate if rate > 0 else math.inf


@dataclass(frozen=True, slots=True)
class Loss:
    """Hosts of PoPs die, and this is what each of those gets that take over."""

    what: str
    has_store: bool | None
    """None where it makes no difference."""
    survivors: int
    """Hosts that take over."""
    media: float
    """Flows with audio that come to each of them."""
    spared: float
    """Flows that carry checks only: the spare ways of calls."""
    recovery: Recovery
    filled: float
    """The tightest resource of each of them afterwards."""


def losses(fleet: Fleet) -> list[Loss]:
    """A host, and the PoPs that may be lost at once; each with a store and without. PoPs also where none has
    the VIPs of another: then calls go on at the second PoP of their answer.
    """
    layout, servers = fleet.plan.layout, fleet.store.hosts
    found = []
    if fleet.pop_hosts > 1:
        gone = Gone("a host of a PoP", 1, fleet.pop_hosts - 1, servers / layout.regions)
        found += [_loss(fleet, gone, has_store) for has_store in (True, False)]
    if lost := layout.pops - layout.pops_left:
        what = f"{lost} of {layout.pops} PoPs, by anycast"
        gone = Gone(what, lost * fleet.pop_hosts, fleet.pop_hosts_left, servers)
        found += [_loss(fleet, gone, has_store) for has_store in (True, False)]
        found.append(_elsewhere(fleet, gone._replace(what=f"{lost} of {layout.pops} PoPs")))
    return found


class Gone(NamedTuple):
    """Hosts that die, and who is there then."""

    what: str
    hosts: int
    survivors: int
    servers: float
    """Of stores that these ask."""


def _loss(fleet: Fleet, gone: Gone, has_store: bool) -> Loss:
    plan = fleet.plan
    part = gone.hosts / fleet.pop.hosts / gone.survivors
    media, flows = plan.traffic.calls * part, fleet.flows * part
    spare = spare_of(fleet, gone)
    if has_store:
        sending = Media(plan.traffic.packets_per_s, plan.traffic.behind_nat)
        recovery = restore(media, sending, plan.pop, spare, plan.figures)
    else:
        recovery = checks(flows, plan.traffic.check_s, plan.pop, spare, plan.figures)
    filled = fleet.pop.filled() * (1 + gone.hosts / gone.survivors)
    return Loss(gone.what, has_store, gone.survivors, media, flows - media, recovery, filled)


def _elsewhere(fleet: Fleet, gone: Gone) -> Loss:
    """To the other PoPs that answers have named: flows are there, and clients go over by themselves."""
    recovery = Recovery(0.0, fleet.plan.traffic.check_s, "clients", 0.0)
    filled = fleet.pop.filled() * (1 + gone.hosts / gone.survivors)
    return Loss(gone.what, None, gone.survivors, 0.0, 0.0, recovery, filled)


def spare_of(fleet: Fleet, gone: Gone) -> Spare:
    """What each survivor has beside its usual load, and its share of what the stores have."""
    plan, hosts = fleet.plan, fleet.pop.hosts
    cores, workers = (
        max(0.0, 1 - resource.filled(hosts)) * resource.capacity
        for resource in (named(fleet.pop, CORES), named(fleet.pop, WORKERS))
    )
    free = max(0.0, 1 - named(fleet.store, COMMANDS).filled(fleet.store.hosts))
    per_host = free * gone.servers * plan.figures.commands_per_server_s / gone.survivors
    return Spare(min(cores, workers), per_host)


@dataclass(frozen=True, slots=True)
class CallsAgain:
    """Transceivers die: their calls end, and clients call again."""

    what: str
    calls: float
    survivors: int
    """Hosts that take them."""
    seconds: float
    """Until all have been answered and set up, from when they call."""
    filled: float
    """The tightest resource of those hosts afterwards."""


def transceivers(fleet: Fleet) -> list[CallsAgain]:
    """A host, whose calls go to its region; and a region, whose calls go to the others."""
    hosts, regions = fleet.transceiver.hosts, fleet.plan.layout.regions
    each = hosts // regions
    return [_again(fleet, "a host", 1, each - 1), _again(fleet, "a region", each, hosts - each)]


def _again(fleet: Fleet, what: str, gone: int, survivors: int) -> CallsAgain:
    """Set up by what the survivors' cores have left, as fast as their processes answer."""
    plan, tier = fleet.plan, fleet.transceiver
    calls = plan.traffic.calls * gone / tier.hosts
    if not survivors:
        return CallsAgain(what, calls, 0, math.inf, math.inf)
    cores = max(0.0, 1 - named(tier, CORES).filled(tier.hosts)) * plan.transceiver.cores
    answers = max(0.0, 1 - named(tier, SIGNALING).filled(tier.hosts)) * named(tier, SIGNALING).capacity
    rate = survivors * min(cores / plan.figures.set_up_ms * 1e3, answers)
    filled = tier.filled() * (1 + gone / survivors)
    return CallsAgain(what, calls, survivors, _over(calls, rate), filled)


@dataclass(frozen=True, slots=True)
class Rewriting:
    """The stores come back empty: every live flow's record is written again."""

    records_per_s: float
    """Of all workers together."""
    seconds: float
    limit: str


def store_wiped(fleet: Fleet) -> Rewriting:
    """As fast as workers may write, or as fast as the servers take it."""
    plan = fleet.plan
    rates = {
        "relay workers": fleet.pop.hosts * plan.pop.workers * REWRITES_PER_WORKER_S,
        "servers": fleet.store.hosts * plan.figures.commands_per_server_s,
    }
    limit = min(rates, key=lambda name: rates[name])
    return Rewriting(rates[limit], _over(fleet.flows, rates[limit]), limit)
