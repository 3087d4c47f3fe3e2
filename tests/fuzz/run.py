"""Fuzz every parser for a bounded time: `run.py SECONDS [NAME …]`, seconds for each harness.

A harness is a module `fuzz_NAME.py` beside this one. Its docstring states the invariant; its function
`test_one_input(data: bytes)` raises when the invariant does not hold. `corpus/fuzz_NAME/` has inputs to
start from, real ones where there are any; an input that breaks a harness is put there too, so that it
is tried by the tests (`test_corpus.py`) from then on. Exit status 1 when any harness was broken.

`run.py --minutes MINUTES` has half of that time for the harnesses, and half for the tests that are marked
`fuzz`, state machines and comparisons, which it runs again and again, each time with other inputs
(`tests/suite/fuzzing.py`). What breaks one of these is in its output, with the round to have it again.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import itertools
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PACKAGES = ["core", "ebpf", "edge", "transceiver"]
ROUND = "VOXPOP_FUZZ_ROUND"
GRACE_S = 120
"""For imports under instrumentation and for inputs under way when the time is over."""
INPUT_TIMEOUT_S = 10
MEMORY_MB = 2048


def harnesses() -> list[str]:
    """The names of all harness modules, ascending."""
    return sorted(path.stem for path in HERE.glob("fuzz_*.py"))


def corpus(name: str) -> Path:
    """Where the inputs of a harness are kept."""
    return HERE / "corpus" / name


def fuzz(name: str, seconds: int) -> None:
    """Fuzz one harness in this process, which libFuzzer ends."""
    import atheris

    with atheris.instrument_imports(include=PACKAGES):
        harness = importlib.import_module(f"tests.fuzz.{name}")
    corpus(name).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as found:
        arguments = [
            name,
            f"-max_total_time={seconds}",
            f"-timeout={INPUT_TIMEOUT_S}",
            f"-rss_limit_mb={MEMORY_MB}",
            f"-artifact_prefix={corpus(name)}/",
            "-print_final_stats=1",
            found,  # what is found on the way goes to the first directory, and is not kept
            str(corpus(name)),
        ]
        atheris.Setup(arguments, harness.test_one_input)
        atheris.Fuzz()


def say(line: str) -> None:
    """Tell whoever waits."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def run(name: str, seconds: int) -> bool:
    """Fuzz one harness in a process of its own and print the outcome; False when it was broken."""
    command = [sys.executable, __file__, "--here", str(seconds), name]
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds + GRACE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        say(f"{name}: did not end within {seconds + GRACE_S} s")
        return False
    executed = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    if done.returncode == 0 and executed:
        say(f"{name}: {int(executed[1]):,} inputs in {seconds} s")
        return True
    say(f"{name}: broken\n{done.stdout}{done.stderr}")
    return False


def run_marked(seconds: int) -> bool:
    """Run what is marked `fuzz` in rounds until the time is over; False when a round was broken."""
    deadline = time.monotonic() + seconds
    first = int(time.time()) // 60  # rounds of one run are not those of another
    for number in itertools.count(first):
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            break
        command = [sys.executable, "-m", "pytest", "-q", "-m", "fuzz", f"--hypothesis-seed={number}", "tests"]
        environment = os.environ | {ROUND: str(number)}
        done: subprocess.CompletedProcess[str] | None = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            done = subprocess.run(
                command,
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                timeout=left_s + GRACE_S,
                check=False,
            )
        if done is not None and done.returncode:
            say(f"round {number}: broken\n{done.stdout[-20_000:]}{done.stderr}")
            return False
        say(f"round {number}: {'not done in time' if done is None else done.stdout.splitlines()[-1]}")
    return True


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description="Fuzz every parser for a bounded time.")
    parser.add_argument("seconds", type=int, nargs="?", metavar="SECONDS", help="for each harness")
    parser.add_argument("--minutes", type=int, help="for all, and for the tests that are marked fuzz")
    parser.add_argument("names", nargs="*", metavar="NAME", help="harnesses, such as stun; all by default")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    names = [f"fuzz_{name.removeprefix('fuzz_')}" for name in arguments.names] or harnesses()
    unknown = set(names) - set(harnesses())
    if unknown:
        parser.error(f"no harness {', '.join(sorted(unknown))}; there are {', '.join(harnesses())}")
    if importlib.util.find_spec("atheris") is None:
        parser.error("atheris is not installed: `make fuzz` sets it up")
    if arguments.here:
        sys.path.insert(0, str(ROOT))
        fuzz(names[0], arguments.seconds)
        return 0
    if arguments.minutes is not None:
        half_s = arguments.minutes * 30
        is_whole = run_marked(half_s)
        broken = [name for name in names if not run(name, max(half_s // len(names), 1))]
        return 0 if is_whole and not broken else 1
    if arguments.seconds is None:
        parser.error("say SECONDS, or --minutes")
    broken = [name for name in names if not run(name, arguments.seconds)]
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
