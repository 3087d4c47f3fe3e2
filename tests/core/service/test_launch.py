"""Children run our code with what they need, wherever they are started and whatever is in the environment."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.service import launch, process
from tests.core.service.tiny_kit import PATIENCE_S, Tiny
from tests.paths import ROOT
from tests.sources import PARTS

STARTS = {"run", "Popen", "check_output", "check_call", "call", "create_subprocess_exec"}
"""Of subprocess and asyncio, with a list of words."""
NAMES_PYTHON = {"core/service/launch.py", "edge/health/handover.py"}
NEVER = {"create_subprocess_shell", "system", "popen", "posix_spawn", "posix_spawnp", "fork", "forkpty"}
BECOMES = {"edge/lab/cli.py", "edge/health/handover.py"}
"""`voxpop lab exec`, which becomes the command that its operator typed; a checker, which becomes what was
installed since by the command that it was started by, with its own environment.
"""
TRAPS = ("asyncio", "contextlib", "json", "logging", "uvloop", "core", "edge", "transceiver", "voxpop")
WORDS = "import json, os, sys; print(json.dumps([dict(os.environ), sys.path, sys.flags.isolated]))"


def calls(path: Path) -> Iterator[tuple[ast.Call, str, str]]:
    """Calls of attributes in a module, with the names of object and attribute."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node, ast.unparse(node.func.value), node.func.attr


def test_every_child_gets_its_environment_here() -> None:
    """And nothing but this module says which Python one is."""
    starts = 0
    for path in [*(ROOT / "voxpop.py",), *(each for part in PARTS for each in (ROOT / part).rglob("*.py"))]:
        where = str(path.relative_to(ROOT))
        assert "sys.executable" not in path.read_text() or where in NAMES_PYTHON, where
        assert "multiprocessing" not in path.read_text(), where
        for call, of, name in calls(path):
            assert name not in NEVER or of not in ("os", "asyncio"), f"{where}:{call.lineno}"
            assert not (of == "os" and name.startswith("exec")) or where in BECOMES, where
            if of in ("subprocess", "asyncio") and name in STARTS and (of, name) != ("asyncio", "run"):
                starts += 1
                environment = [ast.unparse(word.value) for word in call.keywords if word.arg == "env"]
                assert environment, f"{where}:{call.lineno} passes on all of our environment"
                assert environment[0].startswith("launch.environment("), f"{where}:{call.lineno}"
    assert starts >= 10


def found(command: list[str], **environment: str) -> tuple[dict[str, str], list[str], bool]:
    told = subprocess.run(command, env=launch.environment(environment), capture_output=True, check=True)
    return tuple(json.loads(told.stdout))


def test_a_child_has_what_it_needs_and_what_its_operator_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    for name in (
        "PYTHONPATH",
        "PYTHONSTARTUP",
        "PYTHONHOME",
        "NOTIFY_SOCKET",
        "VOXPOP_API_KEY",
        "OPENAI_API_KEY",
    ):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/ssl/own.pem")
    variables, path, is_isolated = found(launch.python("-c", WORDS), MORE="here")
    assert is_isolated
    assert not {str(elsewhere), "/nowhere"} & set(path)
    assert variables["PATH"] == os.environ["PATH"]
    assert (variables["LC_ALL"], variables["SSL_CERT_FILE"]) == ("C.UTF-8", "/etc/ssl/own.pem")
    assert variables["MORE"] == "here"
    assert "/nowhere" not in variables.values()
    monkeypatch.setenv(launch.PASS_VARIABLE, "OPENAI_API_KEY ANOTHER")
    assert found(launch.python("-c", WORDS))[0]["OPENAI_API_KEY"] == "/nowhere"


@pytest.mark.parametrize("is_kept", [True, False])
def test_bytecode_is_kept_where_ours_is(monkeypatch: pytest.MonkeyPatch, is_kept: bool) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", not is_kept)
    assert ("-B" in launch.python()) is not is_kept


@pytest.fixture
def trapped(tmp_path: Path) -> Path:
    """A directory where modules lie that tell when they are run."""
    folder = tmp_path / "traps"
    folder.mkdir()
    for name in TRAPS:
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'a').write({name!r})\n")
    return folder


def sprung(folder: Path) -> str:
    told = folder.parent / "sprung"
    return told.read_text() if told.exists() else ""


def test_a_daemon_and_its_workers_run_nothing_of_where_they_are_started(
    trapped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor of where a variable of Python's says."""
    tiny = Tiny(tmp_path)
    monkeypatch.chdir(trapped)
    monkeypatch.setenv("PYTHONPATH", str(trapped))
    child = tiny.spawn()
    try:
        process.until_ready(child, tiny.status)
        assert len(process.tree(child.popen.pid)) > 1
    finally:
        process.end(child, signal.SIGINT)
    assert sprung(trapped) == ""


@pytest.mark.parametrize(
    "command", [("-m", "voxpop"), (str(Path(sys.prefix, "bin", "voxpop")),)], ids=["module", "command"]
)
def test_a_verb_runs_nothing_of_where_it_is_typed(trapped: Path, command: tuple[str, ...]) -> None:
    if command[0] == "-m":  # Python itself looks there on its way to a module of ours
        (trapped / "contextlib.py").unlink()
        (trapped / "voxpop.py").unlink()
    done = subprocess.run(
        [sys.executable, *command, "keys", "new", "keys.toml"],
        cwd=trapped, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert (done.returncode, sprung(trapped)) == (0, ""), done.stderr


def test_a_checkout_has_its_own_code_in_its_children(tmp_path: Path) -> None:
    """And not what is installed."""
    for name in ("launch.py", "start.py", "exhausted.py", "__init__.py"):
        (tmp_path / "core" / "service").mkdir(parents=True, exist_ok=True)
        (tmp_path / "core" / "service" / name).write_text((ROOT / "core" / "service" / name).read_text())
    (tmp_path / "core" / "__init__.py").touch()
    (tmp_path / "core" / "marked.py").write_text("import core; print(core.__file__)")
    code = "from core.service import launch; import subprocess; subprocess.run(launch.module('core.marked'))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(tmp_path / "core" / "__init__.py")
