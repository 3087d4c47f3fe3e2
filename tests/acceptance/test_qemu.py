"""The command line of a machine."""

from __future__ import annotations

import base64
import dataclasses
import itertools
from pathlib import Path

from tests.acceptance.qemu import Disk, Nic, Spec, command

SPEC = Spec(
    name="fra1.example.net",
    cpus=2,
    memory_mib=2048,
    kernel=Path("/i/vmlinuz"),
    initrd=Path("/i/initrd"),
    disks=(Disk(Path("/r/fra1.qcow2")), Disk(Path("/r/checkout.raw"), "raw", readonly=True)),
    ssh_port=2222,
    authorized_key="ssh-ed25519 AAAA of a run\n",
    console=Path("/r/fra1.console"),
)


def _after(words: list[str], option: str) -> list[str]:
    return [value for word, value in itertools.pairwise(words) if word == option]


def test_disks_are_overlays_or_not_written_to() -> None:
    root, checkout = _after(command(SPEC), "-drive")
    assert root.startswith("file=/r/fra1.qcow2,if=virtio,format=qcow2")
    assert "readonly" not in root
    assert checkout.endswith("readonly=on")


def test_ssh_is_at_loopback_alone() -> None:
    assert "user,id=management,hostfwd=tcp:127.0.0.1:2222-:22" in _after(command(SPEC), "-netdev")


def test_the_key_comes_as_a_credential_of_the_firmware() -> None:
    [words] = _after(command(SPEC), "-smbios")
    name, _, value = words.removeprefix("type=11,value=io.systemd.credential.binary:").partition("=")
    assert (name, base64.b64decode(value).decode()) == ("ssh.authorized_keys.root", SPEC.authorized_key)


def test_a_nic_has_its_queues_and_nothing_that_native_xdp_refuses() -> None:
    spec = dataclasses.replace(
        SPEC, nics=(Nic("52:54:00:00:01:01", (7, 8, 9, 10)), Nic("52:54:00:00:02:01", (11,)))
    )
    words = command(spec)
    assert _after(words, "-netdev")[1:] == [
        "tap,id=nic0,fds=7:8:9:10,vhost=off",
        "tap,id=nic1,fds=11,vhost=off",
    ]
    _, public, backbone = (
        each.split(",") for each in _after(words, "-device") if each.startswith("virtio-net")
    )
    assert {"mac=52:54:00:00:01:01", "addr=0x3", "mq=on", "vectors=10"} <= set(public)
    assert {"mac=52:54:00:00:02:01", "addr=0x4", "vectors=4"} <= set(backbone)
    for offload in ("csum", "tso4", "tso6", "ecn", "ufo"):
        assert f"guest_{offload}=off" in public


def test_the_processor_has_no_instructions_that_are_emulated_wrongly() -> None:
    assert _after(command(SPEC), "-cpu") == ["Westmere-v1"]


def test_it_boots_the_kernel_of_its_image_under_its_name() -> None:
    words = command(SPEC)
    assert _after(words, "-kernel") == ["/i/vmlinuz"]
    [line] = _after(words, "-append")
    assert {"root=/dev/vda", "rw", "systemd.hostname=fra1.example.net"} <= set(line.split())
    assert (_after(words, "-m"), _after(words, "-smp")) == (["2048"], ["2"])
