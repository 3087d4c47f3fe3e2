"""transceiver.steering.evidence: what is believed, whom, and what comes first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.geo import Position
from tests.transceiver.steering.places import FRANKFURT, NEW_YORK, SYDNEY, TOKYO, record, write_database
from transceiver.steering.database import LocationDatabase
from transceiver.steering.evidence import (
    CONNECTING_IP,
    FORWARDED,
    LATITUDE,
    LONGITUDE,
    NO_EVIDENCE,
    POP_HEADER,
    X_FORWARDED_FOR,
    Evidence,
    Locator,
    Source,
    Trust,
    decode_evidence,
)
from transceiver.steering.headers import EvidenceFault

HEADERS = (POP_HEADER, LATITUDE, CONNECTING_IP, FORWARDED, X_FORWARDED_FOR)
PROXY, STRANGER = "10.0.0.1", "192.0.2.77"
POPS = {"fra": FRANKFURT, "nyc": NEW_YORK, "placeless": None}
IN_SYDNEY = {LATITUDE: ["-33.8688"], LONGITUDE: ["151.2093"]}
FROM_FRANKFURT = {X_FORWARDED_FOR: ["198.51.100.9"]}
EVERYTHING = {POP_HEADER: ["fra"], **IN_SYDNEY, CONNECTING_IP: ["2001:db8:2::1"], **FROM_FRANKFURT}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> LocationDatabase:
    return LocationDatabase(write_database(tmp_path_factory.mktemp("database") / "cities.mmdb"))


def locator(database: LocationDatabase | None, trusted_headers: Sequence[str] = HEADERS) -> Locator:
    trust = Trust((ip_network("10.0.0.0/8"), ip_network("fd00::/8")), trusted_headers)
    return Locator(trust, POPS, database)


def locate(
    it: Locator, peer: str | None, headers: Mapping[str, list[str]]
) -> tuple[Evidence, list[EvidenceFault]]:
    evidence, faults = it.locate(peer, lambda name: headers.get(name, []))
    return evidence, list(faults)


def in_database(position: Position) -> Evidence:
    return Evidence(Source.DATABASE, None, position)


@pytest.mark.parametrize(
    ("headers", "evidence", "faults"),
    [
        (EVERYTHING, Evidence(Source.POP_HEADER, "fra", FRANKFURT), []),
        (EVERYTHING | {POP_HEADER: []}, Evidence(Source.LOCATION_HEADER, None, SYDNEY), []),
        ({CONNECTING_IP: ["2001:db8:2::1"], **FROM_FRANKFURT}, in_database(NEW_YORK), []),
        ({FORWARDED: ['for="[2001:db8:1::5]:99"'], **FROM_FRANKFURT}, in_database(TOKYO), []),
        (FROM_FRANKFURT, in_database(FRANKFURT), []),
        ({X_FORWARDED_FOR: ["192.0.2.1, 198.51.100.9, 10.9.9.9"]}, in_database(FRANKFURT), []),
        ({X_FORWARDED_FOR: ["203.0.113.1"]}, NO_EVIDENCE, []),
        ({}, NO_EVIDENCE, []),
        # What cannot be read is left out, and told.
        (
            EVERYTHING | {POP_HEADER: ["lhr"]},
            Evidence(Source.LOCATION_HEADER, None, SYDNEY),
            [EvidenceFault.UNKNOWN_POP],
        ),
        (
            {POP_HEADER: ["fra", "nyc"], LATITUDE: ["999"], LONGITUDE: ["0"], **FROM_FRANKFURT},
            in_database(FRANKFURT),
            [EvidenceFault.SEVERAL_VALUES, EvidenceFault.OUT_OF_RANGE],
        ),
        ({LATITUDE: ["1"], **FROM_FRANKFURT}, in_database(FRANKFURT), [EvidenceFault.MALFORMED]),
        ({CONNECTING_IP: ["x"], **FROM_FRANKFURT}, in_database(FRANKFURT), [EvidenceFault.MALFORMED]),
        # A PoP without a place is named, and the others are ranked by what else is known.
        (
            {POP_HEADER: ["placeless"], **IN_SYDNEY},
            Evidence(Source.POP_HEADER, "placeless", SYDNEY),
            [],
        ),
        ({POP_HEADER: ["placeless"]}, Evidence(Source.POP_HEADER, "placeless", None), []),
    ],
)
def test_a_trusted_proxy_is_believed_in_this_order(
    database: LocationDatabase,
    headers: dict[str, list[str]],
    evidence: Evidence,
    faults: list[EvidenceFault],
) -> None:
    assert locate(locator(database), PROXY, headers) == (evidence, faults)


def test_anybody_elses_headers_are_ignored(database: LocationDatabase) -> None:
    assert locate(locator(database), STRANGER, EVERYTHING) == (
        in_database(TOKYO),
        [EvidenceFault.UNTRUSTED_PEER],
    )
    assert locate(locator(database), "::ffff:192.0.2.77", {}) == (in_database(TOKYO), [])
    assert locate(locator(None), "203.0.113.1", EVERYTHING) == (NO_EVIDENCE, [EvidenceFault.UNTRUSTED_PEER])
    assert locate(locator(database), None, EVERYTHING)[0] == NO_EVIDENCE, "a peer without an address"


def test_a_trusted_proxy_is_believed_what_it_is_said_to_set_and_no_more(database: LocationDatabase) -> None:
    """A proxy that only appends to X-Forwarded-For passes on whatever else the client sends."""
    it = locator(database, [X_FORWARDED_FOR])
    assert locate(it, PROXY, EVERYTHING) == (in_database(FRANKFURT), [])
    assert locate(locator(database, []), PROXY, EVERYTHING) == (NO_EVIDENCE, [])


def test_a_client_behind_a_trusted_proxy_has_an_address() -> None:
    def client(peer: str | None, headers: Mapping[str, list[str]]) -> str | None:
        return locator(None, (X_FORWARDED_FOR,)).client_of(peer, lambda name: headers.get(name, []))

    chain = {X_FORWARDED_FOR: ["192.0.2.9, 2001:db8::7, 10.9.9.9"], CONNECTING_IP: ["192.0.2.1"]}
    assert client(PROXY, chain) == "2001:db8::7"
    assert client(STRANGER, chain) is None, "it is its own address that counts"
    assert client(PROXY, {X_FORWARDED_FOR: ["unknown"]}) is None
    assert client(PROXY, {}) is None
    assert client(None, chain) is None


def test_the_place_of_the_proxy_is_not_taken_for_the_clients(tmp_path: Path) -> None:
    at_proxy = LocationDatabase(write_database(tmp_path / "x.mmdb", {"10.0.0.0/8": record(TOKYO)}))
    assert locate(locator(at_proxy), PROXY, {}) == (NO_EVIDENCE, [])


def test_it_goes_between_processes_whole() -> None:
    for evidence in (
        NO_EVIDENCE,
        Evidence(Source.POP_HEADER, "fra", None),
        Evidence(Source.LOCATION_HEADER, None, TOKYO),
    ):
        assert decode_evidence(evidence.encode()) == evidence


@given(
    st.dictionaries(st.sampled_from([*HEADERS, LONGITUDE]), st.lists(st.text(max_size=40), max_size=3)),
    st.sampled_from([PROXY, STRANGER, "fd00::1", "", "garbage"]),
)
def test_no_header_breaks_it(headers: dict[str, list[str]], peer: str) -> None:
    evidence, faults = locate(locator(None), peer, headers)
    assert evidence.pop is None or evidence.pop in POPS
    assert evidence.position is None or evidence.position.is_on_globe
    assert len(faults) <= len(HEADERS)
