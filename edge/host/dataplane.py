"""`voxpop dataplane`: putting the fast path on the interfaces of this host, and taking it off.

It compiles, loads, attaches and pins, and then has nothing left to do: programs and maps live in the
kernel. The relay uses what is pinned.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from core.addr import IpFamily, family_of
from core.config import DataplaneSettings, RelaySettings
from core.errors import ConfigError
from core.service.files import load_config
from core.service.privileges import missing
from ebpf import layout, locks, pins
from ebpf.errors import AttachError, DataplaneError, PinError
from ebpf.kernel.libbpf import MapKind
from ebpf.kernel.programs import open_program, program_info
from ebpf.net.attach import Mode, Netdev
from edge.host.capabilities import DATAPLANE

logger = logging.getLogger(__name__)

PUBLIC, BACKBONE = "voxpop_public", "voxpop_backbone"
"""The programs, by their names in the kernel and of their pins."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The fast path that a configuration asks for."""

    settings: DataplaneSettings
    relay: RelaySettings

    @property
    def directory(self) -> Path:
        """Where this version's pins are."""
        return Path(self.settings.pin_dir) / f"v{layout.SCHEMA_VERSION}"

    @property
    def root(self) -> Path:
        """Where the pins of every version are, and the locks."""
        return self.directory.parent

    @property
    def sizes(self) -> pins.Sizes:
        """How large the tables are."""
        families = {vip.family for vip in self.relay.vips}
        backbones = Counter(map(family_of, self.settings.backbone))
        return pins.Sizes(
            max_flows4=self.relay.max_flows if IpFamily.V4 in families else 1,
            max_flows6=self.relay.max_flows if IpFamily.V6 in families else 1,
            backbones4=backbones[IpFamily.V4],
            backbones6=backbones[IpFamily.V6],
        )

    def program_for(self, interface: str) -> str:
        """Which of the programs an interface runs."""
        return PUBLIC if interface in self.settings.public_only else BACKBONE


def load_plan(path: Path) -> Plan:
    """The plan of a configuration file. Raises ConfigError."""
    config = load_config(path)
    if config.dataplane is None or config.relay is None:
        raise ConfigError([f"{path}: [dataplane] is missing; see docs/dataplane.md"])
    return Plan(config.dataplane, config.relay)


def run(plan: Plan, *, force: bool = False) -> list[tuple[str, Mode]]:
    """Put the fast path on every interface, in place of one that runs; (interface, mode) of each.

    All of them or, if one refuses, none: what ran before runs on, and maps that this made are gone. Raises
    DataplaneError; unless by `force` also where a relay lives whose maps have another layout.
    """
    lacking = missing(DATAPLANE)
    if lacking:
        raise DataplaneError(f"no right to load and attach: {', '.join(lacking)} needed, such as root has")
    with Netdev() as netdev:
        for name in plan.settings.interfaces:
            netdev.link(name)
        pins.prepare(plan.directory)
        with locks.held(plan.root, locks.Role.DATAPLANE):
            return _run(plan, netdev, force=force)


def _run(plan: Plan, netdev: Netdev, *, force: bool) -> list[tuple[str, Mode]]:
    _warn_of_calls_that_end(plan, netdev, force=force)
    made = pins.ensure_maps(plan.directory, plan.sizes)
    logger.info("%s: %s", plan.directory, f"made {len(made)} maps" if made else "adopts the maps of before")
    try:
        return _load_and_attach(plan, netdev)
    except BaseException:
        pins.remove_maps(plan.directory, made)
        raise


def _load_and_attach(plan: Plan, netdev: Netdev) -> list[tuple[str, Mode]]:
    from ebpf import loader  # here alone, since it brings LLVM into the process

    loaded = loader.load_kept(plan.directory, Path(plan.settings.cache_dir))
    try:
        modes = _attach_all(plan, netdev, loaded.fds)
        loader.pin(loaded, plan.directory)
    finally:
        loaded.close()
    return modes


def _warn_of_calls_that_end(plan: Plan, netdev: Netdev, *, force: bool) -> None:
    """Before they do, since the maps of another layout cannot be taken over. Raises DataplaneError where
    nothing would carry new ones either, since the relay that lives knows only the old maps.
    """
    relay = locks.holder(plan.root, locks.Role.RELAY)
    for other in versions_in_use(plan, netdev):
        flows = pins.live_flows(other)
        if relay is not None and not force:
            raise DataplaneError(
                f"a relay works with {other}, whose maps have another layout than those of "
                f"v{layout.SCHEMA_VERSION}: {relay}. Its calls would end, and it would carry no new "
                "ones: drain and stop it first, and start that of this version afterwards; or `--force`"
            )
        logger.warning(
            "%s is in use, whose maps have another layout than those of v%d: %s cannot be taken over. "
            "They end now, and begin anew at each client's next check, once a relay of this version runs",
            other,
            layout.SCHEMA_VERSION,
            "its flows" if flows is None else f"its {flows} flows",
        )


def versions_in_use(plan: Plan, netdev: Netdev) -> list[Path]:
    """The pins of other layouts whose programs run on interfaces of the plan."""
    attached = (netdev.attached(name) for name in plan.settings.interfaces)
    running = {found.program_id for found in attached if found is not None}
    return [other for other in pins.other_versions(plan.directory) if running & pinned_programs(other)]


def pinned_programs(directory: Path) -> set[int]:
    """The ids of the programs for interfaces that are pinned there."""
    ids = set()
    for name in (PUBLIC, BACKBONE):
        with contextlib.suppress(PinError):
            fd = pins.open_pinned_program(directory, name)
            ids.add(program_info(fd).id)
            os.close(fd)
    return ids


def _attach_all(plan: Plan, netdev: Netdev, fds: dict[str, int]) -> list[tuple[str, Mode]]:
    modes = []
    with contextlib.ExitStack() as undo:
        for name in plan.settings.interfaces:
            mode, take_back = _attach(plan, netdev, name, fds[plan.program_for(name)])
            undo.callback(take_back)
            modes.append((name, mode))
        undo.pop_all()
    return modes


def _attach(plan: Plan, netdev: Netdev, name: str, fd: int) -> tuple[Mode, Callable[[], object]]:
    """(mode, what takes it back)."""
    wanted = None if plan.settings.mode == "auto" else Mode(plan.settings.mode)
    before = netdev.attached(name)
    if before is None:
        return netdev.attach(name, fd, mode=wanted), lambda: netdev.detach(name, fd)
    if wanted is not None and before.mode is not wanted:
        raise AttachError(
            f"{name} runs the fast path in {before.mode} mode, dataplane.mode asks for {wanted}; changing it "
            "interrupts the calls in progress: `voxpop dataplane detach` first"
        )
    if before.mode is Mode.GENERIC:
        logger.warning("%s stays in generic mode; `voxpop dataplane detach` first to try native again", name)
    old = _open_ours(plan.directory, before.program_id)
    if old is None:
        raise AttachError(
            f"{name} runs an XDP program that is not Voxpop's (id {before.program_id}): "
            f"`ip link set dev {name} xdp off` removes it"
        )
    mode = netdev.replace(name, fd, old)

    def take_back() -> None:
        netdev.replace(name, old, fd)

    return mode, take_back


def _open_ours(directory: Path, program_id: int) -> int | None:
    """A descriptor of a program with that id that is Voxpop's; None for another's.

    It is one of the pinned ones, except after a run that was cut off between attaching and pinning.
    """
    for name in (PUBLIC, BACKBONE):
        with contextlib.suppress(PinError):
            fd = pins.open_pinned_program(directory, name)
            if program_info(fd).id == program_id:
                return fd
            os.close(fd)
    with contextlib.suppress(DataplaneError):
        fd = open_program(program_id)
        if program_info(fd).name in (PUBLIC, BACKBONE):
            return fd
        os.close(fd)
    return None


def detach(plan: Plan, unpin: bool, *, force: bool = False) -> list[str]:
    """Take the fast path off every interface that runs it; their names. Raises DataplaneError; unless by
    `force` also where a relay lives.

    With `unpin`, maps and programs go too, and with them every flow.
    """
    with contextlib.ExitStack() as stack:
        if plan.root.exists():
            stack.enter_context(locks.held(plan.root, locks.Role.DATAPLANE))
            relay = locks.holder(plan.root, locks.Role.RELAY)
            if relay is not None and not force:
                raise DataplaneError(
                    f"a relay uses the fast path: {relay}. Its calls would end: stop it first; or `--force`"
                )
        return _detach(plan, unpin)


def _detach(plan: Plan, unpin: bool) -> list[str]:
    taken = []
    with Netdev() as netdev:
        for link in netdev.links():
            running = netdev.attached(link.name)
            fd = None if running is None else _open_ours(plan.directory, running.program_id)
            if fd is not None:
                netdev.detach(link.name, fd)
                os.close(fd)
                taken.append(link.name)
    if unpin:
        pins.unpin(plan.directory)
    return taken


@dataclass(frozen=True, slots=True)
class InterfaceState:
    """Whether one interface has the fast path."""

    name: str
    mode: Mode | None
    """None where nothing is attached, or the interface is absent."""
    program_id: int | None
    is_ours: bool
    is_present: bool


def interfaces(plan: Plan) -> Iterator[InterfaceState]:
    """The state of every interface of a plan."""
    with Netdev() as netdev:
        present = {link.name for link in netdev.links()}
        for name in plan.settings.interfaces:
            running = netdev.attached(name) if name in present else None
            if running is None:
                yield InterfaceState(name, None, None, is_ours=False, is_present=name in present)
                continue
            fd = _open_ours(plan.directory, running.program_id)
            if fd is not None:
                os.close(fd)
            yield InterfaceState(name, running.mode, running.program_id, fd is not None, is_present=True)


def map_sizes(plan: Plan) -> dict[str, int]:
    """How many entries the pinned tables have. Raises PinError."""
    sized = [spec for spec in pins.ALL if spec.kind is MapKind.ARRAY and spec.max_entries is None]
    return {spec.name: pins.size_of(plan.directory, spec) for spec in sized}
