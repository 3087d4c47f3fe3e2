/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Part of relay_xdp.c: last, whatever came of a packet is counted once, and becomes an action.
 */
#ifndef VOXPOP_COUNT_H
#define VOXPOP_COUNT_H

#include "packet.h"

VP_INLINE void vp_count(const struct vp_packet *packet)
{
	__u32 index = packet->family * VP_REASON_STRIDE + packet->reason;
	struct vp_counter *counter = counters.lookup(&index);

	if (!counter)
		return;
	counter->packets++;
	counter->bytes += packet->bytes;
}

#define VP_PASSES_REDIRECT		 0ULL
#define VP_PASSES_PASS			 1ULL
#define VP_PASSES_DROP			 0ULL
#define VP_PASS_BIT(name, action, label) | VP_PASSES_##action << VP_##name

/* The one place that turns a reason into an action; a bit for each, since a switch would be a tree.
 */
VP_INLINE int vp_action(enum vp_reason reason)
{
	const __u64 passes = 0 VP_REASON_LIST(VP_PASS_BIT);

	if (VP_LIKELY(reason <= VP_FORWARD_DOWN))
		return XDP_REDIRECT;
	return passes >> reason & 1 ? XDP_PASS : XDP_DROP;
}

VP_INLINE int vp_finish(const struct vp_packet *packet)
{
	vp_count(packet);
	return vp_action(packet->reason);
}

#endif
