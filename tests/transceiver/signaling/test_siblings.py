"""Requests that another process of the host answers."""

from __future__ import annotations

from tests.transceiver.descriptions import (
    CHROMIUM,
    attributes,
)
from tests.transceiver.host_kit import CALLS, Host
from tests.transceiver.signaling.kit import (
    RESTART,
    TRICKLE,
    patch,
)
from transceiver.session.ids import owner_of


def test_nobody_becomes_another_by_a_header_of_the_hand_over(host: Host, call: str) -> None:
    response = host.request("DELETE", call, None, {"X-Voxpop-Caller": "alice"}, key="bob")
    assert response.status == 404


def test_a_request_reaches_the_owner_through_any_process(host: Host) -> None:
    """Each request is a connection of its own, which the kernel gives to either process."""
    paths = [host.call(CHROMIUM) for _ in range(24)]
    owners = [owner_of(path.removeprefix(CALLS + "/")) for path in paths]
    assert set(owners) == {0, 1}
    for path in paths:
        assert patch(host, path, TRICKLE).status == 204
        restarted = patch(host, path, RESTART, **{"If-Match": "*"})
        assert restarted.status == 200
        assert attributes(restarted.text.replace("\r\n", "\n"), "ice-ufrag")
        assert restarted.headers["ETag"] != '"0"'
    for path in paths[::2]:
        assert host.request("DELETE", path).status == 200
    for path in paths[1::2]:
        assert host.request("POST", path + "/hangup").status == 200
    for path in paths:
        assert host.request("DELETE", path).status == 404
