"""How often a real transceiver asks whom: PoPs in doubt often, other regions as ever."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.transceiver.asked import asked
from tests.transceiver.host_kit import Host

pytestmark = pytest.mark.slow

STARTING = json.dumps({"pop": "near", "forwarder": "xdp", "state": "starting"}).encode()


def test_a_pop_in_doubt_is_asked_often_and_a_region_no_more_often_for_it(tmp_path: Path) -> None:
    with asked(503, STARTING) as pop, asked(200, b"{}") as region:
        settings = {"other_regions": f'["http://{region.address}"]'}
        with Host(tmp_path, settings, processes=1, status=pop.address) as host:
            host.wait_until(lambda: region.questions >= 3, "the region is asked again and again")
            assert pop.questions >= 2 * region.questions
        assert (pop.connections, region.connections) == (1, 1), "one is kept for all questions"
