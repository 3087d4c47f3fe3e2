"""The kernel headers that BCC compiles against.

BCC looks in /lib/modules/RELEASE/build. Debian splits a kernel's headers over two packages,
linux-headers-…-amd64 with what is generated and …-common with the rest, joined by a Makefile that
BCC does not read; so where only another kernel's headers are there, as on a machine with a kernel of
its own, the two are laid over each other in a tree of links, which lives while it is compiled against.
The program uses nothing but the stable interface of XDP, so headers of another version serve as well.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from ebpf.errors import HeadersError

ENVIRONMENT = "BCC_KERNEL_SOURCE"
MERGED = "voxpop-headers-"
YOUNG_S = 60.0
SOURCES = Path("/usr/src")
MODULES = Path("/lib/modules")
GENERATED = Path("include/generated/autoconf.h")
WRITTEN = Path("include/linux/kconfig.h")
"""The first headers that BCC includes; a tree without both is none."""


@contextlib.contextmanager
def tree(*, release: str | None = None, modules: Path = MODULES, sources: Path = SOURCES) -> Iterator[Path]:
    """The header tree to give to BCC. Raises HeadersError, which names the package to install.

    In this order: that of the running kernel, what BCC_KERNEL_SOURCE names, one merged from the newest
    header packages in `sources`.
    """
    release = release or os.uname().release
    running = modules / release / "build"
    named = os.environ.get(ENVIRONMENT)
    if is_whole(running):
        yield running
    elif named:
        if not is_whole(Path(named)):
            raise HeadersError(f"{ENVIRONMENT} names {named}, which lacks {GENERATED} or {WRITTEN}")
        yield Path(named)
    else:
        package = newest_package(sources)
        if package is None:
            raise HeadersError(
                f"no kernel headers: neither {running} nor a package in {sources} has them. Install "
                f"linux-headers-{release}, or linux-headers-amd64 where there is no such package, or "
                f"set {ENVIRONMENT}"
            )
        with tempfile.TemporaryDirectory(prefix=MERGED) as merged, _locked(Path(merged)):
            sweep(Path(merged).parent, Path(merged).stat().st_mtime)
            overlay(package, common_of(package), Path(merged))
            yield Path(merged)


def sweep(temporary: Path, now_s: float) -> list[Path]:
    """Remove merged trees of ours whose process was killed before it could; they.

    `now_s` is by the clock of that file system. A tree is locked while it lives; between its making and its
    locking it is young.
    """
    swept = []
    for found in temporary.glob(f"{MERGED}*"):
        with contextlib.suppress(OSError):  # another sweeps as well, or it is another user's
            told = found.lstat()
            is_ours = stat.S_ISDIR(told.st_mode) and told.st_uid == os.geteuid()
            if is_ours and now_s - told.st_mtime > YOUNG_S:
                with _locked(found):
                    shutil.rmtree(found)
                swept.append(found)
    return swept


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Raises OSError where another process has it."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def is_whole(directory: Path) -> bool:
    """Whether BCC can compile against a tree by itself."""
    try:
        return (directory / GENERATED).exists() and (directory / WRITTEN).exists()
    except PermissionError:  # a unit with ProtectKernelModules= hides all of /lib/modules
        return False


def newest_package(sources: Path) -> Path | None:
    """The tree of the newest linux-headers-VERSION-ARCH that makes a whole one with its -common."""
    candidates = [
        package
        for package in sources.glob("linux-headers-*")
        if (package / GENERATED).exists() and (common_of(package) / WRITTEN).exists()
    ]
    return max(candidates, key=_version, default=None)


def common_of(package: Path) -> Path:
    """The -common that goes with an architecture's tree."""
    return package.with_name(f"{package.name.rpartition('-')[0]}-common")


def _version(package: Path) -> list[int]:
    return [int(word) for word in package.name.replace(".", "-").split("-") if word.isdigit()]


def overlay(upper: Path, lower: Path, into: Path) -> None:
    """Fill `into` with links to what either has, `upper` before `lower`.

    A directory that only one of them has is one link, so this takes some dozens, not tens of thousands.
    Raises HeadersError for a link that leads nowhere, as into a third package, linux-kbuild-VERSION.
    """
    names = {entry.name for layer in (upper, lower) for entry in layer.iterdir()}
    for name in names:
        layers = [layer / name for layer in (upper, lower) if (layer / name).exists()]
        if not layers:
            raise HeadersError(_dangling([each / name for each in (upper, lower)]))
        if len(layers) == 2 and all(layer.is_dir() for layer in layers):
            (into / name).mkdir()
            overlay(layers[0], layers[1], into / name)
        else:
            (into / name).symlink_to(layers[0])


def _dangling(places: Sequence[Path]) -> str:
    """What to install where a link leads nowhere, at the first of the places that has one."""
    link = next(place for place in places if place.is_symlink())
    target = link.readlink()
    package = next((part for part in target.parts if part.startswith("linux-")), f"what has {target}")
    return (
        f"kernel headers that are not whole: {link} leads to {target}, which is not there. Install {package}"
    )
