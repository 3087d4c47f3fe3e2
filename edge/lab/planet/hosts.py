"""What is behind the routers of a planet: PoP hosts, transceiver hosts, Redis."""

from __future__ import annotations

import json
import signal
import time
from typing import Any

from core.addr import Endpoint
from core.errors import UnavailableError
from core.service import interrupt
from ebpf.kernel import bpffs
from edge.lab.planet import addresses, network, programs, routing
from edge.lab.planet.daemon import Daemon
from edge.lab.planet.layout import HostSite, RedisSite, TransceiverSite
from edge.lab.planet.place import Place, handles

READY_TIMEOUT_S = 30.0
POLL_S = 0.02


class RelayHost(Place):
    """A PoP host: relay, fast path and BIRD behind the PoP's router."""

    def __init__(self, site: HostSite) -> None:
        super().__init__(site)
        self._site = site
        self.number = site.number
        self.relay = Daemon("relay", site, addresses.STATUS_PORT)
        self.status_at = Endpoint(site.backbones[0].ipv4, addresses.STATUS_PORT)
        """The relay's status, from all over the planet."""
        self.backbone = tuple(address for pair in site.backbones for address in pair.both)
        """Its addresses towards transceivers."""
        self.interfaces = site.interfaces
        """Its uplinks: `eth0`, and `eth1` in a PoP with two."""
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
        self.relay.reap()

    def revive(self) -> None:
        """Switch a dead host on again, with nothing that it knew before; waits until it is announced."""
        self.detach()
        for uplink in range(len(self.interfaces)):
            self.restore(uplink)
        routing.start(self._site)
        if self._site.uses_fastpath:
            self.attach()
        self.relay.start()
        routing.until_announced(self._site)

    def cut(self, uplink: int = 0) -> None:
        """Pull the cable of an uplink out of the switch between host and router: only BFD tells the router."""
        network.unplug(self._site.pop, self._site.ports[uplink])

    def restore(self, uplink: int = 0) -> None:
        """Put it back."""
        network.plug_in(self._site.pop, self._site.ports[uplink])

    # --- announcements --------------------------------------------------------------------------------

    def withdraw(self) -> None:
        """Announce none of the VIPs from now on, whatever the relay's health."""
        routing.withdraw(self._site)

    def announce(self) -> None:
        """The opposite: announce while the relay is well."""
        routing.announce(self._site)


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
        self.transceiver.reap()

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
            "daemonize": "yes",
            "dir": self.directory,
            "logfile": self.directory / "redis.log",
            "save": "",
            "appendonly": "no",
            "maxmemory-policy": "volatile-ttl",
        }
        words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
        done = self.run([programs.find("redis-server"), *words])
        deadline = time.monotonic() + READY_TIMEOUT_S
        while done.returncode == 0 and time.monotonic() < deadline:
            if "PONG" in self._cli("PING").stdout:
                return
            interrupt.wait((), POLL_S)
        raise UnavailableError(f"{self.name} does not answer:\n{done.stdout}{done.stderr}")

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
        """What `redis-cli` prints for a command: `command("CONFIG", "SET", "maxmemory", "1mb")`. It comes by a
        Unix socket, so it works whatever the network does. Raises UnavailableError.
        """
        done = self._cli(*words)
        if done.returncode != 0:
            raise UnavailableError(f"{self.name}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    def _cli(self, *words: str) -> Any:  # noqa: ANN401 - CompletedProcess
        return self.run([programs.find("redis-cli"), "-s", str(self._socket), *words])

    def _signal(self, number: signal.Signals) -> None:
        pids = [each.pid for each in self.processes() if "redis-server" in each.command]
        with handles(pids) as opened:
            for handle in opened:
                signal.pidfd_send_signal(handle, number)
