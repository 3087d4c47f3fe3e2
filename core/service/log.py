"""Logs: one line per event, for people on a terminal or as JSON for a collector.

Per-packet events are counters, never log lines. Ufrags are logged through `core.ufrag.shorten`.
"""

from __future__ import annotations

import json
import logging
import sys


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON: time (Unix seconds), level, logger, message, and the traceback if any."""
        line: dict[str, object] = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


_CONTROLS = {c: f"\\x{c:02x}" for c in (*range(32), *range(127, 160))}


class TextFormatter(logging.Formatter):
    """One line per event, whatever is in the message; a traceback follows on lines of its own."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s[%(process)d] %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        """The line, with control characters made visible: a log must not be forged from outside."""
        return super().formatMessage(record).translate(_CONTROLS)


def set_up(level: str = "info", as_json: bool = False) -> None:
    """Send the logs of this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
