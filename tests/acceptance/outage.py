"""Steps in which the PoP goes and comes back, as its router sees it.

While it is away the router leads to the second, which has the VIP too: traffic moves, it is not lost.
"""

from __future__ import annotations

import re
import time

from tests.acceptance import wires
from tests.acceptance.calls import placed, without_loss
from tests.acceptance.daemons import status_of
from tests.acceptance.errors import UnmetError
from tests.acceptance.routes import Change, Monitor, changed
from tests.acceptance.scene import POP, Scene

ROUTE_S, PING_S = 120.0, 30.0
DEAD_S = 1.5
"""Within which a host that is gone has to be known to be gone: BFD's 3 × 300 ms, and what BGP takes then."""
HERE, THERE = (wires.POP_PUBLIC,), (wires.SECOND_ASIDE,)
"""Where the VIP leads, of the router."""
TTLS = {62: "the PoP", wires.SECOND_TTL - 2: "the second"}
"""What two routers leave of the hops that an answer has."""
_TTL = re.compile(r"\bttl=(\d+)\b")


def drain(scene: Scene) -> str:
    """The router leads elsewhere; the address stays, so what is on its way to the PoP is answered."""
    _until_it_leads_here(scene)
    with Monitor(wires.ROUTER, scene.folders.run / "drain.routes") as router:
        began_s = time.time()
        scene.playbooks.play("voxpop.edge.drain", {POP: scene.pop})
        until_route(router, began_s, THERE)
    found = status_of(scene, POP)
    if found.state != "draining" or answerer(ping(scene)) != "the second":
        raise UnmetError(f"the relay is {found}, and {answerer(ping(scene))} answers at {wires.VIP}")
    has_address(scene)
    return f"{wires.VIP_PREFIX} leads to the second; the PoP's host has {wires.VIP} still"


def undrain(scene: Scene) -> str:
    """The route is back, and a call goes through."""
    with Monitor(wires.ROUTER, scene.folders.run / "undrain.routes") as router:
        began_s, is_here = time.time(), scene.speakers.lead_to_pop(wires.VIP_PREFIX)
        scene.playbooks.play("voxpop.edge.undrain", {POP: scene.pop})
        if not is_here:  # as a host that was switched off meanwhile drains no more
            until_route(router, began_s, HERE)
    return f"{wires.VIP_PREFIX} announced again; {without_loss(placed(scene))}"


def kill(scene: Scene) -> str:
    """The machine is gone from one moment to the next; its cable is in the switch as before."""
    pop = scene.pop
    _until_it_leads_here(scene)
    with Monitor(wires.ROUTER, scene.folders.run / "kill.routes") as router:
        killed_s = time.time()
        pop.kill()
        took_s = until_route(router, killed_s, THERE).at_s - killed_s
    if took_s > DEAD_S:
        raise UnmetError(f"{wires.VIP_PREFIX} was withdrawn {took_s:.2f} s after the machine was killed")
    if (who := answerer(ping(scene))) != "the second":
        raise UnmetError(f"{who} answers at {wires.VIP}")
    return f"{wires.VIP_PREFIX} leads to the second after {took_s:.2f} s, by BFD"


def comeback(scene: Scene) -> str:
    """It boots, nobody does anything, and a call goes through."""
    with Monitor(wires.ROUTER, scene.folders.run / "comeback.routes") as router:
        began_s = time.time()
        scene.switched_on(POP)
        back = until_route(router, began_s, HERE)
    seen = without_loss(placed(scene))
    return f"announced {back.at_s - began_s:.0f} s after it was switched on; {seen}"


def _until_it_leads_here(scene: Scene) -> None:
    """As it does at once, but for a host that this step has switched on. Raises UnmetError."""
    scene.switched_on(POP)
    scene.speakers.until_announced(wires.VIP_PREFIX, ROUTE_S)


def until_route(router: Monitor, since_s: float, via: tuple[str, ...]) -> Change:
    """The change since then by which the VIP leads there. Raises UnmetError."""
    told = f"{wires.VIP_PREFIX} leads to {' and '.join(via)}"
    return router.until(lambda heard: changed(heard, wires.VIP_PREFIX, since_s, via), told, ROUTE_S)


def ping(scene: Scene) -> str:
    """What the client's ping of the VIP says."""
    return scene.in_client("ping", "-n", "-c", "1", "-w", f"{PING_S:.0f}", wires.VIP, seconds=2 * PING_S)


def answerer(said: str) -> str:
    """Who has answered a ping of the VIP. Raises UnmetError where that was nobody of the scene."""
    match = _TTL.search(said)
    if match is None or int(match[1]) not in TTLS:
        raise UnmetError(f"nobody that is known has answered: {said}")
    return TTLS[int(match[1])]


def has_address(scene: Scene) -> None:
    """Raises UnmetError where the PoP's host has not the address of its VIP."""
    said = scene.pop.run("ip -oneline -4 address")
    if f" {wires.VIP}/32 " not in said:
        raise UnmetError(f"the host has lost {wires.VIP}:\n{said}")
