// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The fast path: full NAT of established flows, and the judgement of everything else that strangers
 * send to a VIP. docs/fastpath.md has the verdict table. What happens to a packet, in this order:
 *
 * 1. vp_process() finds the network header (parse.h): what is not IP is passed.
 * 2. vp_locate() finds what is ours: UDP to a VIP or a NAT port, whole and plain.
 * 3. vp_find_upstream() finds the flow of a client at a VIP, vp_find_downstream() that of a NAT
 *    port.
 * 4. vp_judge_upstream() tells what a client wants: its flow's media goes on, a binding request is
 *    read for its ufrag (parse.h), a stranger's noise is dropped.
 * 5. vp_admit() lets up to the relay what only that can answer: a token must check out (token.h),
 *    and the sender have a punt left.
 * 6. vp_forward_up() and vp_forward_down() rewrite (rewrite.h) and address what has a flow.
 * 7. vp_finish() counts whatever came of it, under one reason (verdict.h), and returns the action.
 *
 * The parts below are one text with this file when it is compiled (ebpf/source.py), as only so can
 * they use maps. The headers that they include are pure functions.
 */
#include "maps.h"
#include "packet.h"
#include "locate.h"
#include "lookup.h"
#include "classify.h"
#include "admit.h"
#include "forward.h"
#include "count.h"

/*
 * `backbone` says whether the interface leads to transceivers: a packet that claims to be from one
 * is believed only there.
 */
VP_INLINE enum vp_fate vp_steer(struct xdp_md *ctx, struct vp_packet *packet,
				struct vp_ufrag *ufrag, _Bool backbone)
{
	struct vp_config *cfg = vp_get_config();
	struct vp_flow flow = {};
	struct vp_down *down;
	struct vp_egress egress;
	enum vp_fate fate;

	if (!cfg)
		return vp_decide(packet, VP_DROP_INTERNAL);
	fate = vp_locate(cfg, packet);
	if (fate != VP_GO_ON)
		return fate;
	if (packet->vip < 0) {
		if (!backbone)
			return vp_decide(packet, VP_DROP_WRONG_SIDE);
		vp_prefetch_default_egress(cfg, packet, VP_DOWNSTREAM, &egress);
		if (vp_find_downstream(packet, &down) == VP_DECIDED)
			return VP_DECIDED;
		return vp_forward_down(ctx, cfg, packet, down, &egress);
	}
	if (VP_UNLIKELY(!vp_is_well_formed(packet->udp, packet->end)))
		return vp_decide(packet, VP_DROP_NOT_WEBRTC);
	vp_find_upstream(cfg, packet, &flow);
	if (VP_LIKELY(flow.record))
		vp_prefetch_default_egress(cfg, packet, VP_UPSTREAM, &egress);
	fate = vp_judge_upstream(packet, &flow, ufrag);
	if (fate != VP_TRY_FORWARD)
		return fate;
	return vp_forward_up(ctx, cfg, packet, &flow, &egress);
}

/* The families part here, so that the compiler makes a program for each, and meet again for
 * strangers. */
VP_INLINE int vp_process(struct xdp_md *ctx, _Bool backbone)
{
	struct vp_packet packet = {.end = (void *)(long)ctx->data_end, .reason = VP_PASS_NOT_IP};
	enum vp_fate fate = VP_DECIDED;
	struct vp_ufrag ufrag;

	if (!vp_parse_l2((void *)(long)ctx->data, packet.end, &packet.l2))
		return vp_finish(&packet);
	if (packet.l2.type == VP_ETH_IPV4 && packet.l2.l3 + sizeof(struct vp_ipv4) <= packet.end) {
		packet.family = VP_FAMILY_IPV4;
		fate = vp_steer(ctx, &packet, &ufrag, backbone);
		if (VP_LIKELY(fate == VP_DECIDED))
			return vp_finish(&packet);
	}
	if (packet.l2.type == VP_ETH_IPV6 && packet.l2.l3 + sizeof(struct vp_ipv6) <= packet.end) {
		packet.family = VP_FAMILY_IPV6;
		fate = vp_steer(ctx, &packet, &ufrag, backbone);
	}
	if (fate != VP_DECIDED)
		vp_admit(ctx, &packet, &ufrag, fate);
	return vp_finish(&packet);
}

/* For interfaces that face clients only. */
int voxpop_public(struct xdp_md *ctx)
{
	return vp_process(ctx, 0);
}

/* For interfaces that face transceivers, and those that face both. */
int voxpop_backbone(struct xdp_md *ctx)
{
	return vp_process(ctx, 1);
}

/* Not of this story: */
#include "tasks.h"
