"""The command line of `voxpop lab`. What it does is imported when it runs."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING

from core.addr import IpFamily
from core.errors import UnavailableError
from core.service import interrupt
from core.service.cli.options import add_json, whole_number
from edge.lab.drills import cli as drills
from edge.lab.plan import DEFAULT_NAME, MAX_BACKBONES, NAME, SIGNALING_PORT, LabPlan, Place

if TYPE_CHECKING:
    from core.service.cli.options import Verbs
    from edge.lab.lab import Running

EPILOG = """\
A lab is a whole deployment on one machine: a client, a PoP with the XDP fast path in native mode, and a
region with a transceiver host, each in a network namespace, joined by veth pairs, in IPv4 and IPv6.

  voxpop lab up --start                                  make it, start everything
  voxpop lab exec client -- voxpop call http://127.0.0.1:8080
  voxpop lab exec pop -- tcpdump -ni backbone            the relay's own packets: XDP's are not seen there
  voxpop lab status
  voxpop lab down                                        and nothing is left

Needs root. See docs/lab.md.
"""
EXIT_OK, EXIT_FAILED = 0, 1
BUILT_IN = "default"
"""In place of a planet's file."""
NOT_FOR_PLANETS = {
    "client": "namespace",
    "forwarder": "xdp",
    "family": "both",
    "http_port": SIGNALING_PORT,
    "backbones": 1,
}
"""Options of other labs, and their defaults: a planet has them in its file, or not at all."""


def register(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Add `lab`."""
    lab = verbs.add_parser(
        "lab",
        help="a client, a PoP with the fast path and a region on this machine, in network namespaces",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = lab.add_subparsers(metavar="ACTION", required=True)
    _register_up(actions)
    down = actions.add_parser(
        "down",
        help="end everything in a lab and remove it",
        description="Ends every process in the lab's namespaces and removes namespaces, pins and files, "
        "also of a lab that is half built. Exit status 0, also when there was none.",
    )
    _add_name(down)
    down.add_argument("--all", action="store_true", help="every lab of this machine")
    down.set_defaults(run=_down)
    status = actions.add_parser(
        "status",
        help="show namespaces, addresses, XDP mode and processes",
        description="Shows what the kernel says of every lab. Exit status 1 when there is none.",
    )
    _add_name(status, default=None)
    add_json(status)
    status.set_defaults(run=_status)
    _register_exec(actions)
    drills.register(actions)
    planet = actions.add_parser(
        "planet",
        help="print the file of the planet that is built in, to begin one's own with",
        description="Prints the TOML file of the planet that `lab up --planet` makes without a file.",
    )
    planet.set_defaults(run=_planet)


def _register_up(actions: Verbs[argparse.ArgumentParser]) -> None:
    up = actions.add_parser(
        "up",
        help="make a lab",
        description="Makes namespaces, veth pairs, addresses and routes, and writes keys and a configuration "
        "for all processes. If anything fails, nothing stays.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_name(up)
    up.add_argument("--start", action="store_true", help="also start dataplane, relay and transceiver")
    up.add_argument("--foreground", action="store_true", help="stay, and remove the lab on Ctrl-C or SIGTERM")
    up.add_argument(
        "--client",
        choices=("namespace", "host"),
        help="host: this machine itself is the client, with a way to the VIPs, so that its browsers can "
        "call (default: namespace)",
    )
    up.add_argument("--forwarder", choices=("xdp", "auto", "userspace"), help="default: xdp")
    up.add_argument(
        "--family",
        choices=("4", "6", "both"),
        help="IP version of the VIPs that clients are told (default: both)",
    )
    up.add_argument(
        "--http-port",
        type=whole_number(0, 65535),
        metavar="PORT",
        help="where the client finds signaling and page on 127.0.0.1, if it is free; 0 is any (default: "
        f"{SIGNALING_PORT})",
    )
    up.add_argument(
        "--backbones",
        type=whole_number(1, MAX_BACKBONES),
        metavar="N",
        help="backbone addresses of each family (default: 1)",
    )
    up.add_argument(
        "--planet",
        nargs="?",
        const=BUILT_IN,
        metavar="FILE",
        help="cities, PoPs and regions with a WAN between them, as a TOML file says, by default that which "
        "`voxpop lab planet` prints; see docs/planet.md",
    )
    add_json(up, "print the status as one JSON object")
    up.set_defaults(run=_up, parser=up, **NOT_FOR_PLANETS)


def _register_exec(actions: Verbs[argparse.ArgumentParser]) -> None:
    run = actions.add_parser(
        "exec",
        help="run a command in the namespace of a place: the client's, the PoP's, the region's",
        description="Runs a command in a namespace of a lab; its exit status is the command's.",
        epilog="example: voxpop lab exec client -- voxpop call http://127.0.0.1:8080",
    )
    _add_name(run)
    run.add_argument(
        "place", metavar="PLACE", help=f"{', '.join(Place)}; of a planet, as `status` names them"
    )
    run.add_argument("command", nargs="+", metavar="COMMAND", help="after --")
    run.set_defaults(run=_exec)


def _add_name(parser: argparse.ArgumentParser, default: str | None = DEFAULT_NAME) -> None:
    which = f"default: {default or 'all'}"
    parser.add_argument("--name", type=_name, default=default, metavar="NAME", help=f"which lab ({which})")


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise argparse.ArgumentTypeError("must be 1–12 small letters, digits and dashes")
    return text


def _up(arguments: argparse.Namespace) -> int:
    if arguments.planet is None:
        return _up_plain(arguments)
    for option, default in NOT_FOR_PLANETS.items():
        if getattr(arguments, option) != default:
            arguments.parser.error(
                f"--{option.replace('_', '-')} is not for planets: see `voxpop lab planet`"
            )
    with interrupt.at_once():
        from edge.lab.planet import cli

    return cli.up(arguments, _tell)


def _up_plain(arguments: argparse.Namespace) -> int:
    plan = LabPlan(
        name=arguments.name,
        host_is_client=arguments.client == "host",
        forwarder=arguments.forwarder,
        families=tuple(IpFamily) if arguments.family == "both" else (IpFamily(int(arguments.family)),),
        http_port=arguments.http_port,
        backbones=arguments.backbones,
    )
    with interrupt.postponed():
        from edge.lab import lab, status

        running = lab.up(plan, start=arguments.start, tell=_tell)
        try:
            found = status.examine(running.plan)
            if arguments.json:
                print(json.dumps(found.as_json()), flush=True)
            else:
                print(status.render(found), flush=True)
                _tell(_what_next(running.plan, arguments.start))
            return _stay(running) if arguments.foreground else EXIT_OK
        finally:
            if arguments.foreground:
                running.remove()


def _stay(running: Running) -> int:
    """Until a signal, or until a daemon ends that nobody asked to."""
    try:
        ended = running.wait()
    except KeyboardInterrupt:
        return EXIT_OK
    _tell(f"{ended.name} ended:\n{ended.tail()}")
    return EXIT_FAILED


def _what_next(plan: LabPlan, is_started: bool) -> str:
    option = "" if plan.name == DEFAULT_NAME else f" --name {plan.name}"
    run = f"voxpop lab exec{option}"
    config = f"--config {plan.config_path}"
    steps = [
        f"{run} pop -- voxpop dataplane run {config}",
        f"{run} pop -- voxpop relay {config}",
        f"{run} region -- voxpop transceiver {config}",
    ]
    steps = [*([] if is_started else steps), f"{run} client -- voxpop call {plan.url}"]
    return "\n".join(["Go on with:", *(f"  {step}" for step in steps), f"Remove it: voxpop lab down{option}"])


def _down(arguments: argparse.Namespace) -> int:
    from edge.lab import lab

    for name in lab.names() if arguments.all else [arguments.name]:
        ended = lab.down(name)
        print(f"there is no lab {name}" if ended is None else f"lab {name} is gone, with {ended} processes")
    return EXIT_OK


def _status(arguments: argparse.Namespace) -> int:
    from edge.lab import lab, plan, status
    from edge.lab.lock import need_rights
    from edge.lab.planet import lifecycle
    from edge.lab.planet import status as planet_status

    need_rights()
    names = lab.names() if arguments.name is None else [arguments.name]
    there = [name for name in names if lab.is_there(name)]
    planets = [planet_status.examine(lifecycle.load(name)) for name in there if lifecycle.is_planet(name)]
    plain = [status.examine(plan.load(name)) for name in there if not lifecycle.is_planet(name)]
    if arguments.json:
        told = [each.as_json() for each in planets] + [each.as_json() for each in plain]
        print(json.dumps({"labs": told}))
    elif there:
        print("\n".join([*map(planet_status.render, planets), *map(status.render, plain)]))
    else:
        print("there is no lab: `voxpop lab up` makes one")
    return EXIT_OK if there else EXIT_FAILED


def _exec(arguments: argparse.Namespace) -> int:
    from ebpf.net import netns
    from edge.lab import lab
    from edge.lab.lock import need_rights

    need_rights()
    namespace = lab.namespace(arguments.name, arguments.place)
    if namespace is not None:
        netns.enter(namespace)
    environment = {**os.environ, **lab.environment(arguments.name, arguments.place)}
    try:
        os.execvpe(arguments.command[0], arguments.command, environment)  # noqa: S606 - what the operator typed
    except OSError as error:
        raise UnavailableError(f"cannot run {arguments.command[0]}: {error.strerror}") from None


def _planet(arguments: argparse.Namespace) -> int:
    del arguments
    from edge.lab.planet import spec

    print(spec.default_text(), end="")
    return EXIT_OK


def _tell(text: str) -> None:
    """To people, beside what --json prints."""
    print(text, file=sys.stderr, flush=True)
