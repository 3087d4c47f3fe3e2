"""What the machine has run out of is one sentence, whoever says it and however; commands without memory."""

from __future__ import annotations

import errno
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from core.service import keysfile
from core.service.exhausted import ADVICE, NO_MEMORY, lack, reason
from core.service.files import load_masters
from tests.core.service.little_memory import MIB, least_memory
from tests.paths import ROOT
from tests.ports import free_tcp_port

PATIENCE_S = 60.0
NO_SPACE = f"No space left on device; {ADVICE[errno.ENOSPC]}"


def chained(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (MemoryError(), NO_MEMORY),
        (OSError(errno.ENOMEM, "x"), f"Cannot allocate memory; {ADVICE[errno.ENOMEM]}"),
        (OSError(errno.ENOSPC, "x", "/var/keys"), f"/var/keys: {NO_SPACE}"),
        (OSError(errno.EDQUOT, "x", "/var/keys"), f"/var/keys: Disk quota exceeded; {ADVICE[errno.EDQUOT]}"),
        (BlockingIOError(errno.EAGAIN, "x"), os.strerror(errno.EAGAIN) + f"; {ADVICE[errno.EAGAIN]}"),
        (ImportError("liba.so: failed to map segment from shared object"), NO_MEMORY),
        (ImportError("liba.so: cannot allocate memory in static TLS block"), NO_MEMORY),
        (chained(ImportError("reinstall numpy"), ImportError("b.so: failed to map segment")), NO_MEMORY),
        (chained(ImportError("no av"), MemoryError()), NO_MEMORY),
        (OSError("libz3.so.4: failed to map segment from shared object"), NO_MEMORY),
        (SystemError("error return without exception set"), NO_MEMORY),
        (SystemError("<built-in f> returned NULL without setting an exception"), NO_MEMORY),
        (SystemError("bad argument to internal function"), None),
        (ImportError("No module named av"), None),
        (OSError(errno.ENOENT, "x", "/var/keys"), None),
        (OSError("no number"), None),
        (RuntimeError("dictionary changed size during iteration"), None),
    ],
    ids=str,
)
def test_what_lacks_is_a_sentence_and_what_is_our_fault_is_none(
    error: Exception, sentence: str | None
) -> None:
    assert lack(error) == sentence


def test_a_thread_that_cannot_be_started_says_which_limits() -> None:
    told = lack(RuntimeError("can't start new thread"))
    assert told is not None
    assert told.startswith("no thread can be started; ")
    assert "ulimit -u" in told


def test_causes_that_go_in_a_circle_end() -> None:
    one, other = ImportError("one"), ImportError("other")
    one.__cause__, other.__cause__ = other, one
    assert lack(one) is None


def test_an_error_without_a_number_is_told_as_it_is() -> None:
    assert reason(OSError("AF_UNIX path too long")) == "AF_UNIX path too long"
    assert reason(OSError(errno.EACCES, "x")) == "Permission denied"


@pytest.fixture(scope="module")
def little() -> int:
    """Bytes of memory that are just enough for the command's first lines, which nobody can guard."""
    everything = "import voxpop, edge.host.service, transceiver.host.supervisor, transceiver.caller.command"
    subprocess.run([sys.executable, "-c", everything], cwd=ROOT, check=True)  # so that bytecode is there
    begin = [sys.executable, "-c", "import voxpop"]
    return least_memory(lambda memory, patience_s: limited(begin, memory, patience_s=patience_s))


def voxpop(
    *words: str | Path, memory: int, stack: int | None = None, more: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """A command whose address space has so many bytes; threads want `stack` of it each."""
    return limited([sys.executable, "-m", "voxpop", *map(str, words)], memory, stack, more)


def limited(
    command: list[str],
    memory: int,
    stack: int | None = None,
    more: Mapping[str, str] | None = None,
    patience_s: float = PATIENCE_S,
) -> subprocess.CompletedProcess[str]:
    def limit() -> None:
        if stack is not None:
            resource.setrlimit(resource.RLIMIT_STACK, (stack, resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))

    return subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | dict(more or {}),
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=patience_s,
        check=False,
    )


ASIDE = re.compile(r"Exception ignored in: .*\n(?:Traceback .*\n(?: .*\n)*)?MemoryError: ?\n")
"""What Python itself says of a generator that it could not end for want of memory."""


def assert_a_sentence(done: subprocess.CompletedProcess[str]) -> None:
    assert (done.returncode, done.stdout) == (1, "")
    said = ASIDE.sub("", done.stderr)
    assert said.startswith("voxpop: ")
    assert said.count("\n") == 1, done.stderr
    assert "memory" in said


def test_keys_are_changed_whole_or_not_at_all_whatever_memory_there_is(tmp_path: Path, little: int) -> None:
    keys = tmp_path / "keys.toml"
    keysfile.new(keys)
    outcomes = set()
    for memory in range(little, little + 48 * MIB, 6 * MIB):
        before = keys.read_text()
        done = voxpop("keys", "rotate", keys, memory=memory)
        if done.returncode == 0:
            assert len(load_masters(keys)[0]) == before.count(' = "') + 1
        else:
            assert_a_sentence(done)
            assert keys.read_text() == before
        assert [path.name for path in tmp_path.iterdir()] == ["keys.toml"]
        outcomes.add(done.returncode)
    assert outcomes == {0, 1}


def write_config(folder: Path) -> Path:
    keysfile.new(folder / "keys.toml")
    config = folder / "voxpop.toml"
    config.write_text(
        '[token]\nkeys_file = "keys.toml"\n'
        '[[cluster]]\nid = 1\nipv4 = "127.0.0.1/32"\nports = [41000, 41001]\n'
        '[[pop]]\nid = "a"\nvips = ["127.0.0.1:3478"]\n'
        '[relay]\npop = "a"\nvips = ["127.0.0.9:3478"]\nforwarder = "userspace"\nworkers = 2\n'
        f'metrics = "127.0.0.1:{free_tcp_port()}"\n'
        f'[transceiver]\ncluster = 1\nhost = 0\nhttp = "127.0.0.1:{free_tcp_port()}"\nopen = true\n'
        f'metrics = "127.0.0.1:{free_tcp_port()}"\n'
    )
    return config


@pytest.mark.parametrize("verb", ["relay", "transceiver", "config check"])
def test_a_daemon_that_cannot_load_its_libraries_says_that_memory_lacks(
    verb: str, tmp_path: Path, little: int
) -> None:
    words = verb.split()
    option = [] if words[0] == "config" else ["--config"]
    assert_a_sentence(voxpop(*words, *option, write_config(tmp_path), memory=little))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["keys.toml", "voxpop.toml"]


def test_a_call_that_cannot_load_its_libraries_says_that_memory_lacks(little: int) -> None:
    """Python 3.11 has crashed there itself once, which nobody can guard; not each time."""
    done = [voxpop("call", "http://127.0.0.1:9", memory=little + more) for more in (0, 4 * MIB, 16 * MIB)]
    guarded = [each for each in done if each.returncode != -signal.SIGSEGV]
    assert len(guarded) > 1
    for each in guarded:
        assert_a_sentence(each)


def test_a_daemon_that_cannot_start_a_worker_says_why(tmp_path: Path) -> None:
    """A thread waits for each, for which there is no room here."""
    one_thread = {"OPENBLAS_NUM_THREADS": "1"}
    config = write_config(tmp_path)
    done = voxpop("relay", "--config", config, memory=2048 * MIB, stack=4096 * MIB, more=one_thread)
    assert_a_sentence(done)
    assert "relay-0 cannot be started: no thread can be started" in done.stderr
