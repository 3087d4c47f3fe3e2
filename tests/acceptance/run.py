"""`make acceptance`: the whole of it on virtual machines of Debian, step by step, as a table.

    python -m tests.acceptance.run [--bundle FILE] [--from STEP] [--only STEP…]

Without options from nothing. `--from` and `--only` find the machines as the last run left them.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from core.errors import VoxpopError
from tests.acceptance.errors import UnmetError
from tests.acceptance.play import STEPS, Step
from tests.acceptance.scene import Folders, Scene, folders, needs
from tests.acceptance.steps import Done, UnknownStepError, chosen, from_text, lacking, table, to_text
from tests.paths import ROOT

STATE = "state.json"
NAMES = [step.name for step in STEPS]


def main(argv: list[str]) -> int:
    """Exit status 0 when every step went well, 1 when one did not, 130 when interrupted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--bundle", type=Path, help="what `make bundle` has made; default: the newest in dist"
    )
    parser.add_argument("--from", dest="first", help="the first step to play")
    parser.add_argument("--only", nargs="+", default=[], help="the steps to play")
    arguments = parser.parse_args(argv)
    try:
        to_play = chosen(NAMES, arguments.first, arguments.only)
    except UnknownStepError as error:
        parser.error(str(error))
    if (missing := needs()) is not None:
        sys.exit(missing)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    where = folders()
    try:
        with _alone(where):
            return _run(where, arguments.bundle or _newest_bundle(), to_play)
    except KeyboardInterrupt:
        return 130


def _newest_bundle() -> Path:
    found = max((ROOT / "dist").glob("voxpop-*.tar"), key=lambda file: file.stat().st_mtime, default=None)
    if found is None:
        sys.exit("there is no bundle in dist: `make bundle`")
    return found


@contextlib.contextmanager
def _alone(where: Folders) -> Iterator[None]:
    """One run at a time: namespaces and machines have their names from what they are."""
    where.images.mkdir(parents=True, exist_ok=True)
    with (where.images / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("another run of `make acceptance` is under way")
        yield


def _run(where: Folders, bundle: Path, to_play: list[str]) -> int:
    bundle = bundle.absolute()
    state = where.run / STATE
    if to_play == NAMES:
        shutil.rmtree(where.run, ignore_errors=True)
    where.run.mkdir(parents=True, exist_ok=True)
    done = from_text(state.read_text()) if state.exists() else {}
    if before := lacking(NAMES, to_play, done):
        print(
            f"{', '.join(before)} not played yet: the machines may lack what {to_play[0]} needs",
            file=sys.stderr,
        )
    failed = _play(where, bundle, to_play, done)
    print(table(NAMES, done, failed))
    print(f"consoles, journals and logs: {where.run}")
    return 0 if failed is None else 1


def _play(where: Folders, bundle: Path, to_play: list[str], done: dict[str, Done]) -> str | None:
    """The step that failed."""
    scene = Scene(where, bundle)
    with ThreadPoolExecutor() as pool, scene.playing():
        beside: dict[str, Future[str]] = {}
        for step in (step for step in STEPS if step.name in to_play):
            if step.name != STEPS[0].name and not beside:  # which makes the disks
                beside = {
                    each.name: pool.submit(each.play, scene) for each in STEPS if _is_beside(each, to_play)
                }
            _tell(f"{step.name} …")
            done.pop(step.name, None)
            began = time.monotonic()
            try:
                found = beside[step.name].result() if step.is_beside else step.play(scene)
            except (UnmetError, VoxpopError) as error:
                _tell(f"{step.name}: {error}")
                return step.name
            done[step.name] = Done(time.monotonic() - began, found)
            _tell(f"{step.name}: {done[step.name].seconds:.0f} s, {found}")
            (where.run / STATE).write_text(to_text(done))
    return None


def _is_beside(step: Step, to_play: list[str]) -> bool:
    return step.is_beside and step.name in to_play


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
