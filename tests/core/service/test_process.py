"""core.service.process: real processes that get ready, fail, hang, and end with us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.errors import UnavailableError
from core.service import process
from core.service.process import Child
from tests.core.service.tiny_kit import PATIENCE_S, Tiny, eventually, free_endpoint, is_running

PYTHON = os.fsencode(sys.executable)
SNIPPET = "tests.core.service.snippet"
SLEEP = "import time; time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); print('up', flush=True); {SLEEP}"


@contextmanager
def running(code: str, log: Path | None, **how: object) -> Iterator[Child]:
    child = process.spawn("snippet", [SNIPPET, code], log, **how)  # type: ignore[arg-type]
    try:
        yield child
    finally:
        process.end(child, signal.SIGKILL)
        if child.popen.stdout is not None:
            child.popen.stdout.close()


def test_a_daemon_is_waited_for_until_it_is_ready(tmp_path: Path) -> None:
    tiny = Tiny(tmp_path)
    hold = tiny.mark("hold")
    child = tiny.spawn()
    try:
        waiting = threading.Thread(target=process.until_ready, args=(child, tiny.status))
        waiting.start()
        eventually(lambda: tiny.state() == "starting", "it answers 503")
        assert waiting.is_alive()
        hold.unlink()
        waiting.join(PATIENCE_S)
        assert tiny.state() == "ready"
        process.end(child)
        assert child.popen.returncode == 130
        process.end(child)  # once more is no harm
    finally:
        tiny.stop()


def test_one_that_ends_instead_is_told_with_its_last_words(tmp_path: Path) -> None:
    code = "import sys; [print('line', n) for n in range(20)]; sys.exit(3)"
    with running(code, tmp_path / "log") as child:
        with pytest.raises(UnavailableError) as caught:
            process.until_ready(child, free_endpoint())
        shown = str(caught.value).splitlines()
        assert shown == ["snippet ended with status 3:", *(f"    line {n}" for n in range(8, 20))]
        with pytest.raises(UnavailableError, match="snippet failed:\n    line 8\n"):
            process.finish(child)


def test_one_that_is_never_ready_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "READY_TIMEOUT_S", 0.3)
    with running(SLEEP, tmp_path / "log") as child:
        with pytest.raises(UnavailableError, match=r"was not ready within 0\.3 s"):
            process.until_ready(child, free_endpoint())
        with pytest.raises(UnavailableError, match=r"did not end within 0\.3 s"):
            process.finish(child)


def test_a_log_goes_on_where_it_was(tmp_path: Path) -> None:
    for word in ("first", "second"):
        with running(f"import sys; print({word!r}, file=sys.stderr)", tmp_path / "log") as child:
            process.finish(child)
    assert child.text() == "first\nsecond\n"


def test_without_a_log_its_output_is_ours() -> None:
    code = (
        "from core.service import process\n"
        f"child = process.spawn('snippet', [{SNIPPET!r}, 'print(\"heard\")'], None)\n"
        "process.finish(child)\n"
        "assert (child.text(), child.tail()) == ('', '')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_S)
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr


def test_its_first_line_can_be_waited_for(tmp_path: Path) -> None:
    said = "print('{}', flush=True); import time; time.sleep(60)"
    with running(said, tmp_path / "log", stdout=subprocess.PIPE) as child:
        assert process.first_line(child, PATIENCE_S) == b"{}\n"
        with pytest.raises(UnavailableError, match=r"was not up within 0\.1 s"):
            process.first_line(child, 0.1)
    with running("pass", tmp_path / "log", stdout=subprocess.PIPE) as child:
        assert process.first_line(child, PATIENCE_S) == b""


def test_one_that_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    with running(STUBBORN, tmp_path / "log") as child:
        eventually(lambda: child.text() == "up\n", "it ignores signals now")
        process.end(child, timeout_s=0.2)
        assert child.popen.returncode == -signal.SIGKILL


def test_the_first_to_end_is_told(tmp_path: Path) -> None:
    with (
        running(SLEEP, tmp_path / "a") as staying,
        running(SLEEP, tmp_path / "b") as leaving,
    ):
        began = time.monotonic()
        assert process.ended([staying, leaving], 0.2) == []
        assert time.monotonic() - began >= 0.2
        threading.Timer(0.1, leaving.popen.kill).start()
        assert process.ended([staying, leaving]) == [leaving]
        assert process.ended([staying, leaving]) == [leaving], "also when it has ended before"


def test_a_tree_has_all_descendants_for_as_long_as_they_live(tmp_path: Path) -> None:
    code = "import subprocess; p = subprocess.Popen(['sleep', '300']); print(p.pid, flush=True); p.wait()"
    with running(code, tmp_path / "log", stdout=subprocess.PIPE) as parent:
        child = int(process.first_line(parent, PATIENCE_S))
        assert process.tree(parent.popen.pid) == [parent.popen.pid, child]
        os.kill(child, signal.SIGKILL)
        assert process.ended([parent], PATIENCE_S) == [parent]
        assert process.tree(parent.popen.pid) == [parent.popen.pid]


def test_many_threads_may_wait_for_the_same_end(tmp_path: Path) -> None:
    with running(SLEEP, tmp_path / "log") as child:
        seen: list[list[Child]] = []
        waiting = [threading.Thread(target=lambda: seen.append(process.ended([child]))) for _ in range(8)]
        for thread in waiting:
            thread.start()
        process.end(child, signal.SIGTERM)
        for thread in waiting:
            thread.join(PATIENCE_S)
        assert seen == [[child]] * 8


@pytest.mark.parametrize("ends_with_us", [True, False])
def test_a_child_ends_with_a_parent_that_is_killed_if_it_is_to(tmp_path: Path, ends_with_us: bool) -> None:
    code = (
        "from pathlib import Path\n"
        "from core.service import process\n"
        f"log = Path({str(tmp_path / 'log')!r})\n"
        f"child = process.spawn('x', [{SNIPPET!r}, {SLEEP!r}], log, ends_with_us={ends_with_us})\n"
        "print(child.popen.pid, flush=True)\n"
        "child.popen.wait()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        eventually(lambda: Path(f"/proc/{pid}/cmdline").read_bytes().startswith(PYTHON), "it runs")
        assert os.getsid(pid) == pid
        parent.kill()
    if ends_with_us:
        eventually(lambda: not is_running(pid), "it ends too")
    else:
        assert is_running(pid)
        os.kill(pid, signal.SIGKILL)


def test_a_child_of_a_parent_that_is_gone_before_it_can_ask_does_not_run(tmp_path: Path) -> None:
    """The command that `ends_with_us` puts in front, by another process than the one that made it."""
    ran = tmp_path / "ran"
    prefix = process._ending_with_us()
    assert prefix, "setpriv is part of util-linux"
    orphan = ["/bin/sh", "-c", '"$@"; exit $?', "sh", *prefix, "touch", str(ran)]
    assert subprocess.run(orphan, check=False, timeout=PATIENCE_S).returncode != 0
    assert not ran.exists()
    assert subprocess.run([*prefix, "touch", str(ran)], check=False, timeout=PATIENCE_S).returncode == 0
    assert ran.exists()
