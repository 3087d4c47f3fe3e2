"""The index of flows by client, groups included, which only the program itself reads and writes.

Packets of the same moment read it on other CPUs, and other workers write to it, so its entries are
exchanged by atomic instructions. Python has none, but the program does: each request is handed to
`voxpop_index` of prog/tasks.h by BPF_PROG_TEST_RUN, which costs about as much as an update of a map.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from core.addr import Endpoint, IpFamily, family_of_packed, pack_address
from ebpf import layout, pins
from ebpf.errors import MapFullError
from ebpf.ids import NatSlot, VipId
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

    def find(self, client: Endpoint, vip_id: VipId) -> NatSlot:
        """The slot of a client's live flow at a VIP; 0 where there is none."""
        self._request.vip = vip_id
        return self._ask(layout.INDEX_FIND, client)

    def groups(self, client: Endpoint) -> Iterator[NatSlot]:
        """The slots of which a client best has one, since its packets find those with one miss of the caches
        less: the first of `layout.GROUP_SLOTS` ones, for each of its groups, the best one first.
        """
        for which in range(layout.CLIENT_GROUPS):
            self._request.slot = which
            yield self._ask(layout.INDEX_GROUP, client)

    def link(self, family: IpFamily, slot: NatSlot) -> None:
        """Let the client of a live slot be found there and nowhere else. Raises MapFullError."""
        self._request.family, self._request.slot = family, slot
        if not self._run_task(layout.INDEX_LINK):
            full = f"index{family} is full where the client of slot {slot} belongs"
            raise MapFullError(full, errno.ENOSPC)

    def unlink(self, family: IpFamily, slot: NatSlot) -> bool:
        """Let nobody be found at a slot, whose record is as it was; False where nobody was."""
        self._request.family, self._request.slot = family, slot
        return self._run_task(layout.INDEX_UNLINK) != 0

    def knows_contests(self) -> bool:
        """Whether the program that is pinned passes up what is of a record without a transceiver."""
        self._request.slot = 0
        return bool(self._run_task(layout.INDEX_KNOWS) & layout.KNOWS_CONTESTS)

    def _ask(self, task: int, client: Endpoint) -> NatSlot:
        request, packed = self._request, pack_address(client.host)
        request.family = family_of_packed(packed)
        request.port = socket.htons(client.port)
        ctypes.memmove(request.client, packed, len(packed))
        return NatSlot(self._run_task(task))

    def _run_task(self, task: int) -> int:
        self._request.task = task
        self._options.data_size_out = 0  # the kernel says there how much it would have given back
        check(self._run(self._fd, self._options_at), "run the program of the index")
        return self._options.retval

    def close(self) -> None:
        """Close the program; once."""
        os.close(self._fd)
