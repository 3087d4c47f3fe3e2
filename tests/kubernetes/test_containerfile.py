"""The Containerfile: its steps. Those of Python are replayed here, all of them by `make container-check`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.kubernetes.containerfile import CONTAINERFILE, Copy, Run, Stage, copied, parse
from tests.paths import ROOT


def stages() -> list[Stage]:
    return parse(CONTAINERFILE.read_text())


def test_it_has_the_uv_of_the_makefile() -> None:
    (version,) = re.findall(r"^UV_VERSION := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    commands = [step.command for step in stages()[0].steps if isinstance(step, Run)]
    assert f".ci/get-uv {version}" in commands
    assert any(command.startswith(f".tools/uv-{version}/bin/uv sync ") for command in commands)


def test_all_that_a_wheel_is_made_of_goes_in_and_no_tests() -> None:
    sources = {source for step in stages()[0].steps if isinstance(step, Copy) for source in step.sources}
    assert {"core", "ebpf", "edge", "transceiver", "voxpop.py", "pyproject.toml", "uv.lock"} <= sources
    assert {"tests", "docs", "."} & sources == set()
    assert all((ROOT / source).exists() for source in sources)


def test_the_image_is_nobodys_root_and_has_one_command() -> None:
    image = stages()[-1]
    assert image.user.partition(":")[0] not in ("0", "root")
    assert image.entrypoint == ("voxpop",)
    assert stages()[0].image == image.image, "or the Python that it was made for is another"


@pytest.mark.parametrize("line", ["ADD x y", "HEALTHCHECK NONE", 'SHELL ["sh"]'])
def test_what_the_replay_does_not_know_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="is not known here"):
        parse(f"FROM debian\n{line}\n")


@pytest.mark.slow
def test_the_python_of_the_image_can_be_made_and_runs_by_itself(tmp_path: Path) -> None:
    """The steps of the first stage but the distribution's, in a folder in the place of the root."""
    replay(stages()[0], tmp_path)
    made = tmp_path / "opt" / "voxpop" / "bin"
    for arguments in (["--help"], ["config", "reference"]):
        ran = subprocess.run(
            [str(made / "voxpop"), *arguments], cwd="/", capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr
    where = [str(made / "python"), "-c", "import core, edge, transceiver; print(core.__file__)"]
    found = subprocess.run(where, cwd="/", capture_output=True, text=True, check=True).stdout
    assert Path(found.strip()).is_relative_to(tmp_path)
    listed = [str(made / "python"), "-c", "import importlib.util as u; print(u.find_spec('pytest'))"]
    assert subprocess.run(listed, cwd="/", capture_output=True, text=True, check=True).stdout == "None\n"


def replay(stage: Stage, root: Path) -> None:
    """COPY and RUN of a stage below `root`; what apt does is left out."""
    for step in stage.steps:
        if isinstance(step, Copy):
            for source, target in copied(step, ROOT, root):
                target.parent.mkdir(parents=True, exist_ok=True)
                if source.is_dir():
                    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(source, target)
        elif not step.command.startswith("apt-get "):
            own = {name: value.replace("/opt/", f"{root}/opt/") for name, value in step.environment.items()}
            folder = root / step.folder.lstrip("/")
            subprocess.run(["/bin/sh", "-c", step.command], cwd=folder, env=clean() | own, check=True)


def clean() -> dict[str, str]:
    """Of the environment, what a build has: not this checkout's."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("VIRTUAL_ENV", "PYTHON", "UV_PR"))
    }
