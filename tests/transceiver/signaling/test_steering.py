"""Which PoPs a real transceiver names, for whom, and where it says why.

Requests come from 127.0.0.1, a trusted proxy by configuration, or from 127.0.0.2, a stranger.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

import pytest

from core.addr import Endpoint
from core.config import PopSettings
from tests.transceiver.descriptions import CHROMIUM
from tests.transceiver.host_kit import CALLS, TIMEOUT_S, Host
from tests.transceiver.signaling.kit import ORIGIN, RESTART, SDP, patch
from tests.transceiver.steering.places import FRANKFURT, NEW_YORK, TOKYO, record, write_database
from transceiver.observer import NullObserver
from transceiver.sdp import parse_answer_untrusted
from transceiver.signaling.pops import NOT_ASKED, REFUSED, UNANSWERED, PopReport, Standing
from transceiver.signaling.steering import PLACES, Steering, SteeringPlan
from transceiver.steering.evidence import Evidence, Source
from transceiver.steering.fitness import RETURN_NS

PROXY, STRANGER = "127.0.0.1", "127.0.0.2"
CITIES = {"fra": FRANKFURT, "nyc": NEW_YORK, "nrt": TOKYO}
VIPS = {"fra": "192.0.2.11", "nyc": "192.0.2.12", "nrt": "192.0.2.13"}
HEADERS = '["Voxpop-Pop", "CF-IPLatitude", "CF-Connecting-IP", "Forwarded", "X-Forwarded-For"]'
IN_TOKYO = {"CF-IPLatitude": "35.68950", "CF-IPLongitude": "139.69170"}
DATABASE = {"127.0.0.2/32": record(TOKYO), "198.51.100.0/24": record(NEW_YORK)}


@dataclass
class Planet(Host):
    """A transceiver that knows three PoPs and where they are."""

    def write_config(self, **changes: str) -> None:
        super().write_config(**changes)
        head, near, rest = self.config.read_text().partition("[[pop]]")
        tables = near + rest
        transceiver = tables[tables.index("[transceiver]") :]
        self.config.write_text(head + "".join(self.pop(city) for city in CITIES) + transceiver)

    def pop(self, city: str) -> str:
        at = CITIES[city]
        place = f"latitude = {at.latitude}\nlongitude = {at.longitude}\n"
        return f'[[pop]]\nid = "{city}"\nvips = ["{VIPS[city]}:3478"]\n{place}'


def settings(**more: str) -> dict[str, str]:
    return {
        "trusted_proxies": '["127.0.0.1/32", "10.0.0.0/8"]',
        "trusted_headers": HEADERS,
        "location_database": '"cities.mmdb"',
        "cors_origins": f'["{ORIGIN}"]',
    } | more


@pytest.fixture(scope="module")
def planet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planet]:
    folder = tmp_path_factory.mktemp("planet")
    write_database(folder / "cities.mmdb", DATABASE)
    running = Planet(folder, settings(), processes=2)
    with running:
        yield running
    assert not [line for line in running.log if " ERROR " in line]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planet]:
    """One with room for two calls in each process, whose database may change."""
    folder = tmp_path_factory.mktemp("small")
    write_database(folder / "cities.mmdb", DATABASE)
    running = Planet(folder, settings(max_sessions="2"), processes=2)
    with running:
        yield running


@dataclass
class Answer:
    steering: str
    pops: list[str]
    """By the candidates of the answer, in falling priority."""
    headers: Message


def ask(host: Host, headers: Mapping[str, str] | None = None, source: str = PROXY) -> Answer:
    """Make a call and hang it up; `source` is the address that the request comes from."""
    connection = http.client.HTTPConnection(
        "127.0.0.1", host.http, timeout=TIMEOUT_S, source_address=(source, 0)
    )
    sent = {**SDP, "Authorization": f"Bearer {host.keys['alice']}", **(headers or {})}
    try:
        connection.request("POST", CALLS, CHROMIUM, sent)
        response = connection.getresponse()
        body = response.read().decode()
    finally:
        connection.close()
    assert response.status == 201, body
    host.request("DELETE", response.headers["Location"])
    at = {vip: city for city, vip in VIPS.items()}
    candidates = parse_answer_untrusted(body).candidates
    return Answer(
        response.headers["Voxpop-Steering"], [at[str(c.host)] for c in candidates], response.headers
    )


@pytest.mark.parametrize(
    ("headers", "source", "pops", "steering"),
    [
        ({"Voxpop-Pop": "nyc", **IN_TOKYO}, PROXY, ["nyc", "fra"], '"nyc";source=pop_header;why=nearest;'),
        (IN_TOKYO, PROXY, ["nrt", "fra"], '"nrt";source=location_header;why=nearest;km=0,'),
        ({"X-Forwarded-For": "127.0.0.2, 198.51.100.9"}, PROXY, ["nyc", "fra"], '"nyc";source=database'),
        ({"Forwarded": 'for="198.51.100.9:80", for=10.1.1.1'}, PROXY, ["nyc", "fra"], '"nyc";source=data'),
        ({"CF-Connecting-IP": "198.51.100.9"}, PROXY, ["nyc", "fra"], '"nyc";source=database'),
        ({}, PROXY, ["fra", "nyc"], '"fra";source=default;why=order, "nyc"'),
        ({}, STRANGER, ["nrt", "fra"], '"nrt";source=database;why=nearest;km=0,'),
        ({"Voxpop-Pop": "nyc", "X-Forwarded-For": "198.51.100.9"}, STRANGER, ["nrt", "fra"], '"nrt";'),
        ({"Voxpop-Pop": "lhr", "CF-IPLatitude": "999", "CF-IPLongitude": "0"}, PROXY, ["fra", "nyc"], ""),
        ({"X-Forwarded-For": "x, " * 1000 + "198.51.100.9"}, PROXY, ["nyc", "fra"], '"nyc";source=database'),
    ],
    ids=[
        "pop", "cdn", "x-forwarded-for", "forwarded", "cf-connecting-ip", "nothing", "peer", "liar",
        "garbage", "long-chain",
    ],
)  # fmt: skip
def test_the_nearest_two_are_named_by_the_best_evidence(
    planet: Planet, headers: dict[str, str], source: str, pops: list[str], steering: str
) -> None:
    for _ in range(4):  # of either process
        answer = ask(planet, headers, source)
        assert answer.pops == pops
        assert answer.steering.startswith(steering)


def test_the_second_pop_has_the_lower_priority(planet: Planet) -> None:
    response = planet.request("POST", CALLS, CHROMIUM, SDP | IN_TOKYO)
    lines = re.findall(r"a=candidate:\d+ 1 udp (\d+) (\S+) 3478 typ host", response.text)
    planet.request("DELETE", response.headers["Location"])
    first, second = (line for line in lines[:2])
    assert (first[1], second[1]) == (VIPS["nrt"], VIPS["fra"])
    assert int(first[0]) > int(second[0])


def test_log_and_metrics_say_it_and_nobodys_place_is_logged(planet: Planet) -> None:
    before = planet.metrics()
    ask(planet, IN_TOKYO)
    ask(planet, {"Voxpop-Pop": "nyc"}, STRANGER)
    after = planet.metrics()

    def grown(name: str) -> float:
        return after[name] - before[name]

    assert grown("voxpop_transceiver_steering_total{source=location_header,why=nearest}") == 1
    assert grown("voxpop_transceiver_steering_total{source=database,why=nearest}") == 1
    assert grown("voxpop_transceiver_steering_faults_total{reason=untrusted_peer}") == 1
    assert grown("voxpop_transceiver_answers_total{place=first,pop=nrt}") == 2
    assert grown("voxpop_transceiver_answers_total{place=second,pop=fra}") == 2
    assert after["voxpop_transceiver_location_database_age_seconds{}"] < 3600
    planet.wait_for_log("is led to PoP nrt (location_header, nearest, 0 km), else fra (9")
    assert not any("139.69" in line for line in planet.log)


def test_an_ice_restart_is_led_anew_by_whichever_process_it_reaches(planet: Planet) -> None:
    """A client that restarts ICE may have travelled, and comes through another PoP now."""
    calls = [planet.request("POST", CALLS, CHROMIUM, SDP | IN_TOKYO) for _ in range(8)]
    for call in calls:
        location = call.headers["Location"]
        restarted = patch(planet, location, RESTART, **{"If-Match": "*", "Voxpop-Pop": "nyc"})
        assert restarted.status == 200
        assert restarted.headers["Voxpop-Steering"].startswith(
            '"nyc";source=pop_header;why=nearest;km=0, "fra"'
        )
        assert restarted.text.index(VIPS["nyc"]) < restarted.text.index(VIPS["fra"])
        assert VIPS["nrt"] not in restarted.text
        planet.request("DELETE", location)


def test_pages_may_read_it(planet: Planet) -> None:
    answer = ask(planet, {"Origin": ORIGIN})
    assert "Voxpop-Steering" in answer.headers["Access-Control-Expose-Headers"].split(", ")


def test_a_call_that_a_sibling_takes_is_led_by_what_was_seen_of_its_client(small: Planet) -> None:
    calls = []
    for _ in range(4):  # the kernel spreads them; whoever is full hands over
        response = small.request("POST", CALLS, CHROMIUM, SDP | IN_TOKYO)
        assert response.status == 201
        assert response.headers["Voxpop-Steering"].startswith('"nrt";source=location_header;why=nearest;')
        calls.append(response.headers["Location"])
    assert small.request("POST", CALLS, CHROMIUM, SDP).code == "full"
    for call in calls:
        small.request("DELETE", call)


def test_a_newer_database_is_taken_by_a_reload_and_a_broken_one_is_not(small: Planet) -> None:
    database = small.folder / "cities.mmdb"
    assert ask(small, source=STRANGER).pops[0] == "nrt"
    whole = database.read_bytes()
    database.write_bytes(whole[: len(whole) // 2])  # in place: whoever had mapped this file would die of it
    small.process.send_signal(signal.SIGHUP)
    refused = small.wait_for_log("reload refused")
    assert "cities.mmdb: is no whole database in MaxMind's format" in refused
    assert all(ask(small, source=STRANGER).pops[0] == "nrt" for _ in range(8))
    write_database(small.folder / "new.mmdb", DATABASE | {"127.0.0.2/32": record(NEW_YORK)})
    shutil.move(small.folder / "new.mmdb", database)
    small.process.send_signal(signal.SIGHUP)
    small.wait_for_log("reloaded: ")

    def is_led_by_the_new() -> bool:
        return all(ask(small, source=STRANGER).pops[0] == "nyc" for _ in range(8))

    small.wait_until(is_led_by_the_new, "both processes have it")
    database.unlink()
    small.process.send_signal(signal.SIGHUP)
    assert "cities.mmdb: cannot be read: No such file" in small.wait_for_log("reload refused")
    first, second = small.workers
    os.kill(first, signal.SIGKILL)
    small.wait_until(lambda: len(small.workers) == 2 and small.workers[0] != first, "it is replaced")
    assert second in small.workers
    assert is_led_by_the_new(), "also by the process that has come since"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "cities.mmdb: cannot be"),
        (b"", "cities.mmdb: is no whole database"),
        ({"192.0.2.0/24": {"country": {"iso_code": "JP"}}}, "cities.mmdb: Test-City has no latitudes and"),
    ],
    ids=["missing", "empty", "countries"],
)
def test_config_check_names_what_is_wrong_with_a_database(
    planet: Planet, tmp_path: Path, content: object, complaint: str
) -> None:
    for name in ("voxpop.toml", "keys.toml", "api-keys.toml"):
        shutil.copy(planet.folder / name, tmp_path / name)
    if isinstance(content, bytes):
        (tmp_path / "cities.mmdb").write_bytes(content)
    elif isinstance(content, dict):
        write_database(tmp_path / "cities.mmdb", content)
    checked = planet.verb("config", "check", "--json", tmp_path / "voxpop.toml")
    (problem,) = json.loads(checked.stdout)["problems"]
    assert complaint in problem
    assert checked.returncode == 1


def test_config_check_warns_of_a_database_of_ipv4_only(planet: Planet, tmp_path: Path) -> None:
    for name in ("voxpop.toml", "keys.toml", "api-keys.toml"):
        shutil.copy(planet.folder / name, tmp_path / name)
    write_database(tmp_path / "cities.mmdb", DATABASE, ip_version=4)
    checked = planet.verb("config", "check", tmp_path / "voxpop.toml")
    assert checked.returncode == 0
    assert "cities.mmdb has no IPv6 addresses" in checked.stderr


SECOND_NS = 1_000_000_000
EAST = Evidence(Source.DATABASE, None, TOKYO)


def steering_of(names: str = "fra nyc nrt") -> Steering:
    """Of PoPs that can be asked."""
    pops = [
        PopSettings(city, (Endpoint(VIPS[city], 3478),), Endpoint(VIPS[city], 9464), *CITIES[city])
        for city in names.split()
    ]
    return Steering(NullObserver(), SteeringPlan([(pop, pop.vips) for pop in pops]))


def chosen(steering: Steering, second: float) -> str:
    choice = steering.choose(EAST, round(second * SECOND_NS))
    return "" if choice is None else " ".join([choice.why, *(pop.id for pop in choice.pops)])


def test_reports_of_load_and_health_change_the_order_and_change_it_back_late() -> None:
    steering = steering_of()
    up = dict.fromkeys(CITIES, PopReport("xdp", "ready", load=0.5))
    steps = [
        (up, "nearest nrt fra"),
        (up | {"nrt": PopReport(load=0.96)}, "load fra nyc"),
        (up | {"nrt": PopReport(load=0.90)}, "load fra nyc"),
        (up | {"nrt": PopReport(load=0.84)}, "nearest nrt fra"),
        (up | {"nrt": UNANSWERED}, "health fra nyc"),
        (up, "health fra nyc"),
    ]
    for second, (reports, expected) in enumerate(steps):
        steering.learn(reports, second * SECOND_NS)
        assert chosen(steering, second) == expected
    back = len(steps) - 1
    assert chosen(steering, back + RETURN_NS / SECOND_NS - 0.1) == "health fra nyc"
    assert chosen(steering, back + RETURN_NS / SECOND_NS) == "nearest nrt fra"


def test_a_pop_that_starts_is_no_return_and_one_of_which_nothing_is_known_any_more_is_not_full() -> None:
    """Before its first heartbeat, and when the store is gone, nothing is known of it."""
    steering = steering_of()
    steps = [
        (NOT_ASKED, "nearest nrt fra"),
        (PopReport("xdp", "starting", Standing.DOUBTFUL, 0.0), "health fra nyc"),
        (PopReport("xdp", "ready", load=0.0), "nearest nrt fra"),
        (PopReport("xdp", "ready", load=1.0), "load fra nyc"),
        (NOT_ASKED, "nearest nrt fra"),
    ]
    for second, (report, expected) in enumerate(steps):
        steering.learn({"nrt": report}, second * SECOND_NS)
        assert chosen(steering, second) == expected


def test_a_region_of_pops_that_vanishes_is_left_for_the_next_and_the_last_is_never_given_up() -> None:
    steering = steering_of()
    steering.learn({"nrt": REFUSED, "fra": UNANSWERED}, 0)
    assert chosen(steering, 0) == "health nyc"
    steering.learn(dict.fromkeys(CITIES, UNANSWERED), SECOND_NS)
    assert chosen(steering, 1) == "nearest nrt fra", "when none can be asked, it may be the asking that fails"
    steering.learn(dict.fromkeys(CITIES, PopReport(standing=Standing.DOWN)), 2 * SECOND_NS)
    assert chosen(steering, 2) == ""
    assert not steering.is_possible


def test_the_only_pop_is_named_whatever_it_reports() -> None:
    steering = steering_of("fra")
    for report in (PopReport(), PopReport(load=1.0), UNANSWERED, PopReport(load=0.9)):
        steering.learn({"fra": report}, 0)
        assert chosen(steering, 0).endswith(" fra")


def test_a_reload_forgets_pops_that_are_gone_and_keeps_what_is_known_of_the_others() -> None:
    steering = steering_of()
    steering.learn(dict.fromkeys(CITIES, PopReport(load=0.96)), 0)
    other = steering_of("nrt nyc")
    steering.adopt(other._plan)
    steering.learn({"nrt": PopReport(load=0.9), "nyc": PopReport(load=0.5)}, 1)
    assert chosen(steering, 1) == "load nyc nrt"
    assert set(steering.answers()) == {(pop, place) for pop in ("nrt", "nyc") for place in PLACES}
