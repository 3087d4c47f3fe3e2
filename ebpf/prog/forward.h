/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Part of relay_xdp.c: fifth, of an established flow's packet, how it leaves: rewritten, addressed
 * to its next hop, counted and stamped in its record.
 */
#ifndef VOXPOP_FORWARD_H
#define VOXPOP_FORWARD_H

#include "lookup.h"
#include "rewrite.h"

/* Rewrite to `src` and `dst`; both point to an address of the packet's family. */
VP_INLINE enum vp_fate vp_rewrite(struct vp_packet *packet, const __u32 *src, const __u32 *dst,
				  const struct vp_rewrite *to)
{
	__u64 addresses;

	if (packet->family == VP_FAMILY_IPV4) {
		struct vp_ipv4 *ip = packet->l2.l3;

		if (ip->ttl <= 1)
			return vp_decide(packet, VP_DROP_TTL);
		addresses = vp_rewrite4(ip, *src, *dst, to);
	} else {
		struct vp_ipv6 *ip = packet->l2.l3;

		if (ip->hop_limit <= 1)
			return vp_decide(packet, VP_DROP_TTL);
		addresses = vp_rewrite6(ip, src, dst, to);
	}
	vp_rewrite_udp(packet->udp, addresses, to);
	return VP_GO_ON;
}

/* Give the frame the L2 header of its adjacency, making or taking room where the tags differ. */
VP_INLINE enum vp_fate vp_address_frame(struct xdp_md *ctx, struct vp_packet *packet,
					const struct vp_adjacency *adjacency)
{
	const struct vp_l2 *l2 = &packet->l2;

	if (VP_LIKELY(!(l2->tags | adjacency->tag_count))) {
		vp_write_macs(l2->eth, adjacency);
		return VP_GO_ON;
	}
	if (l2->tags != adjacency->tag_count) {
		int room = (int)(l2->tags - adjacency->tag_count) * (int)sizeof(struct vp_tag);

		if (bpf_xdp_adjust_head(ctx, room))
			return vp_decide(packet, VP_DROP_NO_HEADROOM);
	}
	if (!vp_write_l2((void *)(long)ctx->data, (void *)(long)ctx->data_end, adjacency, l2->type))
		return vp_decide(packet, VP_DROP_INTERNAL); /* there are headers behind it */
	return VP_GO_ON;
}

/* Where a packet leaves. The kernel has noted it too, but heeds that for XDP_REDIRECT alone. */
struct vp_egress {
	const struct vp_adjacency *adjacency;
	__u64 nexthop;
	int action; /* what is to be returned */
};

VP_INLINE void vp_choose_egress(struct vp_config *cfg, __u64 number, struct vp_egress *egress)
{
	struct vp_nexthop *nexthop = &cfg->nexthop[number % VP_NEXTHOPS];
	const struct vp_adjacency *adjacency = &nexthop->adjacency[VP_READ_ONCE(nexthop->live) & 1];

	VP_OPAQUE(adjacency);
	egress->adjacency = adjacency;
	egress->nexthop = number;
	egress->action = egresses.redirect_map(adjacency->egress, XDP_DROP);
}

/*
 * Nearly all flows leave by the same next hop, so that is chosen before the flow's record is read,
 * or upstream, where strangers come in floods and leave nowhere, once it is known to be one's.
 * Out-of-order execution hides a cache miss for only so many instructions: do record-independent
 * work first.
 */
VP_INLINE void vp_prefetch_default_egress(struct vp_config *cfg, const struct vp_packet *packet,
					  int direction, struct vp_egress *egress)
{
	vp_choose_egress(cfg, cfg->default_nexthop[packet->family == VP_FAMILY_IPV6][direction],
			 egress);
}

/* Rewrite to `src` and `dst` and address to the next hop, whose egress mostly is chosen already. */
VP_INLINE enum vp_fate vp_send(struct xdp_md *ctx, struct vp_config *cfg, struct vp_packet *packet,
			       struct vp_egress *egress, __u64 nexthop, const __u32 *src,
			       const __u32 *dst, const struct vp_rewrite *to)
{
	if (VP_UNLIKELY(nexthop != egress->nexthop))
		vp_choose_egress(cfg, nexthop, egress);
	if (VP_UNLIKELY(packet->bytes > egress->adjacency->mtu))
		return vp_decide(packet,
				 egress->adjacency->usable ? VP_DROP_TOO_BIG : VP_DROP_NO_NEXTHOP);
	if (VP_UNLIKELY(egress->action != XDP_REDIRECT))
		return vp_decide(packet, VP_DROP_NO_EGRESS);
	if (vp_rewrite(packet, src, dst, to) == VP_DECIDED)
		return VP_DECIDED;
	return vp_address_frame(ctx, packet, egress->adjacency);
}

/* One load, where a clock costs a tenth of all. */
VP_INLINE __u16 vp_now(void)
{
	return bpf_jiffies64() >> VP_SEEN_SHIFT;
}

VP_INLINE void vp_count_up(_Bool six, const struct vp_flow *flow, __u32 bytes)
{
	__u32 counts = flow->record->counts + (bytes << VP_COUNT_BITS) + 1;
	struct vp_flow_aux *aux;

	if (VP_UNLIKELY((counts & VP_COUNT_PACKETS) == VP_COUNT_PACKETS)) {
		aux = vp_aux_at(six, flow->slot);
		if (aux) {
			aux->packets += VP_COUNT_PACKETS;
			aux->bytes += counts >> VP_COUNT_BITS;
		}
		counts = 0;
	}
	flow->record->counts = counts;
}

VP_INLINE enum vp_fate vp_forward_up(struct xdp_md *ctx, struct vp_config *cfg,
				     struct vp_packet *packet, const struct vp_flow *flow,
				     struct vp_egress *egress)
{
	_Bool six = packet->family == VP_FAMILY_IPV6;
	__u32 number = VP_READ_ONCE(flow->record->transceiver);
	const struct vp_transceiver *transceiver = vp_transceiver_at(six, number);
	__u32 id = (flow->slot >> 16) % VP_BACKBONES;
	const struct vp_backbone *ours = six ? &cfg->backbone6[id] : &cfg->backbone4[id];
	struct vp_rewrite to = {
		.src_port = VP_BSWAP16(flow->slot),
		.tos_set = cfg->tos_set[VP_UPSTREAM],
		.tos_mask = cfg->tos_mask[VP_UPSTREAM],
	};

	if (VP_UNLIKELY(!number))
		return VP_ASKS_COPY;
	if (!transceiver) /* there are as many as there are numbers */
		return vp_decide(packet, VP_DROP_INTERNAL);
	to.dst_port = transceiver->port;
	if (vp_send(ctx, cfg, packet, egress, transceiver->nexthop, ours->addr,
		    VP_ADDRESSES(transceiver), &to) == VP_DECIDED)
		return VP_DECIDED;
	flow->record->seen = vp_now();
	vp_count_up(six, flow, packet->bytes);
	return vp_decide(packet, VP_FORWARD_UP);
}

VP_INLINE enum vp_fate vp_forward_down(struct xdp_md *ctx, struct vp_config *cfg,
				       struct vp_packet *packet, struct vp_down *record,
				       struct vp_egress *egress)
{
	const struct vp_vip *vip = &cfg->vip[record->vip % VP_VIPS];
	struct vp_rewrite to = {
		.src_port = vip->port,
		.dst_port = record->client_port,
		.tos_set = cfg->tos_set[VP_DOWNSTREAM],
		.tos_mask = cfg->tos_mask[VP_DOWNSTREAM],
	};

	if (vp_send(ctx, cfg, packet, egress, record->nexthop, vip->addr, VP_ADDRESSES(record),
		    &to) == VP_DECIDED)
		return VP_DECIDED;
	record->packets++;
	record->bytes += packet->bytes;
	record->seen = vp_now();
	return vp_decide(packet, VP_FORWARD_DOWN);
}

#endif
