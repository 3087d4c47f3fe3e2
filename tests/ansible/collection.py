"""`make check-ansible`: the collection under the oldest and the newest Ansible that it is for.

Lint; syntax; every template rendered for the example inventory, the same by both, and judged by what reads
it; inventories that preflight has to refuse, by the words that say what to change; and daemons at work
with what was rendered.
"""

from __future__ import annotations

import filecmp
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from core.service import keysfile
from tests.ansible import ingress, judges, scenes
from tests.ansible.units import UNITS
from tests.certificates import self_signed
from tests.paths import ROOT
from tests.ports import free_port, free_tcp_port

TOOLS = ROOT / ".tools"
ANSIBLES = {"oldest": TOOLS / "ansible-oldest" / "bin", "newest": TOOLS / "ansible" / "bin"}
COLLECTION = ROOT / "ansible"
INVENTORY = COLLECTION / "examples" / "inventory"
PASSWORD = "a-password-of-the-store"
VOXPOP = [sys.executable, "-m", "voxpop"]


@contextmanager
def installed() -> Iterator[Path]:
    """Where Ansible finds the collection under its full name: a folder to run in."""
    with tempfile.TemporaryDirectory(prefix="voxpop-ansible-") as name:
        place = Path(name) / "ansible_collections" / "voxpop"
        place.mkdir(parents=True)
        shutil.copytree(COLLECTION, place / "edge")
        yield Path(name)


def environment(which: str, folder: Path) -> dict[str, str]:
    """What one of the Ansibles finds the collection and itself by, and nothing of the user's own settings."""
    told = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    return told | {
        "PATH": f"{ANSIBLES[which]}:{os.environ['PATH']}",
        "HOME": str(folder),
        "ANSIBLE_COLLECTIONS_PATH": str(folder),
        "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_LOCAL_TEMP": str(folder / "local"),
        "ANSIBLE_NOCOLOR": "1",
        "LC_ALL": "C.UTF-8",
    }


def run(which: str, folder: Path, *command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A command of one of the Ansibles, for this machine."""
    told = environment(which, folder) | {"ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3"}
    return subprocess.run(
        command, cwd=cwd or folder, env=told, capture_output=True, text=True, check=False, timeout=600
    )


def succeed(which: str, folder: Path, *command: str, cwd: Path | None = None) -> str:
    """What it prints."""
    done = run(which, folder, *command, cwd=cwd)
    if done.returncode != 0:
        sys.exit(f"{which}: {' '.join(command)}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def lint(folder: Path) -> None:
    """By the profile for production."""
    collection = folder / "ansible_collections" / "voxpop" / "edge"
    succeed("newest", folder, "ansible-lint", "--strict", "--nocolor", "-q", cwd=collection)


def check_syntax(which: str, folder: Path) -> None:
    """Of every playbook, by its full name."""
    for playbook in sorted((COLLECTION / "playbooks").glob("*.yml")):
        name = f"voxpop.edge.{playbook.stem}"
        succeed(which, folder, "ansible-playbook", f"--inventory={INVENTORY}", "--syntax-check", name)


def render(which: str, folder: Path, inventory: Path = INVENTORY, name: str = "rendered") -> Path:
    """Every template for every host of an inventory; the folder that they are in."""
    out = folder / f"{name}-{which}"
    (folder / "store-password").touch(0o600)
    (folder / "store-password").write_text(PASSWORD)
    playbook = str(COLLECTION / "tests" / "render.yml")
    succeed(
        which,
        folder,
        "ansible-playbook",
        f"--inventory={inventory}",
        f"--extra-vars=render_out={out}",
        playbook,
    )
    return out


def play(folder: Path) -> None:
    """Have daemons work with what is rendered for this machine."""
    ports = scenes.Ports()
    inventory = folder / "played.yml"
    inventory.write_text(json.dumps(scenes.inventory(folder, ports)))
    rendered = render("newest", folder, inventory, "played")
    for name, port in (("store", ports.store), ("secure", ports.secure)):
        is_secure = name == "secure"
        scenes.play_store(rendered / name, folder / name, port, PASSWORD, is_secure=is_secure)
    print("redis-server: a store for its user alone, with TLS and without", flush=True)
    ingress.play(rendered / "pop", folder / "ingress", ports)
    print(
        "haproxy: a call, its sideband and its end, by the region that has it; nothing forged or logged",
        flush=True,
    )
    if os.geteuid() != 0:
        print("bird: not played, which takes root", flush=True)
        return
    scenes.play_bird(rendered / "pop", folder / "bird")
    print("bird: asked for BFD, announces while the checker lives", flush=True)


def judge(rendered: Path, folder: Path) -> None:
    """By the programs that will read what was rendered."""
    for host in sorted(rendered.iterdir()):
        role = "edge" if (host / "voxpop-relay.conf").exists() else "transceiver"
        for name in ("voxpop.toml", "signaling.toml"):
            if (host / name).exists():
                _judge_config(host / name, folder, role)
        _judge_units(host, folder)
        judges.judge(host, folder)


def _judge_config(config: Path, folder: Path, role: str) -> None:
    keys = folder / "keys.toml"
    if not keys.exists():
        keysfile.new(keys)
        subprocess.run(
            [*VOXPOP, "api-key", "new", str(folder / "api-keys.toml"), "x"],
            cwd=ROOT,
            check=True,
            capture_output=True,
        )
    here = folder / f"{role}.toml"
    here.write_text(config.read_text().replace(f"/etc/voxpop/{role}/", f"{folder}/"))
    done = subprocess.run(
        [*VOXPOP, "config", "check", str(here)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"{config}:\n{done.stderr}")


def _judge_units(host: Path, folder: Path) -> None:
    """The unit files with the drop-ins of a host, as systemd loads them."""
    units = folder / f"units-{host.name}"
    units.mkdir(exist_ok=True)
    for name, path in UNITS.items():
        text = path.read_text().replace("/opt/voxpop/current/bin/voxpop", "/bin/true")
        (units / f"{name}.service").write_text(text)
        if (drop_in := host / f"{name}.conf").exists():
            (units / f"{name}.service.d").mkdir(exist_ok=True)
            shutil.copy(drop_in, units / f"{name}.service.d" / "50-host.conf")
    for path in host.glob("*.service"):
        (units / path.name).write_text(path.read_text().replace("/usr/local/sbin/voxpop-irqs", "/bin/true"))
    files = sorted(map(str, units.glob("*.service")))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *files], capture_output=True, text=True, check=False
    )
    if done.returncode != 0 or done.stderr:
        sys.exit(f"{host.name}: {done.stderr}")


def refusals(folder: Path, taken: int, taken_tcp: int) -> dict[str, tuple[str, dict[str, object]]]:
    """Host → (what the refusal has in it, what is wrong with it). The ports are in use."""
    readable = folder / "readable.toml"
    readable.write_text("")
    readable.chmod(0o644)
    weak = folder / "weak"
    weak.touch(0o600)
    weak.write_text("short")
    clusters = [{"id": number, "ipv4": prefix, "ports": [1, 2]} for number, prefix in enumerate(OVERLAPPING)]
    busy = {"redis_port": taken_tcp, "preflight_role": "redis"}
    bgp, ingress = {"preflight_role": "bgp"}, {"preflight_role": "signaling_ingress"}
    lonely = {"name": "x", "address": "fe80::1", "asn": 1}
    return {
        "store_taken": ("set redis_port to another", busy),
        "store_elsewhere": ("not an address of this host", {**busy, "redis_address": "192.0.2.77"}),
        "store_open": ("chmod 600", {**busy, "redis_password_file": str(readable)}),
        "store_weak": ("16 or more characters", {**busy, "redis_password_file": str(weak)}),
        "store_bare": ("have to name files", {**busy, "redis_tls": True}),
        "vip_lost": ("announce one that has", {**bgp, "edge_vips": ["203.0.113.1:3478"]}),
        "prefixes": ("have each address in one", {**bgp, "bgp_always": ["198.51.100.128/25"]}),
        "linkless": ("where its address is link-local", {**bgp, "bgp_neighbours": [lonely]}),
        "checkerless": ("edge_announce is false", {**bgp, "edge_announce": False}),
        "bfdless": ("configure BFD for it on the router", {**bgp, "bgp_require_bfd": True}),
        "uncertain": (
            "fullchain.pem",
            {**ingress, "signaling_ingress_certificate_file": str(folder / "none")},
        ),
        "keyless_https": (
            "lacks the certificate or its key",
            {**ingress, "signaling_ingress_certificate_file": str(weak)},
        ),
        "regionless": ("must have a region", {**ingress, "signaling_ingress_regions": []}),
        "https_taken": ("that is not HAProxy", {**ingress, "signaling_ingress_port": taken_tcp}),
        "public": ("where strangers come", {**ingress, "signaling_ingress_management": "0.0.0.0"}),
        "watched": ("where strangers come", {"preflight_role": "monitoring", "monitoring_address": "::"}),
        "clusters": (" and ".join(OVERLAPPING), {"edge_clusters": clusters}),
        "keyless": ("voxpop keys new", {"edge_keys_file": str(folder / "none.toml")}),
        "readable": ("chmod 600", {"edge_keys_file": str(readable)}),
        "interfaceless": ("correct edge_interfaces", {"edge_interfaces": ["eth77"]}),
        "driverless": ("use another NIC", {"edge_mode": "native"}),
        "taken": ("Stop it", {"edge_vips": [f"198.51.100.1:{taken}"]}),
    }


GOOD: dict[str, dict[str, object]] = {
    "good": {},
    **{
        f"good_{role}": {"preflight_role": role}
        for role in ("redis", "bgp", "signaling_ingress", "monitoring")
    },
}
OVERLAPPING = ["10.0.0.0/8", "10.1.0.0/16"]


def refuse(which: str, folder: Path) -> int:
    """Have every bad host refused, and a good one not; how many there were."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as busy, socket.socket() as listening:
        for each in (busy, listening):
            each.bind(("127.0.0.1", 0))
        listening.listen()
        bad = refusals(folder, busy.getsockname()[1], listening.getsockname()[1])
        told = refused(which, folder, {**GOOD, **{host: wrong for host, (_, wrong) in bad.items()}})
    for host, (words, _) in bad.items():
        if words not in told.get(host, ""):
            sys.exit(f"{which}: {host} is not refused as it has to be: {told}")
    if wronged := GOOD.keys() & told.keys():
        sys.exit(f"{which}: good hosts are refused: {[told[host] for host in wronged]}")
    told = refused(which, folder, {"one": {}, "two": {"edge_pop": "nyc"}})
    if "Give each PoP its own" not in " ".join(told.values()):
        sys.exit(f"{which}: a VIP of two PoPs is not refused: {told}")
    return len(bad) + 1


def refused(which: str, folder: Path, hosts: Mapping[str, Mapping[str, object]]) -> dict[str, str]:
    """Who is refused, and the words."""
    port = free_port("127.0.0.1", socket.SOCK_DGRAM)
    good = {
        "edge_pop": "fra",
        "edge_vips": [f"198.51.100.1:{port}"],
        "edge_backbone": ["10.1.0.2"],
        "edge_interfaces": ["lo"],
        "edge_mode": "auto",
        "edge_keys_file": str(folder / "keys.toml"),
        "edge_clusters": [{"id": 1, "ipv4": "10.2.0.0/24", "ports": [40000, 40007]}],
        "redis_address": "127.0.0.1",
        "redis_port": free_tcp_port(),
        "redis_password_file": str(folder / "store-password"),
        "bgp_asn": 65001,
        "bgp_router_id": "10.1.0.2",
        "bgp_neighbours": [{"name": "router", "address": "127.0.0.9", "asn": 65000}],
        "bgp_announced": [{"prefixes": ["198.51.100.0/24"]}],
        "bgp_require_bfd": False,
        "signaling_ingress_addresses": ["127.0.0.1"],
        "signaling_ingress_port": free_tcp_port(),
        "signaling_ingress_management": "127.0.0.2",
        "signaling_ingress_management_port": free_tcp_port(),
        "signaling_ingress_certificate_file": str(folder / "voice.pem"),
        "signaling_ingress_regions": [{"name": "x", "hosts": [{"name": "a", "address": "127.0.0.1:1"}]}],
        "monitoring_address": "127.0.0.1",
    }
    if not (folder / "voice.pem").exists():
        certificate, key = self_signed(folder)
        (folder / "voice.pem").touch(0o600)
        (folder / "voice.pem").write_bytes(certificate.read_bytes() + key.read_bytes())
    asked = folder / "asked.yml"
    asked.write_text(json.dumps({"pops": {"hosts": hosts, "vars": good}}))  # JSON is YAML
    playbook = str(COLLECTION / "tests" / "preflight.yml")
    done = run(which, folder, "ansible-playbook", f"--inventory={asked}", playbook)
    parts = re.split(r"^(?:fatal|failed): \[(\w+)[^]]*\]", done.stdout + done.stderr, flags=re.MULTILINE)
    return {host: " ".join(text.split()) for host, text in zip(parts[1::2], parts[2::2], strict=True)}


def refuse_plays(which: str, folder: Path) -> int:
    """Have playbooks refuse what nobody can mean, before anything is touched; how many there were."""
    readable = folder / "readable.toml"
    hosts = folder / "hosts.yml"
    groups: dict[str, object] = {"pops": {"hosts": {"one": {}}}, "regions": {"hosts": {"two": {}}}}
    told = {"ansible_connection": "local", "voxpop_keys_file": str(readable)}
    hosts.write_text(json.dumps({"all": {"children": groups, "vars": told}}))
    for name, words in REFUSED_PLAYS.items():
        # Nothing but what looks has the tag `always`, so that a play which does not refuse does nothing here.
        command = ["ansible-playbook", f"--inventory={hosts}", "--tags=look", f"voxpop.edge.{name}"]
        done = run(which, folder, *command)
        if done.returncode == 0 or words not in " ".join(done.stdout.split()):
            sys.exit(f"{which}: {name} does not refuse as it has to: {done.stdout}{done.stderr}")
    return len(REFUSED_PLAYS)


REFUSED_PLAYS = {
    "drain": "drain every host of pops and regions",
    "decommission": "decommission=one,two",
    "keys": "chmod 600",
}


def compare(one: Path, two: Path) -> None:
    """Both Ansibles have to render the same."""
    names = sorted(str(path.relative_to(one)) for path in one.rglob("*") if path.is_file())
    _, differ, missing = filecmp.cmpfiles(one, two, names, shallow=False)
    if differ or missing:
        sys.exit(f"rendered differently by the oldest and the newest Ansible: {differ + missing}")


def main() -> int:
    """Exit status 0 when there is nothing to say against it."""
    with installed() as folder:
        lint(folder)
        print("lint: production", flush=True)
        rendered = []
        for which, place in ANSIBLES.items():
            version = succeed(which, folder, str(place / "ansible"), "--version").splitlines()[0]
            check_syntax(which, folder)
            rendered.append(render(which, folder))
            judge(rendered[-1], folder)
            count = refuse(which, folder)
            plays = refuse_plays(which, folder)
            print(
                f"{version}: syntax, templates, {count} bad inventories and {plays} plays refused", flush=True
            )
        compare(*rendered)
        play(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
