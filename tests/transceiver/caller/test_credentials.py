"""transceiver.caller.credentials: what a client calls itself."""

from __future__ import annotations

import re

from transceiver.caller.credentials import fresh_credentials


def test_credentials_are_ice_chars_of_a_length_that_every_agent_takes_and_never_the_same() -> None:
    """RFC 8839 §5.4: 4–256 and 22–256 of letters, digits, + and /."""
    made = [fresh_credentials() for _ in range(100)]
    for each in made:
        assert re.fullmatch("[A-Za-z0-9+/]{4,256}", each["ufrag"])
        assert re.fullmatch("[A-Za-z0-9+/]{22,256}", each["password"])
    assert len({each["ufrag"] for each in made}) == len({each["password"] for each in made}) == 100
