"""`voxpop call` and `voxpop demo` as people and monitoring systems run them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from core.addr import Endpoint
from tests.e2e.kit import PATIENCE_S, metric, running, until
from tests.sound import SPEECH, likeness_in_pieces, read_wav, speech
from transceiver.caller.sound import default_recording
from transceiver.demo.host import CONFIG_FILE

pytestmark = pytest.mark.slow

START_S = 60.0


@asynccontextmanager
async def voxpop(*arguments: str | Path, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A `voxpop` command with its output piped; killed if it is still there in the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "voxpop", *map(str, arguments)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | environment,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def run(*arguments: str | Path, **environment: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a command."""
    async with voxpop(*arguments, **environment) as process, asyncio.timeout(START_S):
        out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()


def test_a_call_reports_its_numbers_and_records_the_answer(tmp_path: Path) -> None:
    async def check() -> None:
        async with running(tmp_path, processes=1) as host:
            heard = tmp_path / "heard.wav"
            command = ("call", host.plan.url, "--wav", SPEECH, "--out", heard, "--json", "--turns", "2")
            status, out, err = await run(*command)
            assert (status, err) == (0, "")
            report = json.loads(out)
            assert report["answered"]
            assert (report["pop"], report["forwarder"]) == ("demo", "userspace")
            assert report["vip"] in map(str, host.plan.vips)
            assert report["session"].startswith("rtc_")
            stages = [report["setup"][f"{stage}_ms"] for stage in ("signaling", "ice", "dtls", "audio")]
            assert all(value > 0 for value in stages)
            assert sum(stages) == pytest.approx(report["setup"]["total_ms"], abs=0.1)
            assert len(report["turns"]) == 2
            assert all(0 < turn["response_ms"] < PATIENCE_S * 1000 for turn in report["turns"])
            types = {event["type"] for event in report["events"]}
            assert {"session.created", "input_audio_buffer.speech_started"} <= types
            assert likeness_in_pieces(speech(), read_wav(heard)) > 0.5
            assert await metric(host.plan.transceiver_metrics, "voxpop_transceiver_sessions") == 0

    asyncio.run(check())


def test_a_call_by_ipv6(tmp_path: Path) -> None:
    async def check() -> None:
        async with running(tmp_path, processes=1) as host:
            six = [vip for vip in host.plan.vips if ":" in vip.host]
            if not six:
                pytest.skip("this machine has no ::1")
            name_vips(tmp_path / CONFIG_FILE, host.plan.vips, six)
            await host.transceiver.stop()
            await host.transceiver.start()
            status, out, _ = await run("call", host.plan.url, "--json")
            assert status == 0
            assert json.loads(out)["vip"] == str(six[0])

    asyncio.run(check())


def name_vips(config: Path, named: Sequence[Endpoint], wanted: Sequence[Endpoint]) -> None:
    """Let answers name other VIPs of the PoP than before."""
    before, after = (f"vips = {json.dumps([*map(str, vips)])}\nstatus" for vips in (named, wanted))
    text = config.read_text()
    assert before in text
    config.write_text(text.replace(before, after))


def test_an_api_key_comes_from_a_file_or_the_environment(tmp_path: Path) -> None:
    async def check() -> None:
        status, key, _ = await run("api-key", "new", tmp_path / "keys-of-callers.toml", "probe")
        assert status == 0
        (tmp_path / "key").write_text(key)
        settings = {"open": False, "api_keys_file": "keys-of-callers.toml"}
        async with running(tmp_path, transceiver=settings, processes=1) as host:
            status, _, err = await run("call", host.plan.url, VOXPOP_API_KEY="")
            assert status == 1
            assert "401" in err
            assert "--api-key-file" in err
            answered = await asyncio.gather(
                run("call", host.plan.url, VOXPOP_API_KEY=key.strip()),
                run("call", host.plan.url, "--api-key-file", tmp_path / "key"),
            )
            assert [status for status, _, _ in answered] == [0, 0]

    asyncio.run(check())


def test_interrupting_a_call_hangs_it_up(tmp_path: Path) -> None:
    async def check() -> None:
        async with running(tmp_path, processes=1) as host:
            metrics = host.plan.transceiver_metrics
            async with voxpop("call", host.plan.url, "--seconds", "120") as caller:
                while not await metric(metrics, "voxpop_transceiver_sessions", state="connected"):
                    assert caller.returncode is None
                    await asyncio.sleep(0.05)
                caller.send_signal(signal.SIGINT)
                out, _ = await caller.communicate()
                assert caller.returncode == 130
                assert b"interrupted" in out
            assert await metric(metrics, "voxpop_transceiver_sessions") == 0
            assert await metric(metrics, "voxpop_transceiver_sessions_ended_total", reason="hangup") == 1

    asyncio.run(check())


def test_a_crowd_is_told_line_by_line_while_it_lasts_and_hung_up_when_it_is_interrupted(
    tmp_path: Path,
) -> None:
    async def check() -> None:
        async with running(tmp_path) as host:
            metrics = host.plan.transceiver_metrics
            command = ("call", host.plan.url, "--calls", "4", "--seconds", "120", "--json")
            async with voxpop(*command) as crowd, asyncio.timeout(START_S):
                assert crowd.stdout is not None
                events = [json.loads(await crowd.stdout.readline()) for _ in range(5)]
                assert [event["event"] for event in events] == ["connected"] * 4 + ["all_connected"]
                assert {event["vip"] for event in events[:4]} <= {str(vip) for vip in host.plan.vips}
                assert await metric(metrics, "voxpop_transceiver_sessions", state="connected") == 4
                crowd.send_signal(signal.SIGUSR1)
                assert json.loads(await crowd.stdout.readline())["event"] == "rebound"
                crowd.send_signal(signal.SIGINT)
                out, err = await crowd.communicate()
            assert (crowd.returncode, err) == (130, b"")
            *reports, summary = [json.loads(line) for line in out.splitlines()]
            assert [report["event"] for report in reports] == ["report"] * 4
            assert {report["pop"] for report in reports} == {"demo"}
            assert (summary["connected"], summary["lost"]) == (4, 0)
            assert await metric(metrics, "voxpop_transceiver_sessions") == 0

    asyncio.run(check())


def children_of(process: asyncio.subprocess.Process) -> list[int]:
    """What a process has started itself."""
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def is_running(pid: int) -> bool:
    """Zombies, which wait for whoever adopted them, are not."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_nobody_there_is_one_line_and_status_1() -> None:
    status, _, err = asyncio.run(run("call", "http://127.0.0.1:9"))
    assert status == 1
    assert err.startswith("voxpop call: signaling: http://127.0.0.1:9")
    assert err.count("\n") == 1


def test_a_vip_where_nobody_answers_fails_at_ice(tmp_path: Path) -> None:
    async def check() -> None:
        async with running(tmp_path, processes=1) as host:
            await host.relay.stop()
            status, out, err = await run("call", host.plan.url, "--json")
            assert status == 1
            assert err.startswith("voxpop call: ice: no candidate answered")
            assert all(str(vip) in err for vip in host.plan.vips)
            assert json.loads(out)["setup"]["ice_ms"] is None
            assert await metric(host.plan.transceiver_metrics, "voxpop_transceiver_sessions") == 0

    asyncio.run(check())


def test_the_demo_places_a_call_and_leaves_nothing_behind(tmp_path: Path) -> None:
    status, out, err = asyncio.run(run("demo", "--no-lab", "--once", TMPDIR=str(tmp_path)))
    assert (status, err) == (0, "")
    assert "answered" in out
    assert "bar of 300" in out
    assert list(tmp_path.iterdir()) == []


def test_the_demo_serves_the_page_until_it_is_stopped(tmp_path: Path) -> None:
    async def check() -> None:
        async with (
            voxpop("demo", "--no-lab", "--port", "0", TMPDIR=str(tmp_path)) as demo,
            asyncio.timeout(START_S),
        ):
            assert demo.stdout is not None
            url = ""
            while "open http" not in url:
                url = (await demo.stdout.readline()).decode()
                assert url, "it ended before it served the page"
            children = children_of(demo)
            assert len(children) == 2
            page = url.split("open ")[1].split(",")[0]
            status, _, _ = await run("call", page)
            assert status == 0
            demo.send_signal(signal.SIGTERM)
            await demo.communicate()
            assert demo.returncode == 0
            assert not any(map(is_running, children))

    asyncio.run(check())
    assert list(tmp_path.iterdir()) == []


def test_a_killed_demo_takes_its_processes_along(tmp_path: Path) -> None:
    async def check() -> None:
        async with voxpop("demo", "--no-lab", "--port", "0", TMPDIR=str(tmp_path)) as demo:
            await until(lambda: len(children_of(demo)) == 2, "the demo has started both")
            children = children_of(demo)
            demo.kill()
            await until(lambda: not any(map(is_running, children)), "relay and transceiver have ended")

    asyncio.run(check())


def test_the_recording_that_comes_along_is_there() -> None:
    assert default_recording().is_file()
