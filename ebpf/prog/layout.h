/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the maps hold: shared with userspace, whose mirror is ebpf/layout.py. A test compares the
 * two field by field.
 *
 * Maps outlive programs and relays of many versions, so SCHEMA_VERSION there, with which every flow
 * of a PoP ends, rises only when the meaning of existing bytes changes. A new field takes reserved
 * ones. They are zero where who wrote them did not know better, so zero means "as before", and no
 * struct of a map changes its size. A new kind of thing is a new map, made where it is missing.
 *
 * Addresses, ports and MACs are in network order, everything else in the host's. No struct is
 * packed and none has padding that is not a field. Elements of arrays are multiples of 8 bytes, to
 * which the kernel rounds their distance up.
 */
#ifndef VOXPOP_LAYOUT_H
#define VOXPOP_LAYOUT_H

#include <linux/types.h>

/* Of what others write meanwhile. */
#define VP_READ_ONCE(x) (*(volatile __typeof__(x) *)&(x))

/*
 * Our own addresses. The table has two halves; `local_hash` of vp_config names the live one, so
 * that a new set of addresses is written beside the old one and taken into use by one store.
 */
#define VP_LOCAL_CELLS_LOG2 9
#define VP_LOCAL_CELLS	    (1 << VP_LOCAL_CELLS_LOG2) /* per half */
#define VP_LOCAL_VIPS	    8			  /* ports of one address, as relay.vips allows */
#define VP_FOLD_MULTIPLIER  0x9e3779b97f4a7c15ULL /* 2^64 / golden ratio: Fibonacci hashing */

#define VP_VIPS	      256
#define VP_BACKBONES  256 /* per family */
#define VP_NEXTHOPS   4096
#define VP_EGRESSES   64
#define VP_TOKEN_KEYS 32

struct vp_local {
	__u8 family; /* 4, 6, or 0: empty cell */
	__u8 vips;   /* how many of the below are in use */
	__u8 vip_id[VP_LOCAL_VIPS];
	__u16 vip_port[VP_LOCAL_VIPS];
	__u16 nat_first; /* host order; first > last: not a backbone address */
	__u16 nat_last;
	__u16 reserved;
	__u32 slot_base; /* slot of NAT port 0: backbone index * 65536 */
	__u32 addr[4];	 /* IPv4 in the first word */
	__u32 reserved_end[3];
};

struct vp_vip {
	__u32 addr[4];
	__u16 port;
	__u16 reserved[3];
};

struct vp_backbone {
	__u32 addr[4];
};

/* Rates as GCRA: a packet costs `interval`, and `burst` may be owed. An interval of 0 never
 * refuses. */
struct vp_budget {
	__u64 source_interval_ns;
	__u64 source_burst_ns;
	__u64 total_interval_ns;
	__u64 total_burst_ns;
};

enum vp_punt_class {
	VP_PUNT_CLASS_STUN,	 /* a token that checks out */
	VP_PUNT_CLASS_MEDIA,	 /* DTLS, SRTP, SRTCP of a flow that only the relay may know */
	VP_PUNT_CLASS_CONTESTED, /* all of an address that two calls have */
};

#define VP_PUNT_CLASSES 4 /* there is room for */

struct vp_token_key {
	__u64 k0;
	__u64 k1;
	__u32 set;
	__u32 reserved;
};

/* How packets leave to a neighbour: its MAC and ours, tags, MTU of the network layer, egress. */
struct vp_adjacency {
	__u32 macs[3]; /* 12 bytes as on the wire: destination, source */
	__u16 tags[4]; /* type and TCI, for each tag */
	__u16 mtu;     /* 0 where not usable */
	__u8 tag_count;
	__u8 usable;
	__u32 egress; /* index of the devmap */
};

/* Two adjacencies, of which one is live: a neighbour's change is written beside it and switched by
 * one store. */
struct vp_nexthop {
	__u32 live;
	__u32 reserved;
	struct vp_adjacency adjacency[2];
};

#define VP_CLOCK_SET 0x10000

#define VP_UPSTREAM   0
#define VP_DOWNSTREAM 1

/*
 * All that the relay tells the program, in one element: one look-up gives it all. A slot of `vip`
 * and `backbone` is written before an address is led to it, and never again.
 */
struct vp_config {
	__u64 local_hash; /* odd part: multiplier; bit 0: the live half of `local` */
	__u32 clock_min;  /* minutes since the Unix epoch mod 2^16, plus VP_CLOCK_SET */
	__u8 tos_set[2];  /* upstream, downstream: DSCP in the upper six bits */
	__u8 tos_mask[2]; /* 0xfc to set the DSCP, 0 to keep the packet's own */
	__u64 index_seed; /* secret, odd; written once, before the first flow, as are these: */
	__u32 index_buckets[2]; /* IPv4, IPv6 */
	__u32 index_groups[2];	/* of all backbone addresses together, of which there are */
	__u32 index_backbones[2];
	__u16 default_nexthop[2][2]; /* IPv4, IPv6; upstream, downstream: see
					vp_prefetch_default_egress() */
	__u32 emergency;	     /* not 0: of strangers, only valid tokens pass */
	__u32 reserved; /* the last of the one cache line that each packet reads up to here */
	struct vp_budget budget[VP_PUNT_CLASSES];
	__u64 token_interval_ns; /* as in vp_budget, of one token, whichever sources use it */
	__u64 token_burst_ns;
	__u64 reserved_cold[6]; /* cells begin on a cache line */
	struct vp_local local[2 * VP_LOCAL_CELLS];
	struct vp_nexthop nexthop[VP_NEXTHOPS];
	struct vp_backbone backbone4[VP_BACKBONES];
	struct vp_backbone backbone6[VP_BACKBONES];
	struct vp_vip vip[VP_VIPS];
	struct vp_token_key token_key[VP_TOKEN_KEYS];
	__u64 reserved_end[640]; /* for a table more */
};

_Static_assert(sizeof(struct vp_config) == 85 * 4096, "a new field takes reserved bytes");

/*
 * Upstream look-up, see index.h. A group is sixteen neighbouring slots, of which each has a tag
 * here, as in SwissTable's control bytes: eight bits of its client's hash, 0 for none. A client has
 * two groups; if there is no slot for it in either, it has an entry in one of two buckets, each a
 * cache line. All this is written by voxpop_index.
 */
#define VP_GROUP_SLOTS	 16
#define VP_GROUP_FIRST	 4096 /* NAT port; those below are nobody's group */
#define VP_GROUPS	 ((65536 - VP_GROUP_FIRST) / VP_GROUP_SLOTS) /* of a backbone address */
#define VP_CLIENT_GROUPS 2					     /* of a client */
#define VP_GROUP_ORDER	 0x03c2e1a142608023ULL /* of tags: see vp_group_position() */

struct vp_group {
	__u8 tag[VP_GROUP_SLOTS];
};

#define VP_BUCKET_ENTRIES 16
#define VP_SLOT_BITS	  24 /* of an entry; above it, eight bits of the client's hash */

struct vp_bucket {
	__u32 entry[VP_BUCKET_ENTRIES];
};

/*
 * What is seldom needed of a flow, in an array beside those of its records: what tells the ufrag
 * that matches it from another, and what its upstream record has counted but has no room for.
 */
struct vp_flow_aux {
	__u64 bytes;
	__u32 packets;
	__u32 ufrag; /* see vp_ufrag_mark() */
};

/*
 * The whole of it, which the program has no use for: a relay that comes anew reads here which ufrag
 * the flows have that it finds. By slot, in a map that is there only where a store is configured.
 */
struct vp_ufrag_record {
	__u8 token[21];
	__u8 reserved[3];
};

enum vp_index_task {
	VP_INDEX_FIND,	 /* of `client`: its slot; 0: not known */
	VP_INDEX_GROUP,	 /* of `client`: the first slot of its group number `slot` */
	VP_INDEX_LINK,	 /* lead the client of `slot` there, whatever it had before; 0: no room */
	VP_INDEX_UNLINK, /* no longer lead to `slot`; 0: nothing did */
	VP_INDEX_KNOWS,	 /* what this program knows and others may not: a sum of VP_KNOWS_* */
};

#define VP_KNOWS_CONTESTS 1 /* to punt what is of a live record whose transceiver is 0 */

/* What voxpop_index is run on, in place of a packet. */
struct vp_index_request {
	__u32 task;
	__u32 family; /* 4 or 6 */
	__u32 slot;
	__u32 client[4]; /* IPv4 in the first word */
	__u16 port;
	__u16 vip; /* id */
	__u32 reserved[4];
};

enum vp_slot_state {
	VP_SLOT_OFF,
	VP_SLOT_LIVE,
	VP_SLOT_RIVAL, /* upstream: carried by the relay alone, beside a live one of the same client
			*/
};

/*
 * A flow has a record for each direction, with what its packets need together. Written by userspace
 * while `state` is VP_SLOT_OFF, then never again but for `state` and `nexthop`, and upstream for
 * another number of the same transceiver; the program counts and stamps. `seen` is jiffies >>
 * VP_SEEN_SHIFT, which the loader chooses so that it lasts an hour.
 *
 * Upstream, clients are spread over all slots: the smaller the record, the more flows stay in a
 * CPU's own caches. Of IPv4 it is sixteen bytes, as a transceiver is a number for which
 * `transceivers` has the rest, and what is counted goes to `aux` before it is too much for its
 * bits.
 */
#define VP_COUNT_BITS	 8			     /* of packets; above them, bytes */
#define VP_COUNT_PACKETS ((1U << VP_COUNT_BITS) - 1) /* as many, of 64 KiB each, have room */

struct vp_up {
	__u32 counts;
	__u16 transceiver; /* number; 0 is none: the relay carries it */
	__u16 seen;
	__u16 client_port; /* with the next two, one word for vp_is_of() */
	__u8 vip;	   /* id */
	__u8 state;
};

struct vp_up4 {
	struct vp_up common;
	__u32 client;
};

struct vp_up6 {
	struct vp_up common;
	__u32 client[4];
	__u32 reserved;
};

/* Packets are enough for a flow at 1,000 a second to last seven weeks, here as in vp_flow_aux. */
struct vp_down {
	__u64 bytes; /* of the network layer */
	__u32 packets;
	__u16 seen;
	__u16 nexthop; /* below VP_NEXTHOPS; 0 is none */
	__u16 client_port;
	__u16 transceiver_port;
	__u8 vip; /* id */
	__u8 state;
	__u16 reserved;
};

struct vp_down4 {
	struct vp_down common;
	__u32 client;
	__u32 transceiver;
};

struct vp_down6 {
	struct vp_down common;
	__u32 client[4];
	__u32 transceiver[4];
	__u64 reserved;
};

/*
 * Who flows lead to, and by which next hop. Written while no live record has its number, then never
 * again but for `nexthop`.
 */
#define VP_TRANSCEIVERS 65536 /* of a family */

struct vp_transceiver {
	__u16 port;
	__u16 nexthop; /* below VP_NEXTHOPS; 0 is none */
};

struct vp_transceiver4 {
	struct vp_transceiver common;
	__u32 addr;
};

struct vp_transceiver6 {
	struct vp_transceiver common;
	__u32 addr[4];
	__u32 reserved;
};

struct vp_counter {
	__u64 packets;
	__u64 bytes; /* of the network layer, as it says; nothing where it was not read */
};

/* Who is charged for a punt: an IPv4 address, or an IPv6 /64. */
struct vp_source {
	__u32 prefix[2];
	__u32 family; /* 4 or 6 */
};

/* When the source will have paid for everything that it was let through (GCRA), by class. */
struct vp_debt {
	__u64 paid_at_ns[VP_PUNT_CLASSES];
};

/*
 * The same of a token. It has two cells, which its tag names, and is charged to the one that owes
 * less: so whoever has worn out some of them stands in the way of few others.
 */
#define VP_PUNT_TOKENS_LOG2 16
#define VP_PUNT_TOKENS	    (1 << VP_PUNT_TOKENS_LOG2)

struct vp_token_debt {
	__u64 paid_at_ns;
};

#endif
