"""Signals that end a process arrive where they are waited for, nowhere else, and none is lost."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from core.service import interrupt

PATIENCE_S = 60.0
ENDING = pytest.mark.parametrize("number", interrupt.ENDING, ids=lambda number: number.name)


class Owner:
    """Something that can be referred to weakly."""


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Signals are handled as by a shell's own child, whatever runs the tests, and afterwards as before."""
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    before = [signal.getsignal(number) for number in interrupt.ENDING]
    yield
    after = [signal.getsignal(number) for number in interrupt.ENDING]
    signal.signal(signal.SIGINT, inherited)
    assert after == before


def send(number: int) -> None:
    """To this thread; what the interpreter does about it, it has done when this returns."""
    signal.raise_signal(number)


@ENDING
def test_a_signal_waits_for_the_next_check(number: signal.Signals) -> None:
    with interrupt.postponed():
        interrupt.check()
        send(number)
        with pytest.raises(KeyboardInterrupt):
            interrupt.check()
        interrupt.check()  # it was told


def test_one_in_a_callback_of_a_weak_reference_is_not_lost() -> None:
    """Python prints exceptions that are raised there, and goes on without them."""
    owner = Owner()
    reference = weakref.ref(owner, lambda _: send(signal.SIGINT))
    with interrupt.postponed():
        del owner
        gc.collect()
        assert reference() is None
        with pytest.raises(KeyboardInterrupt):
            interrupt.check()


def test_one_that_nobody_asked_for_is_raised_at_the_end() -> None:
    done = []

    def block() -> None:
        with interrupt.postponed():
            send(signal.SIGTERM)
            done.append("all of it")

    with pytest.raises(KeyboardInterrupt):
        block()
    assert done


def test_the_inner_of_two_blocks_raises_too_and_leaves_the_outer_as_it_is() -> None:
    with interrupt.postponed():
        with pytest.raises(KeyboardInterrupt), interrupt.postponed():
            send(signal.SIGINT)
        send(signal.SIGHUP)
        with pytest.raises(KeyboardInterrupt):
            interrupt.check()


def test_a_wait_ends_with_a_signal_whether_it_comes_before_or_meanwhile() -> None:
    with interrupt.postponed():
        send(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            interrupt.wait(())
        for _ in range(200):  # at another moment each time
            sender = threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT))
            sender.start()
            with pytest.raises(KeyboardInterrupt):
                interrupt.wait((), PATIENCE_S)
            sender.join()


@pytest.mark.parametrize("way", [interrupt.postponed, contextlib.nullcontext])
def test_a_wait_ends_with_what_can_be_read_or_with_its_time(
    way: Callable[[], AbstractContextManager[None]],
) -> None:
    reading, writing = os.pipe()
    other, silent = os.pipe()
    try:
        with way():
            assert interrupt.wait((reading, other), 0.0) == []
            os.write(writing, b"!")
            assert interrupt.wait((reading, other)) == [reading]
    finally:
        for handle in (reading, writing, other, silent):
            os.close(handle)


def test_another_signal_does_not_end_a_wait() -> None:
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(True))
    try:
        with interrupt.postponed():
            send(signal.SIGUSR1)
            began = time.monotonic()
            assert interrupt.wait((), 0.2) == []
            assert time.monotonic() - began >= 0.2
            interrupt.check()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen


@ENDING
def test_ignored_ones_are_lost_also_where_others_are_postponed(number: signal.Signals) -> None:
    with interrupt.postponed(), interrupt.ignored():
        send(number)


AT_ONCE = """
import signal, weakref
from core.service import interrupt

class Owner:
    pass

owner = Owner()
reference = weakref.ref(owner, lambda _: signal.raise_signal(signal.SIGINT))
%s
with interrupt.at_once():
    del owner
print("went on with", signal.getsignal(signal.SIGINT))
"""


def run(setting: str) -> subprocess.CompletedProcess[str]:
    """What comes of Ctrl-C in a callback of a weak reference."""
    command = [sys.executable, "-c", AT_ONCE % setting]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def test_at_once_is_at_once() -> None:
    outcome = run("signal.signal(signal.SIGINT, signal.default_int_handler)")
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (-signal.SIGINT, "", "")


def test_who_ignores_ctrl_c_is_not_ended_by_it() -> None:
    """A shell does it to what it starts in the background."""
    outcome = run("signal.signal(signal.SIGINT, signal.SIG_IGN)")
    assert (outcome.returncode, outcome.stdout) == (0, "went on with 1\n")


def test_ctrl_c_is_pythons_own_again_afterwards() -> None:
    with interrupt.at_once():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
