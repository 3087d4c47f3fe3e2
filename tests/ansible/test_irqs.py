"""What places interrupts, with a /sys and a /proc of files."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.paths import ROOT

COMMAND = ROOT / "ansible" / "roles" / "edge" / "files" / "voxpop-irqs"


def host(root: Path, names: dict[int, str], *, has_device_above: bool = False) -> None:
    """A host whose interface nic0 has interrupts with these names."""
    pci = root / "sys" / "devices" / "pci0"
    device = pci / "virtio0" if has_device_above else pci
    device.mkdir(parents=True)
    (pci / "msi_irqs").mkdir()
    (root / "sys" / "class" / "net" / "nic0").mkdir(parents=True)
    (root / "sys" / "class" / "net" / "nic0" / "device").symlink_to(device)
    for irq, name in names.items():
        (pci / "msi_irqs" / str(irq)).touch()
        (root / "proc" / "irq" / str(irq) / name).mkdir(parents=True)
        (root / "proc" / "irq" / str(irq) / "smp_affinity_list").write_text("0-7\n")


def place(root: Path, cpus: str) -> tuple[str, dict[int, str]]:
    """What it says, and where each interrupt is then."""
    folder = root / "bin"
    folder.mkdir()
    (folder / "ethtool").write_text("#!/bin/sh\nexit 0\n")
    (folder / "ethtool").chmod(0o755)
    told = os.environ | {"VOXPOP_IRQS_ROOT": str(root), "PATH": f"{folder}:{os.environ['PATH']}"}
    done = subprocess.run([COMMAND, cpus, "nic0"], env=told, capture_output=True, text=True, check=True)
    files = (root / "proc" / "irq").glob("*/smp_affinity_list")
    return done.stdout, {int(file.parent.name): file.read_text().strip() for file in files}


@pytest.mark.parametrize(("cpus", "at"), [("2-3,7", "2 3 7 2"), ("5", "5 5 5 5")], ids=["three", "one"])
def test_each_queue_has_a_cpu_of_its_own_as_far_as_there_are_any(tmp_path: Path, cpus: str, at: str) -> None:
    host(tmp_path, {9: "nic0-TxRx-0", 10: "nic0-TxRx-1", 11: "nic0-TxRx-2", 100: "nic0-TxRx-3"})
    said, placed = place(tmp_path, cpus)
    assert " ".join(placed[irq] for irq in (9, 10, 11, 100)) == at, "in the order of numbers, not of text"
    assert said.startswith("nic0: 4 interrupts at CPUs ")


def test_virtio_has_its_interrupts_one_device_above_and_only_input_counts(tmp_path: Path) -> None:
    names = {24: "virtio0-config", 25: "virtio0-input.0", 26: "virtio0-output.0", 27: "virtio0-input.1"}
    host(tmp_path, names, has_device_above=True)
    assert place(tmp_path, "1-2")[1] == {24: "0-7", 25: "1", 26: "0-7", 27: "2"}


def test_an_interface_without_interrupts_is_said_to_have_none(tmp_path: Path) -> None:
    (tmp_path / "sys" / "class" / "net" / "nic0").mkdir(parents=True)
    assert place(tmp_path, "1")[0] == "nic0: has no interrupts of its own\n"
