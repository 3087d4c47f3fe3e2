"""What client and backend have agreed on in one call: the session object of each, and the audio between us
and the backend. Sans-IO.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from core.errors import ConfigError
from transceiver.backends.realtime.audio import Uplink
from transceiver.backends.realtime.dialect import Dialect, session_update
from transceiver.backends.realtime.formats import AudioFormat, find_formats
from transceiver.backends.realtime.outbox import Outbox
from transceiver.realtime.event import Event
from transceiver.realtime.server_events import EventChannel
from transceiver.realtime.settings import SessionSettings, audio_side

logger = logging.getLogger(__name__)

MAX_UPDATES: Final = 8
"""That the backend has still to answer; each is a whole session object."""
KNOWN_BETTER: Final = ("model", "type", "tools", "instructions", "audio")
"""Of a backend's session object: what the client has said itself, or what is looked at member by member."""


@dataclass(frozen=True, slots=True)
class BridgePlan:
    """What is the same for all calls of a backend."""

    audio: AudioFormat
    dialect: Dialect
    has_own_turns: bool
    """Whether the backend tells turns apart."""
    limit_ms: int
    has_tone: bool
    """Whether the caller hears a tone while the backend is lost."""


class Update(NamedTuple):
    """A `session.update` that the backend has still to answer."""

    settings: SessionSettings
    by_client: bool


class Terms:
    """The session of one call; `settings` are what the client has asked for so far."""

    def __init__(
        self,
        plan: BridgePlan,
        session_id: str,
        settings: SessionSettings,
        channel: EventChannel,
        outbox: Outbox,
    ) -> None:
        self._plan = plan
        self._session_id = session_id
        self.settings = settings
        """As they are in force."""
        self._channel = channel
        self._outbox = outbox
        self._updates: OrderedDict[str, Update] = OrderedDict()
        self.given = plan.audio
        """What the backend's audio is."""
        self.uplink = Uplink(plan.audio)
        """Makes of the caller's audio what the backend takes."""

    def wire(self) -> dict[str, object]:
        """The session object that the client is shown."""
        return self.settings.wire(self._session_id)

    def begin(self) -> None:
        """Tell a backend that knows nothing yet."""
        self._update(self.settings.asked, Update(self.settings, by_client=False), None)

    def lost(self) -> None:
        """The backend is gone. What the client has asked for is in force; the next one will be told."""
        by_client = [update.settings for update in self._updates.values() if update.by_client]
        if by_client:
            self.settings = by_client[-1]
            self._channel.send("session.updated", session=self.wire())
        self._updates.clear()
        self.given = self._plan.audio
        self.uplink = Uplink(self._plan.audio)

    @property
    def oldest_update(self) -> str:
        """The id of the update that waits longest for an answer; empty where none does."""
        return next(iter(self._updates), "")

    def failed(self, event_id: str) -> None:
        """The backend refuses what was sent under that id, if that was an update."""
        self._updates.pop(event_id, None)

    def update_by_client(self, event: Event, is_lost: bool) -> None:
        """By the newest update that is under way, so that each keeps what the one before it has said."""
        session = event.get("session")
        newest = next(reversed(self._updates.values())).settings if self._updates else self.settings
        try:
            settings = newest.updated(session)
        except ConfigError as error:
            self._channel.refuse_settings(event, error)
            return
        assert isinstance(session, Mapping)
        if len(self._updates) == MAX_UPDATES:
            message = "The backend has not answered the updates before this one yet."
            self._channel.refuse(event, "too_many_updates", message)
            return
        if is_lost:
            self.settings = settings
            self._channel.send("session.updated", session=self.wire())
        else:
            self._update(settings.select(session), Update(settings, by_client=True), event)

    def _update(self, members: Event, update: Update, event: Event | None) -> None:
        session = session_update(self._for_backend(members), self._plan.audio, self._plan.dialect)
        if event is None:
            sent = self._outbox.send("session.update", session=session)
        else:
            sent = self._outbox.pass_on(event, session=session)
        self._updates[sent] = update

    def _for_backend(self, members: Event) -> Event:
        """With turn detection switched off there where turns are ours."""
        source = dict(audio_side(members, "input"))
        wanted = source.get("turn_detection")
        if not self._plan.has_own_turns:
            source["turn_detection"] = None
        elif isinstance(wanted, Mapping):
            source["turn_detection"] = {key: value for key, value in wanted.items() if value is not None}
        audio = members.get("audio")
        return {**members, "audio": {**(audio if isinstance(audio, Mapping) else {}), "input": source}}

    def answered_untrusted(self, event: Event) -> None:
        """A `session.updated`: the oldest update that waits is in force, and what the backend makes of it."""
        session = event.get("session")
        if isinstance(session, Mapping):
            self._learn_formats(session)
        if self._updates:
            _, update = self._updates.popitem(last=False)
            self.settings = self._with_echo(update.settings, session)
            if update.by_client:
                self._channel.send("session.updated", session=self.wire())

    def _learn_formats(self, session: Event) -> None:
        """A backend that says it uses another format than it was asked to is believed."""
        wanted, given = find_formats(session, self._plan.audio)
        if wanted is None or given is None:
            logger.warning(
                "session %s: the backend names an audio format that is unknown here", self._session_id
            )
            return
        if given != self.given:
            logger.warning("session %s: the backend gives %s %d Hz", self._session_id, *_words(given))
            self.given = given
        if wanted != self.uplink.format:
            logger.warning("session %s: the backend takes %s %d Hz", self._session_id, *_words(wanted))
            self.uplink = Uplink(wanted)

    def _with_echo(self, settings: SessionSettings, session: object) -> SessionSettings:
        """What is in force where the backend has a say: its voice, its limits. Formats are between it and
        us, and turns where they are ours.
        """
        if not isinstance(session, Mapping) or self._plan.dialect is Dialect.BETA:
            return settings
        echo = {key: value for key, value in session.items() if key not in KNOWN_BETTER}
        hidden = ("format",) if self._plan.has_own_turns else ("format", "turn_detection")
        echo["audio"] = {
            side: {key: value for key, value in audio_side(session, side).items() if key not in hidden}
            for side in ("input", "output")
        }
        try:
            return replace(settings.updated(echo), asked=settings.asked)
        except ConfigError as error:
            logger.info(
                "session %s: what the backend echoes is not used: %s", self._session_id, error.problems[0]
            )
            return settings


def _words(audio: AudioFormat) -> tuple[str, int]:
    return audio.encoding, audio.rate
