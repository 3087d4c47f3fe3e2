"""Our own backends as the registry names them: their settings, and what to import once one is built.

The supervisor and `voxpop config check` judge settings and build nothing.
"""

from __future__ import annotations

from transceiver.backends.base import BackendFactory, BackendType
from transceiver.backends.realtime.settings import RealtimeSettings
from transceiver.turns.settings import ServerVad


def _parrots(defaults: ServerVad) -> BackendFactory:
    from transceiver.backends.parrot import Parrots  # with numpy, and the VAD in C

    return Parrots(defaults)


def _remote(settings: RealtimeSettings) -> BackendFactory:
    from transceiver.backends.realtime.backend import RemoteBackends  # with aiohttp, numpy and soxr

    return RemoteBackends(settings)


PARROT = BackendType(ServerVad, _parrots)
"""[backend.parrot] has the members of `turn_detection`, as the operator would have them."""
REALTIME = BackendType(RealtimeSettings, _remote)
"""Whatever speaks the Realtime protocol over a WebSocket."""
