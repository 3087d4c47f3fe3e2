"""Compiling and loading the program: the sole importer of BCC, and the one place that needs LLVM.

What is loaded uses the maps that are pinned already (`ebpf.pins`), so a new program takes over the
flows of the old.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from core.service.exhausted import lack
from ebpf import clock, compiled, pins
from ebpf.errors import CacheError, CompileError, DataplaneError, MapError, VerifierError
from ebpf.kernel import headers
from ebpf.source import Source, join

logger = logging.getLogger(__name__)

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
    close: Callable[[], None]
    """Lets go of the programs; those that are pinned or attached live on."""


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
    module, source = _compile(program, extra, pin_dir)
    return Loaded({name: _load_one(module, name, source) for name in names}, module.cleanup)


def load_kept(pin_dir: Path, cache: Path, *, program: Path = SOURCE) -> Loaded:
    """What `load` does, but without the compiler where `cache` has what it would make; and where it has
    not, it has afterwards. Raises what `load` does.

    The cache is a help and no more: what is wrong with it is logged.
    """
    key = _identity(program)
    try:
        programs = compiled.read(cache, key)
        if programs is not None:
            loaded = _load_compiled(programs, pin_dir)
            logger.info("loaded what was compiled before, %s", cache / key)
            return loaded
    except (CacheError, MapError) as error:
        logger.warning("what was compiled before is of no use, and is compiled anew: %s", error)
    try:
        programs = _compile_apart(program)
        loaded = _load_compiled(programs, pin_dir)
    except (CacheError, MapError):
        return load(pin_dir, program=program)  # which says why not, by lines of the source
    try:
        compiled.write(cache, key, programs)
    except CacheError as error:
        logger.warning("what was compiled is not kept for the next time: %s", error)
    return loaded


def _compile_apart(program: Path) -> dict[str, compiled.Compiled]:
    """Compile against maps of our own, so that a right that BCC wants for pinned ones is not needed."""
    module, _ = _compile(program, "", None)
    try:
        return {name: _compiled(module, name) for name in Program}
    finally:
        module.cleanup()


def _load_compiled(programs: dict[str, compiled.Compiled], pin_dir: Path) -> Loaded:
    with contextlib.ExitStack() as undo, compiled.pinned_maps(pin_dir) as maps:
        fds = {}
        for name in Program:
            fds[str(name)] = programs[name].load(name, maps)
            undo.callback(os.close, fds[name])
        return Loaded(fds, undo.pop_all().close)


def _identity(program: Path) -> str:
    """Of all that decides what the compiler makes: text, flags, kernel, headers by choice, and itself.

    Not of the pins' path, as maps are found by name. The headers of a kernel do not change.
    """
    _import_bcc()
    kernel = os.uname()
    decides = [
        compiled.FORMAT,
        join(program, Path(JOINED)).text,
        *_flags(None),
        *(kernel.release, kernel.version, kernel.machine),
        os.environ.get(headers.ENVIRONMENT, ""),
        *_compiler(),
    ]
    return hashlib.sha256("\0".join(decides).encode()).hexdigest()


def _compiler() -> Iterator[str]:
    """The libraries that compile, as files of this process: an update of any of them is another compiler."""
    mapped = Path("/proc/self/maps").read_text().splitlines()
    paths = {Path(line.split(maxsplit=5)[5]) for line in mapped if " /" in line}
    for path in sorted(paths):
        if path.name.startswith(("libbcc", "libclang", "libLLVM")) and path.exists():
            told = path.stat()
            yield f"{path} {told.st_size} {told.st_mtime_ns}"


def _compiled(module: Any, name: str) -> compiled.Compiled:  # noqa: ANN401 - BCC has no types
    from bcc.libbcc import lib

    license = lib.bpf_module_license(module.module)  # noqa: A001 - as the kernel calls it
    return compiled.from_instructions(module.dump_func(name.encode()), license.decode())


def pin(loaded: Loaded, pin_dir: Path) -> None:
    """Pin the programs, in place of those of another load."""
    for name, fd in loaded.fds.items():
        pins.pin_program(fd, pin_dir / name)


def _compile(program: Path, extra: str, pin_dir: Path | None) -> tuple[Any, Source]:
    """(BCC's module, which owns the descriptors of what is loaded from it, and its source)."""
    with headers.tree() as tree:
        source = join(program, tree / JOINED, extra)
        source.path.write_text(source.text)
        return _compile_in(tree, source, pin_dir), source


def _flags(pin_dir: Path | None) -> list[str]:
    """None: against no pinned maps."""
    pinned = [] if pin_dir is None else [f'-DVOXPOP_PIN_DIR="{pin_dir}"']
    return [*WARNINGS, *pinned, f"-DVP_SEEN_SHIFT={clock.seen_shift()}"]


def _import_bcc() -> Any:  # noqa: ANN401 - BCC has no types
    try:
        from bcc import BPF
    except (ImportError, OSError, MemoryError) as error:  # OSError: of the libraries that it is a shell of
        raise DataplaneError(
            lack(error)
            or "BCC is missing: install the package python3-bpfcc, and run with the distribution's Python"
        ) from None
    return BPF


def _compile_in(tree: Path, source: Source, pin_dir: Path | None) -> Any:  # noqa: ANN401 - BCC has no types
    BPF = _import_bcc()  # noqa: N806 - a class
    flags = _flags(pin_dir)
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
