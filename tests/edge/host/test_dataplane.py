"""What goes wrong at a PoP: each thing has its own behaviour, and an error that says what to do."""

from __future__ import annotations

import json
import os
import subprocess
from functools import partial

import pytest

from core.addr import IpFamily
from ebpf.layout import UPSTREAM
from ebpf.net import netns
from ebpf.net.netns import Wiring
from tests.edge.kit import MEDIA, REPOSITORY, eventually, request
from tests.edge.xdp_scene import GATEWAYS, Call, Pop

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]


def verdict(pop: Pop, name: str, family: str = "ipv4") -> int:
    return pop.samples()["fastpath_packets_total", family, name]


# --- of the network ---------------------------------------------------------------------------------------


def test_a_neighbour_that_gets_another_mac_is_followed(pop: Pop) -> None:
    calls = [Call(pop, 0).begin(), Call(pop, 1).begin()]
    pop.scene.ip(pop.scene.region, "link", "set", "r0", "address", "02:00:00:00:77:01")
    for address in GATEWAYS:
        pop.scene.ip(pop.scene.pop, "neigh", "replace", address, "lladdr", "02:00:00:00:77:01", "dev", "bb")
    for call in calls:
        eventually(partial(_arrives_up, call), "packets go to the new MAC")
        call.exchange(5)


def _arrives_up(call: Call) -> bool:
    call.client.send(MEDIA, call.vip)
    try:
        return call.transceiver.receive(0.05)[1] == call.nat
    except TimeoutError:
        return False


def test_a_route_that_changes_takes_live_flows_along(pop: Pop) -> None:
    """A more specific route to another router appears, and goes again."""
    call = Call(pop).begin()
    scene = pop.scene
    scene.ip(scene.region, "address", "add", "192.0.2.3/24", "dev", "r0")
    scene.ip(scene.region, "link", "add", "r1", "type", "veth", "peer", "name", "bb1", "netns", scene.pop)
    with Wiring(scene.region) as region, Wiring(scene.pop) as other:
        region.address("r1", "192.0.3.2/24")
        region.up("r1")
        region.prepare_for_xdp("r1")
        other.address("bb1", "192.0.3.10/24")
        other.up("bb1")
    scene.ip(scene.pop, "route", "add", "10.20.0.1/32", "via", "192.0.3.2")
    pop.wait_for_log("leaves by bb1, which is not among dataplane.interfaces")
    before = verdict(pop, "drop_no_nexthop")
    call.client.send(MEDIA, call.vip)
    eventually(lambda: verdict(pop, "drop_no_nexthop") > before, "it is dropped and counted")
    scene.ip(scene.pop, "route", "del", "10.20.0.1/32", "via", "192.0.3.2")
    eventually(lambda: _arrives_up(call), "packets go to the old router again")
    scene.ip(scene.pop, "route", "add", "10.20.0.1/32", "via", "192.0.2.3")
    eventually(lambda: len(_upstream_hops(pop)) == 1 and verdict(pop, "forward_upstream"), "it settles")
    call.exchange(5)


def _upstream_hops(pop: Pop) -> set[int]:
    tables = pop.scene.tables()
    hops = set(tables.nexthops(IpFamily.V4, tables.live(IpFamily.V4))[UPSTREAM].tolist())
    tables.close()
    return hops


def test_an_interface_that_goes_away_and_comes_back_has_the_fast_path_again(pop: Pop) -> None:
    call = Call(pop).begin()
    scene = pop.scene
    scene.ip(scene.pop, "link", "del", "bb")
    pop.wait_for_log("bb is gone")
    before = verdict(pop, "forward_upstream")
    call.client.send(MEDIA, call.vip)
    eventually(lambda: verdict(pop, "drop_no_nexthop") + verdict(pop, "drop_no_egress"), "it is dropped")
    assert verdict(pop, "forward_upstream") == before
    with Wiring(scene.pop) as wiring, Wiring(scene.region) as region:
        wiring.veth("bb", "r0", scene.region)
        for address in ("192.0.2.10/24", "2001:db8:b::10/64"):
            wiring.address("bb", address)
        for address in ("192.0.2.2/24", "2001:db8:b::2/64", "10.20.0.1/32", "2001:db8:20::1/128"):
            region.address("r0", address)
        region.up("r0")
        region.prepare_for_xdp("r0")
        wiring.up("bb")
        wiring.route("10.20.0.0/16", GATEWAYS[0])
    pop.wait_for_log("bb came back and has the fast path again, in native mode")
    eventually(lambda: _arrives_up(call), "the same flow is carried again")
    call.exchange(5)
    assert pop.summary()["interfaces"] == {"pub": "native", "bb": "native"}


def test_a_link_that_is_down_drops_with_a_reason_and_recovers(pop: Pop) -> None:
    call = Call(pop).begin()
    pop.scene.ip(pop.scene.pop, "link", "set", "bb", "down")

    def is_dropped() -> bool:
        call.client.send(MEDIA, call.vip)
        return verdict(pop, "drop_no_nexthop") > 0

    eventually(is_dropped, "it is dropped")

    def is_refused() -> bool:
        other = Call(pop)
        other.client.send(request(other.ufrag), other.vip)
        return pop.samples()["relay_flow_installs_total", "unreachable"] > 0

    eventually(is_refused, "without a route there is no new flow")
    pop.scene.ip(pop.scene.pop, "link", "set", "bb", "up")
    pop.scene.ip(pop.scene.pop, "route", "add", "10.20.0.0/16", "via", GATEWAYS[0])
    eventually(lambda: _arrives_up(call), "packets arrive again")
    call.exchange(5)


def test_a_frame_over_the_mtu_of_its_way_out_is_dropped(pop: Pop) -> None:
    call = Call(pop).begin()
    pop.scene.ip(pop.scene.pop, "link", "set", "bb", "mtu", "1000")

    def is_dropped() -> bool:
        call.client.send(bytes([0x80]) + bytes(1200), call.vip)
        return verdict(pop, "drop_too_big") > 0

    eventually(is_dropped, "it is dropped, and counted")
    while not call.transceiver.is_silent():
        call.transceiver.receive()  # those that were before the change
    call.exchange()


def test_a_client_without_an_arp_entry_is_resolved(pop: Pop) -> None:
    """Nothing but the program has a packet for a client on our link, so the kernel would never ask."""
    call = Call(pop).begin()
    pop.scene.ip(pop.scene.pop, "neigh", "flush", "dev", "pub")
    call.exchange(5)


# --- of the installation ----------------------------------------------------------------------------------


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
    result = _as_nobody(stopped, "dataplane", "run")
    assert result.returncode == 1
    assert "no right to load and attach: CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON needed" in result.stderr


def test_a_relay_without_rights_falls_back(pop: Pop) -> None:
    result = _as_nobody(pop, "relay")
    assert result.returncode == 1
    assert 'relay.forwarder = "xdp": no right to use the fast path: CAP_BPF, CAP_NET_ADMIN' in result.stderr


def _as_nobody(pop: Pop, *arguments: str) -> subprocess.CompletedProcess[str]:
    """In the PoP's namespace, as root without capabilities."""
    enter, net, *command = pop.command(*arguments)
    command = [enter, net, "setpriv", "--bounding-set=-all", "--inh-caps=-all", *command]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)


def test_missing_headers_name_the_package(stopped: Pop) -> None:
    """Hidden from the process by a mount of its own."""
    inner = " ".join(stopped.command("dataplane", "run"))
    script = f"mount -t tmpfs none /usr/src && mount -t tmpfs none /lib/modules && exec {inner}"
    result = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == 1
    assert f"Install linux-headers-{os.uname().release}" in result.stderr


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


def test_other_table_sizes_need_a_detach(stopped: Pop) -> None:
    stopped.succeed("dataplane", "run")
    stopped.relay["max_flows"] = 2000
    stopped.write_config()
    for command in ("dataplane", "run"), ("relay",):
        result = stopped.run(*command)
        assert result.returncode == 1
        assert "index4 has room for 1001 flows, the configuration asks for 2002" in result.stderr
    doctor = stopped.run("doctor")
    assert doctor.returncode == 5
    assert "FAILED  maps: index4 has room for 1001 flows, the configuration asks for 2002" in doctor.stdout
    stopped.succeed("dataplane", "detach", "--unpin")
    stopped.succeed("dataplane", "run")
    assert json.loads(stopped.succeed("dataplane", "status", "--json"))["tables"]["index4"] == 182


def test_too_few_backbone_addresses(stopped: Pop) -> None:
    stopped.dataplane["backbone"] = ["192.0.2.10"]
    stopped.write_config()
    result = stopped.run("dataplane", "run")
    assert result.returncode == 1
    assert (
        "0 IPv6 addresses with 22768 NAT ports each are too few for relay.max_flows = 1000" in result.stderr
    )


def test_auto_without_a_dataplane_says_why(stopped: Pop) -> None:
    stopped.relay["forwarder"] = "auto"
    stopped.write_config()
    stopped.start()
    assert "`voxpop dataplane run` first" in str(stopped.summary()["why_not_xdp"])
    assert stopped.summary()["forwarder"] == "userspace"
