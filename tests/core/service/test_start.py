"""A worker from before its first import."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from core.service import launch
from core.service.exhausted import NO_MEMORY
from tests.core.service.little_memory import least_memory
from tests.paths import ROOT

PATIENCE_S = 60.0


def start(
    *words: str, cwd: Path = ROOT, memory: int | None = None, patience_s: float = PATIENCE_S
) -> subprocess.CompletedProcess[str]:
    def limit() -> None:
        if memory is not None:
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))

    command = [sys.executable, "-P", str(launch.START), *words]
    return subprocess.run(
        command,
        cwd=cwd,
        env={"PYTHONPATH": str(cwd)},
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=patience_s,
        check=False,
    )


def test_it_is_the_module_with_its_own_arguments(tmp_path: Path) -> None:
    (tmp_path / "some.py").write_text("import sys; print(__name__, sys.argv[1:]); sys.exit(7)")
    done = start("some", "--index=3", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (7, "__main__ ['--index=3']\n")


@pytest.fixture(scope="module")
def little(tmp_path_factory: pytest.TempPathFactory) -> int:
    """Bytes of memory in which the first lines run, which nobody can guard, and not much more."""
    folder = tmp_path_factory.mktemp("nothing")
    (folder / "nothing.py").touch()
    return least_memory(
        lambda memory, patience_s: start("nothing", cwd=folder, memory=memory, patience_s=patience_s)
    )


@pytest.mark.parametrize("module", ["edge.host.worker", "transceiver.host.worker"])
def test_a_worker_that_cannot_load_its_libraries_is_a_sentence(module: str, little: int) -> None:
    done = start(module, memory=little)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{module}: {NO_MEMORY}\n")


def test_mistakes_of_ours_are_tracebacks(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text("import no_such_module")
    done = start("wrong", cwd=tmp_path)
    assert done.returncode == 1
    assert "ModuleNotFoundError" in done.stderr
