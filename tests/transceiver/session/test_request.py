"""transceiver.session.request: what a caller asks for, by either API."""

from __future__ import annotations

from tests.transceiver.descriptions import CHROMIUM
from transceiver.live.settings import read_live_settings_untrusted
from transceiver.sdp import parse_offer_untrusted
from transceiver.session.api import LIVE, REALTIME
from transceiver.session.request import CallRequest


def test_a_caller_speaks_gpt_live_where_it_has_settings_of_it() -> None:
    offer = parse_offer_untrusted(CHROMIUM)
    assert CallRequest(offer, {}, "alice").api is REALTIME
    live = read_live_settings_untrusted({"model": "gpt-live-1"})
    assert CallRequest(offer, live.realtime(), "alice", live=live).api is LIVE
