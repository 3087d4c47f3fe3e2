"""The index of flows by client, groups included, which only the program itself reads and writes.

Packets of the same moment read it on other CPUs, and other workers write to it, so its entries are
exchanged by atomic instructions. Python has none, but the program does: the task is handed to
`voxpop_index` of prog/tasks.h by BPF_PROG_TEST_RUN, which costs about as much as an update of a map.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from core.addr import Endpoint
from ebpf import layout, pins
from ebpf.errors import MapFullError
from ebpf.flows import pack_address
from ebpf.kernel.libbpf import TestRunOptions, check, library

PROGRAM = "voxpop_index"


class Index:
    """The index of one pin directory. Raises PinError where the dataplane is not there."""

    def __init__(self, pin_dir: Path) -> None:
        self._fd = pins.open_pinned_program(pin_dir, PROGRAM)
        self._run = library().bpf_prog_test_run_opts
        self._request = layout.IndexRequest()
        self._options = TestRunOptions(
            sz=ctypes.sizeof(TestRunOptions),
            data_in=ctypes.addressof(self._request),
            data_size_in=ctypes.sizeof(self._request),
        )
        self._options_at = ctypes.byref(self._options)

    def find(self, client: Endpoint, vip_id: int) -> int:
        """The slot of a client's live flow at a VIP; 0 where there is none."""
        self._request.vip = vip_id
        return self._ask(layout.INDEX_FIND, client)

    def groups(self, client: Endpoint) -> Iterator[int]:
        """The slots of which a client best has one, since its packets find those with one miss of the caches
        less: the first of `layout.GROUP_SLOTS` ones, for each of its groups, the best one first.
        """
        for which in range(layout.CLIENT_GROUPS):
            self._request.slot = which
            yield self._ask(layout.INDEX_GROUP, client)

    def link(self, family: int, slot: int) -> None:
        """Lead the client of a live slot there, wherever it was led before. Raises MapFullError."""
        self._request.family, self._request.slot = family, slot
        if not self._do(layout.INDEX_LINK):
            full = f"index{family} is full where the client of slot {slot} belongs"
            raise MapFullError(full, errno.ENOSPC)

    def unlink(self, family: int, slot: int) -> bool:
        """No longer lead to a slot, whose record is as it was; False where nothing did."""
        self._request.family, self._request.slot = family, slot
        return self._do(layout.INDEX_UNLINK) != 0

    def _ask(self, task: int, client: Endpoint) -> int:
        request, packed = self._request, pack_address(client.host)
        request.family = 4 if len(packed) == 4 else 6
        request.port = socket.htons(client.port)
        ctypes.memmove(request.client, packed, len(packed))
        return self._do(task)

    def _do(self, task: int) -> int:
        self._request.task = task
        self._options.data_size_out = 0  # the kernel says there how much it would have given back
        check(self._run(self._fd, self._options_at), "run the program of the index")
        return int(self._options.retval)

    def close(self) -> None:
        """Close the program; once."""
        os.close(self._fd)
