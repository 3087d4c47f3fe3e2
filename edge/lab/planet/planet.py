"""A planet that is up, as a drill or a test takes hold of it.

    with planets.running(spec.default(), "drill") as planet:
        tokyo = planet.city("tokyo")
        tokyo.run(["voxpop", "call", tokyo.url("europe"), "--seconds", "5"])
        planet.host("frankfurt/1").kill()

Everything here waits in the thread that calls it, and raises UnavailableError with a sentence.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from core.addr import Endpoint


class Place:
    """Somebody's network namespace."""

    name: str
    """As `voxpop lab exec` takes it: `city-tokyo`, `pop-frankfurt` (its router), `pop-frankfurt-1`,
    `region-europe`, `region-europe-1`, `redis-europe`."""
    namespace: str
    directory: Path
    """Configuration, keys, logs and sockets of this place."""

    def inside(self) -> AbstractContextManager[None]:
        """Be there, with this thread, for sockets and processes that are made meanwhile."""
        raise NotImplementedError

    def run(self, command: Sequence[str], timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a command there and wait. `voxpop` as first word is this Voxpop. stdout and stderr are text."""
        raise NotImplementedError

    def popen(self, command: Sequence[str], log: Path | None = None) -> subprocess.Popen[bytes]:
        """Start a command there; stdout is a pipe where no log is named."""
        raise NotImplementedError


class Daemon:
    """A relay, a transceiver: a daemon of Voxpop in a place, with one configuration file."""

    name: str
    config_path: Path
    """A voxpop.toml of its own; edit it, or call `configure`, then `reload`."""
    log_path: Path
    status_at: Endpoint
    """/metrics, /healthz and /readyz; reached from its namespace, and over the WAN."""

    @property
    def pid(self) -> int | None:
        """Of the supervisor; None while it does not run."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it and wait until it is ready."""
        raise NotImplementedError

    def stop(self) -> None:
        """SIGINT: ends at once, and says goodbye to nobody; waits until it is gone."""
        raise NotImplementedError

    def terminate(self) -> None:
        """SIGTERM, and do not wait: a drain that ends with the daemon."""
        raise NotImplementedError

    def wait(self, timeout_s: float) -> None:
        """Until it has ended."""
        raise NotImplementedError

    def kill(self) -> None:
        """SIGKILL to all of its processes; waits until they are gone."""
        raise NotImplementedError

    def reload(self) -> None:
        """SIGHUP, and wait for the line of the log that says that it was adopted, or refused (raises)."""
        raise NotImplementedError

    def configure(self, **tables: Mapping[str, object]) -> None:
        """Change keys in its file: `configure(relay={"max_flows": 8192})`; a value None removes the key."""
        raise NotImplementedError

    def health(self) -> dict[str, Any]:
        """/healthz."""
        raise NotImplementedError

    def is_ready(self) -> bool:
        """Whether /readyz says 200."""
        raise NotImplementedError

    def metrics(self) -> dict[str, float]:
        """/metrics, by `name{label="value",…}` as Prometheus writes it."""
        raise NotImplementedError

    def drain(self, for_s: float | None = None) -> dict[str, Any]:
        """`voxpop drain`: no new work, until `undrain`; the drain's status."""
        raise NotImplementedError

    def undrain(self) -> dict[str, Any]:
        """Take a drain back."""
        raise NotImplementedError

    def rotate_keys(self) -> int:
        """Add a master key to the file that all daemons of the planet share, and mint with it after their
        reload; its id."""
        raise NotImplementedError


class City(Place):
    """Where clients are: a router and a client in one namespace, with prefixes of their own."""

    addresses: tuple[str, str]
    """What clients call from, in IPv4 and IPv6; the steering's database has them in this city."""

    def url(self, region: str, host: int = 1) -> str:
        """Where to call from here, `http://ADDRESS:PORT`: signaling of one host of a region, over the WAN."""
        raise NotImplementedError

    @property
    def environment(self) -> dict[str, str]:
        """For callers: the API key in the variable that `voxpop call` reads. `run` and `popen` set it."""
        raise NotImplementedError


class RelayHost(Place):
    """A PoP host: relay, fast path and BIRD behind the PoP's router."""

    number: int
    relay: Daemon
    backbone: tuple[str, ...]
    """Its addresses towards transceivers."""
    interfaces: tuple[str, ...]
    """Its uplinks: `eth0`, and `eth1` of a PoP with two."""
    pin_dir: Path

    def attach(self) -> None:
        """Load and attach the fast path, in place of one that runs."""
        raise NotImplementedError

    def kill(self) -> None:
        """All of the host dies at once and says goodbye to nobody: its links carry nothing from now on, and
        every process in it is killed. Its router has no carrier to look at and learns of it by BFD."""
        raise NotImplementedError

    def revive(self) -> None:
        """Switch a dead host on again: links, BIRD, fast path anew, relay; waits until it is announced."""
        raise NotImplementedError

    def cut(self, uplink: int = 0) -> None:
        """Pull the cable of an uplink, at the switch between host and router: only BFD tells the router."""
        raise NotImplementedError

    def restore(self, uplink: int = 0) -> None:
        """Put it back."""
        raise NotImplementedError

    def flows(self) -> list[dict[str, Any]]:
        """`voxpop flows --json` of this host."""
        raise NotImplementedError

    def counters(self) -> dict[str, Any]:
        """`voxpop stats --json` of this host: what the fast path did with its packets."""
        raise NotImplementedError

    def withdraw(self) -> None:
        """Announce nothing from now on, whatever the relay's health."""
        raise NotImplementedError

    def announce(self) -> None:
        """The opposite: announce while the relay is well."""
        raise NotImplementedError


class Pop(Place):
    """A PoP: this place is its router; the hosts are behind it."""

    hosts: tuple[RelayHost, ...]
    vips: tuple[Endpoint, ...]
    """Its own, in IPv4 and IPv6, and those that it shares with other PoPs (anycast)."""

    def cut_off(self) -> None:
        """Cut all WAN links of the PoP at once: it vanishes without goodbye."""
        raise NotImplementedError

    def rejoin(self) -> None:
        """Restore them."""
        raise NotImplementedError

    def withdraw(self, *vips: str) -> None:
        """Announce these anycast prefixes no more (all of the PoP's where none is named), by the router: the
        route shifts to the next PoP while this one goes on."""
        raise NotImplementedError

    def announce(self, *vips: str) -> None:
        """The opposite."""
        raise NotImplementedError

    def next_hops(self, vip: str) -> list[str]:
        """Where the kernel of the router sends packets for a VIP now: addresses of hosts, [] for nowhere."""
        raise NotImplementedError


class TransceiverHost(Place):
    """A host of a region; `transceiver` has `processes` of the spec."""

    number: int
    transceiver: Daemon
    address: str
    signaling: Endpoint

    def kill(self) -> None:
        """The host dies at once: its link carries nothing, every process in it is killed."""
        raise NotImplementedError

    def revive(self) -> None:
        """The opposite; waits until the transceiver is ready."""
        raise NotImplementedError


class Region(Place):
    """A region: this place is its router; the hosts are behind it."""

    hosts: tuple[TransceiverHost, ...]

    def cut_off(self) -> None:
        """Cut all WAN links of the region."""
        raise NotImplementedError

    def rejoin(self) -> None:
        """Restore them."""
        raise NotImplementedError


class Redis(Place):
    """A real redis-server, in a namespace behind the router of a PoP or a region."""

    at: Endpoint
    url: str
    """As `store.url` has it."""

    def start(self) -> None:
        """Start it, empty; waits until it answers."""
        raise NotImplementedError

    def kill(self) -> None:
        """SIGKILL."""
        raise NotImplementedError

    def pause(self, ms: int) -> None:
        """CLIENT PAUSE: it stands still."""
        raise NotImplementedError

    def command(self, *words: str) -> str:
        """What `redis-cli` prints for a command: `command("CONFIG", "SET", "maxmemory", "1mb")`."""
        raise NotImplementedError


class WanLink:
    """A link of layer 3 between two places, the same both ways."""

    ends: tuple[str, str]

    def set(
        self, *, delay_ms: float | None = None, jitter_ms: float | None = None, loss: float | None = None
    ) -> None:
        """Change what is named, from the next packet on; loss is a fraction, delay one way."""
        raise NotImplementedError

    def cut(self) -> None:
        """It carries nothing, and its ends are not told."""
        raise NotImplementedError

    def restore(self) -> None:
        """It carries again."""
        raise NotImplementedError

    def counts(self) -> dict[str, int]:
        """Packets carried, lost by `loss`, lost while cut, lost to a full queue."""
        raise NotImplementedError


class Wan:
    """All WAN links; ends are names of places, such as `city-tokyo` and `pop-frankfurt`."""

    def link(self, one: str, other: str) -> WanLink:
        """The link between two places, in either order."""
        raise NotImplementedError

    def links(self, place: str | None = None) -> list[WanLink]:
        """Those of a place, or all."""
        raise NotImplementedError


class Planet:
    """Everything, by name."""

    name: str
    directory: Path
    cities: Mapping[str, City]
    pops: Mapping[str, Pop]
    regions: Mapping[str, Region]
    wan: Wan

    def city(self, name: str) -> City:
        """`tokyo`."""
        raise NotImplementedError

    def pop(self, name: str) -> Pop:
        """`frankfurt`."""
        raise NotImplementedError

    def host(self, name: str) -> RelayHost:
        """`frankfurt/1`."""
        raise NotImplementedError

    def region(self, name: str) -> Region:
        """`europe`."""
        raise NotImplementedError

    def transceiver(self, name: str) -> TransceiverHost:
        """`europe/1`."""
        raise NotImplementedError

    def redis(self, name: str) -> Redis:
        """`europe`."""
        raise NotImplementedError

    def places(self) -> dict[str, Place]:
        """Each namespace of the planet, by the name that `voxpop lab exec` takes."""
        raise NotImplementedError


@contextmanager
def running(spec: object, name: str, *, start: bool = True) -> Iterator[Planet]:
    """A planet that is there until the end of the block, whatever happens in it; with `start`, every daemon is
    ready and every VIP is announced."""
    raise NotImplementedError
    yield Planet()
