"""The steps, in their order: what is done to the machines, and what has to be seen then."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance import change, image, kernel, leaving, outage, recipe, warm, wires
from tests.acceptance.calls import until_reachable
from tests.acceptance.errors import UnmetError
from tests.acceptance.machine import Machine
from tests.acceptance.scene import VOXPOP, Scene

FAST = {"forward_upstream", "forward_downstream"}
LISTENS = {
    "udp 198.51.100.1:3478": "the VIP",
    "tcp 192.0.2.1:443": "HTTPS",
    "tcp 0.0.0.0:22": "SSH",
    "tcp [::]:22": "SSH",
    "tcp 0.0.0.0:179": "BGP",
    "udp 0.0.0.0:3784": "BFD",
    "udp [::]:3784": "BFD",
    "tcp 10.10.1.1:9464": "metrics",
    "tcp 10.10.1.1:9466": "metrics",
    "tcp 10.10.1.1:9467": "metrics",
    "tcp 10.10.1.1:8405": "metrics",
    "tcp 10.10.1.1:9100": "metrics",
}
"""Of a PoP host; metrics at the management address, and of checkers and HAProxy their health."""
OF_BFD = re.compile(r"^udp 172\.16\.1\.2%enp0s3:\d+$")
"""From where BIRD sends BFD: a socket for each neighbour, that the kernel has given its port."""
OF_DEBIAN = re.compile(r"^\S+ (127\.0\.0\.\d+(%lo)?:53|.*%enp0s2:68)$")
"""systemd's own resolver and DHCP client, which an installer may leave out."""


@dataclass(frozen=True, slots=True)
class Step:
    """What `make acceptance` plays and times."""

    name: str
    play: Callable[[Scene], str]
    """What was seen, in words for the table. Raises UnmetError."""
    is_beside: bool = False
    """Whether it is begun as soon as there are disks, and waited for at its place: other steps keep one of
    two processors busy.
    """


def _images(scene: Scene) -> str:
    kept = [image.ensure(each, scene.folders.images) for each in (recipe.KERNEL_TESTS, recipe.HOST)]
    return f"{len(kept)} images of Debian 12, {recipe.HOST.key} and {recipe.KERNEL_TESTS.key}"


def _boot(scene: Scene) -> str:
    for host, networks in zip(scene.hosts.values(), (wires.POP_NETWORK, wires.REGION_NETWORK), strict=True):
        for name, text in networks.items():
            host.run(f"cat >/etc/systemd/network/{name}", given=text.encode())
        host.run("networkctl reload")
        warm.install(host)
    for address in (wires.POP_PUBLIC, wires.POP_BACKBONE, wires.REGION):
        scene.inside(wires.ROUTER, "ping", "-q", "-c", "1", "-w", "30", address, seconds=60)
    leaving.look(scene)
    return "PoP and region host answer the router's ping; nothing of Voxpop is on them"


def _provision(scene: Scene) -> str:
    found = scene.playbooks.play("voxpop.edge.provision", scene.hosts)
    return ", ".join(
        f"{host.partition('.')[0]}: {each.changed} of {each.ok} changed" for host, each in found.items()
    )


def _again(scene: Scene) -> str:
    """By the oldest Ansible, where the first was the newest: what they make is the same."""
    found = scene.playbooks.play("voxpop.edge.provision", scene.hosts, which="oldest")
    changed = {host: each.changed for host, each in found.items() if each.changed}
    if changed:
        raise UnmetError(f"a second provision changes something: {changed}")
    return f"0 changed of {sum(each.ok for each in found.values())}"


def _call(scene: Scene) -> str:
    until_reachable(scene)
    pop = scene.pop
    before = _fast(pop)
    key = ("--api-key-file", str(scene.playbooks.api_key))
    words = ("call", wires.SIGNALING, "--json", "--turns", "1", *key)
    (scene.folders.run / "call.json").write_text(said := scene.in_client(*VOXPOP, *words, seconds=180))
    report = json.loads(said)
    quality, fast = report["quality"], _fast(pop) - before
    media = quality["packets_received"] + quality["packets_sent"]
    # DTLS and first packets are the relay's; media is the kernel's, both ways.
    if quality["packets_lost"] or quality["remote_lost"] or fast < 0.9 * media:
        raise UnmetError(f"the kernel carried {fast} packets of this call: {said}")
    modes = {link["xdp"].get("mode") for link in json.loads(pop.run("ip -json link show")) if "xdp" in link}
    if modes != {1}:
        raise UnmetError(f"XDP is not in driver mode everywhere: {modes}")
    heard = f"{quality['packets_received']} packets heard, {quality['packets_sent']} sent, none lost"
    return f"{heard}; {fast} carried by native XDP on virtio; set up in {report['setup']['total_ms']:.0f} ms"


def _metrics(scene: Scene) -> str:
    families = _scraped(scene.pop)
    info = next((s.labels for f in families for s in f.samples if s.name == "voxpop_relay_info"), None)
    if info != {"pop": "fra", "forwarder": "xdp"}:
        raise UnmetError(f"voxpop_relay_info has the labels {info}")
    return f"{len(families)} families, of PoP fra with forwarder xdp"


_GET = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=30).read().decode())"


def _scraped(pop: Machine) -> list[Metric]:
    """What its relay says of itself."""
    text = pop.run(f"python3 -c {shlex.quote(_GET)} {wires.METRICS}/metrics")
    return list(text_string_to_metric_families(text + "\n"))


def _fast(pop: Machine) -> int:
    """Packets that the kernel has forwarded so far."""
    return round(
        sum(
            sample.value
            for family in _scraped(pop)
            for sample in family.samples
            if sample.name == "voxpop_fastpath_packets_total" and sample.labels["verdict"] in FAST
        )
    )


def _listens(scene: Scene) -> str:
    said = scene.pop.run("ss -H -lntup")
    (scene.folders.run / "ss.txt").write_text(said + "\n")
    found = {f"{line.split()[0]} {line.split()[4]}" for line in said.splitlines()}
    ours = {each for each in found if not OF_DEBIAN.match(each) and not OF_BFD.match(each)}
    if ours != set(LISTENS):
        raise UnmetError(f"the PoP host listens on {sorted(ours)}, not {sorted(LISTENS)}")
    return f"{', '.join(dict.fromkeys(LISTENS.values()))}; nothing else"


def _reboot(scene: Scene) -> str:
    """Nobody does anything, and a call goes through again: units are up when what they run is ready."""
    before = scene.pop.run("cat /proc/sys/kernel/random/boot_id")
    # Later, so that it does not cut off the answer of its own command.
    scene.pop.run("(sleep 2; systemctl reboot --no-wall) >/dev/null 2>&1 </dev/null &")
    scene.pop.wait_until_up(unlike=before)
    return _call(scene)


STEPS = (
    Step("images", _images),
    Step("boot", _boot),
    Step("provision", _provision),
    Step("again", _again),
    Step("ebpf", kernel.play, is_beside=True),
    Step("call", _call),
    Step("metrics", _metrics),
    Step("listens", _listens),
    Step("reboot", _reboot),
    Step("upgrade", change.upgrade),
    Step("drain", outage.drain),
    Step("undrain", outage.undrain),
    Step("kill", outage.kill),
    Step("comeback", outage.comeback),
    Step("rollback", change.rollback),
    Step("keys", change.keys),
    Step("decommission", leaving.decommission),
)
