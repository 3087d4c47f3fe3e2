"""Steps that change hosts while a call goes on: another version, the version before, other keys."""

from __future__ import annotations

import time

from tests.acceptance import bundles, wires
from tests.acceptance.calls import calling, placed, until_reachable, without_loss
from tests.acceptance.daemons import Keys, Status, Versions, status_of, version_of, versions_on
from tests.acceptance.errors import UnmetError
from tests.acceptance.playing import calling_variables, playing, variables
from tests.acceptance.routes import Monitor, changed
from tests.acceptance.scene import POP, REGION, VOXPOP, Scene
from tests.paths import ROOT

DRAINED_S, POLL_S = 180.0, 1.0
INSTALLED = "voxpop.edge.edge : Ask the relay what carries its flows"
"""The first task after that, with a compile of the program before anything of the PoP is changed."""
AWAY = ("nyc1.example.net",)
"""Of the example inventory, and no machine here."""


def upgrade(scene: Scene) -> str:
    """The PoP is changed under a call, of which no packet is lost; the region is when it is over."""
    bundle = bundles.next_of(scene.playbooks.bundle, scene.folders.run)
    old, new = bundles.version_of(scene.playbooks.bundle), bundles.version_of(bundle)
    expect({POP: old, REGION: old}, running(scene), "before the upgrade")
    # The only host of its PoP: to withdraw its route would lose what a kept flow is kept for.
    more = variables(base_bundle=str(bundle), edge_drain_kept=False, **calling_variables(scene))
    with playing(scene, "voxpop.edge.upgrade", *more) as play:
        play.begin()
        play.until(INSTALLED)  # which takes longest, and nothing that runs is touched by it
        with calling(scene) as call:
            expect({POP: old, REGION: old}, running(scene), "when the call was set up")
            play.until("voxpop.edge.transceiver : Drain the transceiver")
            drained = until_draining(scene, REGION)
            expect({POP: new, REGION: old}, running(scene), "while the region drains")
            expect(1, drained.left, "of calls in the region")
            seen = without_loss(call.hang_up())
        play.result()
    expect({POP: new, REGION: new}, running(scene), "after the upgrade")
    return f"{old} → {new}, the PoP under {seen}; the region when it was over"


def rollback(scene: Scene) -> str:
    """The PoP is drained for it, so its route goes, and comes back with the version that was before."""
    new = running(scene)[POP]
    until_reachable(scene)
    with Monitor(wires.ROUTER, scene.folders.run / "rollback.routes") as router:
        began_s = time.time()
        scene.playbooks.play("voxpop.edge.rollback", scene.hosts, *variables(**calling_variables(scene)))
        heard = router.heard()
    gone = changed(heard, wires.VIP_PREFIX, began_s, (wires.SECOND_ASIDE,))
    back = gone and changed(heard, wires.VIP_PREFIX, gone.at_s, (wires.POP_PUBLIC,))
    if gone is None or back is None:
        raise UnmetError(f"{wires.VIP_PREFIX} was not withdrawn and announced again: {heard}")
    old = bundles.version_of(scene.playbooks.bundle)
    expect({POP: old, REGION: old}, running(scene), "after the rollback")
    for name, host in scene.hosts.items():
        expect(Versions(current=old, previous=new), versions_on(host), f"on {name}")
    return f"{new} → {old} on both; the PoP was withdrawn for {back.at_s - gone.at_s:.0f} s"


def keys(scene: Scene) -> str:
    """A key is added and used under a call that the one before was minted for; then that one is forgotten."""
    before = known(scene)
    [old] = before.ids
    rotation = {"keys_without": AWAY, "keys_command": ["env", f"--chdir={ROOT}", *VOXPOP]}
    with calling(scene) as call:
        more = variables(**rotation, **calling_variables(scene))
        scene.playbooks.play("voxpop.edge.keys", scene.hosts, *more)
        seen = without_loss(call.hang_up())
    both = known(scene)
    if both.mint_with == old or set(both.ids) != {old, both.mint_with}:
        raise UnmetError(f"keys are {both} after a rotation from {before}")
    more = variables(**rotation, keys_at_once=True)  # nobody calls any more
    scene.playbooks.play("voxpop.edge.keys", scene.hosts, "--tags=remove", *more)
    expect(Keys((both.mint_with,), both.mint_with), known(scene), "after the older key was removed")
    placed(scene)
    return f"key {old} → {both.mint_with} under {seen}; a new call with the new key alone"


def known(scene: Scene) -> Keys:
    """What relay and transceiver have, which has to be the same. Raises UnmetError."""
    relay, transceiver = (status_of(scene, name).keys for name in (POP, REGION))
    expect(relay, transceiver, "of keys in the region")
    return relay


def until_draining(scene: Scene, name: str) -> Status:
    """How a daemon is once it drains. Raises UnmetError."""
    deadline = time.monotonic() + DRAINED_S
    while (found := status_of(scene, name)).state != "draining":
        if time.monotonic() > deadline:
            raise UnmetError(f"{name} does not drain: {found}")
        time.sleep(POLL_S)
    return found


def running(scene: Scene) -> dict[str, str]:
    """Host → version of what runs there."""
    return {name: version_of(scene, name) for name in (POP, REGION)}


def expect(wanted: object, found: object, when: str) -> None:
    """Raises UnmetError unless they are equal."""
    if found != wanted:
        raise UnmetError(f"{when}: {found}, and not {wanted}")
