"""Whether this host can have the fast path: kernel, headers, BCC, rights, interfaces, addresses, ports."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from core.errors import UnavailableError
from core.service import launch
from core.service.privileges import missing
from ebpf import pins
from ebpf.kernel import headers
from ebpf.kernel.libbpf import SONAME, library
from ebpf.net.attach import Mode, Netdev
from ebpf.net.messages import Link
from edge.host.capabilities import DATAPLANE, RELAY
from edge.host.dataplane import InterfaceState, Plan, interfaces
from edge.ops.doctor.checks import Check, failed, note, ok

KERNEL = (5, 15)
"""The first long-term kernel with all that the program and the maps use."""
BTF = Path("/sys/kernel/btf/vmlinux")
PAGE_MTU = 3498
"""What most drivers can take in native mode: a page, less headroom and skb_shared_info."""
_IMPORT = "import bcc; bcc.BPF; print(bcc.__version__)"


def check(plan: Plan) -> Iterator[Check]:
    """Every check, in the order in which things are needed."""
    singles: tuple[Callable[[Plan], Check], ...] = (
        _kernel, _btf, _headers, _bcc, _libbpf, _rights, _bpffs,
    )  # fmt: skip
    for single in singles:
        yield single(plan)
    yield from _interfaces(plan)
    yield from _addresses(plan)
    yield _ephemeral_ports(plan)
    yield _bound_ports(plan)


def _kernel(_: Plan) -> Check:
    release = os.uname().release
    version = tuple(int(part) for part in release.split("-")[0].split(".")[:2])
    if version < KERNEL:
        return failed("kernel", release, f"at least {KERNEL[0]}.{KERNEL[1]} is needed")
    return ok("kernel", release)


def _btf(_: Plan) -> Check:
    if BTF.exists():
        return ok("btf", "the kernel has type information")
    return note("btf", "the kernel has no type information; the fast path does not need it")


def _headers(_: Plan) -> Check:
    try:
        with headers.tree() as tree:
            where = str(tree)
    except UnavailableError as error:
        return failed("headers", str(error), "see above; without them `voxpop dataplane run` cannot compile")
    if where == str(headers.MODULES / os.uname().release / "build"):
        return ok("headers", where)
    return note(
        "headers",
        "those of another kernel than the running one; they serve, as the program keeps to stable interfaces",
        f"install linux-headers-{os.uname().release} if there is such a package",
    )


def _bcc(_: Plan) -> Check:
    """In another process: it brings in LLVM."""
    result = subprocess.run(
        launch.python("-c", _IMPORT),
        env=launch.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if result.returncode == 0:
        return ok("bcc", f"version {result.stdout.strip()}")
    return failed(
        "bcc",
        result.stderr.strip().splitlines()[-1] if result.stderr else f"exit status {result.returncode}",
        "install the distribution's python3-bpfcc, and run voxpop with the distribution's Python and "
        "--system-site-packages; the package `bcc` on the Python index is something else",
    )


def _libbpf(_: Plan) -> Check:
    try:
        library()
    except UnavailableError as error:
        return failed("libbpf", str(error), "install the package libbpf1")
    return ok("libbpf", SONAME)


def _rights(_: Plan) -> Check:
    lacking = missing((*DATAPLANE, *RELAY))
    if lacking:
        return failed(
            "rights",
            f"this process lacks {', '.join(dict.fromkeys(lacking))}",
            "run as root, or give the units AmbientCapabilities=; see docs/dataplane.md",
        )
    return ok("rights", "to load, to attach, to send from NAT ports")


def _bpffs(plan: Plan) -> Check:
    directory = plan.directory
    there = next(parent for parent in directory.parents if parent.exists())
    if pins.is_bpffs(there):
        return ok("bpffs", f"{there} is one")
    return failed(
        "bpffs",
        f"{directory} is in no BPF file system",
        f"`mount -t bpf bpf {pins.BPFFS}`, in /etc/fstab too",
    )


def _interfaces(plan: Plan) -> Iterator[Check]:
    try:
        with Netdev() as netdev:
            present = {link.name: link for link in netdev.links()}
        states = {state.name: state for state in interfaces(plan)}
    except UnavailableError as error:
        yield failed("interfaces", str(error), "see above")
        return
    for name in plan.settings.interfaces:
        label = f"interface {name}"
        if name not in present:
            fix = f"dataplane.interfaces: this host has {', '.join(sorted(present))}"
            yield failed(label, "there is none", fix)
            continue
        yield _link(label, present[name])
        yield _mode(label, states[name])


def _link(label: str, link: Link) -> Check:
    driver = Path(f"/sys/class/net/{link.name}/device/driver")
    queues = list(Path(f"/sys/class/net/{link.name}/queues").glob("rx-*"))
    words = f"driver {driver.resolve().name}" if driver.exists() else "virtual"
    words += f", {len(queues)} receive queues" if queues else ""
    words += f", MTU {link.mtu}"
    if not link.is_up:
        return failed(label, f"is down; {words}", f"`ip link set dev {link.name} up`; check the cable")
    if not link.is_ethernet:
        return failed(label, f"is no Ethernet interface; {words}", "the fast path knows Ethernet only")
    if link.mtu > PAGE_MTU:
        return note(label, words, f"most drivers have no native XDP over MTU {PAGE_MTU}")
    return ok(label, words)


def _mode(label: str, state: InterfaceState) -> Check:
    if state.mode is None:
        return failed(label, "does not run the fast path", "`voxpop dataplane run`")
    if not state.is_ours:
        return failed(
            label,
            f"runs another XDP program, id {state.program_id}",
            f"`ip link set dev {state.name} xdp off` removes it",
        )
    if state.mode is Mode.GENERIC:
        return note(
            label,
            "runs the fast path in generic mode, at several times the cost per packet",
            "see docs/dataplane.md for what drivers want; then detach and run again",
        )
    return ok(label, f"runs the fast path in native mode, program {state.program_id}")


def _addresses(plan: Plan) -> Iterator[Check]:
    with Netdev() as netdev:
        own = {host for link in netdev.links() for host in netdev.addresses(link.number)}
    missing_vips = [vip.host for vip in plan.relay.vips if vip.host not in own]
    if missing_vips:
        yield failed(
            "vips",
            f"{', '.join(missing_vips)}: no interface has it",
            "`ip address add ADDRESS/32 dev lo` (/128 for IPv6), so that the relay can listen there",
        )
    else:
        yield ok("vips", "all are addresses of this host")
    missing_backbone = [host for host in plan.settings.backbone if host not in own]
    if missing_backbone:
        yield note(
            "backbone",
            f"{', '.join(missing_backbone)}: no interface has it",
            "fine if it is routed to this host; else transceivers cannot answer there",
        )
    else:
        yield ok("backbone", "all are addresses of this host")


def _ephemeral_ports(plan: Plan) -> Check:
    first, last = plan.settings.nat_ports
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    if low <= last and first <= high:
        return note(
            "nat_ports",
            f"{first}–{last} overlap the kernel's ephemeral ports, {low}–{high}: answers to this host's own "
            "UDP, such as DNS, are dropped where they come to a backbone address in that range",
            "narrow one of them: dataplane.nat_ports, or the sysctl net.ipv4.ip_local_port_range",
        )
    return ok("nat_ports", f"{first}–{last} are apart from the kernel's ephemeral ports, {low}–{high}")


def _bound_ports(plan: Plan) -> Check:
    first, last = plan.settings.nat_ports
    vips = {vip.port for vip in plan.relay.vips}
    bound = {port for port in _udp_ports() if first <= port <= last} - vips
    if bound:
        ports = ", ".join(map(str, sorted(bound)[:8]))
        return note(
            "listeners",
            f"UDP sockets of this host have ports of the NAT range: {ports}",
            "they hear nothing at a backbone address; move them, or narrow dataplane.nat_ports",
        )
    return ok("listeners", "no UDP socket of this host has a port of the NAT range")


def _udp_ports() -> set[int]:
    ports = set()
    for table in (Path("/proc/self/net/udp"), Path("/proc/self/net/udp6")):
        if table.exists():
            rows = table.read_text().splitlines()[1:]
            ports |= {int(row.split()[1].rpartition(":")[2], 16) for row in rows}
    return ports
