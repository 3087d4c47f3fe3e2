"""core.service.shortage: loops in which memory lacks, once and again and again."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Callable

import pytest
import uvloop

from core.service.exhausted import NO_MEMORY
from core.service.shortage import AT_MOST, SAY_NS, WITHIN_NS, Shortage, bearing_shortage
from tests.paths import ROOT

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def ask_for_too_much() -> None:
    bytes(1 << 62)


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Callable[..., None]:
    def run_it(work: Callable[[], object]) -> None:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.run(bearing_shortage(work()))  # type: ignore[arg-type]

    return run_it


def test_an_error_is_a_sentence_and_the_rest_goes_on(
    run: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    done: list[str] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(AT_MOST):
            loop.call_soon(ask_for_too_much)
        loop.call_soon(done.append, "another")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        done.append("the work")

    run(work)
    assert done == ["another", "the work"]
    (record,) = caplog.records
    assert record.message == f"something was not done: {NO_MEMORY}"
    assert record.exc_info is None, "no traceback"


def test_where_it_does_not_pass_the_work_may_say_goodbye_and_ends(run: Callable[..., None]) -> None:
    said = []

    async def work() -> None:
        loop = asyncio.get_running_loop()
        try:
            for _ in range(AT_MOST + 1):
                loop.call_soon(ask_for_too_much)
            await loop.create_future()
        finally:
            await asyncio.sleep(0)
            said.append("goodbye")

    with pytest.raises(MemoryError):
        run(work)
    assert said == ["goodbye"]


def test_what_the_work_raises_is_raised_and_other_errors_are_told_as_ever(
    run: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 // 0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        run(work)
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


def test_a_worker_says_goodbye_and_one_sentence_and_ends() -> None:
    """As it is started by a supervisor, which replaces it."""
    script = """
import asyncio, os, socket
from core.service.supervisor import CONTROL_FD_VARIABLE
from core.service.worker import WorkerArguments, run
ours, theirs = socket.socketpair()
os.environ[CONTROL_FD_VARIABLE] = str(theirs.detach())
async def work(arguments, control):
    for _ in range(100):
        asyncio.get_running_loop().call_soon(lambda: bytes(1 << 62))
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        print("goodbye")
cpu = min(os.sched_getaffinity(0))
options = ["name=x", "index=0", "count=1", f"cpu={cpu}", "log-level=info", "log-format=text"]
run(WorkerArguments, [f"--{option}" for option in options], work)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (1, "goodbye\n")
    first, last = done.stderr.splitlines()
    assert first.endswith(f"something was not done: {NO_MEMORY}")
    assert last.endswith(NO_MEMORY)


def test_errors_that_are_far_between_are_borne_and_said_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shortage = Shortage()
    pause_ns = WITHIN_NS // AT_MOST + 1
    with caplog.at_level(logging.ERROR):
        assert not any(shortage.note("s", number * pause_ns) for number in range(1000))
    assert len(caplog.records) == -(-1000 * pause_ns // SAY_NS)
    soon_ns = 1000 * pause_ns
    assert any(shortage.note("s", soon_ns + number) for number in range(AT_MOST + 1))
