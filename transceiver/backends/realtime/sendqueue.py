"""What waits to be sent to a backend: bounded, and the caller's old audio gives way first. Sans-IO.

What a caller says now is worth more than what they said 10 s ago; of events none may be missing.
docs/decisions/0453-slow-readers.md has the queues of others, and why they differ.
"""

from __future__ import annotations

from collections import deque
from typing import Final

MAX_AUDIO: Final = 500
"""Messages of 20 ms: 10 s, which is what a connection may take to come about."""
MAX_EVENTS: Final = 256
MAX_EVENT_CHARS: Final = 2_097_152


class SendQueue:
    """Messages in order."""

    def __init__(self) -> None:
        self._messages: deque[tuple[str, bool]] = deque()
        self._audio = 0
        self._event_chars = 0
        self.dropped = 0
        """Messages of audio that a slow backend has cost."""

    def __len__(self) -> int:
        return len(self._messages)

    def push(self, text: str, is_audio: bool) -> bool:
        """One more. False when the backend has not taken so many events that there is no use in going on."""
        if is_audio:
            if self._audio == MAX_AUDIO:
                self._drop_oldest_audio()
            self._audio += 1
        else:
            self._event_chars += len(text)
        self._messages.append((text, is_audio))
        events = len(self._messages) - self._audio
        return events <= MAX_EVENTS and self._event_chars <= MAX_EVENT_CHARS

    def pop(self) -> str:
        """The next message. Raises IndexError when there is none."""
        text, is_audio = self._messages.popleft()
        if is_audio:
            self._audio -= 1
        else:
            self._event_chars -= len(text)
        return text

    def clear(self) -> None:
        """Nothing of it will be sent."""
        self._messages.clear()
        self._audio = self._event_chars = 0

    def _drop_oldest_audio(self) -> None:
        for index, (_, is_audio) in enumerate(self._messages):
            if is_audio:
                del self._messages[index]
                self._audio -= 1
                self.dropped += 1
                return
