"""edge.relay.counters: numbers that outlive the process that counted them."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal

import pytest

from core.service.metrics import Kind
from edge.relay import counters
from edge.relay.counters import Counters, SendError, classify_error, counter_index
from edge.relay.verdict import REFUSALS


def count_and_die(fd: int) -> None:
    shared = Counters(fd)
    for _ in range(1000):
        shared.add(counter_index("received_packets", "upstream"))
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_worker_counted_is_still_there_and_its_successor_counts_on() -> None:
    shared, fd = counters.create()
    for round_number in (1, 2):
        worker = multiprocessing.get_context("fork").Process(target=count_and_die, args=(fd,))
        worker.start()
        worker.join()
        assert worker.exitcode == -signal.SIGKILL
        assert shared.get("received_packets", "upstream") == 1000 * round_number
    shared.close()
    os.close(fd)


def test_a_fresh_array_is_all_zero_and_has_a_place_for_every_refusal() -> None:
    shared, fd = counters.create()
    assert not any(shared.values)
    for name, series in counters.SHARED.items():
        if series.kind is not Kind.HISTOGRAM:
            assert not any(shared.get(name, *row) for row in series.rows)
    assert len({counters.REFUSAL_INDEXES[reason] for reason in REFUSALS}) == len(REFUSALS)
    shared.close()
    os.close(fd)


def test_a_series_that_does_not_exist_cannot_be_counted() -> None:
    with pytest.raises(KeyError):
        counter_index("refusals", "because")


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.EAGAIN, SendError.WOULD_BLOCK),
        (errno.ENOBUFS, SendError.WOULD_BLOCK),
        (errno.ECONNREFUSED, SendError.REFUSED),
        (errno.ENETUNREACH, SendError.UNREACHABLE),
        (errno.EHOSTUNREACH, SendError.UNREACHABLE),
        (errno.EMSGSIZE, SendError.TOO_BIG),
        (errno.EPERM, SendError.OTHER),
    ],
)
def test_socket_errors_have_closed_labels(number: int, error: SendError) -> None:
    assert classify_error(OSError(number, "")) is error
