"""What a host has, to be compared with what it had before: a probe in shell, and a judge of values.

Nothing is looked for by its name, so what nobody has thought of is found too. What Debian's packages have
brought is theirs and stays; what we have written into their configuration is not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

PROBE = r"""
set -eu
export LC_ALL=C
tell() { sed "s/^/$1\t/"; }
touch /tmp/.ucf
if [ -f /var/lib/ucf/hashfile ]; then cat /var/lib/ucf/hashfile >/tmp/.ucf; fi
{ bash -c 'cat /var/lib/dpkg/info/*.list'; awk '{ print $2 }' /tmp/.ucf; } | sort -u >/tmp/.owned
find /etc /opt /usr/local /var/lib /var/cache /var/spool /root /home /srv /boot -xdev \
    \( -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/cache/apt \) -prune -o -print | sort \
    | comm -23 - /tmp/.owned | tell file
find /etc -xdev -type f -print0 | xargs -0 sha256sum | awk '{ print $2 " " $1 }' | sort >/tmp/.sums
dpkg-query --show --showformat '${Conffiles}\n' \
    | awk 'NF >= 2 && $2 != "newconffile" { print $2 "  " $1 }' | cat - /tmp/.ucf >/tmp/.shipped
md5sum --check --quiet --ignore-missing /tmp/.shipped 2>/dev/null | sed 's/: .*//' | tell conffile || true
tell content </tmp/.sums
rm /tmp/.owned /tmp/.sums /tmp/.shipped /tmp/.ucf
find /run -xdev -maxdepth 2 \( -name '*voxpop*' -o -path '/run/*/*voxpop*' \) | tell run
find /sys/fs/bpf -mindepth 1 | tell pin
stat --format '%a' /sys/fs/bpf | tell bpffs
getent passwd | cut -d: -f1 | tell user
getent group | cut -d: -f1 | tell group
systemctl list-unit-files --no-legend --plain | awk '$2 == "masked" { print $1 }' | tell masked
systemctl list-unit-files --no-legend --plain | awk '$2 ~ /^enabled/ { print $1 }' | tell enabled
systemctl list-units --no-legend --plain --state=failed | awk '{ print $1 }' | tell failed
systemctl list-units --no-legend --plain --type=service --state=active | awk '{ print $1 }' | tell service
ss -H -lntu | awk '{ print $1 " " $5 }' | tell socket
ip -oneline link | awk -F': ' '{ print $2 }' | tell link
ip -oneline link | awk '/ xdp/ { print $2 }' | tell xdp
ip -oneline -4 address | awk '{ print $2 " " $4 }' | tell address
ip -4 route show table all | sed 's/ *$//' | tell route
if command -v bpftool >/dev/null; then
    bpftool prog show | sed -n 's/.* name \([^ ]*\).*/\1/p' | tell program
fi
apt-mark showhold | tell hold
find /etc/apt -type f | tell apt
""".strip()
"""For a shell of root. Prints lines of a kind and a value. What ucf has put in its place for packages, as
BIRD's bird.conf, is in no list of dpkg's: it is in ucf's own book, with the sum that it was shipped with.
"""

DEBIANS = {
    "user": r"bird|haproxy|redis|valkey|prometheus",
    "group": r"bird|haproxy|redis|valkey|prometheus",
    "program": r"sd_\w+",  # systemd's own, seen since bpftool is there
    "file": (
        r"/etc/(passwd|group|shadow|gshadow|subuid|subgid)-?|/etc/alternatives/.*|/etc/ld\.so\.cache|/etc/\.pwd\.lock"
        r"|/etc/ssl/.*|/etc/rc\d\.d/.*|/etc/(bird|haproxy|redis|valkey|prometheus)|/root/\.ansible(/.*)?"
        r"|/var/lib/systemd/.*|/var/lib/(haproxy|redis|valkey|prometheus|bird|ucf|python)(/.*)?"
        r"|/var/cache/(ldconfig|debconf|man)(/.*)?"
        r"|/var/cache/warm-python/.*"  # what runs Ansible's modules has kept of them
    ),
    "content": r"/etc/(passwd|group|shadow|gshadow|subuid|subgid)-?|/etc/ld\.so\.cache|/etc/ssl/.*",
    "service": r"(user|user-runtime-dir)@\d+\.service|systemd-(timedated|hostnamed)\.service|apt-daily.*",
}
"""What may differ, by kind: packages make it when they are installed, or the system goes on living."""
MAY_END = frozenset({"service", "socket", "program", "failed"})
"""Kinds of which something may be there no more."""


def findings(said: str) -> dict[str, frozenset[str]]:
    """Kind → values, of what the probe prints. Raises ValueError for another text."""
    found: dict[str, set[str]] = {}
    for line in said.splitlines():
        kind, tab, value = line.partition("\t")
        if not tab:
            raise ValueError(f"{line!r} is no finding")
        found.setdefault(kind, set()).add(value)
    return {kind: frozenset(values) for kind, values in found.items()}


def left(before: Mapping[str, frozenset[str]], after: Mapping[str, frozenset[str]]) -> list[str]:
    """What is there and was not, and what is missing, in words; empty when the host is as it was."""
    told = []
    for kind in sorted({*before, *after}):
        was, now = before.get(kind, frozenset()), after.get(kind, frozenset())
        if kind == "content":
            new, gone = _changed(was, now), set[str]()
        else:
            new, gone = set(now - was), set() if kind in MAY_END else set(was - now)
        allowed = re.compile(DEBIANS.get(kind, "(?!)"))
        told += [f"{kind} {each}" for each in sorted(new) if not allowed.fullmatch(each)]
        told += [f"{kind} {each} is missing" for each in sorted(gone) if not allowed.fullmatch(each)]
    return told


def _changed(was: frozenset[str], now: frozenset[str]) -> set[str]:
    """Files that have another content than they had; those that were not there are told of as files."""
    before = dict(each.rsplit(" ", 1) for each in was)
    after = dict(each.rsplit(" ", 1) for each in now)
    return {path for path, digest in after.items() if before.get(path, digest) != digest}
