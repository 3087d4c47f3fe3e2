"""Flows over legs: by weight, the same every time, and moved only where they must be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf.ids import NextHopId
from edge.nexthops.messages import SpreadLeg
from edge.nexthops.spread import Keys, Spread, flow_key, flow_keys, mix, mix_all

FLOWS = 20_000
SIGMAS = 5
"""A share is off by more in one of two million tries; the keys are the same each time."""
LEGS = st.lists(
    st.builds(SpreadLeg, st.integers(1, 4095).map(NextHopId), st.integers(1, 256), st.integers(0, 2**32 - 1)),
    min_size=1,
    max_size=6,
    unique_by=(lambda leg: leg.nexthop, lambda leg: leg.seed),
)


def some_keys(count: int = FLOWS) -> Keys:
    """Clients of a /16, each from one of a few ports: as unlike random numbers as flows get."""
    addresses = (np.arange(count, dtype=np.uint32) + (10 << 24)).byteswap()
    ports = (50000 + np.arange(count, dtype=np.uint16) % 7).byteswap()
    return flow_keys(addresses, ports, np.ones(count, np.uint8))


KEYS = some_keys()


def test_the_mixer_is_that_of_splitmix64() -> None:
    """The first outputs of its author's splitmix64.c for the seed 1234567, which mixes sums of a constant."""
    states = [(1234567 + n * 0x9E3779B97F4A7C15) & (2**64 - 1) for n in (1, 2, 3)]
    outputs = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [mix(state) for state in states] == outputs
    assert mix_all(np.array(states, np.uint64)).tolist() == outputs


@given(
    st.lists(st.tuples(st.binary(min_size=4, max_size=4), st.integers(0, 65535), st.integers(0, 255))),
    st.lists(st.tuples(st.binary(min_size=16, max_size=16), st.integers(0, 65535), st.integers(0, 255))),
    LEGS,
)
def test_one_flow_and_many_are_the_same(
    four: list[tuple[bytes, int, int]], six: list[tuple[bytes, int, int]], legs: list[SpreadLeg]
) -> None:
    spread = Spread(legs)
    for flows in (four, six):
        packed = np.frombuffer(b"".join(address for address, _, _ in flows), np.uint32)
        clients = packed if flows is four else packed.reshape(-1, 4)
        ports = np.array([port for _, port, _ in flows], ">u2").view(np.uint16)
        keys = flow_keys(clients, ports, np.array([vip for _, _, vip in flows], np.uint8))
        assert keys.tolist() == [flow_key(*flow) for flow in flows]
        assert spread.choose_all(keys).tolist() == [spread.choose(key) for key in keys.tolist()]


@given(LEGS)
def test_each_leg_has_its_share(legs: list[SpreadLeg]) -> None:
    chosen = Spread(legs).choose_all(KEYS)
    total = sum(leg.weight for leg in legs)
    for leg in legs:
        share = leg.weight / total
        bound = SIGMAS * (FLOWS * share * (1 - share)) ** 0.5 + 1
        assert abs((chosen == leg.nexthop).sum() - FLOWS * share) <= bound


@given(LEGS, st.data())
def test_only_the_flows_of_a_leg_that_dies_move_and_they_come_back(
    legs: list[SpreadLeg], data: st.DataObject
) -> None:
    dead = data.draw(st.sampled_from(legs))
    left = [leg for leg in legs if leg != dead]
    if not left:
        return
    before, after = Spread(legs).choose_all(KEYS), Spread(left).choose_all(KEYS)
    moved = before != after
    assert (moved == (before == dead.nexthop)).all()
    total = sum(leg.weight for leg in left)
    for leg in left:
        share, count = leg.weight / total, int(moved.sum())
        bound = SIGMAS * (count * share * (1 - share)) ** 0.5 + 1
        assert abs((after[moved] == leg.nexthop).sum() - count * share) <= bound, "by weight to the others"
    assert (Spread(legs).choose_all(KEYS) == before).all(), "as if nothing had been"


@given(LEGS, st.randoms(use_true_random=False))
def test_neither_order_nor_number_of_the_next_hops_matters(legs: list[SpreadLeg], random: object) -> None:
    """After a restart a router may have another number, and be told in another place."""
    other = {leg.seed: NextHopId(5000 + n) for n, leg in enumerate(legs)}
    renumbered = [leg._replace(nexthop=other[leg.seed]) for leg in reversed(legs)]
    seed_of = {leg.nexthop: leg.seed for leg in legs}
    keys = KEYS[:500].tolist()
    for key in keys:
        assert Spread(renumbered).choose(key) == other[seed_of[Spread(legs).choose(key)]]


def test_a_change_of_weights_moves_no_more_than_the_difference() -> None:
    even = [SpreadLeg(NextHopId(n), 1, seed) for n, seed in ((1, 11), (2, 22))]
    uneven = [even[0], even[1]._replace(weight=3)]
    before, after = Spread(even).choose_all(KEYS), Spread(uneven).choose_all(KEYS)
    moved = before != after
    assert set(after[moved].tolist()) == {2}, "to the one that weighs more"
    assert (after == 2).mean() == pytest.approx(0.75, abs=0.02)
    assert moved.mean() == pytest.approx(0.25, abs=0.02)
