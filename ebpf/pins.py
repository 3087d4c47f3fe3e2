"""Where the fast path lives under bpffs, and the maps that must be there.

    /sys/fs/bpf/voxpop/v6/config, upstream4, …   maps
    /sys/fs/bpf/voxpop/v6/voxpop_public, …       the programs, as attached

The version is that of the layout: another version finds nothing instead of misreading something. Maps
survive every process, but not a reboot.
"""

from __future__ import annotations

import ctypes
import secrets
from collections.abc import Iterable, Mapping
from ctypes import c_uint32
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ebpf import layout
from ebpf.errors import PinError, ReplacedError
from ebpf.kernel.bpfmap import BpfMap, MapSpec, why_not_open
from ebpf.kernel.libbpf import F_MMAPABLE, MapKind, check, library
from ebpf.verdict import COUNTERS

BPFFS = Path("/sys/fs/bpf")
BPF_FS_MAGIC = 0xCAFE4A11
FLOWS_PER_BUCKET, MIN_BUCKETS = 11, 8
"""Of sixteen entries. With two buckets to choose from, the fullest of ninety thousand then has fifteen."""


def pin_dir(root: Path = BPFFS) -> Path:
    """The directory of this version's pins, in the bpffs mounted at `root`."""
    return root / "voxpop" / f"v{layout.SCHEMA_VERSION}"


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the configuration decides. The index grows with the flows that are asked for and not beyond:
    what fits the caches is found sooner.
    """

    max_flows4: int = 4096
    max_flows6: int = 4096
    backbones4: int = 1
    """Backbone addresses; each is worth about 60,000 flows and costs 4 MiB, or 7 MiB for IPv6."""
    backbones6: int = 1
    punt_sources: int = 16384
    """Sources whose punts are budgeted at a time, the most recent ones."""


CONFIG = MapSpec("config", MapKind.ARRAY, c_uint32, layout.Config, 1, F_MMAPABLE)
GROUPS4 = MapSpec("groups4", MapKind.ARRAY, c_uint32, layout.Group, None, F_MMAPABLE)
GROUPS6 = MapSpec("groups6", MapKind.ARRAY, c_uint32, layout.Group, None, F_MMAPABLE)
INDEX4 = MapSpec("index4", MapKind.ARRAY, c_uint32, layout.Bucket, None, F_MMAPABLE)
INDEX6 = MapSpec("index6", MapKind.ARRAY, c_uint32, layout.Bucket, None, F_MMAPABLE)
UPSTREAM4 = MapSpec("upstream4", MapKind.ARRAY, c_uint32, layout.Up4, None, F_MMAPABLE)
UPSTREAM6 = MapSpec("upstream6", MapKind.ARRAY, c_uint32, layout.Up6, None, F_MMAPABLE)
DOWNSTREAM4 = MapSpec("downstream4", MapKind.ARRAY, c_uint32, layout.Down4, None, F_MMAPABLE)
DOWNSTREAM6 = MapSpec("downstream6", MapKind.ARRAY, c_uint32, layout.Down6, None, F_MMAPABLE)
FLOW_AUX4 = MapSpec("flow_aux4", MapKind.ARRAY, c_uint32, layout.FlowAux, None, F_MMAPABLE)
FLOW_AUX6 = MapSpec("flow_aux6", MapKind.ARRAY, c_uint32, layout.FlowAux, None, F_MMAPABLE)
TRANSCEIVERS4 = MapSpec(
    "transceivers4", MapKind.ARRAY, c_uint32, layout.Transceiver4, layout.TRANSCEIVERS, F_MMAPABLE
)
TRANSCEIVERS6 = MapSpec(
    "transceivers6", MapKind.ARRAY, c_uint32, layout.Transceiver6, layout.TRANSCEIVERS, F_MMAPABLE
)
EGRESSES = MapSpec("egresses", MapKind.DEVMAP, c_uint32, c_uint32, layout.EGRESSES)
COUNTERS_MAP = MapSpec("counters", MapKind.PERCPU_ARRAY, c_uint32, layout.Counter, COUNTERS)
PUNT_TOTAL = MapSpec("punt_total", MapKind.ARRAY, c_uint32, layout.Debt, 1)
PUNT_SOURCES = MapSpec("punt_sources", MapKind.LRU_HASH, layout.Source, layout.Debt)
PUNT_TOKENS = MapSpec("punt_tokens", MapKind.ARRAY, c_uint32, layout.TokenDebt, layout.PUNT_TOKENS)

UFRAGS4 = MapSpec("ufrags4", MapKind.ARRAY, c_uint32, layout.Ufrag, None, F_MMAPABLE)
UFRAGS6 = MapSpec("ufrags6", MapKind.ARRAY, c_uint32, layout.Ufrag, None, F_MMAPABLE)

AnySpec = MapSpec[Any, Any]


ALL: tuple[AnySpec, ...] = (
    CONFIG,
    GROUPS4,
    GROUPS6,
    INDEX4,
    INDEX6,
    UPSTREAM4,
    UPSTREAM6,
    DOWNSTREAM4,
    DOWNSTREAM6,
    FLOW_AUX4,
    FLOW_AUX6,
    TRANSCEIVERS4,
    TRANSCEIVERS6,
    EGRESSES,
    COUNTERS_MAP,
    PUNT_TOTAL,
    PUNT_SOURCES,
    PUNT_TOKENS,
)


PROGRAM_ONLY: tuple[AnySpec, ...] = (PUNT_TOKENS,)
"""What no relay opens, and so may be missing where the program is older than the relay."""


def buckets(max_flows: int) -> int:
    """Of an index for so many flows: as few as never overflow, since what is smaller stays in the caches."""
    return max(MIN_BUCKETS, -(-max_flows // FLOWS_PER_BUCKET))


def entries(sizes: Sizes) -> dict[str, tuple[AnySpec, int]]:
    """Every map by name, with the number of entries that it has under these sizes."""
    sized: dict[str, int] = {
        "groups4": sizes.backbones4 * layout.GROUPS,
        "groups6": sizes.backbones6 * layout.GROUPS,
        "index4": buckets(sizes.max_flows4),
        "index6": buckets(sizes.max_flows6),
        "flow_aux4": sizes.backbones4 * layout.PORTS,
        "flow_aux6": sizes.backbones6 * layout.PORTS,
        "upstream4": sizes.backbones4 * layout.PORTS,
        "upstream6": sizes.backbones6 * layout.PORTS,
        "downstream4": sizes.backbones4 * layout.PORTS,
        "downstream6": sizes.backbones6 * layout.PORTS,
        "punt_sources": sizes.punt_sources,
    }
    return {
        spec.name: (spec, spec.max_entries if spec.max_entries is not None else max(1, sized[spec.name]))
        for spec in ALL
    }


class _StatFs(ctypes.Structure):
    f_type: int
    _fields_ = (("f_type", ctypes.c_long), ("rest", ctypes.c_long * 32))


def is_bpffs(path: Path) -> bool:
    """Whether a directory lies in a BPF file system."""
    buffer = _StatFs()
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.statfs(bytes(path), ctypes.byref(buffer)) == 0 and buffer.f_type == BPF_FS_MAGIC


def prepare(directory: Path) -> None:
    """Make the pin directory. Raises PinError where there is no bpffs, or no right to it."""
    root = next(parent for parent in directory.parents if parent.exists())
    if not is_bpffs(root):
        raise PinError(f"{root} is no BPF file system: `mount -t bpf bpf {BPFFS}` mounts one")
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise PinError(f"cannot make {directory}: {error.strerror}; root or its owner can") from None


def ensure_maps(directory: Path, sizes: Sizes) -> list[str]:
    """Make and pin the maps that are missing, check those that are there; the names of the new ones.

    Raises PinError where a map has another shape or size, MapError where the kernel refuses; then none of
    the new ones stays.
    """
    prepare(directory)
    made: list[str] = []
    try:
        _make_missing(directory, sizes, made)
        _describe_index(directory, sizes)
    except BaseException:
        remove_maps(directory, made)
        raise
    return made


def remove_maps(directory: Path, names: Iterable[str]) -> None:
    """Unpin maps; each goes when nobody has it open any more."""
    for name in names:
        (directory / name).unlink(missing_ok=True)


def _make_missing(directory: Path, sizes: Sizes, made: list[str]) -> None:
    for name, (spec, count) in entries(sizes).items():
        path = directory / name
        if path.exists():
            if wrong := misfit(directory, spec, count):
                raise PinError(
                    f"{directory}: {wrong}. Sizes cannot change while calls go on: drain, `voxpop dataplane "
                    "detach --unpin`, start again; or set the old sizes"
                )
            continue
        new = BpfMap.create(spec, count)
        made.append(name)
        try:
            new.pin(path)
        finally:
            new.close()


def ensure_ufrags(directory: Path, sizes: Sizes) -> None:
    """Make and pin what the program does not use and a relay with a store does, where it is missing.

    Raises PinError where it has another size, MapError where the kernel refuses.
    """
    both: tuple[tuple[AnySpec, int], ...] = ((UFRAGS4, sizes.backbones4), (UFRAGS6, sizes.backbones6))
    for spec, backbones in both:
        count = max(1, backbones * layout.PORTS)
        if (directory / spec.name).exists():
            if wrong := misfit(directory, spec, count):
                raise PinError(f"{directory}: {wrong}: remove {directory / spec.name} and start again")
            continue
        new = BpfMap.create(spec, count)
        try:
            new.pin(directory / spec.name)
        finally:
            new.close()


def _describe_index(directory: Path, sizes: Sizes) -> None:
    """Tell the program how to look into the index. The seed stays as long as the maps do."""
    opened = BpfMap.open(CONFIG, directory / CONFIG.name)
    config = opened.view(writable=True)[0]
    opened.close()
    config["index_buckets"] = [buckets(flows) for flows in (sizes.max_flows4, sizes.max_flows6)]
    config["index_backbones"] = [sizes.backbones4, sizes.backbones6]
    config["index_groups"] = [layout.GROUPS * count for count in (sizes.backbones4, sizes.backbones6)]
    if not config["index_seed"]:
        config["index_seed"] = secrets.randbits(64) | 1


def size_of(directory: Path, spec: AnySpec) -> int:
    """How many entries a pinned map has. Raises PinError."""
    opened = BpfMap.open(spec, directory / spec.name)
    opened.close()
    return opened.max_entries


def check_still_pinned(directory: Path, map_ids: Mapping[str, int]) -> None:
    """Whether what is pinned is still what somebody has opened. Raises ReplacedError."""
    for spec in (spec for spec in ALL if spec.name in map_ids):
        try:
            opened = BpfMap.open(spec, directory / spec.name)
        except PinError as error:
            raise ReplacedError(f"the maps in use are no longer pinned: {error}") from None
        opened.close()
        if opened.id != map_ids[spec.name]:
            raise ReplacedError(
                f"{directory / spec.name} is another map than the one in use (id {opened.id}, not "
                f"{map_ids[spec.name]}): the pins were made anew, by `voxpop dataplane detach --unpin` "
                f"or a new mount of {BPFFS}"
            )


def misfit(directory: Path, spec: AnySpec, wanted: int) -> str | None:
    """What to say of a pinned map that is not as large as it has to be. Raises PinError."""
    found = size_of(directory, spec)
    if found == wanted or spec.max_entries is not None:
        return None  # sizes that no configuration decides are those that opening asks for
    unit, each = ("flows", FLOWS_PER_BUCKET) if spec.value is layout.Bucket else ("entries", 1)
    return f"{spec.name} has room for {found * each} {unit}, the configuration asks for {wanted * each}"


def other_versions(directory: Path) -> list[Path]:
    """What other versions of the layout have pinned beside `directory`."""
    return sorted(path for path in directory.parent.glob("v*") if path != directory)


def live_flows(directory: Path) -> int | None:
    """How many flows another version's maps hold; None where its records are not of this version's shape."""
    flows = 0
    both: tuple[AnySpec, ...] = (UPSTREAM4, UPSTREAM6)
    for spec in both:
        try:
            opened = BpfMap.open(spec, directory / spec.name)
        except PinError:
            return None
        flows += int((opened.view()["common"]["state"] == layout.SLOT_LIVE).sum())
        opened.close()
    return flows


def open_pinned_program(directory: Path, name: str) -> int:
    """A descriptor of a pinned program. Raises PinError."""
    fd: int = library().bpf_obj_get(bytes(directory / name))
    if fd < 0:
        raise PinError(why_not_open(directory / name, -fd))
    return fd


def pin_program(fd: int, path: Path) -> None:
    """Pin a program, in place of one of that name; at every moment there is one."""
    fresh = path.with_name(f"{path.name}_new")  # bpffs takes no dots
    fresh.unlink(missing_ok=True)
    check(library().bpf_obj_pin(fd, bytes(fresh)), f"pin {fresh}")
    fresh.rename(path)


def unpin(directory: Path) -> None:
    """Remove every pin of this version: maps and programs live on only as long as something uses them."""
    if not directory.exists():
        return
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()
