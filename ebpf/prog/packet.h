/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Part of relay_xdp.c: what is known of a packet on its way through the parts.
 */
#ifndef VOXPOP_PACKET_H
#define VOXPOP_PACKET_H

#include "layout.h"
#include "parse.h"
#include "verdict.h"

/*
 * Keep from the compiler what it knows of a number. It turns a sum of numbers that have no bit in
 * common into an OR, of which the verifier of Linux 6.1 knows no bounds; of a sum it does. Or of a
 * pointer into `config`, which it would add up anew for each field: they are further off than an
 * instruction reaches.
 */
#define VP_OPAQUE(x) __asm__("" : "+r"(x))

#define VP_NO_UNROLL _Pragma("clang loop unroll(disable)")

#define VP_LIKELY(x)   __builtin_expect(!!(x), 1)
#define VP_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* What a part makes of a packet: its fate is decided, for a reason that is in vp_packet; or open.
 */
enum vp_fate {
	VP_DECIDED,
	VP_GO_ON,	/* nothing is against it so far */
	VP_TRY_FORWARD, /* of a known flow; it may yet have no egress */
	VP_ASKS_TOKEN,	/* a binding request of a stranger */
	VP_ASKS_UFRAG,	/* one for another ufrag than its flow's */
	VP_ASKS_MEDIA,	/* a stranger's DTLS, SRTP, SRTCP */
	VP_ASKS_SOCKET, /* not ours, but in an emergency only if a socket waits for it */
	VP_ASKS_COPY,	/* of an address that two calls have */
};

struct vp_packet {
	struct vp_l2 l2;
	void *end;
	struct vp_udp *udp;
	struct vp_local *local;
	long vip; /* id; -1: none, so for a NAT port */
	enum vp_family family;
	enum vp_reason reason; /* once its fate is decided */
	__u32 bytes;	       /* of the network layer, as it says; 0 before that is read */
};

/* Of a packet upstream. */
struct vp_flow {
	struct vp_up *record; /* NULL: not known */
	__u32 slot;
};

/* Who may have a flow. Of 64 bits, since narrower numbers are cut to size before each use. */
struct vp_client {
	const __u32 *addr; /* one word for IPv4, four for IPv6 */
	__u64 port;
	__u64 vip; /* id */
};

VP_INLINE enum vp_fate vp_decide(struct vp_packet *packet, enum vp_reason reason)
{
	packet->reason = reason;
	return VP_DECIDED;
}

#endif
