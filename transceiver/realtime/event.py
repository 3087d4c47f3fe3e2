"""An event of the Realtime protocol as a value, and where it goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

Event = Mapping[str, object]
"""One message of the OpenAI Realtime event protocol, as decoded JSON with a `type`."""

EmitEvent = Callable[[Event], None]
"""Takes an event towards the client's `oai-events` channel; drops it, counted, when that is full or
not open."""
