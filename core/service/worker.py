"""One worker of a daemon: its command line, and its process from start to end.

The command line is derived from a dataclass, `WorkerArguments` with what a kind of worker wants besides.
Nothing in it may be secret. Descriptors in it are inherited by number.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import logging
import os
import signal
import sys
from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NewType, TypeVar, get_args, get_type_hints

import uvloop

from core.errors import UnavailableError
from core.service import launch, log, standard_files
from core.service.exhausted import lack
from core.service.privileges import Capability, keep_only
from core.service.shortage import bearing_shortage
from core.service.supervisor import ControlChannel, WorkerSpec

logger = logging.getLogger(__name__)

EXIT_FAILED = 1
OF_THE_SUPERVISOR = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals that its supervisor acts on. They may be sent to all processes of a service at once, as systemd
does at a stop, and a worker that ended by one would cut what the supervisor is about to drain.
"""

Fd = NewType("Fd", int)
"""An open file that a worker inherits, by its number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerArguments:
    """What a worker of any kind is started with. Fields are int, str, Path, Fd, or tuples of one of these."""

    name: str
    """For logs."""
    index: int
    count: int
    """How many workers the daemon has, numbered from 0."""
    cpu: int
    """The one that it runs on."""
    log_level: str
    log_format: str


A = TypeVar("A", bound=WorkerArguments)


def spec(module: str, arguments: WorkerArguments) -> WorkerSpec:
    """How to start a worker whose module is `module`."""
    options = [f"--{_option(name)}={_write(getattr(arguments, name))}" for name in _types(type(arguments))]
    command = [*launch.module(module), *options]
    return WorkerSpec(arguments.name, command, list(_inherited(arguments)))


def parse(declared: type[A], argv: Sequence[str]) -> A:
    """The inverse of `spec`, without interpreter and modules. Ends the process where `argv` is not that."""
    parser = argparse.ArgumentParser(description="Started by a supervisor.", allow_abbrev=False)
    for name, kind in _types(declared).items():
        parser.add_argument(f"--{_option(name)}", dest=name, required=True, type=_reader(kind))
    return declared(**vars(parser.parse_args(argv)))


def _types(declared: type[WorkerArguments]) -> dict[str, Any]:
    hints = get_type_hints(declared)
    return {field.name: hints[field.name] for field in dataclasses.fields(declared)}


def _option(name: str) -> str:
    return name.replace("_", "-")


def _write(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _reader(kind: Any) -> Callable[[str], object]:  # noqa: ANN401 - a type, or an alias of one
    """What reads an option back."""
    if get_args(kind):
        one = _reader(get_args(kind)[0])
        return lambda text: tuple(map(one, text.split(","))) if text else ()
    return int if kind is Fd else kind


def _inherited(arguments: WorkerArguments) -> Iterator[Fd]:
    """Every descriptor among the arguments."""
    for name, kind in _types(type(arguments)).items():
        if kind is Fd:
            yield getattr(arguments, name)
        elif Fd in get_args(kind):
            yield from getattr(arguments, name)


async def _work(work: Callable[[A, ControlChannel], Coroutine[Any, Any, None]], arguments: A) -> None:
    await bearing_shortage(work(arguments, ControlChannel()))


def run(
    declared: type[A],
    argv: Sequence[str],
    work: Callable[[A, ControlChannel], Coroutine[Any, Any, None]],
    opens_with: Collection[Capability] = (),
) -> None:
    """Be a worker until told otherwise: one process on one CPU with one event loop. `opens_with` are the
    capabilities that `work` gives up itself, once it has opened what takes them.
    """
    standard_files.ensure_open()
    keep_only(opens_with)
    arguments = parse(declared, argv)
    for number in OF_THE_SUPERVISOR:
        signal.signal(number, signal.SIG_IGN)
    log.set_up(arguments.log_level, as_json=arguments.log_format == "json")
    os.sched_setaffinity(0, {arguments.cpu})
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_work(work, arguments))
    except UnavailableError as error:
        logger.error("%s", error)  # what is missing, such as a backend's other end: no fault of the code
        sys.exit(EXIT_FAILED)
    except (OSError, MemoryError, ImportError, RuntimeError) as error:
        lacking = lack(error)
        if lacking is None:
            raise
        logger.error("%s", lacking)
        sys.exit(EXIT_FAILED)
