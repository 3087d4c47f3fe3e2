"""What the disk of a virtual machine is made of, as a value, and the name under which it is kept."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

KERNEL = "linux-image-amd64"
BARE = (
    "systemd-sysv",
    "dbus",
    "systemd-resolved",
    "udev",
    "openssh-server",
    "python3",
    "python3-apt",
    "iproute2",
    "zstd",
)
"""What an installed server has, and Ansible takes for granted."""
OF_TESTS = ("python3-bpfcc", "clang", "libclang-rt-14-dev", "tcpdump", "linux-headers-amd64")
"""What `tests/ebpf` takes besides."""
MANAGEMENT = "/etc/systemd/network/10-management.network"
FILES = {
    "/etc/fstab": "LABEL=root / ext4 defaults 0 1\n",
    "/etc/hostname": "",
    MANAGEMENT: "[Match]\nName=enp0s2\n\n[Network]\nDHCP=ipv4\n",
    # Nobody answers for the names of others; the resolver's own address is left.
    "/etc/systemd/resolved.conf.d/unicast.conf": "[Resolve]\nLLMNR=no\nMulticastDNS=no\n",
    # What is emulated is not to wait for a disk, nor for what nobody reads.
    "/etc/dpkg/dpkg.cfg.d/emulated": (
        "force-unsafe-io\npath-exclude=/usr/share/doc/*\npath-exclude=/usr/share/man/*\n"
        "path-exclude=/usr/share/locale/*\n"
    ),
    "/etc/apt/apt.conf.d/emulated": 'Acquire::Languages "none";\n',
    "/etc/systemd/system/ssh-host-keys.service": (
        "[Unit]\nBefore=ssh.service\nConditionPathExists=!/etc/ssh/ssh_host_ed25519_key\n\n"
        "[Service]\nType=oneshot\nExecStart=/usr/bin/ssh-keygen -A\n\n"
        "[Install]\nWantedBy=multi-user.target\n"
    ),
    # Whatever waits for a network waits for the management's: the others come later, by hand.
    "/etc/systemd/system/systemd-networkd-wait-online.service.d/any.conf": (
        "[Service]\nExecStart=\nExecStart=/lib/systemd/systemd-networkd-wait-online --any --timeout=60\n"
    ),
}
UNITS = ("systemd-networkd", "systemd-resolved", "ssh", "ssh-host-keys")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Of one disk. Two that are equal give the same disk, but for what Debian has changed meanwhile."""

    name: str
    suite: str
    packages: tuple[str, ...]
    files: tuple[tuple[str, str], ...] = tuple(FILES.items())
    """Path → text."""
    units: tuple[str, ...] = UNITS
    """That start at boot."""
    base: Recipe | None = None
    """What is there already; its packages, files and units are not said again."""
    size_mib: int = 8192
    """Of the file system; what is not used takes no room."""
    method: int = 3
    """Of image.py, counted up when it makes something else of the same recipe."""

    @property
    def key(self) -> str:
        """The name of what came of it: of the content, so that another recipe never finds this one's disk."""
        text = json.dumps(asdict(self), sort_keys=True)
        return f"{self.name}-{self.suite}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


HOST = Recipe("host", "bookworm", (KERNEL, *BARE))
"""A machine with nothing on it, as it comes from an installer."""
KERNEL_TESTS = Recipe("tests", "bookworm", OF_TESTS, files=(), units=(), base=HOST)
"""Where `tests/ebpf` runs on Debian's kernel."""
