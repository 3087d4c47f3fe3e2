"""What is behind the routers of a planet: PoP hosts, transceiver hosts, Redis."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import Any

from core.addr import Endpoint
from core.errors import UnavailableError
from core.service.process import Child
from edge.lab.bird.config import FAMILIES
from edge.lab.planet import addresses, network, programs, routing
from edge.lab.planet.daemon import Daemon
from edge.lab.planet.layout import HostSite, Layout, RedisSite, TransceiverSite
from edge.lab.planet.place import Place, handles
from edge.lab.planet.speaker import Speaker, until


class RelayHost(Place):
    """A PoP host: relay, fast path and BIRD behind the PoP's router."""

    def __init__(self, site: HostSite, layout: Layout) -> None:
        super().__init__(site)
        self._site = site
        self.number = site.number
        self.speaker = Speaker(layout, self)
        self.relay = Daemon("relay", site, addresses.STATUS_PORT)
        self.announcer = Daemon("announce", site, addresses.ANNOUNCE_STATUS_PORT)
        """What lets the VIPs be announced while the relay is well; ready while they are."""
        self.status_at = Endpoint(site.backbones[0].ipv4, addresses.STATUS_PORT)
        """The relay's status, from all over the planet."""
        self.backbone = tuple(address for pair in site.backbones for address in pair.both)
        """Its addresses towards transceivers."""
        self.interfaces = site.interfaces
        """Its uplinks: `eth0`, and `eth1` in a PoP with two."""
        self.uplinks = tuple(uplink.both for uplink in site.uplinks)
        """Its addresses on each, in IPv4 and IPv6: what its router knows as next hops."""
        self.pin_dir = site.bpffs / "voxpop"

    # --- fast path and relay --------------------------------------------------------------------------

    def attach(self) -> None:
        """Load and attach the fast path, in place of one that runs."""
        done = self.run(["voxpop", "dataplane", "run", "--config", str(self.relay.config_path)])
        (self.directory / "dataplane.log").write_text(done.stdout + done.stderr)
        if done.returncode != 0:
            raise UnavailableError(f"no fast path on {self.name}:\n{done.stderr}")

    def detach(self) -> None:
        """Take the fast path off and forget its flows, as a host that is switched off does. Idempotent."""
        words = ["voxpop", "dataplane", "detach", "--unpin", "--force", "--config"]
        done = self.run([*words, str(self.relay.config_path)])
        if done.returncode != 0:
            raise UnavailableError(f"the fast path stays on {self.name}:\n{done.stderr}")

    def flows(self) -> list[dict[str, Any]]:
        """`voxpop flows list --json` of this host."""
        flows: list[dict[str, Any]] = self._told("flows", "list", "--limit", "0")["flows"]
        return flows

    def counters(self) -> dict[str, int]:
        """Packets by verdict, of both families: what the fast path did with them since its maps were made."""
        packets: dict[str, int] = {}
        for row in self._told("stats", "--all")["counters"]:
            packets[row["verdict"]] = packets.get(row["verdict"], 0) + row["packets"]
        return packets

    def _told(self, *words: str) -> dict[str, Any]:
        done = self.run(["voxpop", *words, "--json", "--config", str(self.relay.config_path)])
        if done.returncode != 0:
            raise UnavailableError(f"{self.name}: {done.stderr}")
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    # --- death ----------------------------------------------------------------------------------------

    def kill(self) -> None:
        """All of the host dies at once and says goodbye to nobody: its links carry nothing from now on, and
        every process in it is killed. Its router has no carrier to look at and learns of it by BFD.
        """
        for uplink in range(len(self.interfaces)):
            self.cut(uplink)
        self.kill_all()

    def reap(self) -> None:
        """Of its daemons too."""
        super().reap()
        self.relay.reap()
        self.announcer.reap()

    def children(self) -> list[Child]:
        """Its daemons too."""
        return [*super().children(), *self.relay.children, *self.announcer.children]

    def revive(self) -> None:
        """Switch a dead host on again, with nothing that it knew before; waits until it is announced."""
        if self._site.pop.uses_fastpath:
            self.detach()
        for uplink in range(len(self.interfaces)):
            self.restore(uplink)
        self.speaker.start()
        if self._site.pop.uses_fastpath:
            self.attach()
        self.relay.begin()
        self.announcer.begin()
        self.relay.until_ready()
        self.until_announced()

    def cut(self, uplink: int = 0) -> None:
        """Pull the cable of an uplink out of the switch before the router, whom only BFD tells of it."""
        network.unplug(self._site.pop, self._site.ports[uplink])

    def restore(self, uplink: int = 0) -> None:
        """Put it back."""
        network.plug_in(self._site.pop, self._site.ports[uplink])

    # --- announcements --------------------------------------------------------------------------------

    def withdraw(self) -> None:
        """Announce none of the VIPs from now on, whatever the relay's health. Idempotent."""
        for version in FAMILIES:
            self.speaker.control.disable(f"while_up{version}")

    def announce(self) -> None:
        """The opposite: announce while the relay is well. Idempotent."""
        for version in FAMILIES:
            self.speaker.control.enable(f"while_up{version}")

    def is_announced(self) -> bool:
        """Whether the router's kernel sends it packets for every VIP, by every uplink."""
        pop = self._site.pop
        for vip in (address for pair in pop.vips for address in pair.both):
            gateways = [hop.gateway for hop in routing.next_hops(pop, vip)]
            if not all(set(uplink.both) & set(gateways) for uplink in self._site.uplinks):
                return False
        return True

    def until_announced(self) -> None:
        """Wait for that."""
        until(self.is_announced, f"{self.name} is announced")


class TransceiverHost(Place):
    """A host of a region; `transceiver` has as many processes as the region says."""

    def __init__(self, site: TransceiverSite) -> None:
        super().__init__(site)
        self._site = site
        self.number = site.number
        self.transceiver = Daemon("transceiver", site, addresses.TRANSCEIVER_STATUS_PORT)
        self.status_at = Endpoint(site.address.ipv4, addresses.TRANSCEIVER_STATUS_PORT)
        """The transceiver's status, from all over the planet."""
        self.addresses = site.address.both
        """Where media comes in, in IPv4 and IPv6."""
        self.signaling = site.signaling

    def kill(self) -> None:
        """The host dies at once: its link carries nothing, every process in it is killed."""
        self.cut()
        self.kill_all()

    def reap(self) -> None:
        """Of its transceiver too."""
        super().reap()
        self.transceiver.reap()

    def children(self) -> list[Child]:
        """Its transceiver too."""
        return [*super().children(), *self.transceiver.children]

    def revive(self) -> None:
        """The opposite; waits until the transceiver is ready."""
        self.restore()
        self.transceiver.start()

    def cut(self) -> None:
        """Pull its cable out of the switch."""
        network.unplug(self._site.region, self._site.port)

    def restore(self) -> None:
        """Put it back."""
        network.plug_in(self._site.region, self._site.port)


class Redis(Place):
    """A real redis-server behind the router of a PoP or a region. It keeps nothing on disk."""

    def __init__(self, site: RedisSite) -> None:
        super().__init__(site)
        self._site = site
        self.at = site.at
        self.url = site.url
        """As `store.url` has it."""
        self._socket = self.directory / "redis.sock"

    def start(self) -> None:
        """Start it, empty; waits until it answers."""
        options = {
            "bind": self._site.address.ipv4,
            "port": addresses.REDIS_PORT,
            "unixsocket": self._socket,
            "unixsocketperm": 600,
            "protected-mode": "no",
            "dir": self.directory,
            "save": "",
            "appendonly": "no",
            "maxmemory-policy": "volatile-ttl",
        }
        words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
        self.start_program([programs.find("redis-server"), *words], self.directory / "redis.log")
        until(lambda: "PONG" in self._cli("PING").stdout, f"{self.name} answers")

    def kill(self) -> None:
        """SIGKILL."""
        self.kill_all()

    def stop_responding(self) -> None:
        """SIGSTOP: connections stay, and nobody answers."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def pause(self, ms: int) -> None:
        """CLIENT PAUSE: it stands still for so long."""
        self.command("CLIENT", "PAUSE", str(ms))

    def command(self, *words: str) -> str:
        """What `redis-cli` prints: `command("CONFIG", "SET", "maxmemory", "1mb")`. By a Unix socket: it works
        whatever the network does. Raises UnavailableError.
        """
        done = self._cli(*words)
        if done.returncode != 0:
            raise UnavailableError(f"{self.name}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    def _cli(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run([programs.find("redis-cli"), "-e", "-s", str(self._socket), *words])

    def _signal(self, number: signal.Signals) -> None:
        pids = [each.pid for each in self.processes() if "redis-server" in each.command]
        with handles(pids) as opened:
            for handle in opened:
                signal.pidfd_send_signal(handle, number)
