"""Makes the disk of a recipe by debootstrap, once: kept under its key, beside its kernel and initrd."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.acceptance.errors import UnmetError
from tests.acceptance.recipe import Recipe

MIRROR = "http://deb.debian.org/debian"
SOURCES = Path("/etc/apt/sources.list.d/debian.sources")
SECONDS = 1200


@dataclass(frozen=True, slots=True)
class Image:
    """Never written to: machines write to overlays."""

    disk: Path
    """Raw, one ext4 file system with the label "root"."""
    kernel: Path
    initrd: Path

    @classmethod
    def within(cls, folder: Path) -> Image:
        """Where they are in a folder."""
        return cls(folder / "disk.raw", folder / "vmlinuz", folder / "initrd")


def cache() -> Path:
    """Where images are kept, and the machines of the last run."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "voxpop" / "acceptance"


def ensure(recipe: Recipe, folder: Path) -> Image:
    """The image of a recipe, built if it is not kept in `folder`, with those that it is built on. Raises
    UnmetError.
    """
    kept = folder / recipe.key
    if not kept.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=f".{recipe.name}-") as name:
            _build(recipe, Path(name) / "root", folder)
    return Image.within(kept)


def _build(recipe: Recipe, root: Path, folder: Path) -> None:
    """One root, which grows: what is kept of a recipe goes on as the root of the one that is built on it."""
    if recipe.base is None:
        _run(
            ["debootstrap", "--variant=minbase", "--include=ca-certificates", recipe.suite, str(root), MIRROR]
        )
    else:
        _build(recipe.base, root, folder)
    for path, text in recipe.files:
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    _take_sources(root)
    _in(root, "apt-get update -qq")
    _in(root, "apt-get upgrade -y -qq")
    _in(root, f"apt-get install -y -qq --no-install-recommends {' '.join(recipe.packages)}")
    # An index that is there already spares each machine a minute of its first apt.
    _in(root, "apt-get clean && apt-cache gencaches")
    _forget(root)
    if recipe.units:
        _in(root, f"systemctl enable --quiet {' '.join(recipe.units)}")
    if not (folder / recipe.key).exists():
        _keep(recipe, root, folder / recipe.key)


def _keep(recipe: Recipe, root: Path, kept: Path) -> None:
    made = root.parent / "made"
    made.mkdir()
    image = Image.within(made)
    shutil.copy(root / "vmlinuz", image.kernel)
    shutil.copy(root / "initrd.img", image.initrd)
    _run(
        ["mke2fs", "-q", "-t", "ext4", "-L", "root", "-d", str(root), str(image.disk), f"{recipe.size_mib}M"]
    )
    made.rename(kept)  # all of it or nothing


def _take_sources(root: Path) -> None:
    """Where this machine gets its packages from, the machines get theirs."""
    if SOURCES.exists():
        (root / "etc/apt/sources.list").unlink(missing_ok=True)
        shutil.copy(SOURCES, root / "etc/apt/sources.list.d")
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")


def _forget(root: Path) -> None:
    """What must not be the same on two machines, and the way into the network of the one that builds."""
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    (root / "etc/machine-id").write_text("")
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    (root / "etc/resolv.conf").symlink_to("/run/systemd/resolve/resolv.conf")


def _in(root: Path, command: str) -> None:
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "DEBIAN_FRONTEND": "noninteractive",
        "LC_ALL": "C",
    }
    # With file systems that are there for no longer, and no daemon of it left behind.
    mounts = f"mount -t proc proc {root}/proc && mount -t devpts devpts {root}/dev/pts"
    mounted = f'{mounts} && exec chroot {root} sh -c "$1"'
    alone = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
    _run([*alone, "sh", "-c", mounted, "sh", command], environment)


def _run(command: Sequence[str], environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        ["nice", "-n", "10", *command],
        env=environment, capture_output=True, stdin=subprocess.DEVNULL, timeout=SECONDS, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        said = (done.stdout + done.stderr).decode(errors="replace")[-2000:]
        raise UnmetError(f"{' '.join(command)}: exit status {done.returncode}\n{said}")
