"""What a fleet comes to, for people and for scripts."""

from __future__ import annotations

import math
from dataclasses import asdict

from core.scale import failure
from core.scale.fleet import Fleet, Tier, bits_per_s, flow_begins_per_s, packets_per_s, records
from core.service.cli.durations import duration
from core.service.cli.render import quantity, table

STORES = {True: "with", False: "without", None: "either"}


def as_values(fleet: Fleet) -> dict[str, object]:
    """For JSON; what never ends is null."""
    plan = fleet.plan
    return {
        "plan": asdict(plan),
        "traffic": {
            "flows": fleet.flows,
            "flow_begins_per_s": flow_begins_per_s(plan),
            "packets_per_s": packets_per_s(plan),
            "bits_per_s": bits_per_s(plan),
            "records": records(plan),
        },
        "tiers": {tier.name: _tier(tier) for tier in (*fleet.tiers, fleet.status)},
        "pop": {
            "hosts": fleet.pop_hosts,
            "hosts_left": fleet.pop_hosts_left,
            "bits_per_s": bits_per_s(plan) / plan.layout.pops,
        },
        "breaks": [_limit(limit) for limit in failure.limits(fleet)],
        "losses": [_loss(loss) for loss in failure.losses(fleet)],
        "transceivers": [_finite_all(asdict(again)) for again in failure.transceivers(fleet)],
        "store_wiped": _finite_all(asdict(failure.store_wiped(fleet))),
    }


def _limit(limit: failure.Limit) -> dict[str, object]:
    place = {"tier": limit.tier, "resource": limit.resource.name}
    return {**place, "filled": limit.filled, "calls": _finite(limit.calls)}


def _tier(tier: Tier) -> dict[str, object]:
    resources = [{**asdict(each), "filled": each.filled(tier.hosts)} for each in tier.resources]
    return {"needed": tier.needed, "hosts": tier.hosts, "resources": resources}


def _loss(loss: failure.Loss) -> dict[str, object]:
    return {**asdict(loss), "recovery": _finite_all(asdict(loss.recovery))}


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _finite_all(values: dict[str, object]) -> dict[str, object]:
    return {key: _finite(value) for key, value in values.items()}


def as_text(fleet: Fleet) -> str:
    """Tables."""
    parts = [_traffic(fleet), _tiers(fleet), _hosts(fleet), _breaks(fleet), _losses(fleet), _others(fleet)]
    return "\n\n".join(parts)


def _traffic(fleet: Fleet) -> str:
    plan, pops = fleet.plan, fleet.plan.layout.pops
    traffic = plan.traffic
    return (
        f"{quantity(traffic.calls)} calls at once of {duration(traffic.call_s)}, "
        f"{quantity(traffic.begins_per_s * traffic.surge)} begin in the busiest second\n"
        f"PoPs: {quantity(fleet.flows)} flows, {quantity(flow_begins_per_s(plan))} begin in that second; "
        f"{quantity(packets_per_s(plan))} packets/s in and as many out\n"
        f"one PoP of {pops}: {quantity(bits_per_s(plan) / pops)}bit/s in and as much out, of "
        f"{traffic.frame_bytes:.0f} bytes a frame"
    )


def _tiers(fleet: Fleet) -> str:
    rows = [
        (
            tier.name, tier.hosts, each.name, quantity(each.load), quantity(each.capacity), each.unit,
            f"{each.filled(tier.hosts):.1%}",
        )
        for tier in (*fleet.tiers, fleet.status)
        for each in tier.resources
    ]  # fmt: skip
    header = ("TIER", "HOSTS", "RESOURCE", "LOAD", "OF ONE", "UNIT", "FULL")
    return table(header, rows, right=frozenset({1, 3, 4, 6}))


def _hosts(fleet: Fleet) -> str:
    plan, layout, pop = fleet.plan, fleet.plan.layout, fleet.pop
    lost, left = layout.pops - layout.pops_left, fleet.pop_hosts_left
    full = pop.tightest.filled(left)
    verdict = "they carry all" if full <= pop.fill else "too few" if full > 1 else "more than planned for"
    return (
        f"PoP hosts: {pop.hosts}, {fleet.pop_hosts} in each of {layout.pops} PoPs; {pop.needed} by load\n"
        f"without {lost} of the PoPs {left} are left, {full:.0%} full: {verdict} "
        f"({plan.pop.fill:.0%} is the plan's limit)"
    )


def _breaks(fleet: Fleet) -> str:
    found = failure.limits(fleet)
    rows = [(f"{n}.", each.resource.name, each.tier, quantity(each.calls)) for n, each in enumerate(found, 1)]
    return table(("BREAKS", "RESOURCE", "OF", "AT CALLS"), rows[:6], right=frozenset({3}))


def _losses(fleet: Fleet) -> str:
    rows = [
        (
            loss.what, STORES[loss.has_store], loss.survivors, quantity(loss.recovery.flows),
            _seconds(loss.recovery.seconds), loss.recovery.limit, quantity(loss.recovery.lookups_per_s),
            f"{loss.filled:.0%}",
        )
        for loss in failure.losses(fleet)
    ]  # fmt: skip
    header = ("LOST", "STORE", "SURVIVORS", "FLOWS EACH", "CARRIED AFTER", "BY", "LOOK-UPS/S", "FULL THEN")
    seconds = fleet.plan.layout.detection_s
    note = f"Before that comes {seconds:g} s, until the network leads past the dead."
    return table(header, rows, right=frozenset({2, 3, 4, 6, 7})) + "\n" + note


def _others(fleet: Fleet) -> str:
    rows = [
        (
            f"{again.what} of transceivers", quantity(again.calls), again.survivors, _seconds(again.seconds),
            f"{again.filled:.0%}" if again.survivors else "",
        )
        for again in failure.transceivers(fleet)
    ]  # fmt: skip
    header = ("LOST", "CALLS END", "SURVIVORS", "SET UP AGAIN AFTER", "FULL THEN")
    wiped = failure.store_wiped(fleet)
    return (
        f"{table(header, rows, right=frozenset({1, 2, 3, 4}))}\n\n"
        f"The stores are wiped: {quantity(fleet.flows)} records are written again within "
        f"{_seconds(wiped.seconds)}, {quantity(wiped.records_per_s)}/s, bound by the {wiped.limit}."
    )


def _seconds(value: float) -> str:
    if not math.isfinite(value):
        return "never"
    return duration(value) if value >= 0.05 else "under 0.1s"
