"""`voxpop dataplane`: the fast path on this host's interfaces."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import TYPE_CHECKING

from core.service.cli.options import EXIT_CHECK_FAILED, add_config, add_json, add_log_format

if TYPE_CHECKING:
    from core.service.cli.options import Verbs


DATAPLANE_EPILOG = """\
The configuration needs, besides that of the relay:

  [dataplane]
  interfaces = ["eth0", "eth1"]          # towards clients and towards transceivers; may be one
  backbone = ["10.1.0.2", "fd00:1::2"]   # addresses that transceivers answer to, on this host

`run` ends when the fast path is on the interfaces: programs and maps stay in the kernel, and what carries
calls is no process. Run again, by a newer version for example, it replaces the running program and keeps
the flows; not one packet is lost. Where a version has another layout of the maps, which is rare, it warns
of the calls that end before they do, and refuses while a relay of the old layout lives. `check` of the new
version tells beforehand which it is, and `voxpop doctor` what is in the way. See docs/dataplane.md.
"""


def register(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Add `dataplane` to the command line."""
    dataplane = verbs.add_parser(
        "dataplane",
        help="put the XDP fast path on this host's interfaces, or take it off",
        epilog=DATAPLANE_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = dataplane.add_subparsers(metavar="ACTION", required=True)
    for add in (_add_run, _add_check, _add_detach, _add_status, _add_emergency):
        add_config(add(actions), "[dataplane], [relay]")


def _add_run(actions: Verbs[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    run = actions.add_parser(
        "run",
        help="compile, load, attach and pin; in place of what runs",
        description="Compiles the fast path, or takes what was compiled before, loads it, puts it on every "
        "interface of dataplane.interfaces and pins it, with the maps that are there already. All interfaces "
        "or none.",
        epilog=DATAPLANE_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument(
        "--force",
        action="store_true",
        help="even where a relay lives whose maps have another layout: its calls end",
    )
    add_log_format(run)
    run.set_defaults(run=_run)
    return run


def _add_check(actions: Verbs[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    check = actions.add_parser(
        "check",
        help="whether `run` would keep the flows in progress, before an upgrade",
        description="Says what `voxpop dataplane run` of this version would do to the flows that this host "
        "carries, and changes nothing. Exit status 0 when all of them are kept, or there are none, "
        f"{EXIT_CHECK_FAILED} when they would end.",
    )
    add_json(check)
    check.set_defaults(run=_check)
    return check


def _add_detach(actions: Verbs[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    detach = actions.add_parser(
        "detach",
        help="take the fast path off; for a host that is taken out of service",
        description="Takes the fast path off every interface that runs it. Established calls are carried no "
        "longer; a relay that is started after that uses the userspace forwarder.",
    )
    detach.add_argument(
        "--unpin", action="store_true", help="forget the flows too, so that tables can have other sizes"
    )
    detach.add_argument("--force", action="store_true", help="even while a relay lives: its calls end")
    detach.set_defaults(run=_detach)
    return detach


def _add_status(actions: Verbs[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    status = actions.add_parser("status", help="what runs where, and the sizes of the tables")
    add_json(status)
    status.set_defaults(run=_status)
    return status


def _add_emergency(actions: Verbs[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    emergency = actions.add_parser(
        "emergency",
        help="let of strangers only valid tokens pass, while the host is attacked",
        description="`on` and `off` hold until another word, a restart of the relay, or another value of "
        "dataplane.emergency; `auto` leaves it to the load. Known flows are carried, and whoever has a valid "
        "token is let in, at any level. By the relay's admin socket. See docs/attack.md.",
    )
    emergency.add_argument("mode", choices=("on", "off", "auto", "status"), metavar="on|off|auto|status")
    add_json(emergency)
    emergency.set_defaults(run=_emergency)
    return emergency


def _run(arguments: argparse.Namespace) -> int:
    from core.service import log
    from edge.host import dataplane

    log.set_up("info", as_json=arguments.log_format == "json")
    for name, mode in dataplane.run(dataplane.load_plan(arguments.config), force=arguments.force):
        print(f"{name}: {mode}")
    print("READY")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from edge.host import dataplane, upgrade

    told = upgrade.outlook(dataplane.load_plan(arguments.config))
    print(json.dumps(told.to_json()) if arguments.json else told.words)
    return 0 if told.is_kept else EXIT_CHECK_FAILED


def _detach(arguments: argparse.Namespace) -> int:
    from edge.host import dataplane

    plan = dataplane.load_plan(arguments.config)
    taken = dataplane.detach(plan, arguments.unpin, force=arguments.force)
    print("\n".join(f"{name}: detached" for name in taken) or "no interface runs the fast path")
    if arguments.unpin:
        print(f"{plan.directory}: unpinned")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    from ebpf.errors import PinError
    from edge.host import dataplane

    plan = dataplane.load_plan(arguments.config)
    states = [dataclasses.asdict(state) for state in dataplane.interfaces(plan)]
    problem, sizes = None, {}
    try:
        sizes = dataplane.map_sizes(plan)
    except PinError as error:
        problem = str(error)
    if arguments.json:
        told = {"interfaces": states, "pin_dir": str(plan.directory), "tables": sizes, "problem": problem}
        print(json.dumps(told))
    else:
        for state in states:
            print(f"{state['name']}: {_describe(state)}")
        print(problem or f"{plan.directory}: " + ", ".join(f"{name} {n}" for name, n in sizes.items()))
    return 0 if problem is None and all(state["is_ours"] for state in states) else 1


def _emergency(arguments: argparse.Namespace) -> int:
    from core.service.admin.client import AdminClient
    from core.service.admin.path import EMERGENCY_PATH, admin_path
    from edge.host import dataplane

    relay = dataplane.load_plan(arguments.config).relay
    client = AdminClient("relay", admin_path("relay", relay.admin_socket, arguments.config))
    told = client.switch(EMERGENCY_PATH, None if arguments.mode == "status" else arguments.mode)
    raised = f"raised by {told['by']}" if told["by"] else "not raised"
    words = f"emergency: {told['mode']}, {raised}; {told['overrun_pps']} packets/s too many"
    print(json.dumps(told) if arguments.json else words)
    return 0


def _describe(state: dict[str, object]) -> str:
    if not state["is_present"]:
        return "no such interface"
    if state["mode"] is None:
        return "nothing attached"
    whose = "the fast path" if state["is_ours"] else "another's program"
    return f"{whose}, {state['mode']} mode, program {state['program_id']}"
