"""Two of one kind on a host, and commands under a relay that lives: who is refused, and who notices."""

from __future__ import annotations

import json
import os
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import pytest

from ebpf import layout, locks
from ebpf.kernel import bpffs
from tests.edge.kit import PATIENCE_S, REPOSITORY, eventually
from tests.edge.xdp_scene import VIPS, Call, Pop, running
from tests.sources import copy_of_the_sources

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]


@pytest.fixture
def pop(tmp_path: Path) -> Iterator[Pop]:
    with running(tmp_path, idle_timeout_s=600) as started:
        yield started


def holder(pop: Pop) -> str:
    """What an error has to say of the relay that runs."""
    assert pop.process is not None
    return f"process {pop.process.pid} (voxpop relay), since 20"


def problems(pop: Pop) -> list[str] | None:
    """Those that /readyz tells with an error; None where it is ready."""
    try:
        pop.get("/readyz")
    except urllib.error.HTTPError as error:
        with error:
            told: list[str] = json.loads(error.read())["problems"]
            return told
    return None


@pytest.mark.parametrize("forwarder", ["xdp", "auto"])
def test_a_second_relay_is_told_who_is_the_first(pop: Pop, forwarder: str) -> None:
    """By the fast path that they share, whatever else they have of their own."""
    call = Call(pop).begin()
    vips = pop.relay["vips"]
    own = [str(vip._replace(port=vip.port + 1)) for vip in VIPS]
    pop.relay.update(forwarder=forwarder, metrics="127.0.0.1:9465", admin_socket="second.sock", vips=own)
    pop.write_config()
    second = pop.run("relay")
    assert second.returncode == 1
    assert "another relay has the fast path of this host" in second.stderr
    assert holder(pop) in second.stderr
    call.exchange(20)
    pop.kill()
    pop.relay.update(metrics="127.0.0.1:9464", vips=vips)
    pop.write_config()
    pop.start()
    assert pop.summary()["forwarder"] == "xdp", "the lock went with its process"


@pytest.mark.parametrize("verb", ["run", "detach"])
def test_programs_and_maps_are_changed_by_one_at_a_time(pop: Pop, verb: str) -> None:
    call = Call(pop).begin()
    with locks.held(pop.scene.pin_root / "voxpop", locks.Role.DATAPLANE):
        second = pop.run("dataplane", verb, "--force")
        assert second.returncode == 1
        assert f"is in use: process {os.getpid()} " in second.stderr
    call.exchange(5)
    pop.succeed("dataplane", verb, "--force")


def test_detach_is_refused_under_a_relay_and_what_is_forced_is_noticed_and_mended(pop: Pop) -> None:
    call = Call(pop).begin()
    for extra in ((), ("--unpin",)):
        refused = pop.run("dataplane", "detach", *extra)
        assert refused.returncode == 1
        assert holder(pop) in refused.stderr
        assert "--force" in refused.stderr
    call.exchange(5)
    pop.succeed("dataplane", "detach", "--force")
    eventually(lambda: len(problems(pop) or ()) == 2, "it is not ready")
    assert set(problems(pop) or ()) == {"pub runs no XDP program", "bb runs no XDP program"}
    pop.wait_for_log("pub runs no XDP program in place of the fast path")
    assert pop.samples()["fastpath_attached", "pub", "native"] == 0
    pop.succeed("dataplane", "run")
    eventually(lambda: problems(pop) is None, "it is ready by itself")
    pop.wait_for_log("pub has the fast path again, in native mode")
    assert pop.samples()["fastpath_attached", "pub", "native"] == 1
    call.exchange(5)


def test_another_program_in_place_of_ours_is_noticed(pop: Pop) -> None:
    """The program of another pin directory, which has its own flows."""
    own = dict(pop.dataplane)
    pop.succeed("dataplane", "detach", "--force")
    pop.dataplane["pin_dir"] = str(pop.scene.pin_root / "elsewhere")
    pop.write_config()
    pop.succeed("dataplane", "run")
    eventually(
        lambda: [text for text in problems(pop) or () if "pub runs another XDP program (id " in text],
        "it says what runs there",
    )
    pop.succeed("dataplane", "detach")
    pop.dataplane = own
    pop.write_config()
    pop.succeed("dataplane", "run")
    eventually(lambda: problems(pop) is None, "it is ready by itself")


@pytest.mark.parametrize("how", ["unpin", "remount"])
def test_a_relay_whose_maps_are_no_longer_pinned_ends_and_the_next_one_starts(pop: Pop, how: str) -> None:
    assert pop.process is not None
    Call(pop).begin()
    if how == "unpin":
        pop.succeed("dataplane", "detach", "--unpin", "--force")
    else:
        bpffs.unmount(pop.scene.pin_root)
        bpffs.mount(pop.scene.pin_root)
    assert pop.process.wait(PATIENCE_S) == 1
    text = pop.log.read_text()
    assert "the fast path cannot be kept, so this relay ends: the maps in use are no longer pinned" in text
    assert "Traceback" not in text
    pop.succeed("dataplane", "run")
    pop.start()
    Call(pop).begin().exchange(5)


def test_maps_that_are_made_anew_under_a_relay_end_it(pop: Pop) -> None:
    """So quickly that the pins are there whenever it looks."""
    assert pop.process is not None
    pop.succeed("dataplane", "run")
    fresh = pop.scene.pin_root / "fresh"
    pop.dataplane["pin_dir"] = str(fresh)
    pop.write_config()
    pop.succeed("dataplane", "detach", "--force")
    pop.succeed("dataplane", "run")
    old = pop.scene.pins
    for path in (fresh / old.name).iterdir():
        path.rename(old / path.name)
    assert pop.process.wait(PATIENCE_S) == 1
    assert "is another map than the one in use (id " in pop.log.read_text()


def test_another_layout_is_refused_under_a_relay(pop: Pop, tmp_path: Path) -> None:
    calls = [Call(pop, 0).begin(), Call(pop, 1).begin()]
    version = layout.SCHEMA_VERSION
    edit = (f"SCHEMA_VERSION = {version}", f"SCHEMA_VERSION = {version + 1}")
    pop.tree = copy_of_the_sources(tmp_path / "next", {"ebpf/layout.py": edit})
    refused = pop.run("dataplane", "run")
    assert refused.returncode == 1
    assert f"a relay works with {pop.scene.pins}, whose maps have another layout" in refused.stderr
    assert holder(pop) in refused.stderr
    for call in calls:
        call.exchange(10)
    pop.stop()
    pop.succeed("dataplane", "run")
    pop.start()
    pop.tree = REPOSITORY
    assert pop.summary()["flows"] == 0
