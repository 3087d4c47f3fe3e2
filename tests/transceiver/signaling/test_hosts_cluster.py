"""Two real hosts of one cluster behind a balancer that asks the wrong one."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.transceiver.descriptions import CHROMIUM
from tests.transceiver.host_kit import CALLS, FRAGMENT, Host, kill
from tests.transceiver.signaling.kit import RESTART, TRICKLE, patch
from tests.transceiver.signaling.live import make, socket
from tests.transceiver.signaling.sidebands import event, run
from transceiver.session.ids import owner_of
from transceiver.signaling.hosts import VOUCHER_HEADER

pytestmark = pytest.mark.slow

IF_MATCH = {"If-Match": "*"}
PAGE = "https://app.example"
SETTINGS = {
    "trusted_proxies": '["127.0.0.1"]',
    "trusted_headers": '["Voxpop-Pop"]',
    "cors_origins": f'["{PAGE}"]',
}
HERE = "voxpop_transceiver_forwarded_requests_total"


@contextmanager
def two_hosts(folder: Path, processes: int = 1, **settings: str) -> Iterator[tuple[Host, Host]]:
    """Numbers 1 and 2 of a cluster. The balancer is the address that a test asks."""
    for name in ("one", "two"):
        (folder / name).mkdir()
    prefix = "127.0.0.0/29"
    with Host(folder / "one", {"host": "1", **settings}, processes, prefix=prefix) as one:
        own = {"host": "2", **settings}
        with Host(folder / "two", own, processes, prefix=prefix, address="127.0.0.2", beside=one) as two:
            yield one, two
    for host in (one, two):
        assert "Traceback" not in "".join(host.log)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Host, Host]]:
    with two_hosts(tmp_path_factory.mktemp("cluster"), 2, **SETTINGS) as both:
        yield both


def test_a_request_reaches_the_owner_through_any_host(hosts: tuple[Host, Host]) -> None:
    one, two = hosts
    before = one.metrics()[f"{HERE}{{result=answered}}"]
    for asked, owner, number in ((one, two, 2), (two, one, 1)):
        for end_of_call in (("DELETE", ""), ("POST", "/hangup/")):
            path = owner.call(CHROMIUM)
            of = owner_of(path.removeprefix(CALLS + "/"))
            assert of is not None
            assert of.host == number
            assert patch(asked, path, TRICKLE).status == 204
            assert patch(asked, path, RESTART).code == "http_no_if_match"
            restarted = patch(asked, path, RESTART, **IF_MATCH)
            assert (restarted.status, restarted.headers["ETag"]) == (200, '"1"')
            assert restarted.headers["Content-Type"] == FRAGMENT
            method, tail = end_of_call
            assert asked.request(method, path + tail).status == 200
            assert asked.request(method, path + tail).status == 404
            assert owner.request(method, path + tail).status == 404
    assert one.metrics()[f"{HERE}{{result=answered}}"] - before == 10, "of both calls, each request"


def test_a_live_session_is_found_and_attached_to_through_any_host(hosts: tuple[Host, Host]) -> None:
    one, two = hosts
    for asked, owner in ((one, two), (two, one)):
        path = make(owner)
        assert patch(asked, path, RESTART, **IF_MATCH).status == 200

        async def attach(asked: Host = asked, path: str = path) -> None:
            async with socket(asked, path + "/attach") as opened:
                assert (await event(opened, "session.started"))["session"]["id"] == path.rpartition("/")[2]
                await opened.send_json({"type": "session.close"})
                assert (await event(opened, "session.closed"))["reason"] == "close_requested"

        run(attach())
        assert asked.request("POST", path + "/hangup").status == 404, "it is over"


def test_the_owner_of_a_call_is_asked_for_by_its_own_key(hosts: tuple[Host, Host]) -> None:
    one, two = hosts
    path = two.call(CHROMIUM)
    assert one.request("DELETE", path, key="bob").status == 404, "it is alice's"
    assert one.request("DELETE", path, key="vpk_of_nobody").code == "http_unauthorized"
    assert one.request("DELETE", path, key=None).code == "http_unauthorized"
    assert one.request("DELETE", path, headers={"X-Voxpop-Caller": "alice"}, key="bob").status == 404
    assert one.request("DELETE", path).status == 200


def test_a_restart_is_led_by_where_the_first_host_saw_the_client(hosts: tuple[Host, Host]) -> None:
    one, two = hosts
    path = two.call(CHROMIUM)
    near = patch(one, path, RESTART, **IF_MATCH)
    assert near.headers["Voxpop-Steering"] == '"near";source=default;why=order, "far"'
    far = patch(one, path, RESTART.replace("NEWU", "AGAIN"), **IF_MATCH, **{"Voxpop-Pop": "far"})
    assert far.headers["Voxpop-Steering"].startswith('"far";source=pop_header')
    forged = {VOUCHER_HEADER: "1.1900000000.WyJwb3BfaGVhZGVyIiwgImZhciIsIG51bGxd." + "A" * 22}
    same = patch(two, path, RESTART.replace("NEWU", "THIRD"), **IF_MATCH, **forged)
    assert same.headers["Voxpop-Steering"].startswith('"near";source=default'), "nobody moves by a header"
    assert two.request("DELETE", path).status == 200


def test_a_request_makes_one_hop(hosts: tuple[Host, Host]) -> None:
    """One that says that it has made it goes no further, whoever says so."""
    one, two = hosts
    path = two.call(CHROMIUM)
    before = one.metrics()[f"{HERE}{{result=answered}}"]
    assert one.request("DELETE", path, headers={VOUCHER_HEADER: "open"}).status == 404
    assert one.metrics()[f"{HERE}{{result=answered}}"] == before
    assert two.request("DELETE", path).status == 200


def test_a_page_reads_what_the_owner_says(hosts: tuple[Host, Host]) -> None:
    one, two = hosts
    path = two.call(CHROMIUM)
    restarted = patch(one, path, RESTART, **IF_MATCH, Origin=PAGE)
    assert restarted.headers["Access-Control-Allow-Origin"] == PAGE
    assert patch(one, path, RESTART, Origin="https://elsewhere.example").status == 403
    assert one.request("DELETE", path).status == 200


def test_a_host_that_drains_is_found_until_it_ends_and_then_its_calls_are_gone(tmp_path: Path) -> None:
    """As when a pod is deleted: the Service gives its calls' requests to another."""
    with two_hosts(tmp_path) as (one, two):
        kept, hung_up = two.call(CHROMIUM), two.call(CHROMIUM)
        done = two.verb("drain", "transceiver", "--json", "--for", "1h", "--config", two.config)
        assert json.loads(done.stdout)["state"] == "draining"
        two.wait_until(lambda: two.request("GET", "/readyz", key=None).status == 503, "it drains")
        assert patch(one, kept, TRICKLE).status == 204
        assert patch(one, kept, RESTART, **IF_MATCH).status == 200
        assert one.request("DELETE", hung_up).status == 200
        assert two.request("DELETE", hung_up).status == 404, "it is over, and the other goes on"
        assert patch(two, kept, TRICKLE.replace("QEPM", "NEWU")).status == 204
        for pid in (two.process.pid, *two.workers):
            kill(pid)
        two.stop()
        gone = one.request("DELETE", kept)
        assert (gone.status, gone.code) == (404, "http_not_found")
        one.wait_for_log("host 2 of the cluster, which owns a call, is not at 127.0.0.2")


def test_a_host_that_hangs_is_not_waited_for_long(tmp_path: Path) -> None:
    """Its kernel takes connections, and it says nothing."""
    with two_hosts(tmp_path) as (one, two):
        path = two.call(CHROMIUM)
        stopped = (two.process.pid, *two.workers)
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            silent = one.request("DELETE", path)
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        assert (silent.status, silent.code) == (503, "owner_silent")
        assert silent.headers["Retry-After"] == "1"


def test_a_key_that_the_owner_does_not_take_is_no_key(tmp_path: Path) -> None:
    with two_hosts(tmp_path) as (one, two):
        path = two.call(CHROMIUM)
        keys = two.folder / "api-keys.toml"
        keys.unlink()
        two.new_api_key("alice")
        two.process.send_signal(signal.SIGHUP)
        two.wait_for_log("reloaded")
        refused = one.request("DELETE", path)
        assert (refused.status, refused.code) == (401, "http_unauthorized")
        assert refused.headers["WWW-Authenticate"] == "Bearer"
        assert refused.headers["Server"] == "voxpop"
