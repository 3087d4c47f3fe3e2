"""Two PoPs in front of one cluster: a caller takes the nearest that answers, and moves when it dies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from core.addr import Endpoint
from tests.e2e.kit import PATIENT_HOST, callers, is_answered
from transceiver.demo.host import CONFIG_FILE, KEYS_FILE, Daemon, HostPlan, LocalHost, plan_host

pytestmark = pytest.mark.slow

FAR_POP = "far"


class TwoPops:
    """A host, and a second relay that answers name behind the first."""

    def __init__(self, folder: Path) -> None:
        plan = plan_host(transceiver_settings=PATIENT_HOST)
        self.far_plan: HostPlan = plan_host()
        self.host = LocalHost(plan, folder)
        self.near: Endpoint = plan.vips[0]
        self.far: Endpoint = self.far_plan.vips[0]
        far_folder = folder / FAR_POP
        far_folder.mkdir()
        self.far_relay = Daemon("relay", far_folder, self.far_plan.relay_metrics, verbose=False)
        keys = far_folder / KEYS_FILE
        keys.write_bytes((folder / KEYS_FILE).read_bytes())
        keys.chmod(0o600)
        (far_folder / CONFIG_FILE).write_text(_led_to(plan, self.far_plan))
        with (folder / CONFIG_FILE).open("a") as config:
            config.write(f'\n[[pop]]\nid = "{FAR_POP}"\nvips = {json.dumps([str(self.far)])}\n')


def _led_to(near: HostPlan, far: HostPlan) -> str:
    """The far relay's configuration, with the cluster of the near host."""
    text = far.config()
    ports = f"ports = {json.dumps(far.ports)}"
    assert ports in text
    return text.replace(ports, f"ports = {json.dumps(near.ports)}")


async def until_near_is_known(plan: HostPlan) -> None:
    """All start at once, and a relay that was not there yet when it was first asked is left out for 2 s."""
    while not all([await _near_state(plan) == "ready" for _ in range(4)]):  # noqa: ASYNC110 - of a process
        await asyncio.sleep(0.05)


async def _near_state(plan: HostPlan) -> str:
    async with aiohttp.ClientSession() as http, http.get(f"{plan.url}/v1/pops") as response:
        near, _ = await response.json()
        return str(near["state"])


@asynccontextmanager
async def two_pops(folder: Path) -> AsyncIterator[TwoPops]:
    """Both relays and the transceiver, ready."""
    pops = TwoPops(folder)
    try:
        await asyncio.gather(pops.host.start(), pops.far_relay.start())
        await until_near_is_known(pops.host.plan)
        yield pops
    finally:
        await asyncio.gather(pops.host.stop(), pops.far_relay.stop())


def test_the_nearest_is_used_while_it_answers(tmp_path: Path) -> None:
    async def run() -> None:
        async with two_pops(tmp_path) as pops, callers(pops.host) as crowd:
            call = crowd.call()
            await call.connect()
            await call.look_up_pop()
            assert call.transport is not None
            assert call.transport.ice.selected == pops.near
            assert call.record.pop is not None
            assert call.record.pop.id == "demo"
            await is_answered(call)

    asyncio.run(run())


def test_a_dead_pop_is_passed_over(tmp_path: Path) -> None:
    async def run() -> None:
        async with two_pops(tmp_path) as pops, callers(pops.host) as crowd:
            await pops.host.relay.stop()
            call = crowd.call()
            await call.connect()
            assert call.transport is not None
            assert call.transport.ice.selected == pops.far
            await is_answered(call)

    asyncio.run(run())


def test_a_pop_that_dies_mid_call_loses_its_callers_to_the_other(
    tmp_path: Path, say: Callable[[str], None]
) -> None:
    async def run() -> None:
        async with two_pops(tmp_path) as pops, callers(pops.host) as crowd:
            call = crowd.call()
            await call.connect()
            await is_answered(call)
            await pops.host.relay.stop()
            transport = call.transport
            assert transport is not None
            await transport.next_audio()
            assert transport.ice.selected == pops.far
            # By a check on the other candidate, by an ICE restart that came first, or by one after the other.
            assert max(transport.moves, transport.restarts) == 1
            gap_ms = transport.gaps.longest_ns / 1e6
            say(f"PoP gone for good: audio back through another after {gap_ms:.0f} ms")
            await is_answered(call)

    asyncio.run(run())
