"""`make check-ansible`: the collection under the oldest and the newest Ansible that it is for.

Lint; syntax; every template rendered for the example inventory, the same by both, and judged by what reads
it; and inventories that preflight has to refuse, by the words that say what to change.
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
from tests.ansible.units import UNITS
from tests.paths import ROOT
from tests.ports import free_port

TOOLS = ROOT / ".tools"
ANSIBLES = {"oldest": TOOLS / "ansible-oldest" / "bin", "newest": TOOLS / "ansible" / "bin"}
COLLECTION = ROOT / "ansible"
INVENTORY = COLLECTION / "examples" / "inventory"
VOXPOP = [sys.executable, "-m", "voxpop"]


@contextmanager
def installed() -> Iterator[Path]:
    """Where Ansible finds the collection under its full name: a folder to run in."""
    with tempfile.TemporaryDirectory(prefix="voxpop-ansible-") as name:
        place = Path(name) / "ansible_collections" / "voxpop"
        place.mkdir(parents=True)
        shutil.copytree(COLLECTION, place / "edge")
        yield Path(name)


def run(which: str, folder: Path, *command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A command of one of the Ansibles."""
    told = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    told |= {
        "PATH": f"{ANSIBLES[which]}:{os.environ['PATH']}",
        "HOME": str(folder),
        "ANSIBLE_COLLECTIONS_PATH": str(folder),
        "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_LOCAL_TEMP": str(folder / "local"),
        "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
        "ANSIBLE_NOCOLOR": "1",
        "LC_ALL": "C.UTF-8",
    }
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


def render(which: str, folder: Path) -> Path:
    """Every template for every host of the example; the folder that they are in."""
    out = folder / f"rendered-{which}"
    playbook = str(COLLECTION / "tests" / "render.yml")
    succeed(
        which,
        folder,
        "ansible-playbook",
        f"--inventory={INVENTORY}",
        f"--extra-vars=render_out={out}",
        playbook,
    )
    return out


def judge(rendered: Path, folder: Path) -> None:
    """By the programs that will read what was rendered."""
    for host in sorted(rendered.iterdir()):
        role = "edge" if (host / "voxpop-relay.conf").exists() else "transceiver"
        _judge_config(host / "voxpop.toml", folder, role)
        _judge_units(host, folder)


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


def refusals(folder: Path, taken: int) -> dict[str, tuple[str, dict[str, object]]]:
    """Host → (what the refusal has in it, what is wrong with it). `taken` is a UDP port that is in use."""
    readable = folder / "readable.toml"
    readable.write_text("")
    readable.chmod(0o644)
    clusters = [{"id": number, "ipv4": prefix, "ports": [1, 2]} for number, prefix in enumerate(OVERLAPPING)]
    return {
        "clusters": (" and ".join(OVERLAPPING), {"edge_clusters": clusters}),
        "keyless": ("voxpop keys new", {"edge_keys_file": str(folder / "none.toml")}),
        "readable": ("chmod 600", {"edge_keys_file": str(readable)}),
        "interfaceless": ("correct edge_interfaces", {"edge_interfaces": ["eth77"]}),
        "driverless": ("use another NIC", {"edge_mode": "native"}),
        "taken": ("Stop it", {"edge_vips": [f"198.51.100.1:{taken}"]}),
    }


OVERLAPPING = ["10.0.0.0/8", "10.1.0.0/16"]


def refuse(which: str, folder: Path) -> int:
    """Have every bad host refused, and a good one not; how many there were."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as busy:
        busy.bind(("127.0.0.1", 0))
        bad = refusals(folder, busy.getsockname()[1])
        told = refused(which, folder, {"good": {}, **{host: wrong for host, (_, wrong) in bad.items()}})
    for host, (words, _) in bad.items():
        if words not in told.get(host, ""):
            sys.exit(f"{which}: {host} is not refused as it has to be: {told}")
    if "good" in told:
        sys.exit(f"{which}: a good host is refused: {told['good']}")
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
    }
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
    return 0


if __name__ == "__main__":
    sys.exit(main())
