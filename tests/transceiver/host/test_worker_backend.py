"""A backend's life in the processes of a host: started before the first call, closed after the last."""

from __future__ import annotations

import signal
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.environments import environment_with
from tests.transceiver.backends.packages import install
from tests.transceiver.descriptions import CHROMIUM
from tests.transceiver.host_kit import CALLS, Host

pytestmark = pytest.mark.slow

JOURNALIST = """
import asyncio, os
from dataclasses import dataclass
from core.errors import ConfigError, UnavailableError
from core.schema import choice, setting, text
from transceiver.backends.base import BackendType

@dataclass(frozen=True)
class Settings:
    journal: str = setting(text("a path"), "where it writes what happens to it")
    fault: str = setting(choice("", "start", "close", "hang"), "what goes wrong", default="")

class Session:
    def __init__(self, note):
        self._note = note
        note("create")
    def opened(self): ...
    def hear(self, pcm, now_ns): ...
    def speak(self, now_ns): ...
    def receive_event(self, event): ...
    def close(self):
        self._note("end")

class Factory:
    def __init__(self, settings):
        self._settings = settings
    def note(self, word):
        with open(self._settings.journal, "a") as journal:
            journal.write(f"{os.getpid()} {word}\\n")
    async def start(self):
        await asyncio.sleep(0)
        self.note("start")
        if self._settings.fault == "start":
            raise UnavailableError("the other end is not there; start it first")
    def create(self, context):
        if "voice" in context.settings:
            raise ConfigError(["session.voice: there is but one"])
        return Session(self.note)
    async def close(self):
        self.note("close")
        if self._settings.fault == "close":
            raise RuntimeError("torn")
        if self._settings.fault == "hang":
            await asyncio.sleep(3600)

BACKEND = BackendType(Settings, Factory)
"""


class Newsroom:
    """A host whose backend writes down what happens to it."""

    def __init__(self, folder: Path, fault: str = "", processes: int = 2) -> None:
        self.journal = folder / "journal"
        table = f'[backend.journalist]\njournal = "{self.journal}"\nfault = "{fault}"\n'
        self.host = Host(folder, {"backend": '"journalist"'}, processes=processes, tables=table)

    def words(self) -> dict[str, list[str]]:
        """What happened, by process."""
        by_process: dict[str, list[str]] = {}
        for line in self.journal.read_text().splitlines():
            process, word = line.split()
            by_process.setdefault(process, []).append(word)
        return by_process


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    site = tmp_path / "site"
    site.mkdir()
    install(site, "journalist", {"journalist": "journalist:BACKEND"}, {"journalist": JOURNALIST})
    monkeypatch.setattr(sys, "executable", environment_with(site, tmp_path))
    return tmp_path


def test_each_process_starts_it_once_before_the_calls_and_closes_it_after_them(folder: Path) -> None:
    room = Newsroom(folder)
    with room.host as host:
        assert list(room.words().values()) == [["start"]] * 2
        for _ in range(5):
            host.call(CHROMIUM)
        assert host.stop() == 130
    assert len(room.words()) == 2
    for words in room.words().values():
        calls = words.count("create")
        assert words == ["start"] + ["create"] * calls + ["end"] * calls + ["close"]
    assert Counter(w for words in room.words().values() for w in words)["create"] == 5


def test_one_that_cannot_start_is_said_in_a_sentence_and_closed_all_the_same(folder: Path) -> None:
    room = Newsroom(folder, "start", processes=1)
    with pytest.raises(AssertionError) as log, room.host:
        pass
    assert "the other end is not there; start it first" in str(log.value)
    assert "Traceback" not in str(log.value)
    assert list(room.words().values()) == [["start", "close"]]


def test_settings_that_it_refuses_cost_the_caller_a_400_with_its_words(folder: Path) -> None:
    """And what it raises when it is closed is said, and keeps the process from nothing."""
    room = Newsroom(folder, "close", processes=1)
    with room.host as host:
        body = {"Content-Type": "multipart/form-data; boundary=x"}
        parts = f'--x\r\nContent-Disposition: form-data; name="sdp"\r\n\r\n{CHROMIUM}\r\n--x\r\n'
        parts += 'Content-Disposition: form-data; name="session"\r\n\r\n{"voice": "a"}\r\n--x--\r\n'
        refused = host.request("POST", CALLS, parts, body)
        assert (refused.status, refused.code) == (400, "http_bad_session")
        assert "session.voice: there is but one" in refused.text
        assert host.stop() == 130
    assert "the backend did not close well" in "".join(host.log)
    assert list(room.words().values()) == [["start", "close"]]


def test_one_that_hangs_keeps_no_process_from_ending(folder: Path) -> None:
    room = Newsroom(folder, "hang", processes=1)
    with room.host as host:
        host.call(CHROMIUM)
        assert host.stop() == 130
    assert "the backend did not close within 2 s" in "".join(host.log)
    assert list(room.words().values()) == [["start", "create", "end", "close"]]


def test_a_reload_names_what_waits_for_a_restart(folder: Path) -> None:
    room = Newsroom(folder, processes=1)
    with room.host as host:
        host.tables = host.tables.replace('fault = ""', 'fault = "close"')
        host.write_config()
        host.process.send_signal(signal.SIGHUP)
        host.wait_for_log("backend.journalist.fault has changed, which takes a restart")
        host.wait_for_log("reloaded: ")
        host.tables += "[backend.parrot]\nthreshold = 2\n"
        host.write_config()
        host.process.send_signal(signal.SIGHUP)
        assert "backend.parrot.threshold must be a number, 0–1" in host.wait_for_log("reload refused")
        host.tables = host.tables.replace("threshold = 2", "")
        host.settings = {"backend": '"parrot"'}
        host.write_config()
        host.process.send_signal(signal.SIGHUP)
        host.wait_for_log("transceiver.backend has changed, which takes a restart")
        host.call(CHROMIUM)
        assert room.words()[str(host.workers[0])] == ["start", "create"]
