"""The daemon's end: who may connect, what is refused, and whose place it takes."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from core.errors import UnavailableError
from core.service.admin import server
from core.service.admin.path import DRAIN_PATH
from core.service.admin.server import AdminSocket, ConflictError


class Light:
    """Something that is switched."""

    def __init__(self) -> None:
        self.mode = "off"

    def status(self) -> dict[str, object]:
        return {"mode": self.mode}

    def set_mode(self, mode: str) -> None:
        if mode not in ("on", "off"):
            raise ValueError("mode must be on or off")
        self.mode = mode


class Patient:
    """A daemon that does as it is told."""

    def __init__(self, conflict: str | None = None) -> None:
        self.told: list[object] = []
        self.switches = {"/light": Light()}
        self._conflict = conflict

    def start_drain(self, for_s: float | None) -> None:
        self._refuse()
        self.told.append(for_s)

    def undrain(self) -> None:
        self._refuse()
        self.told.append("undrain")

    def drain_status(self) -> dict[str, object]:
        return {"told": len(self.told)}

    def _refuse(self) -> None:
        if self._conflict is not None:
            raise ConflictError(self._conflict)


def config(folder: Path) -> Path:
    return folder / "voxpop.toml"


def ask(
    folder: Path, scenario: Callable[[aiohttp.ClientSession], Awaitable[None]], daemon: Patient | None = None
) -> None:
    async def run() -> None:
        async with (
            AdminSocket(daemon or Patient(), "relay", "admin.sock", config(folder)),
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(folder / "admin.sock"))) as http,
        ):
            await scenario(http)

    asyncio.run(run())


async def said(http: aiohttp.ClientSession, method: str, body: object = None) -> tuple[int, Any]:
    async with http.request(method, f"http://d{DRAIN_PATH}", data=body) as answer:
        return answer.status, await (answer.json() if answer.status == 200 else answer.text())


def test_what_an_operator_can_say(tmp_path: Path) -> None:
    daemon = Patient()

    async def scenario(http: aiohttp.ClientSession) -> None:
        assert await said(http, "GET") == (200, {"told": 0})
        assert await said(http, "PUT") == (200, {"told": 1})
        assert await said(http, "PUT", b'{"for_s": null}') == (200, {"told": 2})
        assert await said(http, "PUT", b'{"for_s": 90}') == (200, {"told": 3})
        assert await said(http, "DELETE") == (200, {"told": 4})

    ask(tmp_path, scenario, daemon)
    assert daemon.told == [None, None, 90.0, "undrain"]


@pytest.mark.parametrize(
    "body",
    ["no json", "[]", "[" * 500, '{"for_s": true}', '{"for_s": "90"}', '{"for_s": -1}', '{"for_s": 86401}',
     '{"for_s": NaN}', '{"for_s": Infinity}'],
)  # fmt: skip
def test_what_is_no_duration_is_refused_in_words(tmp_path: Path, body: str) -> None:
    daemon = Patient()

    async def scenario(http: aiohttp.ClientSession) -> None:
        status, text = await said(http, "PUT", body.encode())
        assert status == 400
        assert "for_s" in text

    ask(tmp_path, scenario, daemon)
    assert daemon.told == []


def test_a_long_body_is_not_read(tmp_path: Path) -> None:
    async def scenario(http: aiohttp.ClientSession) -> None:
        assert (await said(http, "PUT", bytes(server.MAX_BODY_BYTES + 1)))[0] == 413

    ask(tmp_path, scenario)


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_what_the_state_does_not_allow_is_said(tmp_path: Path, method: str) -> None:
    async def scenario(http: aiohttp.ClientSession) -> None:
        assert await said(http, method) == (409, "it is too late")
        assert (await said(http, "GET"))[0] == 200

    ask(tmp_path, scenario, Patient("it is too late"))


def test_the_socket_is_its_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    before = os.umask(0)
    try:
        with server.listen(path):
            mode = path.lstat().st_mode
    finally:
        os.umask(before)
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


def test_it_takes_the_place_of_one_that_nobody_listens_at_and_leaves_none(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))

    async def scenario(http: aiohttp.ClientSession) -> None:
        assert (await said(http, "GET"))[0] == 200

    ask(tmp_path, scenario)
    assert not path.exists()


def enter(path: Path) -> None:
    async def run() -> None:
        async with AdminSocket(Patient(), "relay", path.name, config(path.parent)):
            pass

    asyncio.run(run())


def test_what_stands_in_the_way_is_said_with_the_setting(tmp_path: Path) -> None:
    said_first = r"^relay\.admin_socket: cannot listen on "
    is_taken = pytest.raises(UnavailableError, match=said_first + ".*/taken: another daemon listens there")
    with server.listen(tmp_path / "taken"), is_taken:
        enter(tmp_path / "taken")
    (tmp_path / "file").write_text("precious")
    with pytest.raises(UnavailableError, match=said_first + ".*/file is no socket; remove it, or choose"):
        enter(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "precious"
    with pytest.raises(UnavailableError, match=said_first + ".*: AF_UNIX path too long"):
        enter(tmp_path / ("x" * 120))
    with pytest.raises(UnavailableError, match=said_first + ".*/gone/admin.sock: No such file or directory"):
        enter(tmp_path / "gone" / "admin.sock")


def test_another_daemons_socket_is_not_removed(tmp_path: Path) -> None:
    """One that was put in our place while we ran."""
    path = tmp_path / "admin.sock"

    async def scenario(_: aiohttp.ClientSession) -> None:
        path.unlink()
        server.listen(path).close()

    ask(tmp_path, scenario)
    assert path.exists()


def test_without_the_usual_folder_a_daemon_goes_without_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "USUAL_FOLDER", tmp_path / "run")

    async def run() -> None:
        async with AdminSocket(Patient(), "relay", None, config(tmp_path)):
            pass

    with caplog.at_level(logging.INFO):
        asyncio.run(run())
    assert "`voxpop drain relay` cannot reach this one, since" in caplog.text
    assert "or set relay.admin_socket" in caplog.text


def test_what_a_daemon_has_besides_is_switched_by_its_path(tmp_path: Path) -> None:
    async def scenario(http: aiohttp.ClientSession) -> None:
        url = "http://localhost/light"
        async with http.get(url) as answer:
            assert await answer.json() == {"mode": "off"}
        async with http.put(url, json={"mode": "on"}) as answer:
            assert (answer.status, await answer.json()) == (200, {"mode": "on"})
        for body in ('{"mode": "dim"}', '{"mode": 1}', "{}", "[]", "?"):
            async with http.put(url, data=body) as answer:
                assert (answer.status, "mode" in await answer.text()) == (400, True)
        async with http.get(url) as answer:
            assert await answer.json() == {"mode": "on"}
        async with http.delete(url) as answer:
            assert answer.status == 405

    ask(tmp_path, scenario)
