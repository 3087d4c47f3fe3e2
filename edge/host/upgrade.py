"""What `voxpop dataplane run` of this version would do to the flows that a host carries, told beforehand."""

from __future__ import annotations

from dataclasses import dataclass

from ebpf import layout, pins
from ebpf.net.attach import Netdev
from edge.host.dataplane import Plan, versions_in_use


@dataclass(frozen=True, slots=True)
class Outlook:
    """Whether the flows are kept."""

    is_kept: bool
    flows: int | None
    """How many are at stake; None where their records are of a shape that is not known here."""
    words: str
    """For people."""

    def to_json(self) -> dict[str, object]:
        """For scripts."""
        return {
            "flows_kept": self.is_kept,
            "schema": layout.SCHEMA_VERSION,
            "flows": self.flows,
            "words": self.words,
        }


def outlook(plan: Plan) -> Outlook:
    """Look at what is pinned and attached; nothing is changed. Raises DataplaneError without the right
    to, and where what is pinned is no map of ours.
    """
    with Netdev() as netdev:
        others = versions_in_use(plan, netdev)
    if others:
        flows = pins.live_flows(others[0])
        many = "the flows there" if flows is None else f"{flows} flows"
        return Outlook(
            False,
            flows,
            f"{others[0]} is in use, and this version's maps have another layout, v{layout.SCHEMA_VERSION}: "
            f"{many} will end, and begin anew at each client's next check. Drain the relay first",
        )
    if not plan.directory.exists() or not any(plan.directory.iterdir()):
        return Outlook(True, 0, f"nothing is pinned at {plan.directory}, so there are no flows to keep")
    for spec, count in pins.entries(plan.sizes).values():
        is_there = (plan.directory / spec.name).exists()  # what is not will be made
        if is_there and (wrong := pins.misfit(plan.directory, spec, count)):
            return Outlook(
                False,
                pins.live_flows(plan.directory),
                f"{plan.directory}: {wrong}. `voxpop dataplane run` will refuse it: drain, `voxpop dataplane "
                "detach --unpin`, run; or set the old sizes",
            )
    flows = pins.live_flows(plan.directory) or 0
    return Outlook(True, flows, f"the layout is v{layout.SCHEMA_VERSION} as before: {flows} flows are kept")
