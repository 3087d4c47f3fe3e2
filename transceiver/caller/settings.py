"""What `voxpop call` asks of the agent when it is not told: an answer as soon as a turn may have ended."""

from __future__ import annotations

from collections.abc import Mapping

from yarl import URL

from transceiver.caller.api import CALLS_PATH

QUICK_SILENCE_MS = 160
"""Silence that ends a turn. Longer than the closures inside words and most gaps between them, and short
enough that an answer can be heard within `report.RESPONSE_BAR_MS`; the API's default is 500 ms.
"""


def with_quick_turns(session: Mapping[str, object]) -> Mapping[str, object]:
    """The session settings with a `turn_detection` of our own, unless they speak of it at either of the
    places that the protocol has had for it. Settings of another shape stay as they are, for the server
    to judge.
    """
    audio = session.get("audio", {})
    source = audio.get("input", {}) if isinstance(audio, Mapping) else None
    if not isinstance(audio, Mapping) or not isinstance(source, Mapping):
        return session
    if "turn_detection" in session or "turn_detection" in source:
        return session
    quick = {"type": "server_vad", "silence_duration_ms": QUICK_SILENCE_MS}
    return (
        {"type": "realtime"}
        | dict(session)
        | {"audio": {**audio, "input": {**source, "turn_detection": quick}}}
    )


def probe_session(url: URL, session: Mapping[str, object]) -> Mapping[str, object]:
    """What goes along with the offer. Any other path than that of the Realtime API's calls may be a WHIP
    endpoint, which takes an offer and nothing beside it (RFC 9725 §4.2): there only what was given goes.
    """
    return with_quick_turns(session) if url.path.rstrip("/") == CALLS_PATH else session
