"""Replays the Containerfile in a chroot of Debian, where no container engine runs: `python -m
tests.kubernetes.replay`, as root, some minutes. Then what came of it is used as a pod would: a transceiver is
started as the image's user with the base's configuration, and drained by its preStop hook.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.kubernetes import manifests
from tests.kubernetes.containerfile import CONTAINERFILE, Copy, Run, Stage, copied, parse
from tests.paths import ROOT
from tests.processes import ALONE, end

SUITES = {"docker.io/library/debian:12-slim": "bookworm"}
MIRROR = "http://deb.debian.org/debian"
OF_THE_MACHINE = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "http_proxy", "https_proxy")
"""What a build takes from the machine that it runs on, to get out into the network."""
AUTHORITIES = "/build-authorities.pem"
"""Where it finds those whose certificates the machine believes, if they are not the usual ones."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
READY_S, POLL_S = 60.0, 0.2


class Chroot:
    """One stage's file system."""

    def __init__(self, root: Path, image: str) -> None:
        self.root = root
        suite = SUITES[image]
        print(f"debootstrap {suite} for {image}", flush=True)
        subprocess.run(
            ["debootstrap", "--variant=minbase", suite, str(root), MIRROR],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
        self._own = {name: os.environ[name] for name in OF_THE_MACHINE if name in os.environ}
        if (authorities := os.environ.get("SSL_CERT_FILE")) is not None:
            shutil.copy(authorities, f"{root}{AUTHORITIES}")
            self._own |= {"SSL_CERT_FILE": AUTHORITIES, "PIP_CERT": AUTHORITIES}

    def command(
        self, argv: Sequence[str], user: str, folder: str, environment: Mapping[str, str]
    ) -> list[str]:
        """How to run something in it, as a user, with a /proc that is there for no longer."""
        told = {"PATH": PATH, "HOME": "/tmp", "DEBIAN_FRONTEND": "noninteractive", **self._own, **environment}
        return [
            "unshare", "--mount", "--propagation", "private",
            "sh", "-c", f'mount -t proc proc {self.root}/proc && exec "$@"', "sh",
            "env", "--ignore-environment", *(f"{name}={value}" for name, value in told.items()),
            "chroot", f"--userspec={user}", str(self.root), "/usr/bin/env", f"--chdir={folder}", *argv,
        ]  # fmt: skip

    def run(self, step: Run) -> None:
        print(f"RUN {step.command}", flush=True)
        argv = self.command(["/bin/sh", "-c", step.command], "0:0", step.folder, step.environment)
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)

    def copy(self, step: Copy, origin: Path) -> None:
        for source, target in copied(step, origin, self.root):
            print(f"COPY {source} {target.relative_to(self.root)}", flush=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
            else:
                shutil.copy(source, target)


def build(stages: Sequence[Stage], folder: Path) -> Chroot:
    """The file system of the image: that of the last stage."""
    by_name: dict[str | None, Path] = {None: ROOT}
    for number, stage in enumerate(stages):
        chroot = Chroot(folder / f"stage-{number}", stage.image)
        by_name[stage.name or str(number)] = chroot.root
        (chroot.root / stage.folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
        for step in stage.steps:
            if isinstance(step, Copy):
                chroot.copy(step, by_name[step.origin])
            else:
                chroot.run(step)
    return chroot


class Pod:
    """The transceiver of the base in an image, as the image's user, in a network of its own."""

    def __init__(self, chroot: Chroot, stage: Stage) -> None:
        self._chroot = chroot
        self._stage = stage
        container = manifests.container("transceiver", "transceiver")
        self._arguments = [*stage.entrypoint, *container["args"]]
        self._pre_stop = container["lifecycle"]["preStop"]["exec"]["command"]
        config = (manifests.FOLDER / "transceiver" / "voxpop.toml").read_text()
        (chroot.root / "etc/voxpop/voxpop.toml").write_text(config.replace("10.244.0.0/16", "127.0.0.0/8"))
        self._make_secrets()

    def _make_secrets(self) -> None:
        """As the volume of a Secret has them: root's, for the group of the pod."""
        folder = self._chroot.root / "run/secrets/voxpop"
        folder.mkdir(parents=True)
        for verb in (
            ["keys", "new", "/run/secrets/voxpop/keys.toml"],
            ["api-key", "new", "/run/secrets/voxpop/api-keys.toml", "pod"],
        ):
            command = self._chroot.command([*self._stage.entrypoint, *verb], "0:0", "/", {})
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        for file in folder.iterdir():
            os.chown(file, 0, int(self._stage.user.partition(":")[2]))
            file.chmod(0o440)

    def _command(self, argv: Sequence[str]) -> list[str]:
        return self._chroot.command(argv, self._stage.user, "/", self._stage.environment)

    def _in_it(self, argv: Sequence[str]) -> str:
        done = subprocess.run(self._command(argv), check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def live(self) -> None:
        """Start, be ready, be drained, end."""
        with subprocess.Popen([*ALONE, *self._command(self._arguments)]) as transceiver:
            try:
                self._wait_until_ready(transceiver)
                print(self._in_it(self._pre_stop), flush=True)
            finally:
                status = end(transceiver, signal.SIGTERM)
        assert status == 0, status

    def _wait_until_ready(self, transceiver: subprocess.Popen[bytes]) -> None:
        ask = self._command(["voxpop", "drain", "status", "--config", "/etc/voxpop/voxpop.toml"])
        deadline = time.monotonic() + READY_S
        while (
            "transceiver: ready"
            not in subprocess.run(ask, capture_output=True, text=True, check=False).stdout
        ):
            assert transceiver.poll() is None, "it has ended"
            assert time.monotonic() < deadline, "it is not ready"
            time.sleep(POLL_S)


def main() -> int:
    """Exit status 0 when all of it went well; what did not raises."""
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        sys.exit("needs root, for chroot, and debootstrap: apt-get install debootstrap")
    stages = parse(CONTAINERFILE.read_text())
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="voxpop-container-") as folder:
        Pod(build(stages, Path(folder)), stages[-1]).live()
    print("the image starts, is ready, drains and ends")
    return 0


if __name__ == "__main__":
    sys.exit(main())
