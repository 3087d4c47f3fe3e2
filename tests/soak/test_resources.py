from __future__ import annotations

import os
import socket
import threading

import pytest

from tests.soak.resources import Sample, growth, held, pss_kib


def samples(per_sample_kib: float, peaks: int = 0) -> list[Sample]:
    return [
        Sample(
            at_s * 60.0,
            {"a": int(50_000 + at_s * per_sample_kib), "b": 90_000 if peaks and at_s % peaks == 0 else 0},
        )
        for at_s in range(120)
    ]


def test_what_grows_is_seen() -> None:
    grown = growth(samples(10), 20 * 60)
    assert grown.per_hour_mib == pytest.approx(600 / 1024, rel=0.01)
    assert grown.share == pytest.approx((50_000 + 10 * 103) / (50_000 + 10 * 36) - 1, rel=0.1)


def test_single_peaks_are_no_growth() -> None:
    grown = growth(samples(0, peaks=9), 0)
    assert grown.per_hour_mib == pytest.approx(0, abs=0.01)
    assert grown.share == 0


def test_the_warm_up_does_not_count() -> None:
    rising = [Sample(at_s, {"a": min(at_s, 20) * 1000}) for at_s in range(100)]
    assert growth(rising, 20).share == 0
    with pytest.raises(ValueError, match="too few"):
        growth(rising, 98)


def test_a_process_is_seen_with_all_that_it_holds() -> None:
    assert pss_kib(os.getpid()) > 1000
    before = held([os.getpid()])
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    with socket.socket():
        more = held([os.getpid()]).excess(before)
    done.set()
    thread.join()
    assert more == {"descriptors": 1, "sockets": 1, "threads": 1}
    assert not before.excess(before)
