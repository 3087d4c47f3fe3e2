"""The command line of QEMU for a virtual machine. Values in, words out."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

MANAGEMENT_SLOT, FIRST_SLOT = 2, 3
"""Of the PCI bus: the guest calls what is in slot 3 enp0s3."""
CPU = "Westmere-v1"
"""x86-64-v2 with AES, and nothing newer: under emulation by QEMU 7.2, Debian 12's, numpy's sort by AVX2 loses
entries or crashes.
"""
# A driver refuses XDP while its device may hand it frames that are longer than a page, or without checksum.
WITHOUT_OFFLOADS = (
    "csum=off,gso=off,guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off,"
    "host_tso4=off,host_tso6=off,host_ecn=off,host_ufo=off"
)


@dataclass(frozen=True, slots=True)
class Nic:
    """A virtio NIC at a TAP device that is open already."""

    mac: str
    descriptors: tuple[int, ...]
    """Of the device's queues. Native XDP takes one for each CPU more than the guest sends with."""


@dataclass(frozen=True, slots=True)
class Disk:
    """A virtio disk."""

    path: Path
    format: str = "qcow2"
    readonly: bool = False


@dataclass(frozen=True, slots=True)
class Spec:
    """A machine: CPUs and memory emulated, no firmware's boot, no screen."""

    name: str
    """Its host name."""
    cpus: int
    memory_mib: int
    kernel: Path
    initrd: Path
    disks: tuple[Disk, ...]
    """The first is its root's."""
    ssh_port: int
    """Of 127.0.0.1, led to the machine's port 22."""
    authorized_key: str
    """Who may come in as root."""
    console: Path
    """What it says while it boots."""
    nics: tuple[Nic, ...] = ()


def command(spec: Spec) -> list[str]:
    """What starts it; it ends when the machine is switched off."""
    return [
        "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-name", spec.name,
        "-machine", "q35", "-accel", "tcg,thread=multi,tb-size=256", "-cpu", CPU,
        "-smp", str(spec.cpus), "-m", str(spec.memory_mib), "-rtc", "base=utc,clock=host",
        "-kernel", str(spec.kernel), "-initrd", str(spec.initrd),
        "-append", f"root=/dev/vda rw console=ttyS0 systemd.hostname={spec.name} mitigations=off panic=5",
        "-chardev", f"file,id=console,path={spec.console},append=on", "-serial", "chardev:console",
        "-device", "virtio-rng-pci",
        *_words(spec.disks), *_management(spec.ssh_port), *_nics(spec.nics),
        "-smbios", f"type=11,value={_credential('ssh.authorized_keys.root', spec.authorized_key)}",
    ]  # fmt: skip


def _words(disks: Sequence[Disk]) -> Iterator[str]:
    for disk in disks:
        # What a crash of this machine would cost is a run that is begun anew.
        readonly = ",readonly=on" if disk.readonly else ""
        yield from ("-drive", f"file={disk.path},if=virtio,format={disk.format},cache=unsafe{readonly}")


def _management(port: int) -> Sequence[str]:
    """By which Ansible comes, and packages."""
    return (
        "-netdev", f"user,id=management,hostfwd=tcp:127.0.0.1:{port}-:22",
        "-device", f"virtio-net-pci,netdev=management,addr={MANAGEMENT_SLOT:#x}",
    )  # fmt: skip


def _nics(nics: Sequence[Nic]) -> Iterator[str]:
    for number, nic in enumerate(nics):
        queues = len(nic.descriptors)
        yield from ("-netdev", f"tap,id=nic{number},fds={':'.join(map(str, nic.descriptors))},vhost=off")
        # Two vectors for each queue, one for its control queue, one for a change of its configuration.
        device = f"virtio-net-pci,netdev=nic{number},mac={nic.mac},addr={FIRST_SLOT + number:#x}"
        yield from ("-device", f"{device},mq=on,vectors={2 * queues + 2},{WITHOUT_OFFLOADS}")


def _credential(name: str, value: str) -> str:
    """As systemd takes one from the firmware (systemd.exec(5), LoadCredential=)."""
    return f"io.systemd.credential.binary:{name}={base64.b64encode(value.encode()).decode()}"
