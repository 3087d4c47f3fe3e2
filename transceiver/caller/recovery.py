"""Bringing a call back whose way is lost, another interface having come say: ICE restarts, a few, ever later.

disconnected ──PATCH──▶ new credentials ──answered check──▶ connected
     └───pause ◀── no answer, or the network is not there yet
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging

from yarl import URL

from core.errors import SdpError
from transceiver.caller.api import SignalingClient
from transceiver.caller.credentials import fresh_credentials
from transceiver.caller.errors import CallError, RestartRefusedError
from transceiver.caller.transport import Transport
from transceiver.sdp import LocalDescription, build_restart, parse_restarted_untrusted

PAUSES_S = (0.0, 1.0, 2.0, 4.0, 8.0, 8.0)
"""Before each try; there are no more for a way that is lost, as consent ends after 30 s (RFC 7675 §5.1)."""

SETTLE_S = 1.0
"""From one way to the next search, so that one which comes and goes does not keep the server busy."""

log = logging.getLogger(__name__)


async def keep_connected(
    api: SignalingClient, location: URL, local: LocalDescription, transport: Transport
) -> None:
    """Restart ICE whenever the way is lost, until it is cancelled."""
    while True:
        await transport.disconnected.wait()
        await _restart(api, location, local, transport)
        await transport.connected.wait()
        await asyncio.sleep(SETTLE_S)


async def _restart(
    api: SignalingClient, location: URL, local: LocalDescription, transport: Transport
) -> None:
    for pause_s in PAUSES_S:
        if await _is_connected_within(pause_s, transport) or transport.ended.done():
            return
        anew = dataclasses.replace(local, **fresh_credentials())
        try:
            fragment = await api.restart_ice(location, build_restart(anew))
            transport.restart_ice(anew, parse_restarted_untrusted(fragment))
        except RestartRefusedError as error:
            log.warning("%s", error)
            if error.is_gone:
                transport.end("the server does not know this call any more")
            return
        except (CallError, SdpError) as error:
            log.warning("%s", error)


async def _is_connected_within(seconds: float, transport: Transport) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await transport.connected.wait()
    except TimeoutError:
        return False
    return True
