from __future__ import annotations

from core.addr import IpFamily
from edge.forwarders.newcomers import Newcomer, Newcomers, family_of_source, source_of

ONE, OTHER = source_of(bytes([192, 0, 2, 1])), source_of(bytes([192, 0, 2, 2]))


def newcomers(confirmed: set[int] | None = None) -> Newcomers:
    return Newcomers((confirmed or set[int]()).__contains__)


def fresh(began_ns: int, source: int = ONE, owner: str = "a") -> Newcomer:
    return Newcomer(source, owner, began_ns, is_restored=False)


def test_a_source_says_its_family() -> None:
    assert family_of_source(source_of(bytes(4))) is IpFamily.V4
    assert family_of_source(source_of(bytes(16))) is IpFamily.V6


def test_the_oldest_goes_first_and_those_of_a_store_last() -> None:
    some = newcomers()
    some.add(7, Newcomer(ONE, "a", 0, is_restored=True))
    some.add(3, fresh(1))
    some.add(5, fresh(2, OTHER, "b"))
    assert (some.oldest(), some.oldest_of_source(OTHER), some.oldest_of_owner("b")) == (3, 5, 5)
    some.discard(3)
    some.discard(5)
    assert (some.oldest(), some.oldest_fresh(), len(some)) == (7, None, 1)


def test_one_that_was_answered_after_all_is_not_given_away() -> None:
    some = newcomers({3})
    some.add(3, fresh(1))
    some.add(5, fresh(2))
    assert some.oldest() == 5
    assert some.of_source(ONE) == 1, "it counts no more"


def test_a_renamed_flow_is_of_its_new_ufrag() -> None:
    some = newcomers()
    some.add(3, fresh(1))
    some.rename(3, "b")
    assert (some.oldest_of_owner("a"), some.oldest_of_owner("b"), some.of_source(ONE)) == (None, 3, 1)


def test_overdue_are_those_from_before_up_to_a_limit() -> None:
    some = newcomers({2})
    for place in range(1, 6):
        some.add(place, fresh(place))
    assert some.overdue(5, 2) == [1, 3]
    assert some.overdue(5, 9) == [4]
    assert (some.overdue(5, 9), list(some.places())) == ([], [5])


def test_nothing_is_kept_of_what_is_gone() -> None:
    some = newcomers()
    for place in range(100):
        some.add(place, fresh(place, source_of(place.to_bytes(4, "big")), f"{place}"))
    for place in range(100):
        some.discard(place)
        some.discard(place)
    assert not any(vars(some)[name] for name in ("_fresh", "_restored", "_by_source", "_by_owner"))
