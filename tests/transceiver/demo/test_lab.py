"""What the demo says of the lab's traffic; the lab itself is in test_demo.py."""

from __future__ import annotations

import asyncio

from transceiver.demo.lab import Lab, Traffic


def test_traffic_since_is_a_difference() -> None:
    assert Traffic(10, 20, 3, 4) - Traffic(1, 2, 3, 0) == Traffic(9, 18, 0, 4)


def test_a_sentence_has_all_of_it_and_its_share() -> None:
    assert str(Traffic(60, 30, 9, 1)) == (
        "carried 90 of 100 packets (90.0%): 60 to the transceiver, 30 back; the relay saw 9, 1 dropped"
    )
    assert "carried 0 of 0 packets (0.0%)" in str(Traffic(0, 0, 0, 0))


def test_one_that_was_never_started_can_be_stopped() -> None:
    async def run() -> None:
        lab = Lab(0)
        await lab.stop()
        await lab.stop()

    asyncio.run(run())
