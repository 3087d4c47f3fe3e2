"""Which neighbours speak BFD (RFC 5880, over one hop by RFC 5881), asked before a routing daemon is there."""

from __future__ import annotations

import contextlib
import ipaddress
import secrets
import select
import socket
import struct
import sys
import time
from collections.abc import Iterable

DOCUMENTATION = """
module: bfd_neighbours
short_description: Which neighbours speak BFD
description:
  - Waits for BFD packets of neighbours, and sends each one that says "down", for who waits to be spoken to.
  - It begins no session, as it answers nothing.
  - UDP port 3784 must be free, so no routing daemon that speaks BFD may run here.
options:
  addresses:
    description: Of the neighbours, on links of this host; a link-local one as fe80::1%eth0.
    type: list
    elements: str
    required: true
  timeout_s:
    description: How long to wait. A session that is down is told of each second, or sooner.
    type: int
    default: 4
author:
  - The Voxpop authors (@voxpop)
"""

EXAMPLES = """
- name: Ask
  voxpop.edge.bfd_neighbours:
    addresses: [192.0.2.1, fe80::1%eth0]
  register: asked
"""

RETURN = """
silent:
  description: Those that have not been heard.
  type: list
  elements: str
  returned: always
"""

PORT = 3784
TTL = 255
"""RFC 5881 §5: who sends less is not on the link, and is not heard."""
SOURCE_PORTS = range(49152, 49252)
"""RFC 5881 §4 wants one from 49152 on."""
IP_RECVTTL = 12
"""Linux's number, which Python has from 3.14 on."""
_PACKET = struct.Struct("!BBBBIIIII")
_SECOND_US = 1_000_000
LEAST_BYTES = 24


def down_packet(discriminator: int) -> bytes:
    """What a session that is down says (RFC 5880 §4.1): version 1, no diagnostic, one a second."""
    return _PACKET.pack(0x20, 0x40, 3, LEAST_BYTES, discriminator, 0, _SECOND_US, _SECOND_US, 0)


def is_bfd_untrusted(data: bytes) -> bool:
    """Whether it is a control packet, by the checks of RFC 5880 §6.8.6 that need no session. Never raises."""
    if len(data) < LEAST_BYTES or data[0] >> 5 != 1 or not LEAST_BYTES <= data[3] <= len(data):
        return False
    multiplier, mine = data[2], data[4:8]
    return multiplier != 0 and mine != bytes(4)


def silent(addresses: Iterable[str], timeout_s: float) -> list[str]:
    """Those that say nothing in that time. OSError where the port is taken."""
    missing = {_key(address): address for address in addresses}
    ears = {family: _ear(family) for family in sorted({_family(each) for each in missing.values()})}
    try:
        for address in missing.values():
            with contextlib.suppress(OSError):  # no way there: it will be among those that are silent
                _knock(address)
        deadline = time.monotonic() + timeout_s
        while missing and (left := deadline - time.monotonic()) > 0:
            for ear in select.select(list(ears.values()), [], [], left)[0]:
                data, ancillary, _, sender = ear.recvmsg(256, 256)
                if is_bfd_untrusted(data) and _hops(ancillary) == TTL:
                    missing.pop(_sender_key(sender), None)
    finally:
        for ear in ears.values():
            ear.close()
    return sorted(missing.values())


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _key(address: str) -> str:
    """An address as packets of it have it, with the number of the interface where it is link-local."""
    host, _, interface = address.partition("%")
    scope = f"%{socket.if_nametoindex(interface)}" if interface else ""
    return str(ipaddress.ip_address(host)) + scope


def _sender_key(sender: tuple[str, int] | tuple[str, int, int, int]) -> str:
    scope = f"%{sender[3]}" if len(sender) > 2 and sender[3] else ""
    return str(ipaddress.ip_address(sender[0].partition("%")[0])) + scope


def _ear(family: socket.AddressFamily) -> socket.socket:
    ear = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        ear.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        ear.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
    else:
        ear.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
    ear.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", PORT))
    return ear


def _knock(address: str) -> None:
    family = _family(address)
    with socket.socket(family, socket.SOCK_DGRAM) as mouth:
        if family == socket.AF_INET6:
            mouth.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, TTL)
        else:
            mouth.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, TTL)
        for port in SOURCE_PORTS:
            try:
                mouth.bind(("", port))
                break
            except OSError:
                continue
        where = socket.getaddrinfo(address, PORT, family, socket.SOCK_DGRAM)[0][4]
        mouth.sendto(down_packet(secrets.randbits(31) | 1), where)


def _hops(ancillary: Iterable[tuple[int, int, bytes]]) -> int:
    wanted = {
        (socket.IPPROTO_IP, socket.IP_TTL),
        (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT),
    }
    for level, kind, data in ancillary:
        if (level, kind) in wanted:
            return int.from_bytes(data[:4], sys.byteorder)
    return -1


def main() -> None:
    """As Ansible calls it."""
    from ansible.module_utils.basic import AnsibleModule  # here, as tests read this file without Ansible

    module = AnsibleModule(
        argument_spec={
            "addresses": {"type": "list", "elements": "str", "required": True},
            "timeout_s": {"type": "int", "default": 4},
        },
        supports_check_mode=True,
    )
    try:
        found = silent(module.params["addresses"], module.params["timeout_s"])
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"neighbours could not be asked: {error}")
    module.exit_json(changed=False, silent=found)


if __name__ == "__main__":
    main()
