"""The capabilities that the fast path takes."""

from __future__ import annotations

from core.service.privileges import Capability, kernel_release

DATAPLANE = (Capability.BPF, Capability.NET_ADMIN, Capability.PERFMON)
"""To load and to attach."""
RELAY = (Capability.BPF, Capability.NET_ADMIN, Capability.NET_RAW)
"""To use the maps, to have neighbours resolved, to send from a NAT port."""
WORKER = () if kernel_release() >= (5, 19) else (Capability.BPF,)
"""Once a worker has opened maps and sockets. Since Linux 5.19 whoever has a map open may use it."""
