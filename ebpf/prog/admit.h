/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Part of relay_xdp.c: fourth, of what only the relay can answer, whether it goes up to it: tokens
 * and budgets. And in an emergency, whether the kernel has anybody to give a packet to.
 */
#ifndef VOXPOP_ADMIT_H
#define VOXPOP_ADMIT_H

#include "token.h"
#include "locate.h"

/*
 * Every one is checked, whoever sends it and however many were wrong before: sources can be
 * invented. An expired token is good for a flow that there is: a call outlives its token, and whose
 * ufrag the flow has may have been changed by a check of somebody else's. The relay has a closer
 * look.
 */
VP_INLINE enum vp_fate vp_check_token(const struct vp_config *cfg, struct vp_packet *packet,
				      const struct vp_ufrag *ufrag, _Bool is_stranger, __u64 *tag)
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
	if (is_stranger && vp_is_expired(token.expiry_min, now_min))
		return vp_decide(packet, VP_DROP_TOKEN_EXPIRED);
	*tag = token.tag;
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

/* The cell of a token that owes less; tags are as good as random, to who has no key. */
VP_INLINE struct vp_token_debt *vp_token_debt_of(__u64 tag)
{
	__u32 index[2] = {tag % VP_PUNT_TOKENS, (tag >> 32) % VP_PUNT_TOKENS};
	struct vp_token_debt *one = punt_tokens.lookup(&index[0]);
	struct vp_token_debt *other = punt_tokens.lookup(&index[1]);

	if (!one || !other)
		return 0;
	return one->paid_at_ns <= other->paid_at_ns ? one : other;
}

/*
 * Who is charged for a punt, in this order. A source can be invented and a check be overheard, but
 * nobody has more tokens than were given to them: so a token comes first, and neither its source
 * nor the others pay for what it may not have. Debts are written without a lock: two CPUs may let
 * one packet more through. The total's is exchanged atomically, and who loses that race is refused.
 */
struct vp_charge {
	const struct vp_budget *budget;
	__u64 now_ns;
	__u64 token_from; /* since when the token owes, where there is one */
	__u64 source_from;
	struct vp_token_debt *token;
	struct vp_debt *source;
	struct vp_debt *total;
};

/* Of the total, a quarter of what may be owed is for those who owe next to nothing themselves. */
#define VP_RESERVE_SHIFT 2

VP_INLINE __u64 vp_total_limit(const struct vp_charge *charge)
{
	__u64 burst = charge->budget->total_burst_ns;
	_Bool is_new = charge->token_from == charge->now_ns &&
		       charge->source_from - charge->now_ns <= charge->budget->source_burst_ns / 2;

	return charge->now_ns + burst - (is_new ? 0 : burst >> VP_RESERVE_SHIFT);
}

/* The look at the total comes before that at the source, so that a flood from invented sources
 * costs no entry each. */
VP_INLINE enum vp_fate vp_find_charge(const struct vp_config *cfg, struct vp_packet *packet,
				      enum vp_punt_class class, __u64 tag, struct vp_charge *charge)
{
	__u32 zero = 0;

	charge->total = punt_total.lookup(&zero);
	if (!charge->total)
		return vp_decide(packet, VP_DROP_INTERNAL);
	charge->token_from = charge->now_ns;
	if (class == VP_PUNT_CLASS_STUN && cfg->token_interval_ns) {
		charge->token = vp_token_debt_of(tag);
		if (!charge->token)
			return vp_decide(packet, VP_DROP_INTERNAL);
		charge->token_from = vp_owed_from(charge->token->paid_at_ns, charge->now_ns);
		if (charge->token_from > charge->now_ns + cfg->token_burst_ns)
			return vp_decide(packet, VP_DROP_TOKEN_BUDGET);
	}
	if (charge->total->paid_at_ns[class] > charge->now_ns + charge->budget->total_burst_ns)
		return vp_decide(packet, VP_DROP_TOTAL_BUDGET);
	charge->source = vp_debt_of(packet);
	if (!charge->source)
		return vp_decide(packet, VP_DROP_SOURCE_BUDGET);
	charge->source_from = vp_owed_from(charge->source->paid_at_ns[class], charge->now_ns);
	if (charge->source_from > charge->now_ns + charge->budget->source_burst_ns)
		return vp_decide(packet, VP_DROP_SOURCE_BUDGET);
	return VP_GO_ON;
}

/* Pass the packet up if its token, its source and all sources together have a punt left. */
VP_INLINE enum vp_fate vp_punt(const struct vp_config *cfg, struct vp_packet *packet,
			       enum vp_punt_class class, __u64 tag, enum vp_reason reason)
{
	struct vp_charge charge = {.budget = &cfg->budget[class],
				   .now_ns = bpf_ktime_get_coarse_ns()};
	__u64 seen;

	if (vp_find_charge(cfg, packet, class, tag, &charge) == VP_DECIDED)
		return VP_DECIDED;
	seen = VP_READ_ONCE(charge.total->paid_at_ns[class]);
	if (seen > vp_total_limit(&charge))
		return vp_decide(packet, VP_DROP_TOTAL_BUDGET);
	if (__sync_val_compare_and_swap(&charge.total->paid_at_ns[class], seen,
					vp_owed_from(seen, charge.now_ns) +
						charge.budget->total_interval_ns) != seen)
		return vp_decide(packet, VP_DROP_TOTAL_BUDGET);
	charge.source->paid_at_ns[class] = charge.source_from + charge.budget->source_interval_ns;
	if (charge.token)
		charge.token->paid_at_ns = charge.token_from + cfg->token_interval_ns;
	return vp_decide(packet, reason);
}

/*
 * In an emergency: whether the kernel has a socket for a packet that is not ours. Without one it
 * would drop it too, or answer it, for ten times the cost.
 */
VP_INLINE enum vp_fate vp_ask_socket(struct xdp_md *ctx, struct vp_packet *packet)
{
	struct bpf_sock_tuple tuple = {};
	__u32 bytes = sizeof(tuple.ipv4);
	struct bpf_sock *found;

	if (packet->family == VP_FAMILY_IPV4) {
		struct vp_ipv4 *ip = packet->l2.l3;

		tuple.ipv4.saddr = ip->src;
		tuple.ipv4.daddr = ip->dst;
		tuple.ipv4.sport = packet->udp->src;
		tuple.ipv4.dport = packet->udp->dst;
	} else {
		struct vp_ipv6 *ip = packet->l2.l3;

		bytes = sizeof(tuple.ipv6);
		__builtin_memcpy(tuple.ipv6.saddr, ip->src, sizeof(ip->src));
		__builtin_memcpy(tuple.ipv6.daddr, ip->dst, sizeof(ip->dst));
		tuple.ipv6.sport = packet->udp->src;
		tuple.ipv6.dport = packet->udp->dst;
	}
	found = bpf_sk_lookup_udp(ctx, &tuple, bytes, BPF_F_CURRENT_NETNS, 0);
	if (!found)
		return vp_decide(packet, VP_DROP_EMERGENCY_PORT);
	bpf_sk_release(found);
	return vp_decide(packet, VP_PASS_NOT_OURS);
}

/* Decide what the families have left open. Shared by both to limit code size. */
VP_INLINE enum vp_fate vp_admit(struct xdp_md *ctx, struct vp_packet *packet,
				const struct vp_ufrag *ufrag, enum vp_fate asks)
{
	struct vp_config *cfg = vp_get_config();
	__u64 tag;

	if (!cfg)
		return vp_decide(packet, VP_DROP_INTERNAL);
	if (asks == VP_ASKS_SOCKET)
		return vp_ask_socket(ctx, packet);
	if (asks == VP_ASKS_MEDIA) {
		if (cfg->emergency)
			return vp_decide(packet, VP_DROP_EMERGENCY_MEDIA);
		return vp_punt(cfg, packet, VP_PUNT_CLASS_MEDIA, 0, VP_PUNT_MEDIA);
	}
	if (asks == VP_ASKS_COPY)
		return vp_punt(cfg, packet, VP_PUNT_CLASS_CONTESTED, 0, VP_PUNT_CONTESTED);
	if (vp_check_token(cfg, packet, ufrag, asks == VP_ASKS_TOKEN, &tag) == VP_DECIDED)
		return VP_DECIDED;
	return vp_punt(cfg, packet, VP_PUNT_CLASS_STUN, tag,
		       asks == VP_ASKS_UFRAG ? VP_PUNT_UFRAG : VP_PUNT_TOKEN);
}

#endif
