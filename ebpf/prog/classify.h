/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Part of relay_xdp.c: third, what a client wants: to be carried on, or to be heard by the relay.
 */
#ifndef VOXPOP_CLASSIFY_H
#define VOXPOP_CLASSIFY_H

#include "token.h"
#include "lookup.h"

/* Whether a request is for the ufrag of its flow. */
VP_INLINE _Bool vp_matches_ufrag(const struct vp_packet *packet, __u32 slot,
				 const struct vp_ufrag *ufrag)
{
	struct vp_flow_aux *aux = vp_aux_at(packet->family == VP_FAMILY_IPV6, slot);

	return aux && VP_READ_ONCE(aux->ufrag) == vp_ufrag_mark(ufrag);
}

VP_INLINE enum vp_fate vp_judge_request(struct vp_packet *packet, struct vp_flow *flow,
					struct vp_ufrag *ufrag)
{
	switch (vp_find_ufrag(packet->udp, packet->end, ufrag)) {
	case VP_UFRAG_FOUND:
		break;
	case VP_UFRAG_NO_USERNAME:
		return vp_decide(packet, VP_DROP_NO_USERNAME);
	case VP_UFRAG_BAD_LENGTH:
		return vp_decide(packet, VP_DROP_TOKEN_LENGTH);
	default:
		return vp_decide(packet, VP_DROP_STUN_MALFORMED);
	}
	if (!flow->record)
		return VP_ASKS_TOKEN;
	return vp_matches_ufrag(packet, flow->slot, ufrag) ? VP_TRY_FORWARD : VP_ASKS_UFRAG;
}

VP_INLINE enum vp_fate vp_judge_upstream(struct vp_packet *packet, struct vp_flow *flow,
					 struct vp_ufrag *ufrag)
{
	__u8 *payload = (void *)(packet->udp + 1);

	if (VP_UNLIKELY(vp_is_binding_request(packet->udp, packet->end)))
		return vp_judge_request(packet, flow, ufrag);
	if (VP_LIKELY(flow->record))
		return VP_TRY_FORWARD;
	if ((void *)(payload + 1) > packet->end || vp_kind_of(*payload) == VP_KIND_STUN)
		return vp_decide(packet, VP_DROP_NOT_WEBRTC);
	return VP_ASKS_MEDIA;
}

#endif
