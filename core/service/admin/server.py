"""The daemon's end of its admin socket: HTTP, as clients of it are everywhere (`curl --unix-socket`).

Who may connect is for the file system to say: the socket is its owner's, mode 0600, from the moment that it
has a name.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Protocol

from aiohttp import web

from core.errors import UnavailableError
from core.service.admin.path import (
    DRAIN_PATH,
    FOR_S,
    MAX_FOR_S,
    MODE,
    USUAL_FOLDER,
    address,
    admin_path,
)
from core.service.exhausted import reason
from core.service.expect import read_body_untrusted
from core.service.http_server import BoundedServer, Bounds

logger = logging.getLogger(__name__)

BACKLOG = 8
MAX_BODY_BYTES = 1024
SHUTDOWN_S = 1.0
BOUNDS = Bounds(connections=32, header_s=5.0, body_s=5.0)


class ConflictError(Exception):
    """What was asked for is not to be had in the state that the daemon is in; a sentence for people."""


class Switch(Protocol):
    """Something of a daemon that its operator sets to one of a few modes."""

    def status(self) -> dict[str, object]:
        """How it is."""

    def set_mode(self, mode: str) -> None:
        """Raises ValueError with the modes that there are."""


class Administered(Protocol):
    """A daemon, as its operator sees it."""

    @property
    def switches(self) -> Mapping[str, Switch]:
        """By path."""

    def start_drain(self, for_s: float | None) -> None:
        """See Daemon."""

    def undrain(self) -> None:
        """See Daemon."""

    def drain_status(self) -> dict[str, object]:
        """See Daemon."""


class AdminSocket:
    """Serves for as long as it is entered. Where `configured` names no place and the usual one cannot be had,
    it says so and goes without: a daemon needs none to carry calls.
    """

    def __init__(self, daemon: Administered, name: str, configured: str | None, config_path: Path) -> None:
        self._app = build_app(daemon)
        self._name = name
        self._is_configured = configured is not None
        self._path = admin_path(name, configured, config_path)
        self._server: BoundedServer | None = None
        self._inode = 0

    async def __aenter__(self) -> None:
        """Raises UnavailableError that names the setting."""
        if not self._is_configured and not USUAL_FOLDER.is_dir():
            self._go_without(f"{USUAL_FOLDER} is not there", logging.INFO)
            return
        try:
            opened = listen(self._path)
        except OSError as error:
            if self._is_configured:
                raise UnavailableError(
                    f"{self._name}.admin_socket: cannot listen on {self._path}: {reason(error)}"
                ) from None
            self._go_without(f"{self._path}: {reason(error)}", logging.WARNING)
            return
        self._inode = self._path.stat().st_ino
        self._server = BoundedServer(self._app, BOUNDS, shutdown_s=SHUTDOWN_S)
        await self._server.start(opened)

    def _go_without(self, why: str, level: int) -> None:
        logger.log(
            level,
            "no admin socket, so `voxpop drain %s` cannot reach this one, since %s: make that directory "
            "(RuntimeDirectory=voxpop), or set %s.admin_socket",
            self._name,
            why,
            self._name,
        )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is None:
            return
        await self._server.close()
        with contextlib.suppress(OSError):  # whoever has removed it, or put another there
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()


def listen(path: Path) -> socket.socket:
    """A listening socket at a path, in the place of one that nobody listens at. Raises OSError."""
    _make_room(path)
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        # bind() takes it for the file, so there is no moment in which others could connect.
        os.fchmod(opened.fileno(), stat.S_IRUSR | stat.S_IWUSR)
        with address(path) as name:
            opened.bind(name)
        opened.listen(BACKLOG)
    except OSError:
        opened.close()
        raise
    return opened


def _make_room(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            with address(path) as name:
                probe.connect(name)
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            if not stat.S_ISSOCK(path.lstat().st_mode):
                raise OSError(f"{path} is no socket; remove it, or choose another name") from None
            path.unlink()  # of a daemon that was killed
            return
    raise OSError("another daemon listens there")


def build_app(daemon: Administered) -> web.Application:
    """What an operator can say."""

    async def show(_: web.Request) -> web.Response:
        return web.json_response(daemon.drain_status())

    async def begin(request: web.Request) -> web.Response:
        for_s = read_for(await read_body_untrusted(request))
        with _refused_in_words():
            daemon.start_drain(for_s)
        return web.json_response(daemon.drain_status())

    async def take_back(_: web.Request) -> web.Response:
        with _refused_in_words():
            daemon.undrain()
        return web.json_response(daemon.drain_status())

    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app.router.add_get(DRAIN_PATH, show)
    app.router.add_put(DRAIN_PATH, begin)
    app.router.add_delete(DRAIN_PATH, take_back)
    for path, switch in daemon.switches.items():
        _add_switch(app, path, switch)
    return app


def _add_switch(app: web.Application, path: str, switch: Switch) -> None:
    async def show(_: web.Request) -> web.Response:
        return web.json_response(switch.status())

    async def change(request: web.Request) -> web.Response:
        mode = _member(await read_body_untrusted(request), MODE)
        if not isinstance(mode, str):
            raise web.HTTPBadRequest(text=f"{MODE} must be a string")
        try:
            switch.set_mode(mode)
        except ValueError as error:
            raise web.HTTPBadRequest(text=str(error)) from None
        return web.json_response(switch.status())

    app.router.add_get(path, show)
    app.router.add_put(path, change)


def _member(body: bytes, name: str) -> object:
    """A member of a PUT's JSON, None where it is not there. Raises HTTPBadRequest."""
    try:
        return json.loads(body or b"{}").get(name)
    except (ValueError, RecursionError, AttributeError):
        raise web.HTTPBadRequest(text=f'the body must be JSON, {{"{name}": …}}') from None


def read_for(body: bytes) -> float | None:
    """How long a drain may take, out of a PUT. Raises HTTPBadRequest."""
    for_s = _member(body, FOR_S)
    if for_s is None:
        return None
    if isinstance(for_s, bool) or not isinstance(for_s, int | float) or not 0 <= for_s <= MAX_FOR_S:
        raise web.HTTPBadRequest(text=f"{FOR_S} must be a number, 0–{MAX_FOR_S:g} s")
    return float(for_s)


@contextlib.contextmanager
def _refused_in_words() -> Iterator[None]:
    try:
        yield
    except ConflictError as error:
        raise web.HTTPConflict(text=str(error)) from None
