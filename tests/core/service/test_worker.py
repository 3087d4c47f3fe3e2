"""core.service.worker: what a worker is started with is what it reads."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.service import launch
from core.service.worker import Fd, WorkerArguments, parse, spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments(WorkerArguments):
    one_fd: Fd
    many_fds: tuple[Fd, ...]
    share: tuple[int, int]
    words: tuple[str, ...]
    folder: Path
    number: int


ARGUMENTS = Arguments(
    name="some-3",
    index=3,
    count=4,
    cpu=1,
    log_level="info",
    log_format="json",
    one_fd=Fd(5),
    many_fds=(Fd(7), Fd(9)),
    share=(0, -2),
    words=("a b", "--c=d"),
    folder=Path("/a dir/with = and --dashes"),
    number=-1,
)


def test_it_reads_what_it_was_given() -> None:
    made = spec("some.module", ARGUMENTS)
    assert made.name == "some-3"
    assert made.argv[:4] == launch.module("some.module")
    assert parse(Arguments, made.argv[4:]) == ARGUMENTS


def test_descriptors_are_inherited_by_their_type() -> None:
    assert spec("m", ARGUMENTS).pass_fds == [5, 7, 9]
    none = WorkerArguments(name="n", index=0, count=1, cpu=0, log_level="info", log_format="text")
    assert spec("m", none).pass_fds == []


def test_none_of_many_is_none() -> None:
    empty = Arguments(**{f: getattr(ARGUMENTS, f) for f in ARGUMENTS.__dataclass_fields__} | {"many_fds": ()})
    assert parse(Arguments, spec("m", empty).argv[4:]) == empty


@pytest.mark.parametrize(
    "spoil", [lambda a: a[1:], lambda a: [*a, "--extra=1"], lambda a: [*a, "--number=x"]]
)
def test_other_arguments_are_refused(
    spoil: Callable[[list[str]], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(Arguments, spoil(list(spec("m", ARGUMENTS).argv[4:])))
    assert "error" in capsys.readouterr().err


def test_relay_and_transceiver_workers_take_their_arguments(tmp_path: Path) -> None:
    """Both modules are run by what their services make, and say nothing but that they have no supervisor."""
    from edge.host.arguments import MODULE as RELAY
    from edge.host.arguments import RelayArguments
    from transceiver.host.arguments import MODULE as TRANSCEIVER
    from transceiver.host.arguments import TransceiverArguments

    cpu = min(os.sched_getaffinity(0))
    relay = RelayArguments(
        name="x",
        index=0,
        count=1,
        cpu=cpu,
        log_level="info",
        log_format="text",
        vip_fds=(Fd(8),),
        counters_fd=Fd(9),
        max_flows=3,
    )
    transceiver = TransceiverArguments(
        name="x",
        index=0,
        count=1,
        cpu=cpu,
        log_level="info",
        log_format="text",
        udp_fds=(Fd(8),),
        http_fd=Fd(9),
        sibling_fd=Fd(10),
        ledger_fd=Fd(11),
        folder=tmp_path,
    )
    made = [spec(RELAY, relay), spec(TRANSCEIVER, transceiver)]
    for each in made:
        done = subprocess.run(each.argv, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1] == "KeyError: 'VOXPOP_CONTROL_FD'"
