"""What goes wrong when the fast path is installed, each with an error that says what to do."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from ebpf.net import netns
from tests.edge.kit import REPOSITORY
from tests.edge.xdp_scene import Pop, as_nobody

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]


def test_without_bpffs(stopped: Pop) -> None:
    stopped.dataplane["pin_dir"] = str(stopped.scene.directory / "nowhere")
    stopped.write_config()
    result = stopped.run("dataplane", "run")
    assert result.returncode == 1
    assert "is no BPF file system: `mount -t bpf bpf /sys/fs/bpf` mounts one" in result.stderr


def test_without_the_interface(stopped: Pop) -> None:
    stopped.dataplane["interfaces"] = ["pub", "eth9"]
    stopped.write_config()
    result = stopped.run("dataplane", "run")
    assert result.returncode == 1
    assert "there is no interface eth9; there are lo, " in result.stderr


def test_without_rights(stopped: Pop) -> None:
    result = as_nobody(stopped, "dataplane", "run")
    assert result.returncode == 1
    assert "no right to load and attach: CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON needed" in result.stderr


def run_without_headers(pop: Pop) -> subprocess.CompletedProcess[str]:
    """They are hidden from the process by a mount of its own."""
    inner = " ".join(pop.command("dataplane", "run"))
    script = f"mount -t tmpfs none /usr/src && mount -t tmpfs none /lib/modules && exec {inner}"
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_missing_headers_name_the_package(stopped: Pop) -> None:
    stopped.dataplane["cache_dir"] = str(stopped.scene.directory / "empty")
    stopped.write_config()
    result = run_without_headers(stopped)
    assert result.returncode == 1
    assert f"Install linux-headers-{os.uname().release}" in result.stderr


def test_what_was_compiled_before_needs_no_headers(stopped: Pop) -> None:
    stopped.succeed("dataplane", "run")
    result = run_without_headers(stopped)
    assert result.returncode == 0, result.stderr
    assert "loaded what was compiled before" in result.stderr


def test_without_the_memory_to_compile_nothing_is_left(stopped: Pop) -> None:
    """LLVM alone takes more than this."""
    stopped.dataplane["cache_dir"] = str(stopped.scene.directory / "empty")
    stopped.write_config()
    inner = " ".join(stopped.command("dataplane", "run"))
    result = subprocess.run(
        ["prlimit", f"--as={260 << 20}", "sh", "-c", f"exec {inner}"],
        cwd=REPOSITORY, env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("voxpop: there is not enough memory; ")
    assert "Traceback" not in result.stderr
    pinned = stopped.run("dataplane", "status", "--json")
    assert '"program_id": null' in pinned.stdout
    directory = Path(str(stopped.dataplane["pin_dir"]))
    assert not [path for path in directory.rglob("*") if path.is_file()]
    stopped.succeed("dataplane", "run")


def test_a_driver_without_native_mode(stopped: Pop) -> None:
    stopped.scene.ip(stopped.scene.pop, "link", "add", "br0", "type", "bridge")
    stopped.scene.ip(stopped.scene.pop, "link", "set", "br0", "up")
    stopped.dataplane["interfaces"] = ["pub", "br0"]
    stopped.write_config()
    result = stopped.run("dataplane", "run")
    assert result.returncode == 0, result.stderr
    assert "br0: generic" in result.stdout
    assert "br0: the driver refuses native XDP" in result.stderr
    stopped.succeed("dataplane", "detach")
    stopped.dataplane["mode"] = "native"
    stopped.write_config()
    refused = stopped.run("dataplane", "run")
    assert refused.returncode == 1
    assert "br0 refuses the program in native mode" in refused.stderr
    states = json.loads(stopped.run("dataplane", "status", "--json").stdout)["interfaces"]
    assert {state["mode"] for state in states} == {None}, "all interfaces or none"


def test_another_program_on_the_interface_is_left_alone(stopped: Pop) -> None:
    stopped.succeed("dataplane", "run")
    stopped.dataplane["pin_dir"] = str(stopped.scene.pin_root / "elsewhere")
    stopped.write_config()
    status = json.loads(stopped.run("dataplane", "status", "--json").stdout)
    assert all(state["is_ours"] for state in status["interfaces"]), "known by its name"
    foreign = stopped.scene.directory / "pass.py"
    foreign.write_text(
        "from bcc import BPF\n"
        "b = BPF(text='int other(void *ctx) { return 2; }')\n"
        "b.attach_xdp('pub', b.load_func('other', BPF.XDP), 0)\n"
    )
    stopped.succeed("dataplane", "detach")
    with netns.inside(stopped.scene.pop):
        tree = "import sys; from ebpf.kernel import headers; import os, subprocess\n"
        tree += "with headers.tree() as t:\n"
        tree += f"    subprocess.run([sys.executable, {str(foreign)!r}], check=True, "
        tree += "env={**os.environ, 'BCC_KERNEL_SOURCE': str(t)})"
        command = stopped.command("dataplane", "run")
        subprocess.run([command[2], "-c", tree], check=True, cwd=REPOSITORY, timeout=60)
    result = stopped.run("dataplane", "run")
    assert result.returncode == 1
    assert "pub runs an XDP program that is not Voxpop's" in result.stderr
    assert "`ip link set dev pub xdp off` removes it" in result.stderr


def test_too_few_backbone_addresses(stopped: Pop) -> None:
    stopped.dataplane["backbone"] = ["192.0.2.10"]
    stopped.write_config()
    result = stopped.run("dataplane", "run")
    assert result.returncode == 1
    assert (
        "0 IPv6 addresses with 22768 NAT ports each are too few for relay.max_flows = 1000" in result.stderr
    )
