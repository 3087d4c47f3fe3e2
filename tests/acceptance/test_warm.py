"""What Ansible takes for Python on emulated machines is one, in all that a module can see."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance import warm
from tests.processes import end

MODULE = """\
import os, subprocess, sys, zipimport
sys.path.insert(0, {archive!r})
import payload
print(__name__, sys.argv, os.getcwd(), os.environ.get("GIVEN"), repr(sys.stdin.read()), payload.VALUE)
sys.stdout.flush()
subprocess.run(["sh", "-c", "echo of a child; exit 5"])
print("a complaint", file=sys.stderr)
sys.exit(3)
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The launcher, with a server that answers it."""
    folder = tmp_path_factory.mktemp("warm")
    warm.build(folder / "python3", str(folder / "socket"))
    words = [sys.executable, str(warm.GUEST / "warm_python.py"), str(folder / "socket"), str(folder / "kept")]
    server = subprocess.Popen(words)
    try:
        while not (folder / "socket").exists():
            assert server.poll() is None
        yield folder / "python3"
    finally:
        end(server, signal.SIGTERM)


def _run(python: Path, source: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python], input=source, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def test_a_module_sees_what_python_would_show_it(python: Path, tmp_path: Path) -> None:
    archive = str(tmp_path / "archive.zip")
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("payload.py", "VALUE = 42\n")
    shown = f"__main__ [''] {tmp_path} a value '' 42\nof a child\n"
    path = os.environ["PATH"]
    for _ in range(2):  # compiled, and found compiled
        done = _run(python, MODULE.format(archive=archive), tmp_path, GIVEN="a value", PATH=path)
        assert (done.returncode, done.stdout, done.stderr) == (3, shown, "a complaint\n")
    assert len(list((python.parent / "kept").iterdir())) == 1


def test_what_it_is_left_by_is_its_own(python: Path, tmp_path: Path) -> None:
    _run(python, "import os; os.chdir('/'); os.environ['LEFT'] = 'x'", tmp_path)
    done = _run(python, "import os; print(os.getcwd(), 'LEFT' in os.environ)", tmp_path)
    assert done.stdout == f"{tmp_path} False\n"


@pytest.mark.parametrize(
    ("source", "status", "said"),
    [
        ("raise SystemExit", 0, ""),
        ("raise SystemExit('no')", 1, "no"),
        ("1 / 0", 1, "ZeroDivisionError"),
        ("import os; os.kill(os.getpid(), 9)", 1, ""),
    ],
    ids=["exit", "message", "exception", "killed"],
)
def test_how_it_ends(python: Path, tmp_path: Path, source: str, status: int, said: str) -> None:
    done = _run(python, source, tmp_path)
    assert done.returncode == status
    assert said in done.stderr
