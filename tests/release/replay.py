"""`make bundle-check`, as root, some minutes: builds the bundle twice and compares, installs it without a
network, as a host does, and has what was installed carry a call on loopback, as a user without rights.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from release.archive import sha256
from release.bundle import Tools, build, look_up
from release.targets import Target
from tests.processes import ALONE

PYTHONS = ("3.11", "3.13")
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", "--inh-caps=-all"]


def main() -> int:
    """Exit status 0 when all of it went well; what did not raises."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uv", type=Path, required=True)
    parser.add_argument("--pip", required=True)
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("needs root, for a network namespace without a network")
    tools = Tools(arguments.uv.absolute(), arguments.pip.split())
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="voxpop-bundle-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        made = _twice(tools, folder)
        shutil.unpack_archive(made, folder)
        bundle = folder / made.name.removesuffix(f"-{os.uname().machine}.tar")
        _say(
            "checksums",
            subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=bundle, check=True),
        )
        about = json.loads((bundle / "bundle.json").read_text())
        for python in PYTHONS:
            _resolves(bundle, python, folder)
        _works(_install(bundle, folder), about)
    return 0


def _twice(tools: Tools, folder: Path) -> Path:
    commit = look_up("HEAD")
    targets = [Target(python, os.uname().machine) for python in PYTHONS]
    one, two = (build(commit, targets, tools, folder / number) for number in ("one", "two"))
    assert sha256(one) == sha256(two), "two builds of one commit differ"
    _say("two builds", f"{one.name}, {one.stat().st_size / 1e6:.0f} MB, the same byte by byte")
    return one


def _install(bundle: Path, folder: Path) -> Path:
    """As the roles do: the venv."""
    venv = folder / "venv"
    _alone(["/usr/bin/python3", "-m", "venv", "--system-site-packages", str(venv)])
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    _alone([str(venv / "bin" / "pip"), "install", "--quiet", *_offline(bundle, python)])
    _say("installed without a network", python)
    return venv


def _resolves(bundle: Path, python: str, folder: Path) -> None:
    """Whether all that a Python wants is there, of which the interpreter is not."""
    asked = Target(python, os.uname().machine).pip_options
    _alone([sys.executable, "-m", "venv", str(folder / f"pip-{python}")])
    pip = str(folder / f"pip-{python}" / "bin" / "pip")
    _alone([pip, "download", "-qq", f"--dest={folder / python}", *asked, *_offline(bundle, python)])
    _say("complete for Python", python)


def _offline(bundle: Path, python: str) -> list[str]:
    requirements = bundle / f"requirements-{python}.txt"
    return [
        "--no-index",
        f"--find-links={bundle / 'wheels'}",
        "--require-hashes",
        f"--requirement={requirements}",
    ]


def _works(venv: Path, about: dict[str, object]) -> None:
    told = json.loads(_alone([str(venv / "bin" / "voxpop"), "version", "--json"]))
    assert told["version"] == about["version"], told
    assert str(about["commit"]).startswith(told["commit"]), told
    assert told["schema"] == about["schema"], told
    _say("it says", f"{told['version']}, commit {told['commit']}, maps v{told['schema']}")
    call = _alone([*NOBODY, str(venv / "bin" / "voxpop"), "demo", "--once"])
    assert "0 lost" in call, call
    _say("a call", next(line for line in call.splitlines() if "received" in line).strip())


def _alone(command: Sequence[str]) -> str:
    """What it prints, in a namespace that has nothing but loopback."""
    own = {
        name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "PYTHON"))
    }
    own |= {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "HOME": "/nonexistent"}
    return subprocess.run(
        [*ALONE, *command], env=own, check=True, stdout=subprocess.PIPE, text=True, cwd="/"
    ).stdout


def _say(what: str, found: object) -> None:
    print(f"{what}: {found if isinstance(found, str) else 'ok'}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
