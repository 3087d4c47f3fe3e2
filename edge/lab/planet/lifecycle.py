"""Making a planet, and taking it apart whatever state it is in.

Each place has a directory by its name before its namespace is made, which goes after all else. So what was
left half built, or by a process that was killed, can always be removed, whatever its file says.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from core.errors import ConfigError, UnavailableError
from core.geo import Position
from core.service import files, interrupt, keysfile, launch, process
from core.service.files import create_secret
from core.service.process import Child
from ebpf.kernel import bpffs
from ebpf.net import netns
from edge.lab import processes
from edge.lab.lock import lock, need_rights
from edge.lab.plan import DIRECTORY
from edge.lab.planet import addresses, config, links, locations, network, programs, spec
from edge.lab.planet.daemon import CONFIG
from edge.lab.planet.hosts import RelayHost, TransceiverHost
from edge.lab.planet.layout import BPFFS, SPEC, Layout, namespace_of
from edge.lab.planet.planet import WAN_SOCKET, City, Planet, Region
from edge.lab.planet.speaker import until
from edge.lab.wan import run as wan_run
from edge.lab.wan.links import dump

Tell = Callable[[str], None]

WAN_LINKS, WAN_LOG = "links.json", "wan.log"
WAN_TIMEOUT_S = 30.0
KEY_NAME = "lab"
LOADED_AT_ONCE = 4
POP_UP, POP_HOSTS = "voxpop_transceiver_pop_up", "voxpop_transceiver_pop_hosts"


def is_planet(name: str) -> bool:
    """Whether the lab of a name is one."""
    return (DIRECTORY / name / SPEC).exists()


def load(name: str) -> Layout:
    """The planet of a lab. Raises ConfigError."""
    return Layout(name, spec.parse(spec.read(DIRECTORY / name / SPEC)))


def up(name: str, text: str, *, start: bool, tell: Tell) -> Planet:
    """Make a planet from the text of its file, and start its daemons; if anything fails, or a signal comes,
    nothing stays. Raises ConfigError, UnavailableError.
    """
    need_rights()
    layout = Layout(name, spec.parse(text))
    if faults := layout.faults():
        raise ConfigError(faults)
    for program in programs.PACKAGES:
        programs.find(program)
    with lock():
        if layout.directory.exists():
            raise UnavailableError(f"lab {name} is there already: `voxpop lab down --name {name}` removes it")
        with contextlib.ExitStack() as undoing:
            with interrupt.postponed():
                _prepare(layout, text, undoing)
                planet = Planet(layout)
                undoing.callback(planet.reap)
                undoing.callback(_undo, name)
                _build(planet)
                tell(f"{len(planet.places())} places are there, and routes between them")
                if start:
                    start_all(planet, tell)
            undoing.pop_all()
        return planet


def _undo(name: str) -> None:
    with interrupt.ignored():
        take_apart(name)


@contextlib.contextmanager
def running(text: str, name: str, *, start: bool = True, tell: Tell = lambda _: None) -> Iterator[Planet]:
    """A planet that is there until the end of the block, whatever happens in it; with `start`, every daemon
    is ready and every VIP is announced. `text` is that of its file, such as `spec.default_text()`.
    """
    planet = up(name, text, start=start, tell=tell)
    try:
        yield planet
    finally:
        remove(planet)


def remove(planet: Planet) -> None:
    """Take a planet apart that we have made. Raises UnavailableError."""
    with lock(), interrupt.ignored():
        take_apart(planet.name)
    planet.reap()


def take_apart(name: str) -> int:
    """Everything of a planet, as far as it exists; how many processes ran in it."""
    places = [entry for entry in (DIRECTORY / name).iterdir() if entry.is_dir()]
    namespaces = [namespace_of(name, place.name) for place in places]
    ended = processes.end_all(namespaces)
    for namespace in namespaces:
        netns.remove(namespace)
    for place in places:
        if (place / BPFFS).exists():
            bpffs.unmount(place / BPFFS)
    shutil.rmtree(DIRECTORY / name)
    return ended


def _prepare(layout: Layout, text: str, undoing: contextlib.ExitStack) -> None:
    """Everything in files. Raises ConfigError, also for what the planet's file passes on."""
    directory = layout.directory
    undoing.callback(shutil.rmtree, directory, ignore_errors=True)
    directory.mkdir()
    (directory / SPEC).write_text(text)
    keysfile.new(directory / config.KEYS)
    create_secret(directory / config.API_KEY, _new_api_key(directory / config.API_KEYS))
    places = [
        (prefix, Position(city.spec.latitude, city.spec.longitude))
        for city in layout.cities
        for prefix in addresses.clients(city.number).with_lengths
    ]
    (directory / config.LOCATIONS).write_bytes(locations.write(places, int(time.time())))
    layout.wan.directory.mkdir()
    (layout.wan.directory / WAN_LINKS).write_text(dump(links.of_process(layout)))
    for site in layout.sites():
        site.directory.mkdir()
        document = config.of_host(layout, site)
        if document is not None:
            path = site.directory / CONFIG
            files.validate(path, document)
            path.write_text(config.render(document))


def _new_api_key(path: Path) -> str:
    """Made by the verb, as transceivers are no business of this part."""
    command = launch.module("voxpop", "api-key", "new", str(path), KEY_NAME)
    done = subprocess.run(command, env=launch.environment(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UnavailableError(f"no API key: {done.stderr}")
    return done.stdout


def _build(planet: Planet) -> None:
    """The network, and all that makes it one: the WAN, routes, stores."""
    layout = planet.layout
    for host in layout.relay_hosts:
        host.bpffs.mkdir(mode=0o700)
        bpffs.mount(host.bpffs)
    network.build(layout)
    planet.wan_process = _start_wan(layout)
    for redis in planet.stores.values():
        interrupt.check()
        redis.start()
    for speaker in [each.speaker for each in planet.routers] + [each.speaker for each in planet.hosts]:
        interrupt.check()
        speaker.start()


def _start_wan(layout: Layout) -> Child:
    directory = layout.wan.directory
    command = wan_run.command(directory / WAN_LINKS, directory / WAN_SOCKET, layout.spec.wan.seed)
    inside = partial(netns.inside, layout.wan.namespace)
    child = process.spawn("WAN", command, directory / WAN_LOG, inside=inside, stdout=subprocess.PIPE)
    assert child.popen.stdout is not None
    with child.popen.stdout:
        if not process.first_line(child, WAN_TIMEOUT_S):
            child.popen.wait()
            raise UnavailableError(f"there is no WAN:\n{child.tail()}")
    return child


def start_all(planet: Planet, tell: Tell) -> None:
    """Every daemon at once, but relays after the fast path that they use; then wait until transceivers know
    of every PoP.
    """
    for transceiver in planet.transceivers:
        transceiver.transceiver.begin()
    if planet.spec.planet.forwarder == "xdp":
        with ThreadPoolExecutor(LOADED_AT_ONCE) as pool:
            list(pool.map(RelayHost.attach, planet.hosts))
    for host in planet.hosts:
        interrupt.check()
        host.relay.begin()
        host.announcer.begin()
    for host in planet.hosts:
        host.relay.until_ready()
    tell(f"{len(planet.hosts)} relays are ready")
    for transceiver in planet.transceivers:
        transceiver.transceiver.until_ready()
    tell(f"{len(planet.transceivers)} transceivers are ready")
    until_known(planet)
    tell("every PoP is announced, and known to every transceiver")


def until_known(planet: Planet) -> None:
    """Until every host announces the VIPs of its PoP, and every transceiver has seen every PoP well. Raises
    UnavailableError.
    """
    for host in planet.hosts:
        host.until_announced()
    for city in planet.cities.values():
        for vip in sorted({vip.host for pop in planet.pops.values() for vip in pop.vips}):
            until(partial(_has_way, city, vip), f"{city.name} has a way to {vip}")
    for region in planet.regions.values():
        for transceiver in region.hosts:
            wanted = _sights(planet, region)
            until(partial(_has, transceiver, wanted), f"{transceiver.name} sees every PoP well")


def _has_way(city: City, vip: str) -> bool:
    return city.way_to(vip) is not None


def _sights(planet: Planet, region: Region) -> dict[str, float]:
    """The metrics of a transceiver that sees every PoP up, and hears those hosts that write to its store."""
    up = {f'{POP_UP}{{pop="{pop}"}}': 1.0 for pop in planet.pops}
    store = region.spec.redis
    heard = {pop.name: pop.hosts for pop in planet.spec.pops if store is not None and pop.redis == store}
    return up | {f'{POP_HOSTS}{{pop="{pop}"}}': float(hosts) for pop, hosts in heard.items()}


def _has(host: TransceiverHost, wanted: Mapping[str, float]) -> bool:
    return wanted.items() <= host.transceiver.metrics().items()
