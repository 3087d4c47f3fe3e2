"""The verbs of the fast path: `dataplane`, `flows`, `stats`, `doctor`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.service.verbs import Verbs
    from edge.ops.stats import Row

DATAPLANE_EPILOG = """\
The configuration needs, besides that of the relay:

  [dataplane]
  interfaces = ["eth0", "eth1"]          # towards clients and towards transceivers; may be one
  backbone = ["10.1.0.2", "fd00:1::2"]   # addresses that transceivers answer to, on this host

`run` ends when the fast path is on the interfaces: programs and maps stay in the kernel, and what carries
calls is no process. Run again, by a newer version for example, it replaces the running program and keeps
the flows; not one packet is lost. `voxpop doctor` tells beforehand what is in the way. See
docs/dataplane.md.
"""


EXIT_CHECK_FAILED = 5
DEFAULT_PINS = Path("/sys/fs/bpf/voxpop")
FLOW_COLUMNS = (
    "CLIENT", "VIP", "TRANSCEIVER", "NAT-PORT", "IDLE", "PKTS↑", "PKTS↓", "BYTES↑", "BYTES↓",
)  # fmt: skip


def register(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Add this part's verbs to the command line."""
    _register_dataplane(verbs)
    _register_flows(verbs)
    _register_stats(verbs)
    _register_doctor(verbs)


def _register_dataplane(verbs: Verbs[argparse.ArgumentParser]) -> None:
    dataplane = verbs.add_parser(
        "dataplane",
        help="put the XDP fast path on this host's interfaces, or take it off",
        epilog=DATAPLANE_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = dataplane.add_subparsers(metavar="ACTION", required=True)
    run = actions.add_parser(
        "run",
        help="compile, load, attach and pin; in place of what runs",
        description="Compiles the fast path, loads it, puts it on every interface of dataplane.interfaces "
        "and pins it, with the maps that are there already. All interfaces or none.",
        epilog=DATAPLANE_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument("--log-format", choices=("text", "json"), default="text", help="default: text")
    run.set_defaults(run=_run)
    detach = actions.add_parser(
        "detach",
        help="take the fast path off; for a host that is taken out of service",
        description="Takes the fast path off every interface that runs it. Established calls are carried no "
        "longer; a relay that is started after that uses the userspace forwarder.",
    )
    detach.add_argument(
        "--unpin", action="store_true", help="forget the flows too, so that tables can have other sizes"
    )
    detach.set_defaults(run=_detach)
    status = actions.add_parser("status", help="what runs where, and the sizes of the tables")
    status.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    status.set_defaults(run=_status)
    for action in (run, detach, status):
        action.add_argument(
            "--config", type=Path, required=True, metavar="FILE", help="TOML; reads [dataplane], [relay]"
        )


def _register_flows(verbs: Verbs[argparse.ArgumentParser]) -> None:
    flows = verbs.add_parser(
        "flows",
        help="list or count the flows that the fast path carries",
        description="Reads the pinned maps themselves, so it works while the relay is down.",
    )
    actions = flows.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser(
        "list",
        help="one line for each flow",
        description="IDLE is since the client was last heard; packets and bytes, of the IP layer, are those "
        "that the fast path carried, upstream and downstream.",
    )
    listing.add_argument(
        "--limit", type=_limit, default=100, metavar="N", help="lines at most; 0 is no limit (default: 100)"
    )
    listing.add_argument("-H", "--no-header", action="store_true", help="for scripts")
    listing.set_defaults(run=_flows_list)
    count = actions.add_parser("count", help="how many there are")
    count.set_defaults(run=_flows_count)
    for action in (listing, count):
        for name, whose in (("client", "the client"), ("vip", "the VIP"), ("transceiver", "the transceiver")):
            action.add_argument(
                f"--{name}",
                type=_side,
                metavar="ADDRESS",
                help=f"{whose}: an address, a prefix, ADDRESS:PORT",
            )
        action.add_argument("--idle", type=_idle, metavar="BOUND", help="for how long: '>30s', '<500ms'")
        _add_source(action)


def _register_stats(verbs: Verbs[argparse.ArgumentParser]) -> None:
    stats = verbs.add_parser(
        "stats",
        help="what the fast path did with packets, by verdict",
        description="Every packet that the fast path sees is counted under one verdict: forward_*, punt_* "
        "(to the relay), pass_* (to the kernel), drop_*. Reads the pinned counters themselves, so it works "
        "while the relay is down; they count since the maps were made.",
    )
    stats.add_argument("--watch", type=float, metavar="SECONDS", help="per second instead, again and again")
    stats.add_argument("--all", action="store_true", help="also what never happened")
    _add_source(stats)
    stats.set_defaults(run=_stats)


def _register_doctor(verbs: Verbs[argparse.ArgumentParser]) -> None:
    doctor = verbs.add_parser(
        "doctor",
        help="check all that the fast path needs, and what it does to known packets",
        description="Looks at kernel, headers, BCC, rights, interfaces, addresses, ports, pins, keys and "
        "clock, and runs packets of known outcome through the loaded program, whose counters show them. Says "
        f"what to do about each fault. Exit status 0 when nothing failed, {EXIT_CHECK_FAILED} otherwise.",
    )
    doctor.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="TOML; reads [dataplane], [relay], [token]"
    )
    doctor.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    doctor.set_defaults(run=_doctor)


def _add_source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--config", type=Path, metavar="FILE", help="TOML; for its dataplane.pin_dir")
    source.add_argument(
        "--pin-dir", type=Path, metavar="DIR", default=DEFAULT_PINS, help=f"default: {DEFAULT_PINS}"
    )


def _limit(text: str) -> int | None:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return number or None


def _side(text: str) -> object:
    from edge.ops.flows import parse_side

    try:
        return parse_side(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _idle(text: str) -> object:
    from edge.ops.flows import parse_idle

    try:
        return parse_idle(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _pins(arguments: argparse.Namespace) -> Path:
    """The directory of this version's pins."""
    from ebpf.layout import SCHEMA_VERSION
    from edge import dataplane

    if arguments.config is not None:
        return dataplane.load_plan(arguments.config).directory
    directory: Path = arguments.pin_dir
    return directory / f"v{SCHEMA_VERSION}"


def _flows_list(arguments: argparse.Namespace) -> int:
    from edge.ops import flows, render

    wanted = flows.Filter(arguments.client, arguments.vip, arguments.transceiver, arguments.idle)
    found = flows.select(_pins(arguments), wanted, arguments.limit)
    matching = sum(found.matching.values())
    if arguments.json:
        print(json.dumps({
            "flows": [flow.to_json() for flow in found.shown], "matching": matching, "total": found.total,
        }))  # fmt: skip
    else:
        rows = [
            (f.client, f.vip, f.transceiver, f.nat_port, render.duration(f.idle_s),
             f.packets_up, f.packets_down, f.bytes_up, f.bytes_down)
            for f in found.shown
        ]  # fmt: skip
        text = render.table(FLOW_COLUMNS, rows, right=frozenset(range(4, 9)))
        print(text.partition("\n")[2] if arguments.no_header else text)
    if len(found.shown) < matching:
        hidden = matching - len(found.shown)
        print(f"voxpop: {hidden} more flows match; --limit 0 shows all", file=sys.stderr)
    return 0


def _flows_count(arguments: argparse.Namespace) -> int:
    from edge.ops import flows

    wanted = flows.Filter(arguments.client, arguments.vip, arguments.transceiver, arguments.idle)
    found = flows.select(_pins(arguments), wanted, 0)
    number = sum(found.matching.values())
    if arguments.json:
        by_family = {"ipv4": found.matching[4], "ipv6": found.matching[6]}
        print(json.dumps({"flows": number, **by_family, "total": found.total}))
    else:
        print(number)
    return 0


def _stats(arguments: argparse.Namespace) -> int:
    from edge.ops import stats

    directory = _pins(arguments)
    if arguments.watch is None:
        _print_stats(stats.read(directory).rows, arguments)
        return 0
    for before, after in stats.watch(directory, arguments.watch):
        _print_rates(stats.rates(before, after), arguments)
    return 0


def _print_stats(rows: list[Row], arguments: argparse.Namespace) -> None:
    from edge.ops import render

    if arguments.json:
        told = [
            {"verdict": r.verdict, "family": r.family, "packets": r.counted.packets, "bytes": r.counted.bytes}
            for r in rows
        ]
        print(json.dumps({"counters": told}))
        return
    shown = [r for r in rows if arguments.all or r.counted.packets]
    cells = [(r.verdict, r.family, r.counted.packets, r.counted.bytes) for r in shown]
    print(render.table(("VERDICT", "FAMILY", "PACKETS", "BYTES"), cells, right=frozenset({2, 3})))


def _print_rates(rows: list[tuple[Row, float, float]], arguments: argparse.Namespace) -> None:
    from edge.ops import render

    if arguments.json:
        told = [
            {"verdict": r.verdict, "family": r.family, "packets_per_s": round(packets, 3),
             "bytes_per_s": round(size, 3)}
            for r, packets, size in rows
        ]  # fmt: skip
        print(json.dumps({"rates": told}), flush=True)
        return
    cells = [
        (r.verdict, r.family, render.quantity(packets), render.quantity(size * 8))
        for r, packets, size in rows
        if arguments.all or packets
    ]
    header = ("VERDICT", "FAMILY", "PACKETS/S", "BITS/S")
    print(render.table(header, cells, right=frozenset({2, 3})), end="\n\n", flush=True)


def _run(arguments: argparse.Namespace) -> int:
    from core.service import log
    from edge import dataplane

    log.set_up("info", as_json=arguments.log_format == "json")
    for name, mode in dataplane.run(dataplane.load_plan(arguments.config)):
        print(f"{name}: {mode}")
    print("READY")
    return 0


def _detach(arguments: argparse.Namespace) -> int:
    from edge import dataplane

    plan = dataplane.load_plan(arguments.config)
    taken = dataplane.detach(plan, arguments.unpin)
    print("\n".join(f"{name}: detached" for name in taken) or "no interface runs the fast path")
    if arguments.unpin:
        print(f"{plan.directory}: unpinned")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    from ebpf.errors import PinError
    from edge import dataplane

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


def _describe(state: dict[str, object]) -> str:
    if not state["is_present"]:
        return "no such interface"
    if state["mode"] is None:
        return "nothing attached"
    whose = "the fast path" if state["is_ours"] else "another's program"
    return f"{whose}, {state['mode']} mode, program {state['program_id']}"


def _doctor(arguments: argparse.Namespace) -> int:
    from edge.ops import doctor
    from edge.ops.checks import Status

    checks = doctor.examine(arguments.config)
    is_well = all(check.status is not Status.FAILED for check in checks)
    if arguments.json:
        print(json.dumps({"ok": is_well, "checks": [check.to_json() for check in checks]}))
    else:
        print(doctor.render(checks))
    return 0 if is_well else EXIT_CHECK_FAILED
