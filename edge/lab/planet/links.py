"""The WAN of a planet that is up: its links by the places at their ends."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

from core.errors import UnavailableError
from edge.lab.planet.layout import Layout, interface_to
from edge.lab.planet.wan_links import WanLinkPlan
from edge.lab.wan.control import Changes, DirectionState, WanControl
from edge.lab.wan.delay import Conditions
from edge.lab.wan.links import End, Link


def of_process(layout: Layout) -> list[Link]:
    """What the process that is the WAN is told."""
    namespaces = {router.name: router.namespace for router in layout.routers}
    return [
        Link(
            link.name,
            _ends(link, namespaces),
            Conditions(delay_ms=link.delay_ms, jitter_ms=link.jitter_ms, loss=link.loss),
        )
        for link in layout.links
    ]


def _ends(link: WanLinkPlan, namespaces: dict[str, str]) -> tuple[End, End]:
    one, other = link.ends
    return End(one, namespaces[one], interface_to(other)), End(other, namespaces[other], interface_to(one))


class WanLink:
    """A link of layer 3 between two places. `sender` names the place whose packets are meant; without it,
    those of both.
    """

    def __init__(self, plan: WanLinkPlan, control: WanControl) -> None:
        self.plan = plan
        self.ends = plan.ends
        self._control = control

    def set(self, *, sender: str | None = None, **changes: Unpack[Changes]) -> None:
        """Change what is named, for packets from now on: delay_ms (one way), jitter_ms, loss (0–1), burst
        (packets lost together), reorder.
        """
        self._control.set(self.plan.name, sender=sender, **changes)

    def cut(self, *, sender: str | None = None) -> None:
        """It carries nothing, and its ends are not told. Idempotent."""
        self._control.cut(self.plan.name, sender=sender)

    def restore(self, *, sender: str | None = None) -> None:
        """It carries again. Idempotent."""
        self._control.restore(self.plan.name, sender=sender)

    def state(self) -> dict[str, DirectionState]:
        """Conditions and counts, by the place that sends."""
        return self._control.state()[self.plan.name]


class Wan:
    """All WAN links; ends are names of places, such as `city-tokyo` and `pop-frankfurt`."""

    def __init__(self, plans: list[WanLinkPlan], socket: Path) -> None:
        self.control = WanControl(socket)
        self._links = {frozenset(plan.ends): WanLink(plan, self.control) for plan in plans}

    def link(self, one: str, other: str) -> WanLink:
        """The link between two places, in either order. Raises UnavailableError."""
        found = self._links.get(frozenset((one, other)))
        if found is None:
            raise UnavailableError(f"there is no link between {one} and {other}")
        return found

    def links(self, place: str | None = None) -> list[WanLink]:
        """Those of a place, or all."""
        return [link for ends, link in self._links.items() if place is None or place in ends]
