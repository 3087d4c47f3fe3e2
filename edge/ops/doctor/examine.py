"""`voxpop doctor`: what an engineer looks at before a PoP takes calls, or when it takes none."""

from __future__ import annotations

import itertools
from pathlib import Path

from core.errors import ConfigError
from core.keyring import Keyring
from core.service.files import load_config, load_keyring
from edge.host import dataplane
from edge.ops.doctor import (
    clock_checks,
    host_checks,
    interrupt_checks,
    map_checks,
    route_checks,
    store_checks,
)
from edge.ops.doctor.checks import Check, Status

MARKS = {Status.OK: "ok", Status.NOTE: "note", Status.FAILED: "FAILED", Status.SKIPPED: "skipped"}


def examine(config_path: Path, now_min: int) -> list[Check]:
    """Every check. `now_min` is the wall clock in minutes since the Unix epoch.

    Raises ConfigError where the configuration itself cannot be used.
    """
    plan = dataplane.load_plan(config_path)
    keyring = _keyring_of(config_path)
    return list(
        itertools.chain(
            host_checks.check(plan),
            interrupt_checks.check(plan.settings.interfaces),
            route_checks.check(plan),
            map_checks.check(plan, keyring, now_min),
            store_checks.check(config_path),
            clock_checks.check(config_path),
        )
    )


def _keyring_of(config_path: Path) -> Keyring | None:
    try:
        return load_keyring(load_config(config_path), config_path)
    except ConfigError:
        return None


def render(checks: list[Check]) -> str:
    """One line for each check, and one for what to do about it."""
    lines = []
    for check in checks:
        lines.append(f"{MARKS[check.status]:<8}{check.name}: {check.finding}")
        if check.fix:
            lines.append(f"{'':<8}→ {check.fix}")
    failures = sum(check.status is Status.FAILED for check in checks)
    lines.append(
        f"{len(checks)} checks, {failures} failed" if failures else f"{len(checks)} checks, none failed"
    )
    return "\n".join(lines)
