"""Compiling and loading the program: the sole importer of BCC, and the one place that needs LLVM.

What is loaded uses the maps that are pinned already (`ebpf.pins`), so a new program takes over the
flows of the old.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from ebpf import clock, pins
from ebpf.errors import CompileError, DataplaneError, VerifierError
from ebpf.kernel import headers
from ebpf.source import Source, join

PROGRAM_DIR = Path(__file__).with_name("prog")
SOURCE = PROGRAM_DIR / "relay_xdp.c"
JOINED = "relay_xdp_joined.c"
"""Its name for the compiler, which nobody else is told: see `ebpf.source`."""
WARNINGS = ("-Wall", "-Werror")


class Program(StrEnum):
    """The entry points of relay_xdp.c, which are also the names of their pins."""

    PUBLIC = "voxpop_public"
    """For interfaces that face clients only."""
    BACKBONE = "voxpop_backbone"
    """For interfaces that face transceivers, and those that face both."""
    CLOCK = "voxpop_clock"
    """Not for an interface; see `ebpf.clock`."""
    INDEX = "voxpop_index"
    """Not for an interface; see `ebpf.index`."""


@dataclass
class Loaded:
    """Programs in the kernel, by name. They live as long as this object, a pin or an attachment."""

    fds: dict[str, int]
    module: Any = field(repr=False)
    """BCC's; it owns the descriptors."""

    def close(self) -> None:
        """Let go of the programs; those that are pinned or attached live on."""
        self.module.cleanup()


def load(
    pin_dir: Path,
    *,
    program: Path = SOURCE,
    extra: str = "",
    names: tuple[str, ...] = tuple(Program),
) -> Loaded:
    """Compile relay_xdp.c with its parts, and C that is put behind it (`extra`), and load programs of it.

    Raises HeadersError, CompileError, VerifierError, or DataplaneError where BCC or a right is missing.
    """
    with headers.tree() as tree:
        source = join(program, tree / JOINED, extra)
        source.path.write_text(source.text)
        module = _compile(source, pin_dir, tree)
    return Loaded({name: _load_one(module, name, source) for name in names}, module)


def pin(loaded: Loaded, pin_dir: Path) -> None:
    """Pin the programs, in place of those of another load."""
    for name, fd in loaded.fds.items():
        pins.pin_program(fd, pin_dir / name)


def _compile(source: Source, pin_dir: Path, tree: Path) -> Any:  # noqa: ANN401 - BCC has no types
    try:
        from bcc import BPF
    except ImportError:
        raise DataplaneError(
            "BCC is missing: install the package python3-bpfcc, and run with the distribution's Python"
        ) from None
    defines = f'-DVOXPOP_PIN_DIR="{pin_dir}"', f"-DVP_SEEN_SHIFT={clock.seen_shift()}"
    flags = [*WARNINGS, *defines]
    with _environment(headers.ENVIRONMENT, str(tree)), captured_stderr() as output:
        try:
            return BPF(text=source.text.encode(), cflags=flags)
        except Exception as error:  # noqa: BLE001 - BCC raises nothing more precise
            message = f"{SOURCE.name} does not compile against {tree}: {error}"
            raise CompileError(message, source.named(output())) from None


def _load_one(module: Any, name: str, source: Source) -> int:  # noqa: ANN401 - BCC has no types
    with captured_stderr() as output:
        try:
            fd: int = module.load_func(name.encode(), module.XDP).fd
        except Exception as error:  # noqa: BLE001 - BCC raises nothing more precise
            if "privileges" in str(error):
                raise DataplaneError(
                    f"no right to load {name}: CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON are needed"
                ) from None
            raise VerifierError(f"the kernel refuses {name}: {error}", source.named(output())) from None
    return fd


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextlib.contextmanager
def captured_stderr() -> Iterator[Callable[[], str]]:
    """Collect what C code prints to descriptor 2 of the whole process; yields what reads it so far."""

    def printed() -> str:
        file.seek(0)
        return file.read().decode(errors="replace")

    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with tempfile.TemporaryFile() as file:
            os.dup2(file.fileno(), 2)
            yield printed
    finally:
        os.dup2(saved, 2)
        os.close(saved)
