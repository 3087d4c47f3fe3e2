"""What the maps hold: the mirror of prog/layout.h, compared with it field by field by a test.

Addresses, ports and MACs are in network order, everything else in the host's.
"""

from __future__ import annotations

from ctypes import Structure, c_uint8, c_uint16, c_uint32, c_uint64

SCHEMA_VERSION = 6
"""Part of the pin path. It rises only when the meaning of existing bytes changes, as every flow of a PoP ends
at such an upgrade. A new field takes reserved bytes, in which zero means "as before"; a new reason goes to
the end; a new kind of thing is a new map.
"""

LOCAL_CELLS_LOG2 = 9
LOCAL_CELLS = 1 << LOCAL_CELLS_LOG2
LOCAL_VIPS = 8
FOLD_MULTIPLIER = 0x9E3779B97F4A7C15
VIPS = 256
BACKBONES = 256
NEXTHOPS = 4096
EGRESSES = 64
TOKEN_KEYS = 32
TRANSCEIVERS = 1 << 16
"""Numbers for them, in each family; 0 is none."""
PORTS = 1 << 16
"""Slots of one backbone address: one for each port number, used or not."""

GROUP_SLOTS = 16
GROUP_FIRST = 4096
"""NAT port; those below are nobody's group."""
GROUPS = (PORTS - GROUP_FIRST) // GROUP_SLOTS
"""Of a backbone address."""
CLIENT_GROUPS = 2
"""Of a client."""
GROUP_ORDER = 0x03C2E1A142608023
TAG_SLOTS = tuple((GROUP_ORDER << 8 * (i % 8) + 7 - i // 8 & 2**64 - 1) >> 60 for i in range(GROUP_SLOTS))
"""Which slot of its group each tag is of, as vp_group_position() has it of the bit of a match."""
BUCKET_ENTRIES = 16
SLOT_BITS = 24
"""Of an entry of the index; above them are eight bits of the client's hash."""
INDEX_FIND, INDEX_GROUP, INDEX_LINK, INDEX_UNLINK, INDEX_KNOWS = 0, 1, 2, 3, 4
KNOWS_CONTESTS = 1
"""What INDEX_KNOWS may say of a program: it punts what is of a live record whose transceiver is 0."""

PUNT_CLASS_STUN, PUNT_CLASS_MEDIA, PUNT_CLASS_CONTESTED = 0, 1, 2
PUNT_CLASSES = 4
"""There is room for."""
PUNT_TOKENS = 1 << 16
"""Cells for what tokens owe."""
CLOCK_SET = 0x10000
UPSTREAM, DOWNSTREAM = 0, 1
SLOT_OFF, SLOT_LIVE, SLOT_RIVAL = 0, 1, 2
NO_TRANSCEIVER = 0
COUNT_BITS = 8
"""Of packets, in what an upstream record counts; above them, bytes."""
COUNT_PACKETS = (1 << COUNT_BITS) - 1


class Local(Structure):
    """struct vp_local: what we are at one of our addresses."""

    _fields_ = (
        ("family", c_uint8),
        ("vips", c_uint8),
        ("vip_id", c_uint8 * LOCAL_VIPS),
        ("vip_port", c_uint16 * LOCAL_VIPS),
        ("nat_first", c_uint16),
        ("nat_last", c_uint16),
        ("reserved", c_uint16),
        ("slot_base", c_uint32),
        ("addr", c_uint32 * 4),
        ("reserved_end", c_uint32 * 3),
    )


class Vip(Structure):
    """struct vp_vip."""

    _fields_ = (("addr", c_uint32 * 4), ("port", c_uint16), ("reserved", c_uint16 * 3))


class Backbone(Structure):
    """struct vp_backbone."""

    _fields_ = (("addr", c_uint32 * 4),)


class Budget(Structure):
    """struct vp_budget: rates as GCRA."""

    _fields_ = (
        ("source_interval_ns", c_uint64),
        ("source_burst_ns", c_uint64),
        ("total_interval_ns", c_uint64),
        ("total_burst_ns", c_uint64),
    )


class TokenKey(Structure):
    """struct vp_token_key."""

    _fields_ = (("k0", c_uint64), ("k1", c_uint64), ("set", c_uint32), ("reserved", c_uint32))


class Adjacency(Structure):
    """struct vp_adjacency: how packets leave to a neighbour."""

    _fields_ = (
        ("macs", c_uint32 * 3),
        ("tags", c_uint16 * 4),
        ("mtu", c_uint16),
        ("tag_count", c_uint8),
        ("usable", c_uint8),
        ("egress", c_uint32),
    )


class NextHop(Structure):
    """struct vp_nexthop: two adjacencies, of which `live` names one."""

    _fields_ = (("live", c_uint32), ("reserved", c_uint32), ("adjacency", Adjacency * 2))


class Config(Structure):
    """struct vp_config: all that the relay tells the program."""

    _fields_ = (
        ("local_hash", c_uint64),
        ("clock_min", c_uint32),
        ("tos_set", c_uint8 * 2),
        ("tos_mask", c_uint8 * 2),
        ("index_seed", c_uint64),
        ("index_buckets", c_uint32 * 2),
        ("index_groups", c_uint32 * 2),
        ("index_backbones", c_uint32 * 2),
        ("default_nexthop", c_uint16 * 2 * 2),
        ("emergency", c_uint32),
        ("reserved", c_uint32),
        ("budget", Budget * PUNT_CLASSES),
        ("token_interval_ns", c_uint64),
        ("token_burst_ns", c_uint64),
        ("reserved_cold", c_uint64 * 6),
        ("local", Local * (2 * LOCAL_CELLS)),
        ("nexthop", NextHop * NEXTHOPS),
        ("backbone4", Backbone * BACKBONES),
        ("backbone6", Backbone * BACKBONES),
        ("vip", Vip * VIPS),
        ("token_key", TokenKey * TOKEN_KEYS),
        ("reserved_end", c_uint64 * 640),
    )


class Group(Structure):
    """struct vp_group: the tags of sixteen slots."""

    _fields_ = (("tag", c_uint8 * GROUP_SLOTS),)


class Bucket(Structure):
    """struct vp_bucket: where the slots of some clients are looked up."""

    _fields_ = (("entry", c_uint32 * BUCKET_ENTRIES),)


class FlowAux(Structure):
    """struct vp_flow_aux: what is seldom needed of a flow."""

    _fields_ = (("bytes", c_uint64), ("packets", c_uint32), ("ufrag", c_uint32))


class Ufrag(Structure):
    """struct vp_ufrag_record: the token behind a flow's ufrag, for relays."""

    _fields_ = (("token", c_uint8 * 21), ("reserved", c_uint8 * 3))


class IndexRequest(Structure):
    """struct vp_index_request: what voxpop_index is run on."""

    _fields_ = (
        ("task", c_uint32),
        ("family", c_uint32),
        ("slot", c_uint32),
        ("client", c_uint32 * 4),
        ("port", c_uint16),
        ("vip", c_uint16),
        ("reserved", c_uint32 * 4),
    )


class Up(Structure):
    """struct vp_up: the upstream record of a flow, what it has in either family."""

    _fields_ = (
        ("counts", c_uint32),
        ("transceiver", c_uint16),
        ("seen", c_uint16),
        ("client_port", c_uint16),
        ("vip", c_uint8),
        ("state", c_uint8),
    )


class Up4(Structure):
    """struct vp_up4."""

    _fields_ = (("common", Up), ("client", c_uint32))


class Up6(Structure):
    """struct vp_up6."""

    _fields_ = (("common", Up), ("client", c_uint32 * 4), ("reserved", c_uint32))


class Down(Structure):
    """struct vp_down: the downstream record of a flow, what it has in either family."""

    _fields_ = (
        ("bytes", c_uint64),
        ("packets", c_uint32),
        ("seen", c_uint16),
        ("nexthop", c_uint16),
        ("client_port", c_uint16),
        ("transceiver_port", c_uint16),
        ("vip", c_uint8),
        ("state", c_uint8),
        ("reserved", c_uint16),
    )


class Down4(Structure):
    """struct vp_down4."""

    _fields_ = (("common", Down), ("client", c_uint32), ("transceiver", c_uint32))


class Down6(Structure):
    """struct vp_down6."""

    _fields_ = (
        ("common", Down),
        ("client", c_uint32 * 4),
        ("transceiver", c_uint32 * 4),
        ("reserved", c_uint64),
    )


class Transceiver(Structure):
    """struct vp_transceiver: who flows lead to, what it has in either family."""

    _fields_ = (("port", c_uint16), ("nexthop", c_uint16))


class Transceiver4(Structure):
    """struct vp_transceiver4."""

    _fields_ = (("common", Transceiver), ("addr", c_uint32))


class Transceiver6(Structure):
    """struct vp_transceiver6."""

    _fields_ = (("common", Transceiver), ("addr", c_uint32 * 4), ("reserved", c_uint32))


class Counter(Structure):
    """struct vp_counter."""

    _fields_ = (("packets", c_uint64), ("bytes", c_uint64))


class Source(Structure):
    """struct vp_source."""

    _fields_ = (("prefix", c_uint32 * 2), ("family", c_uint32))


class Debt(Structure):
    """struct vp_debt."""

    _fields_ = (("paid_at_ns", c_uint64 * PUNT_CLASSES),)


class TokenDebt(Structure):
    """struct vp_token_debt."""

    _fields_ = (("paid_at_ns", c_uint64),)


STRUCTS: dict[str, type[Structure]] = {
    "vp_local": Local,
    "vp_vip": Vip,
    "vp_backbone": Backbone,
    "vp_budget": Budget,
    "vp_config": Config,
    "vp_token_key": TokenKey,
    "vp_adjacency": Adjacency,
    "vp_nexthop": NextHop,
    "vp_group": Group,
    "vp_bucket": Bucket,
    "vp_flow_aux": FlowAux,
    "vp_ufrag_record": Ufrag,
    "vp_index_request": IndexRequest,
    "vp_up": Up,
    "vp_up4": Up4,
    "vp_up6": Up6,
    "vp_down": Down,
    "vp_down4": Down4,
    "vp_down6": Down6,
    "vp_transceiver": Transceiver,
    "vp_transceiver4": Transceiver4,
    "vp_transceiver6": Transceiver6,
    "vp_counter": Counter,
    "vp_source": Source,
    "vp_debt": Debt,
    "vp_token_debt": TokenDebt,
}
"""By their names in C."""
