"""The catalogue as a whole; that a host shows all of it is in test_supervisor.py."""

from __future__ import annotations

from core.service.metrics import OTHER, Kind
from transceiver.host import catalogue
from transceiver.sdp import SdpReason
from transceiver.signaling.refusals import HttpReason


def test_no_name_is_declared_twice() -> None:
    names = [series.name for series in catalogue.ALL]
    assert len(set(names)) == len(names)
    assert all(name.startswith(("voxpop_", "process_")) for name in names)


def test_what_workers_show_is_shown_for_each_of_them() -> None:
    shown = {series.name: series for series in catalogue.TRANSCEIVER}
    for series in catalogue.SHOWN_BY_WORKERS:
        assert "worker" not in series.labels
        assert list(shown[series.name].labels) == ["worker", *series.labels]


def test_session_counters_have_a_member_for_each_value_of_their_label() -> None:
    for counted in catalogue.SESSION_COUNTERS:
        ((_, values),) = counted.series.labels.items()
        assert counted.series.kind is Kind.COUNTER
        assert isinstance(values, tuple)
        assert list(values) == list(counted.members)
        assert len(set(counted.members.values())) == len(counted.members)


def test_every_reason_of_a_refused_request_has_a_label() -> None:
    reasons = catalogue.HTTP_REFUSALS.labels["reason"]
    assert isinstance(reasons, tuple)
    assert set(reasons) == {*HttpReason, *SdpReason, OTHER}
