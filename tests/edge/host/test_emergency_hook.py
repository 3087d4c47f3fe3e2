"""What an operator's program is told, and that it cannot hold anything up."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from edge.host.emergency_hook import EmergencyHook
from edge.relay.emergency import EmergencyCause
from tests.edge.kit import PATIENCE_S

LOAD = EmergencyCause.LOAD
IDENTITY = {"VOXPOP_POP": "fra", "VOXPOP_VIPS": "198.51.100.1:3478"}


def a_program(folder: Path, body: str, mode: int = 0o700) -> Path:
    path = folder / "hook"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(mode)
    return path


def running(
    path: Path, scenario: Callable[[EmergencyHook], Awaitable[None]], timeout_s: float = 30.0
) -> None:
    async def run() -> None:
        hook = EmergencyHook(IDENTITY, timeout_s)
        hook.path = str(path)
        task = asyncio.create_task(hook.run())
        try:
            async with asyncio.timeout(PATIENCE_S):
                await scenario(hook)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - of another process
        await asyncio.sleep(0.01)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_it_is_told_what_has_changed_and_nothing_of_our_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXPOP_STORE_PASSWORD", "hidden")
    told = tmp_path / "told"
    program = a_program(tmp_path, f'{{ echo "argument=$*"; pwd; env; }} > {told}.new; mv {told}.new {told}')

    async def scenario(hook: EmergencyHook) -> None:
        hook.call(LOAD, None, 50_000)
        await until(told.exists)
        assert {"argument=raised", "/", "VOXPOP_EMERGENCY=raised", "VOXPOP_EMERGENCY_BY=load"} <= set(
            lines(told)
        )
        assert {"VOXPOP_OVERRUN_PPS=50000", "VOXPOP_POP=fra", "VOXPOP_VIPS=198.51.100.1:3478"} <= set(
            lines(told)
        )
        assert not any("hidden" in line for line in lines(told))
        told.unlink()
        hook.call(None, LOAD, 0)
        await until(told.exists)
        assert {"argument=lowered", "VOXPOP_EMERGENCY=lowered", "VOXPOP_EMERGENCY_BY=load"} <= set(
            lines(told)
        )

    running(program, scenario)


def test_one_that_hangs_is_killed_with_what_it_has_started(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pids = tmp_path / "pids"
    program = a_program(tmp_path, f"sleep 600 & echo $! >> {pids}; wait")

    async def scenario(hook: EmergencyHook) -> None:
        hook.call(LOAD, None, 1)
        await until(lambda: "killed after 0.5 s" in caplog.text)
        (pid,) = map(int, lines(pids))
        await until(lambda: not Path(f"/proc/{pid}").exists() or "Z" in _state(pid))

    running(program, scenario, timeout_s=0.5)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


def test_of_changes_that_come_meanwhile_the_latest_is_told(tmp_path: Path) -> None:
    told, go = tmp_path / "told", tmp_path / "go"
    os.mkfifo(go)
    program = a_program(tmp_path, f"echo $1 $VOXPOP_OVERRUN_PPS >> {told}; cat {go} > /dev/null")

    async def scenario(hook: EmergencyHook) -> None:
        hook.call(LOAD, None, 1)
        await until(lambda: lines(told) == ["raised 1"])
        for number in (2, 3, 4):
            hook.call(None, LOAD, number)
            hook.call(LOAD, None, number)
        await asyncio.to_thread(go.write_text, "")
        await until(lambda: lines(told) == ["raised 1", "raised 4"])
        await asyncio.to_thread(go.write_text, "")

    running(program, scenario)


@pytest.mark.parametrize(
    ("mode", "body", "said"),
    [
        (0o702, "true", "others than root and user"),
        (0o600, "true", "Permission denied"),
        (0o700, "exit 3", "exit status 3"),
    ],
    ids=["writable by others", "not executable", "fails"],
)
def test_what_is_wrong_with_it_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, body: str, said: str
) -> None:
    caplog.set_level(logging.INFO)
    program = a_program(tmp_path, body, mode)

    async def scenario(hook: EmergencyHook) -> None:
        hook.call(LOAD, None, 1)
        await until(lambda: said in caplog.text)
        program.unlink()
        hook.call(None, LOAD, 1)  # and it goes on
        await until(lambda: "No such file or directory" in caplog.text)

    running(program, scenario)
