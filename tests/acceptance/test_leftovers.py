"""What a host has that it had not."""

from __future__ import annotations

import pytest

from tests.acceptance.leftovers import findings, left

BEFORE = """\
file\t/etc/machine-id
content\t/etc/machine-id 2c46ac1f
content\t/etc/passwd 11aa
content\t/etc/sysctl.conf 22bb
bpffs\t700
user\troot
socket\ttcp 0.0.0.0:22
link\tlo
link\tenp0s3
address\tlo 127.0.0.1/8
enabled\tssh.service
"""


def test_a_host_as_it_was_has_nothing_left() -> None:
    assert left(findings(BEFORE), findings(BEFORE)) == []


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("file\t/etc/voxpop/edge/keys.toml\n", "file /etc/voxpop/edge/keys.toml"),
        ("conffile\t/etc/haproxy/haproxy.cfg\n", "conffile /etc/haproxy/haproxy.cfg"),
        ("user\tvoxpop-edge\n", "user voxpop-edge"),
        ("pin\t/sys/fs/bpf/voxpop/flows\n", "pin /sys/fs/bpf/voxpop/flows"),
        ("xdp\tenp0s3:\n", "xdp enp0s3:"),
        ("link\tvoxpop-vips\n", "link voxpop-vips"),
        ("enabled\tbird.service\n", "enabled bird.service"),
        ("socket\ttcp 0.0.0.0:179\n", "socket tcp 0.0.0.0:179"),
        ("hold\tlinux-image-amd64\n", "hold linux-image-amd64"),
        ("program\tvoxpop_ingress\n", "program voxpop_ingress"),
        ("run\t/run/voxpop\n", "run /run/voxpop"),
    ],
    ids=lambda text: str(text).partition("\t")[0] if "\t" in str(text) else "",
)
def test_what_was_not_there_is_told(more: str, told: str) -> None:
    assert left(findings(BEFORE), findings(BEFORE + more)) == [told]


def test_what_packages_bring_is_theirs() -> None:
    more = "user\tbird\nfile\t/etc/rc2.d/S01bird\nprogram\tsd_devices\n"
    now = BEFORE.replace("/etc/passwd 11aa", "/etc/passwd 33cc") + more
    assert left(findings(BEFORE), findings(now + "content\t/etc/bird/envvars 44dd\n")) == []


def test_what_we_have_written_into_or_taken_away_is_told() -> None:
    now = BEFORE.replace("22bb", "55ee").replace("bpffs\t700", "bpffs\t1711").replace("link\tenp0s3\n", "")
    assert left(findings(BEFORE), findings(now)) == [
        "bpffs 1711",
        "bpffs 700 is missing",
        "content /etc/sysctl.conf",
        "link enp0s3 is missing",
    ]


def test_another_text_is_no_finding() -> None:
    with pytest.raises(ValueError, match="is no finding"):
        findings("bash: find: command not found\n")
