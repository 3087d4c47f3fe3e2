"""Telling the service manager how we are: sd_notify(3), where there is one that has named a socket for it."""

from __future__ import annotations

import logging
import os
import socket

VARIABLE = "NOTIFY_SOCKET"
READY, WATCHDOG = "READY=1", "WATCHDOG=1"

logger = logging.getLogger(__name__)


def notify(*assignments: str) -> None:
    """Tell it some `NAME=VALUE`, each of one line. Nobody to tell, or one that does not listen, is no failure
    of ours: who waits for our word acts by itself when there is none.
    """
    name = os.environ.get(VARIABLE)
    if not name:
        return
    path = f"\0{name[1:]}" if name.startswith("@") else name
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
            sender.sendto("\n".join(assignments).encode(), path)
    except OSError as error:
        logger.debug("the service manager at %s does not listen: %s", name, error.strerror)
