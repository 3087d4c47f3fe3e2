"""A worker for the tests of the supervisor: answers on an inherited UDP socket, obeys a few messages.

`python echo_worker.py UDP_FD`; what it is told comes over the control channel:
greet: remembered and sent back as `greeted`; die: exits with that status; hang: stops reading; stop: exits.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from typing import cast

from core.service.supervisor import ControlChannel, Message


async def main() -> None:
    udp = socket.socket(fileno=int(sys.argv[1]))
    channel = ControlChannel()
    asyncio.get_running_loop().add_reader(udp, answer, udp)

    def obey(message: Message) -> None:
        match message["type"]:
            case "greet":
                channel.send({"type": "greeted", "word": message["word"], "pid": os.getpid()})
            case "die":
                os._exit(cast(int, message["status"]))
            case "hang":
                signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
                os.kill(os.getpid(), signal.SIGSTOP)
            case "stop":
                sys.exit(0)

    channel.ready()
    await channel.listen(obey)


def answer(udp: socket.socket) -> None:
    data, source = udp.recvfrom(100)
    udp.sendto(data + b" from " + str(os.getpid()).encode(), source)


asyncio.run(main())
