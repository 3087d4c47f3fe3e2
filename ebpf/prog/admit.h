/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Part of relay_xdp.c: fourth, of what only the relay can answer, whether it goes up to it: tokens
 * and budgets.
 */
#ifndef VOXPOP_ADMIT_H
#define VOXPOP_ADMIT_H

#include "token.h"
#include "locate.h"

VP_INLINE enum vp_fate vp_check_token(const struct vp_config *cfg, struct vp_packet *packet,
				      const struct vp_ufrag *ufrag)
{
	__u32 now_min = cfg->clock_min;
	const struct vp_token_key *key;
	struct vp_token token;

	if (!vp_decode_token(ufrag, &token))
		return vp_decide(packet, VP_DROP_TOKEN_ALPHABET);
	if (token.version != VP_TOKEN_VERSION)
		return vp_decide(packet, VP_DROP_TOKEN_VERSION);
	key = &cfg->token_key[token.key_id % VP_TOKEN_KEYS];
	if (!key->set)
		return vp_decide(packet, VP_DROP_TOKEN_KEY);
	if (vp_siphash13(key, token.signed8, token.signed5) != token.tag)
		return vp_decide(packet, VP_DROP_TOKEN_TAG);
	if (!(now_min & VP_CLOCK_SET))
		return vp_decide(packet, VP_DROP_NO_CLOCK);
	if (vp_is_expired(token.expiry_min, now_min))
		return vp_decide(packet, VP_DROP_TOKEN_EXPIRED);
	return VP_GO_ON;
}

VP_INLINE __u64 vp_owed_from(__u64 paid_at_ns, __u64 now_ns)
{
	return paid_at_ns > now_ns ? paid_at_ns : now_ns;
}

VP_INLINE struct vp_debt *vp_debt_of(struct vp_packet *packet)
{
	struct vp_debt fresh = {};
	struct vp_source source = {};

	if (packet->family == VP_FAMILY_IPV4) {
		source.prefix[0] = ((struct vp_ipv4 *)packet->l2.l3)->src;
		source.family = 4;
	} else {
		source.prefix[0] = ((struct vp_ipv6 *)packet->l2.l3)->src[0];
		source.prefix[1] = ((struct vp_ipv6 *)packet->l2.l3)->src[1];
		source.family = 6;
	}
	return punt_sources.lookup_or_try_init(&source, &fresh);
}

/*
 * Pass the packet up if its source and all sources together have a punt left. The total is looked
 * at first, so that a flood from made-up sources costs no entry each. The source's debt is written
 * without a lock: two CPUs may let one packet more through. The total's is exchanged atomically,
 * and who loses that race is refused.
 */
VP_INLINE enum vp_fate vp_punt(struct vp_config *cfg, struct vp_packet *packet,
			       enum vp_punt_class class, enum vp_reason reason)
{
	const struct vp_budget *budget = &cfg->budget[class];
	__u64 now_ns = bpf_ktime_get_coarse_ns();
	struct vp_debt *total, *source;
	__u64 seen, from;
	__u32 zero = 0;

	total = punt_total.lookup(&zero);
	if (!total)
		return vp_decide(packet, VP_DROP_INTERNAL);
	if (total->paid_at_ns[class] > now_ns + budget->total_burst_ns)
		return vp_decide(packet, VP_DROP_TOTAL_BUDGET);
	source = vp_debt_of(packet);
	if (!source)
		return vp_decide(packet, VP_DROP_SOURCE_BUDGET);
	from = vp_owed_from(source->paid_at_ns[class], now_ns);
	if (from > now_ns + budget->source_burst_ns)
		return vp_decide(packet, VP_DROP_SOURCE_BUDGET);
	source->paid_at_ns[class] = from + budget->source_interval_ns;
	seen = VP_READ_ONCE(total->paid_at_ns[class]);
	from = vp_owed_from(seen, now_ns);
	if (__sync_val_compare_and_swap(&total->paid_at_ns[class], seen,
					from + budget->total_interval_ns) != seen)
		return vp_decide(packet, VP_DROP_TOTAL_BUDGET);
	return vp_decide(packet, reason);
}

/* Decide whether to punt. Shared by both families to limit code size. */
VP_INLINE enum vp_fate vp_admit(struct vp_packet *packet, const struct vp_ufrag *ufrag,
				enum vp_fate asks)
{
	struct vp_config *cfg = vp_get_config();

	if (!cfg)
		return vp_decide(packet, VP_DROP_INTERNAL);
	if (asks == VP_ASKS_MEDIA)
		return vp_punt(cfg, packet, VP_PUNT_CLASS_MEDIA, VP_PUNT_MEDIA);
	if (vp_check_token(cfg, packet, ufrag) == VP_DECIDED)
		return VP_DECIDED;
	return vp_punt(cfg, packet, VP_PUNT_CLASS_STUN,
		       asks == VP_ASKS_UFRAG ? VP_PUNT_UFRAG : VP_PUNT_TOKEN);
}

#endif
