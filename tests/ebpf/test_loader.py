"""Compiling and loading for real, and being refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ebpf import compiled, loader, pins
from ebpf.compiled import Compiled
from ebpf.errors import CompileError, HeadersError, VerifierError
from ebpf.kernel import headers, testrun
from ebpf.kernel.programs import program_info
from ebpf.loader import Loaded, Program
from ebpf.tables import Tables
from ebpf.verdict import Reason
from tests.ebpf.rig import SIZES


@pytest.fixture
def pin_dir(bpffs: Path) -> Iterator[Path]:
    directory = bpffs / "loader" / "v1"
    pins.ensure_maps(directory, SIZES)
    yield directory
    pins.unpin(directory)


@pytest.fixture(scope="module")
def kept(bpffs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache in which the programs are."""
    directory = bpffs / "kept" / "v1"
    pins.ensure_maps(directory, SIZES)
    cache = tmp_path_factory.mktemp("cache") / "programs"
    loader.load_kept(directory, cache).close()
    pins.unpin(directory)
    return cache


def test_a_program_that_does_not_compile(pin_dir: Path) -> None:
    for mistake, said in {
        "return undeclared;": "use of undeclared identifier 'undeclared'",
        "int unused; return 0;": "unused variable 'unused' [-Werror",
    }.items():
        with pytest.raises(CompileError) as refusal:
            loader.load(pin_dir, extra=f"int broken(struct xdp_md *ctx) {{ {mistake} }}")
        assert said in refusal.value.output
        assert said in str(refusal.value)


def test_a_program_that_the_kernel_refuses(pin_dir: Path) -> None:
    extra = "int wild(struct xdp_md *ctx) { return *(int *)(long)ctx->data; }"
    with pytest.raises(VerifierError) as refusal:
        loader.load(pin_dir, extra=extra, names=("wild",))
    assert "invalid access to packet" in refusal.value.log
    assert "invalid access to packet" in str(refusal.value)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A copy of the program, to make mistakes in."""
    return Path(shutil.copytree(loader.PROGRAM_DIR, tmp_path / "prog")) / loader.SOURCE.name


def insert(file: Path, function: str, statement: str) -> str:
    """Put a statement at the beginning of a function; where it is then, as errors have it."""
    lines = file.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if f" {function}(" in line and line[:1].strip())
    at = lines.index("{", start) + 1
    file.write_text("\n".join([*lines[:at], statement, *lines[at:], ""]))
    return f"{file.name}:{at + 1}"


PLACES = (
    ("relay_xdp.c", "vp_process"),
    ("locate.h", "vp_locate4"),
    ("forward.h", "vp_send"),
    ("parse.h", "vp_parse_l2"),
    ("tasks.h", "voxpop_index"),
)


@pytest.mark.parametrize(("file", "function"), PLACES, ids=[file for file, _ in PLACES])
def test_the_compiler_names_the_part(pin_dir: Path, program: Path, file: str, function: str) -> None:
    place = insert(program.with_name(file), function, "\tundeclared = 1;")
    with pytest.raises(CompileError) as refusal:
        loader.load(pin_dir, program=program)
    assert f"\n{place}:2: error: use of undeclared identifier" in f"\n{refusal.value.output}"
    assert loader.JOINED not in refusal.value.output


@pytest.mark.parametrize(("file", "function"), PLACES, ids=[file for file, _ in PLACES])
def test_the_verifier_names_the_part(pin_dir: Path, program: Path, file: str, function: str) -> None:
    """Inlined or not. Kernels since 6.10 say file and line, which must be of the mistake; all show the text,
    without its indent.
    """
    wild = "*(volatile __u8 *)0xbad;"
    place = insert(program.with_name(file), function, f"\t{wild}")
    with pytest.raises(VerifierError) as refusal:
        loader.load(pin_dir, program=program)
    said = [line for line in refusal.value.log.splitlines() if line.startswith(f"; {wild}")]
    assert said
    assert all(line.endswith((f" @ {place}", wild)) for line in said)


def test_missing_headers_are_said_before_bcc_is_asked(pin_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(headers.ENVIRONMENT, "/nowhere")
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("", "", "0.0", "", "")))
    with pytest.raises(HeadersError):
        loader.load(pin_dir)


@pytest.mark.usefixtures("kept")  # by whatever stays open once BCC was here
def test_loading_leaves_no_descriptor_and_no_environment(pin_dir: Path) -> None:
    """BCC keeps descriptors of its own for the maps; they go when it does."""
    before = os.environ.copy()
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    loader.load(pin_dir).close()
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
    assert os.environ.copy() == before


def test_pinning_replaces(kept: Path, pin_dir: Path) -> None:
    pinned = []
    for _ in range(2):
        loaded = loader.load_kept(pin_dir, kept)
        loader.pin(loaded, pin_dir)
        loaded.close()
        fd = pins.open_pinned_program(pin_dir, Program.BACKBONE)
        pinned.append(program_info(fd).id)
        os.close(fd)
    assert pinned[0] != pinned[1]
    names = {path.name for path in pin_dir.iterdir()}
    assert names == {*loader.Program, *pins.entries(SIZES)}


def tags(loaded: Loaded) -> dict[str, str]:
    """What the kernel calls the instructions."""
    return {name: program_info(fd).tag for name, fd in loaded.fds.items()}


def passed(directory: Path) -> int:
    """Packets that no program here has anything to do with, as its counters have it."""
    tables = Tables(directory)
    counts = [count[Reason.PASS_NOT_IP].packets for count in tables.counts().values()]
    tables.close()
    return sum(counts)


def test_what_is_kept_is_what_is_compiled(
    kept: Path, pin_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Instruction by instruction; and it works with the maps that are pinned now."""
    before = [(path, path.stat().st_mtime_ns) for path in kept.iterdir()]
    caplog.set_level("INFO")
    again = loader.load_kept(pin_dir, kept)
    assert "loaded what was compiled before" in caplog.text
    assert [(path, path.stat().st_mtime_ns) for path in kept.iterdir()] == before
    fresh = loader.load(pin_dir)
    assert tags(again) == tags(fresh)
    assert again.fds.keys() == fresh.fds.keys() == set(Program)
    fresh.close()
    testrun.run(again.fds[Program.BACKBONE], bytes(64))
    assert passed(pin_dir) == 1
    again.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(again.fds[Program.BACKBONE])


def test_another_text_is_compiled(kept: Path, pin_dir: Path, program: Path) -> None:
    insert(program, "vp_process", "\tundeclared = 1;")
    with pytest.raises(CompileError):
        loader.load_kept(pin_dir, kept, program=program)
    assert len(list(kept.iterdir())) == 1


def test_what_the_verifier_refuses_is_compiled_anew(
    kept: Path, pin_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (key,) = (path.name for path in kept.iterdir())
    cache = tmp_path / "cache"
    nothing = Compiled(bytes(8), (), "GPL")
    compiled.write(cache, key, dict.fromkeys(Program, nothing))
    loaded = loader.load_kept(pin_dir, cache)
    assert "is of no use, and is compiled anew: cannot load voxpop_public" in caplog.text
    loaded.close()
    assert compiled.read(cache, key) == compiled.read(kept, key)


def test_a_cache_that_others_can_write_is_not_used(
    kept: Path, pin_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = Path(shutil.copytree(kept, tmp_path / "cache"))
    cache.chmod(0o777)
    loader.load_kept(pin_dir, cache).close()
    assert [record.message.partition(",")[0] for record in caplog.records] == [
        "what was compiled before is of no use",
        f"what was compiled is not kept for the next time: {cache} can be written by others than user 0",
    ]


def test_nothing_but_the_loader_starts_llvm() -> None:
    """Inspection and the relay import everything but the loader, and get by without BCC."""
    modules = [
        p.stem for p in loader.SOURCE.parent.parent.glob("*.py") if p.stem not in ("loader", "__init__")
    ]
    script = f"""
        import sys
        import {", ".join(f"ebpf.{module}" for module in modules)}
        assert "bcc" not in sys.modules
        import ebpf.loader
        assert "bcc" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)


def test_from_nothing_to_loaded(bpffs: Path, say: Callable[[str], None]) -> None:
    """Header tree, compile and load, in a process of its own as `voxpop dataplane` is. What it may take is
    for `make bench ONLY=load`.
    """
    directory = bpffs / "fresh" / "v1"
    script = f"""
        import resource
        from pathlib import Path
        from ebpf import loader
        from ebpf import pins
        pins.ensure_maps(Path({str(directory)!r}), pins.Sizes())
        loaded = loader.load(Path({str(directory)!r}))
        assert set(loaded.fds) == set(loader.Program)
        used = resource.getrusage(resource.RUSAGE_SELF)
        print(used.ru_utime + used.ru_stime)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    pins.unpin(directory)
    say(f"from nothing to loaded: {float(done.stdout):.1f} s of CPU")
