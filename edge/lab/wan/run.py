"""`python -m edge.lab.wan.run`: the process that is the WAN.

It has every TUN device of the links open, reads what the kernel of one end sends, and writes it to the other
end when it is due. One thread that waits in epoll, for packets, for a timer and for requests. It prints
`ready` once it carries packets and answers, and ends by SIGINT and SIGTERM.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import select
import signal
import socket
import stat
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType

from core.errors import UnavailableError
from core.service import log
from core.service.admin.path import address
from ebpf.net import netns, tun
from edge.lab.wan.control import MAX_LINE_BYTES, answer
from edge.lab.wan.links import Wan, load
from edge.lab.wan.prompt import be_prompt
from edge.lab.wan.timer import Timer

READ_BYTES = 2048
"""More than the MTU of 1500 that the devices have."""
READ_AT_ONCE = 64
"""Packets of one device, before the others have their turn, and what is due."""
MAX_CONNECTIONS = 8

logger = logging.getLogger("voxpop.lab.wan")


def command(links: Path, control: Path, seed: int = 0) -> list[str]:
    """What to run. `links` is a file of what `links.dump` has written; `control` is made, mode 0600."""
    return ["edge.lab.wan.run", f"--links={links}", f"--control={control}", f"--seed={seed}"]


class Carrier:
    """Carries the packets of a WAN, and answers requests. A context manager.

    Raises DataplaneError, OSError.
    """

    def __init__(self, wan: Wan, listener: socket.socket) -> None:
        self._wan = wan
        self._listener = listener
        self._stack = contextlib.ExitStack()
        self._connections: dict[int, tuple[socket.socket, bytearray]] = {}
        self._handlers: dict[int, Callable[[], None]] = {}

    def __enter__(self) -> Carrier:
        with contextlib.ExitStack() as stack:
            self._timer = stack.enter_context(Timer())
            self._epoll = stack.enter_context(select.epoll())
            self._files = []
            for number, direction in enumerate(self._wan.directions):
                file = tun.open_device(direction.sender.namespace, direction.sender.interface)
                stack.callback(os.close, file)
                self._files.append(file)
                self._watch(file, partial(self._read, number, file))
            # Being awake is all that a timer asks for: what is due is delivered before each wait.
            self._watch(self._timer.fileno(), lambda: None)
            self._watch(self._listener.fileno(), self._accept)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection, _ in self._connections.values():
            connection.close()
        self._stack.close()

    def run(self) -> None:
        """Until a signal handler raises."""
        wan, timer, epoll, handlers = self._wan, self._timer, self._epoll, self._handlers
        while True:
            self._deliver(time.monotonic_ns())
            timer.set(wan.due_ns)
            for file, _ in epoll.poll():
                if file in handlers:  # not closed by another's
                    handlers[file]()

    def _watch(self, file: int, handler: Callable[[], None]) -> None:
        self._handlers[file] = handler
        self._epoll.register(file, select.EPOLLIN)

    def _unwatch(self, file: int) -> None:
        self._epoll.unregister(file)
        del self._handlers[file]

    # --- packets --------------------------------------------------------------------------------------

    def _read(self, number: int, file: int) -> None:
        offer = self._wan.offer
        try:
            for _ in range(READ_AT_ONCE):
                # Each by its own time: they may come while this reads.
                offer(number, os.read(file, READ_BYTES), time.monotonic_ns())
        except BlockingIOError:
            return
        except OSError as error:
            end = self._wan.directions[number].sender
            logger.warning("%s in %s is gone: %s", end.interface, end.namespace, error.strerror)
            self._unwatch(file)

    def _deliver(self, now_ns: int) -> None:
        for number, packets in self._wan.take_due(now_ns):
            file = self._files[number ^ 1]  # directions come in pairs: the receiver's is the other one's
            for packet in packets:
                try:
                    os.write(file, packet)
                except OSError:
                    self._wan.directions[number].line.refuse()

    def _drops(self) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {}
        for direction in self._wan.directions:
            end = direction.sender
            here = netns.exists(end.namespace)  # or removed under us, which loses one place of many
            unread = tun.dropped(end.namespace, end.interface) if here else 0
            found.setdefault(direction.link.name, {})[end.place] = unread
        return found

    # --- control --------------------------------------------------------------------------------------

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:
            return
        if len(self._connections) >= MAX_CONNECTIONS:
            connection.close()
            return
        connection.setblocking(False)
        file = connection.fileno()
        self._connections[file] = connection, bytearray()
        self._watch(file, partial(self._hear, file))

    def _hear(self, file: int) -> None:
        connection, heard = self._connections[file]
        try:
            chunk = connection.recv(MAX_LINE_BYTES)
            heard += chunk
            while b"\n" in heard:
                line, _, rest = bytes(heard).partition(b"\n")
                heard[:] = rest
                told = answer(self._wan, line, self._drops)
                if connection.send(told) < len(told):
                    chunk = b""
            if chunk and len(heard) <= MAX_LINE_BYTES:
                return
        except OSError as error:
            logger.info("a client of the control socket is gone: %s", error.strerror)
        self._unwatch(file)
        connection.close()
        del self._connections[file]


def listen(path: Path) -> socket.socket:
    """A control socket, mode 0600 from the moment that it has a name. Raises OSError."""
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    os.fchmod(opened.fileno(), stat.S_IRUSR | stat.S_IWUSR)
    path.unlink(missing_ok=True)  # of one that was killed
    with address(path) as name:
        opened.bind(name)
    opened.listen(MAX_CONNECTIONS)
    return opened


def _end(*_: object) -> None:
    sys.exit(0)


def main(argv: Sequence[str]) -> None:
    """Be the WAN until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="edge.lab.wan.run", description="Started by `voxpop lab up`.")
    parser.add_argument("--links", required=True, type=Path)
    parser.add_argument("--control", required=True, type=Path)
    parser.add_argument("--seed", default=0, type=int)
    arguments = parser.parse_args(argv)
    log.set_up("info")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    wan = Wan(load(arguments.links.read_text()), arguments.seed)
    try:
        with listen(arguments.control) as listener, Carrier(wan, listener) as carrier:
            for lacking in be_prompt():
                logger.warning("packets may be late: %s", lacking)
            print("ready", flush=True)  # noqa: T201 - to whoever has started this
            carrier.run()
    except OSError as error:
        raise UnavailableError(f"no WAN: {error}") from error


if __name__ == "__main__":
    main(sys.argv[1:])
