"""Steps in which the PoP goes and comes back, as the router sees it."""

from __future__ import annotations

import time

from tests.acceptance import wires
from tests.acceptance.calls import placed
from tests.acceptance.daemons import status_of
from tests.acceptance.errors import UnmetError
from tests.acceptance.routes import Change, Monitor, changed
from tests.acceptance.scene import POP, Scene

ROUTE_S = 120.0
DEAD_S = 1.5
"""Within which a host that is gone has to be known to be gone: BFD's 3 × 300 ms, and what BGP takes then."""


def drain(scene: Scene) -> str:
    """The router loses its route; the address stays, so what is on its way there is answered."""
    with Monitor(wires.ROUTER, scene.folders.run / "drain.routes") as router:
        began_s = time.time()
        scene.playbooks.play("voxpop.edge.drain", {POP: scene.pop})
        until_route(router, began_s, ())
    found = status_of(scene, POP)
    if found.state != "draining":
        raise UnmetError(f"the relay is {found}")
    has_address(scene)
    return f"{wires.VIP_PREFIX} withdrawn at the router; the host has {wires.VIP} still"


def undrain(scene: Scene) -> str:
    """The route is back, and a call goes through."""
    with Monitor(wires.ROUTER, scene.folders.run / "undrain.routes") as router:
        began_s = time.time()
        scene.playbooks.play("voxpop.edge.undrain", {POP: scene.pop})
        until_route(router, began_s, (wires.POP_PUBLIC,))
    call = placed(scene)
    return f"{wires.VIP_PREFIX} announced again; {call.received} packets of a call heard, {call.lost} lost"


def kill(scene: Scene) -> str:
    """The machine is gone from one moment to the next; its cable is in the switch as before."""
    pop = scene.pop
    with Monitor(wires.ROUTER, scene.folders.run / "kill.routes") as router:
        killed_s = time.time()
        pop.kill()
        took_s = until_route(router, killed_s, ()).at_s - killed_s
    if took_s > DEAD_S:
        raise UnmetError(f"{wires.VIP_PREFIX} was withdrawn {took_s:.2f} s after the machine was killed")
    return f"{wires.VIP_PREFIX} withdrawn after {took_s:.2f} s, by BFD"


def comeback(scene: Scene) -> str:
    """It boots, and everything is as before."""
    with Monitor(wires.ROUTER, scene.folders.run / "comeback.routes") as router:
        began_s = time.time()
        until_up(scene)
        back = until_route(router, began_s, (wires.POP_PUBLIC,))
    call = placed(scene)
    heard = f"{call.received} packets of a call heard, {call.lost} lost"
    return f"announced {back.at_s - began_s:.0f} s after it was switched on; {heard}"


def until_up(scene: Scene) -> None:
    """The PoP's machine is switched on where it is off, and waited for."""
    scene.switched_on(POP)


def until_route(router: Monitor, since_s: float, via: tuple[str, ...]) -> Change:
    """The change by which the VIP leads there. Raises UnmetError."""
    told = f"{wires.VIP_PREFIX} leads to {' and '.join(via) or 'nowhere'}"
    return router.until(lambda heard: changed(heard, wires.VIP_PREFIX, since_s, via), told, ROUTE_S)


def has_address(scene: Scene) -> None:
    """Raises UnmetError where the PoP host has not the address of its VIP."""
    said = scene.pop.run("ip -oneline -4 address")
    if f" {wires.VIP}/32 " not in said:
        raise UnmetError(f"the host has lost {wires.VIP}:\n{said}")
