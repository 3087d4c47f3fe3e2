"""A pinned BPF map, opened with its type and sizes checked, as typed values and numpy views."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Self, TypeVar

import numpy as np
import numpy.typing as npt

from ebpf.errors import MapError, MapFullError, PinError
from ebpf.kernel.libbpf import (
    ANY,
    F_RDONLY_PROG,
    BatchOptions,
    MapCreateOptions,
    MapInfo,
    MapKind,
    check,
    library,
    possible_cpus,
)

K = TypeVar("K", bound="ctypes.Structure | ctypes.c_uint32")
V = TypeVar("V", bound="ctypes.Structure | ctypes.c_uint32")
Records = npt.NDArray[np.void]
"""A structured array whose fields are those of the map's struct."""

BATCH = 4096
_FULL = (errno.E2BIG, errno.ENOMEM, errno.ENOSPC)


@dataclass(frozen=True, slots=True)
class MapSpec(Generic[K, V]):
    """What a map must be. `max_entries` is None where the configuration decides."""

    name: str
    kind: MapKind
    key: type[K]
    value: type[V]
    max_entries: int | None = None
    flags: int = 0


class BpfMap(Generic[K, V]):
    """An open map. The file descriptor is closed by `close`; mapped views stay valid after it."""

    __slots__ = ("_lib", "fd", "id", "max_entries", "spec")

    def __init__(self, spec: MapSpec[K, V], fd: int) -> None:
        self.spec = spec
        self.fd = fd
        self._lib = library()
        info = map_info(fd)
        self.id: int = info.id
        """The kernel's, which no other map has."""
        self.max_entries: int = info.max_entries

    @classmethod
    def create(cls, spec: MapSpec[K, V], max_entries: int) -> Self:
        """A new map, not pinned. Raises MapError."""
        options = MapCreateOptions(sz=ctypes.sizeof(MapCreateOptions), map_flags=spec.flags)
        fd = library().bpf_map_create(
            spec.kind,
            spec.name.encode(),
            ctypes.sizeof(spec.key),
            ctypes.sizeof(spec.value),
            max_entries,
            ctypes.byref(options),
        )
        return cls(spec, check(fd, f"create the map {spec.name} of {max_entries} entries"))

    @classmethod
    def open(cls, spec: MapSpec[K, V], path: Path) -> Self:
        """A pinned map. Raises PinError where it is absent, forbidden, or another kind of map."""
        fd = library().bpf_obj_get(bytes(path))
        if fd < 0:
            raise PinError(why_not_open(path, -fd))
        try:
            _check_shape(spec, map_info(fd), path)
            return cls(spec, fd)
        except BaseException:
            os.close(fd)
            raise

    def pin(self, path: Path) -> None:
        """Keep the map alive under `path`. Raises MapError."""
        check(self._lib.bpf_obj_pin(self.fd, bytes(path)), f"pin {path}")

    def close(self) -> None:
        """Close the descriptor; once."""
        os.close(self.fd)

    def lookup(self, key: K) -> V | None:
        """The value of a key, copied; None where there is none."""
        value = self.spec.value()
        result = self._lib.bpf_map_lookup_elem(self.fd, ctypes.byref(key), ctypes.byref(value))
        if result == -errno.ENOENT:
            return None
        check(result, f"read {self.spec.name}")
        return value

    def update(self, key: K, value: V, flags: int = ANY) -> None:
        """Set a key. Raises MapFullError where there is no room, MapError otherwise."""
        result = self._lib.bpf_map_update_elem(self.fd, ctypes.byref(key), ctypes.byref(value), flags)
        if result < 0:
            self._raise(-result)

    def delete(self, key: K) -> bool:
        """Remove a key; False where it was not there."""
        result = self._lib.bpf_map_delete_elem(self.fd, ctypes.byref(key))
        if result == -errno.ENOENT:
            return False
        check(result, f"remove an entry of {self.spec.name}")
        return True

    def items(self) -> tuple[Records, Records]:
        """Every key and its value, read in batches. Entries that come or go meanwhile may be missed."""
        key_type, value_type = np.dtype(self.spec.key), np.dtype(self.spec.value)
        keys: list[Records] = [np.empty(0, key_type)]
        values: list[Records] = [np.empty(0, value_type)]
        # The place to go on from is a bucket number for hashes, a key for arrays.
        place = ctypes.create_string_buffer(max(4, key_type.itemsize))
        size = BATCH
        started = finished = False
        while not finished:
            batch_keys, batch_values = np.empty(size, key_type), np.empty(size, value_type)
            count = ctypes.c_uint32(size)
            result = self._lib.bpf_map_lookup_batch(
                self.fd,
                ctypes.byref(place) if started else None,
                ctypes.byref(place),
                batch_keys.ctypes.data,
                batch_values.ctypes.data,
                ctypes.byref(count),
                ctypes.byref(BatchOptions(sz=ctypes.sizeof(BatchOptions))),
            )
            if result == -errno.ENOSPC:  # one bucket alone holds more than the batch
                size *= 2
                continue
            finished = result == -errno.ENOENT
            if not finished:
                check(result, f"list {self.spec.name}")
            keys.append(batch_keys[: count.value])
            values.append(batch_values[: count.value])
            started = True
        return np.concatenate(keys), np.concatenate(values)

    def view(self, *, writable: bool = False) -> Records:
        """The records of an array map themselves, by its mapping: no copy, no system call.

        The program writes to them at any time. Raises MapError without F_MMAPABLE or rights.
        """
        dtype = np.dtype(self.spec.value)
        assert dtype.itemsize % 8 == 0, "the kernel rounds the distance of elements up to 8 bytes"
        size = -(-self.max_entries * dtype.itemsize // mmap.PAGESIZE) * mmap.PAGESIZE
        access = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        try:
            mapping = mmap.mmap(self.fd, size, mmap.MAP_SHARED, access)
        except OSError as error:
            raise MapError(f"cannot map {self.spec.name}: {error.strerror}", error.errno or 0) from None
        return np.frombuffer(mapping, dtype, self.max_entries)

    def per_cpu(self) -> Records:
        """The values of a per-CPU array, of shape (entries, CPUs)."""
        values = np.empty((self.max_entries, possible_cpus()), np.dtype(self.spec.value))
        for index in range(self.max_entries):
            result = self._lib.bpf_map_lookup_elem(
                self.fd, ctypes.byref(ctypes.c_uint32(index)), values[index].ctypes.data
            )
            check(result, f"read {self.spec.name}")
        return values

    def _raise(self, number: int) -> None:
        name = self.spec.name
        if number in _FULL:
            raise MapFullError(f"{name} is full: it holds {self.max_entries} entries", number)
        raise MapError(f"cannot write {name}: {os.strerror(number)}", number)


def map_info(fd: int) -> MapInfo:
    """What the kernel says that a map is. Raises MapError."""
    info = MapInfo()
    size = ctypes.c_uint32(ctypes.sizeof(info))
    result = library().bpf_obj_get_info_by_fd(fd, ctypes.byref(info), ctypes.byref(size))
    check(result, "ask what a map is")
    return info


def _check_shape(spec: MapSpec[K, V], info: MapInfo, path: Path) -> None:
    """BCC and the kernel take any map under any declaration, so this has to be done by us. A newer version
    may have made one with more entries, of which this one uses its own.
    """
    wanted: dict[str, int] = {
        "type": spec.kind,
        "key_size": ctypes.sizeof(spec.key),
        "value_size": ctypes.sizeof(spec.value),
        "map_flags": spec.flags,
    }
    if spec.max_entries is not None:
        wanted["max_entries"] = spec.max_entries
    info.map_flags &= ~F_RDONLY_PROG  # the kernel sets it by itself on devmaps
    for field, expected in wanted.items():
        found = getattr(info, field)
        if found != expected and not (field == "max_entries" and found > expected):
            raise PinError(
                f"{path} is not the map that this version works with: its {field} is {found}, not "
                f"{expected}. `voxpop dataplane detach --unpin`, then `voxpop dataplane run`, makes it anew; "
                "calls in progress are then found again at their next check"
            )


def why_not_open(path: Path, number: int) -> str:
    """What to tell who wanted a pin and got this errno."""
    if number == errno.ENOENT:
        return f"nothing is pinned at {path}: `voxpop dataplane run` first"
    if number in (errno.EPERM, errno.EACCES):
        return f"no right to open {path}: CAP_BPF is needed, and read and write permission on it"
    return f"cannot open {path}: {os.strerror(number)}"
