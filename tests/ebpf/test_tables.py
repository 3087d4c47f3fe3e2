"""The tables' meaning, where no packet is needed to see it."""

from __future__ import annotations

import ctypes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.addr import Endpoint, pack_address
from core.keyring import Keyring
from ebpf import layout
from ebpf.errors import DataplaneError
from ebpf.ids import BackboneIndex, VipId
from ebpf.kernel.libbpf import library
from ebpf.tables import LocalAddress, Rates, cell_of, find_multiplier, fold
from ebpf.verdict import FAMILIES, KNOWN, REASON_STRIDE, Count, Reason
from tests.ebpf import rig as scene
from tests.ebpf.rig import FLOW4, FLOW6, Rig, upstream

ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(lambda a: pack_address(str(a)))


@given(st.lists(ADDRESSES, max_size=30, unique=True))
def test_every_address_gets_a_cell_of_its_own(packed: list[bytes]) -> None:
    folded = {fold(address) for address in packed}
    multiplier = find_multiplier(sorted(folded))
    assert multiplier & 1
    assert len({cell_of(value, multiplier) for value in folded}) == len(folded)


def test_the_same_address_twice_is_refused(rig: Rig) -> None:
    with pytest.raises(DataplaneError, match="one is there twice"):
        rig.tables.set_locals([LocalAddress("192.0.2.1"), LocalAddress("192.0.2.1")])


def test_too_many_ports_of_one_address_are_refused(rig: Rig) -> None:
    with pytest.raises(DataplaneError, match=r"192\.0\.2\.1 has more than 8 VIP ports"):
        rig.tables.set_locals([LocalAddress("192.0.2.1", dict.fromkeys(range(1, 10), VipId(1)))])


def test_sixty_four_backbone_addresses_fit(rig: Rig) -> None:
    backbones = [LocalAddress(f"192.0.2.{n}", backbone=BackboneIndex(n)) for n in range(1, 65)]
    for _ in range(3):
        rig.tables.set_locals([*scene.LOCALS[:2], *backbones])
        assert rig.send(upstream(FLOW4)).reason == Reason.PUNT_MEDIA
        frame = upstream(FLOW4).but(destination=Endpoint("192.0.2.64", 5000))
        assert rig.send(frame).reason == Reason.DROP_NO_FLOW


def test_addresses_that_are_taken_away_are_gone(rig: Rig) -> None:
    rig.tables.set_locals([scene.LOCALS[0]])
    assert rig.send(upstream(FLOW4)).reason == Reason.PUNT_MEDIA
    assert rig.send(upstream(FLOW6)).reason == Reason.PASS_NOT_OURS
    rig.tables.set_locals([])
    assert rig.send(upstream(FLOW4)).reason == Reason.PASS_NOT_OURS


def test_a_key_that_is_taken_away_is_gone(rig: Rig) -> None:
    rig.tables.set_keys(Keyring({9: bytes(range(100, 132))}, mint_with=9))
    assert rig.send(upstream(FLOW4, scene.REQUEST)).reason == Reason.DROP_TOKEN_KEY
    assert rig.send(upstream(FLOW4, scene.OTHER_REQUEST)).reason == Reason.PUNT_TOKEN


def test_counts_begin_at_zero_for_every_reason(rig: Rig) -> None:
    counts = rig.tables.counts()
    assert {len(reasons) for reasons in counts.values()} == {len(Reason)}


def test_what_a_newer_program_counts_is_told_as_unknown(rig: Rig) -> None:
    before = rig.tables.counts()
    for block in range(len(FAMILIES)):
        for number in (len(KNOWN), REASON_STRIDE - 1):
            values = rig.tables.counters.per_cpu()[block * REASON_STRIDE + number]
            values[0]["packets"] += 10 + block
            values[-1]["bytes"] += 100
            key = ctypes.c_uint32(block * REASON_STRIDE + number)
            written = library().bpf_map_update_elem(
                rig.tables.counters.fd, ctypes.byref(key), values.ctypes.data, 0
            )
            assert written == 0
    after = rig.tables.counts()
    for block, family in enumerate(FAMILIES):
        was, now = before[family].pop(Reason.UNKNOWN), after[family].pop(Reason.UNKNOWN)
        assert now == Count(was.packets + 2 * (10 + block), was.bytes + 200)
    assert after == before


def test_rates_are_costs(rig: Rig) -> None:
    rig.tables.set_rates(layout.PUNT_CLASS_MEDIA, Rates(100, 5, 1000, 50))
    assert rig.tables.config["budget"][layout.PUNT_CLASS_MEDIA].tolist() == (
        10**7,
        4 * 10**7,
        10**6,
        49 * 10**6,
    )
