"""Master keys are rotated twice, while calls go on and new ones are set up."""

from __future__ import annotations

from core.service import keysfile
from core.service.files import load_masters
from edge.lab.drills.daemons import reload
from edge.lab.drills.drill import CALLS, GAP, PACKETS, Bar, Drill, Figure, Outcome
from edge.lab.drills.heard import percentile
from edge.lab.drills.stage import Stage
from edge.lab.lab import Running

CALLERS, NEW_CALLS, NEW_PER_S, NEW_LAST_S = 20, 60, 5.0, 2.0
ROTATIONS = 2
PAUSE_S = 3.0
FAILED = "calls failed"


def _play(stage: Stage) -> Outcome:
    """The order is docs/token.md's: who accepts learns before who mints."""
    new_calls = ("--rate", str(NEW_PER_S), "--seconds", str(NEW_LAST_S))
    with (
        stage.lab() as running,
        stage.lab_callers(running, stage.calls(CALLERS)) as old,
    ):
        old.until_connected()
        with stage.lab_callers(running, int(stage.pick(NEW_CALLS, 15)), *new_calls) as new:
            new.until_told("connected")
            faults = []
            for _ in range(ROTATIONS):
                faults += _rotate(running)
                stage.wait(stage.pick(PAUSE_S, 0.5))
            new_heard = new.finish(60.0)
        old_heard = old.end()
    failures = [*new_heard.failures, *new_heard.losses]
    return Outcome(
        {
            PACKETS: Figure(old_heard.packets_lost + new_heard.packets_lost),
            CALLS: Figure(len(old_heard.losses)),
            GAP: Figure(max(old_heard.gap_ms(0), new_heard.gap_ms(0)), "ms"),
            FAILED: Figure(len(failures)),
            "of new calls": Figure(len(new_heard.reports)),
            "their set-up p95": Figure(round(percentile(new_heard.setups_ms, 95), 1), "ms"),
        },
        (*old_heard.losses, *failures, *faults),
    )


def _rotate(running: Running) -> list[str]:
    """One more key, and whoever did not take it."""
    path = running.plan.directory / "keys.toml"
    key_id = keysfile.rotate(path)
    masters, mint_with = load_masters(path)
    faults = (
        [] if mint_with == key_id and key_id in masters else [f"key {key_id} is not the one to mint with"]
    )
    for name in ("relay", "transceiver"):
        daemon = running.daemon(name)
        faults += [f"{name} refused key {key_id}: {problem}" for problem in reload(daemon)]
        adopted = [line for line in daemon.text().splitlines() if "reloaded: keys " in line]
        if not adopted or str(key_id) not in adopted[-1].partition("reloaded: keys ")[2].partition(";")[0]:
            faults.append(f"{name} does not say that it has key {key_id}")
    return faults


DRILL = Drill(
    "keys-rotated",
    "Keys are rotated twice under 20 calls and 5 new ones a second",
    (Bar(FAILED, 0), Bar(CALLS, 0)),
    _play,
)
