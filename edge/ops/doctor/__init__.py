"""`voxpop doctor`: all that the fast path needs, and what it does to known packets."""

from __future__ import annotations

import argparse
import json
import time
from typing import TYPE_CHECKING

from core.service.cli.options import EXIT_CHECK_FAILED, add_config, add_json

if TYPE_CHECKING:
    from core.service.cli.options import Verbs


def register(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Add `doctor` to the command line."""
    doctor = verbs.add_parser(
        "doctor",
        help="check all that the fast path needs, and what it does to known packets",
        description="Looks at kernel, headers, BCC, rights, interfaces, addresses, ports, routes, pins, "
        "keys, clocks and store, and runs packets of known outcome through the loaded program, whose "
        "counters show them. Says what to do about each fault. Exit status 0 when nothing failed, "
        f"{EXIT_CHECK_FAILED} otherwise.",
    )
    add_config(doctor, "[dataplane], [relay], [token], [store]")
    add_json(doctor)
    doctor.set_defaults(run=_doctor)


def _doctor(arguments: argparse.Namespace) -> int:
    from edge.ops.doctor import examine
    from edge.ops.doctor.checks import Status

    checks = examine.examine(arguments.config, int(time.time() // 60))
    is_well = all(check.status is not Status.FAILED for check in checks)
    if arguments.json:
        print(json.dumps({"ok": is_well, "checks": [check.to_json() for check in checks]}))
    else:
        print(examine.render(checks))
    return 0 if is_well else EXIT_CHECK_FAILED
