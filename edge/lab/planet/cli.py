"""What `voxpop lab` does where the lab is a planet."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from core.service import interrupt, process
from edge.lab.cli import BUILT_IN
from edge.lab.plan import DEFAULT_NAME
from edge.lab.planet import lifecycle, spec, status
from edge.lab.planet.planet import Planet

Tell = Callable[[str], None]
EXIT_OK, EXIT_FAILED = 0, 1


def up(arguments: argparse.Namespace, tell: Tell) -> int:
    """`lab up --planet`."""
    name = arguments.name
    text = spec.default_text() if arguments.planet == BUILT_IN else spec.read(Path(arguments.planet))
    with interrupt.postponed():
        planet = lifecycle.up(name, text, start=arguments.start, tell=tell)
        try:
            found = status.examine(planet.layout)
            if arguments.json:
                print(json.dumps(found.as_json()), flush=True)
            else:
                print(status.render(found), flush=True)
                tell(_what_next(planet, arguments.start))
            return _stay(planet, tell) if arguments.foreground else EXIT_OK
        finally:
            if arguments.foreground:
                lifecycle.remove(planet)


def _stay(planet: Planet, tell: Tell) -> int:
    """Until a signal, or until a process ends that nobody asked to."""
    try:
        ended = process.ended(planet.children())[0]
    except KeyboardInterrupt:
        return EXIT_OK
    tell(f"{ended.name} ended:\n{ended.tail()}")
    return EXIT_FAILED


def _what_next(planet: Planet, is_started: bool) -> str:
    option = "" if planet.name == DEFAULT_NAME else f" --name {planet.name}"
    run = f"voxpop lab exec{option}"
    steps = []
    if not is_started:
        host, transceiver = planet.hosts[0], planet.transceivers[0]
        steps = [
            "on every host of a PoP and of a region:",
            f"{run} {host.name} -- voxpop dataplane run --config {host.relay.config_path}",
            f"{run} {host.name} -- voxpop relay --config {host.relay.config_path}",
            f"{run} {host.name} -- voxpop announce --config {host.announcer.config_path}",
            f"{run} {transceiver.name} -- voxpop transceiver --config {transceiver.transceiver.config_path}",
            "then:",
        ]
    city, region = next(iter(planet.cities.values())), next(iter(planet.regions))
    steps.append(f"{run} {city.name} -- voxpop call {city.url(region)}")
    return "\n".join(["Go on with:", *(f"  {step}" for step in steps), f"Remove it: voxpop lab down{option}"])
