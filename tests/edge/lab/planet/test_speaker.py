"""The BGP speakers of a planet."""

from __future__ import annotations

import pytest

from core.errors import UnavailableError
from edge.lab.planet.planet import Planet
from edge.lab.planet.speaker import until

pytestmark = [pytest.mark.netns, pytest.mark.slow]


def test_every_session_is_up_and_watched_by_bfd(planet: Planet) -> None:
    speakers = {each.name: each.speaker for each in planet.routers}
    speakers |= {each.name: each.speaker for each in planet.hosts}
    for name, speaker in speakers.items():
        sessions = [each for each in speaker.control.protocols().values() if each.kind == "BGP"]
        assert sessions
        assert all(each.info == "Established" for each in sessions), name
        watched = speaker.control.bfd_sessions()
        assert len(watched) == len(sessions)
        assert all(each.is_up for each in watched)


def test_what_is_withheld_is_told_to_nobody_and_all_else_is(planet: Planet) -> None:
    speaker, city = planet.pop("tokyo").speaker, planet.city("paris")
    own, shared = (planet.pop("tokyo").vips[number].host for number in (0, 2))
    prefix = f"{own.rpartition('.')[0]}.0/24"
    speaker.withhold((prefix,))
    until(lambda: city.way_to(own) is None, "the VIP is withheld")
    assert planet.city("tokyo").way_to(shared) == "tokyo"
    speaker.withhold(())
    until(lambda: city.way_to(own) == "tokyo", "it is announced again")


def test_what_does_not_come_in_time_is_named() -> None:
    with pytest.raises(UnavailableError, match="not within 0 s: the sky falls"):
        until(lambda: False, "the sky falls", 0)
    until(lambda: True, "it is there at once", 0)
