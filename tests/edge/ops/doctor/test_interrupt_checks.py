"""Where interrupts are, by files as the kernel has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.ops.doctor.checks import Status
from edge.ops.doctor.interrupt_checks import check, judge, queue_cpus


def device(root: Path, placed: dict[str, str]) -> tuple[Path, Path]:
    """A device whose interrupts have these names and CPUs, as /sys and /proc show it."""
    pci = root / "pci0"
    (pci / "msi_irqs").mkdir(parents=True)
    (pci / "virtio0").mkdir()
    for irq, (name, cpus) in enumerate(placed.items(), 9):
        (pci / "msi_irqs" / str(irq)).touch()
        (root / "irq" / str(irq) / name).mkdir(parents=True)
        (root / "irq" / str(irq) / "effective_affinity_list").write_text(f"{cpus}\n")
    return pci, root / "irq"


def test_receive_queues_count_in_the_order_of_numbers(tmp_path: Path) -> None:
    names = {
        "virtio0-config": "0",
        "virtio0-input.0": "3",
        "virtio0-output.0": "1",
        "virtio0-input.1": "0-1,4",
    }
    pci, proc = device(tmp_path, names)
    for each in (pci, pci / "virtio0"):
        assert queue_cpus(each, proc) == [frozenset({3}), frozenset({0, 1, 4})]


def test_an_interrupt_that_nobody_has_asked_for_is_none(tmp_path: Path) -> None:
    pci, proc = device(tmp_path, {"eth0-TxRx-0": "1"})
    (pci / "msi_irqs" / "77").touch()
    assert queue_cpus(pci, proc) == [frozenset({1})]


def test_a_virtual_interface_is_not_judged(tmp_path: Path) -> None:
    (tmp_path / "veth0").mkdir()
    assert list(check(["veth0"], sysfs=tmp_path, proc=tmp_path)) == []


@pytest.mark.parametrize(
    ("placed", "cpus", "status"),
    [([0, 0], 4, Status.NOTE), ([0, 1], 4, Status.OK), ([0, 1, 0], 2, Status.OK), ([0], 4, Status.OK)],
    ids=["one of four", "two of four", "all", "one queue"],
)
def test_queues_that_share_a_cpu_while_others_are_idle_are_told_of(
    placed: list[int], cpus: int, status: Status
) -> None:
    told = judge("interrupts eth0", [frozenset({cpu}) for cpu in placed], cpus)
    assert told.status is status
    assert ("edge_cpus" in told.fix) == (status is Status.NOTE)
