// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The fast path: full NAT of established flows, and the judgement of everything else that strangers
 * send to a VIP. docs/fastpath.md has the verdict table.
 *
 * All state is here, and only here: BCC translates map access in the main file alone. The headers
 * are pure functions. Maps are made and pinned by userspace (ebpf/pins.py), which gives them their
 * sizes and flags; what is declared here is how the program names and types them.
 */
#include "wire.h"
#include "layout.h"
#include "parse.h"
#include "index.h"
#include "token.h"
#include "rewrite.h"
#include "verdict.h"

#define VP_MAP(kind, key, value, name) \
	BPF_TABLE_PINNED(kind, key, value, name, 1, VOXPOP_PIN_DIR "/" #name)

/*
 * Map: key → value; who writes; who reads.
 *
 * - config: 0 → all that the relay tells the program; the relay; every packet.
 * - groups4, groups6: sixteen slots → tags of their clients; the relay, by voxpop_index; each
 * packet upstream.
 * - index4, index6: client → slot, for those who are not in their group; the same; new clients.
 * - upstream4 …6, downstream4 …6: slot, which is backbone index * 65536 + NAT port → that direction
 *   of its flow; the relay, what is counted and seen by the program; each packet of a flow.
 * - flow_aux4, flow_aux6: slot → what is seldom needed of its flow; the relay, what is counted by
 * the program; binding requests, and each 255th packet upstream.
 * - transceivers4 …6: number → address, port and next hop; the relay; each packet upstream.
 * - egresses: index → interface; the relay; each rewritten packet.
 * - counters: family * VP_REASONS + reason → packets and bytes, per CPU; the program; metrics.
 * - punt_total: 0 → debt of all sources; the program.
 * - punt_sources: source → its debt; the program. An LRU, as forgetting a source only lets it start
 *   afresh, and the total still holds.
 */
/* Named by one word: BCC generates code for each field of a value, and takes half a minute for
 * these. */
VP_MAP("array", __u32, __u64, config);
VP_MAP("array", __u32, struct vp_group, groups4);
VP_MAP("array", __u32, struct vp_group, groups6);
VP_MAP("array", __u32, struct vp_bucket, index4);
VP_MAP("array", __u32, struct vp_bucket, index6);
VP_MAP("array", __u32, struct vp_up4, upstream4);
VP_MAP("array", __u32, struct vp_up6, upstream6);
VP_MAP("array", __u32, struct vp_down4, downstream4);
VP_MAP("array", __u32, struct vp_down6, downstream6);
VP_MAP("array", __u32, struct vp_flow_aux, flow_aux4);
VP_MAP("array", __u32, struct vp_flow_aux, flow_aux6);
VP_MAP("array", __u32, struct vp_transceiver4, transceivers4);
VP_MAP("array", __u32, struct vp_transceiver6, transceivers6);
BPF_XDP_REDIRECT_MAP("devmap:" VOXPOP_PIN_DIR "/egresses", __u32, egresses, 1);
VP_MAP("percpu_array", __u32, struct vp_counter, counters);
VP_MAP("array", __u32, struct vp_debt, punt_total);
VP_MAP("lru_hash", struct vp_source, struct vp_debt, punt_sources);

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

/* Not reasons: the packet's fate is still open. */
#define VP_GO_ON      VP_REASONS
#define VP_ASKS_TOKEN (VP_REASONS + 1) /* a binding request of a stranger */
#define VP_ASKS_UFRAG (VP_REASONS + 2) /* one for another ufrag than its flow's */
#define VP_ASKS_MEDIA (VP_REASONS + 3) /* a stranger's DTLS, SRTP, SRTCP */

struct vp_packet {
	struct vp_l2 l2;
	void *end;
	struct vp_udp *udp;
	struct vp_local *local;
	long vip; /* id; -1: none, so for a NAT port */
	enum vp_family family;
	__u32 bytes; /* of the network layer, as it says; 0 before that is read */
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

/* What the relay has told; never NULL, which only the verifier cannot know. */
VP_INLINE struct vp_config *vp_get_config(void)
{
	__u32 zero = 0;

	return (void *)config.lookup(&zero);
}

/* The cell that says what we are at an address, if anything; `folded` stands for its bits. */
VP_INLINE struct vp_local *vp_local_at(struct vp_config *cfg, __u64 folded)
{
	__u64 hash = VP_READ_ONCE(cfg->local_hash);
	__u64 cell = folded * (hash | 1) >> (64 - VP_LOCAL_CELLS_LOG2);
	__u64 half = (hash & 1) * VP_LOCAL_CELLS;
	struct vp_local *local;

	VP_OPAQUE(half);
	local = &cfg->local[half + cell];
	VP_OPAQUE(local);
	return local;
}

/* The id of the VIP at a port of a local address; -1: none. */
VP_INLINE long vp_vip_at(const struct vp_local *local, __u16 port)
{
#pragma unroll
	for (int i = 0; i < VP_LOCAL_VIPS; i++) {
		if (i >= local->vips)
			break;
		if (local->vip_port[i] == port)
			return local->vip_id[i];
	}
	return -1;
}

VP_INLINE _Bool vp_in_nat_range(const struct vp_local *local, __u16 port)
{
	__u16 number = VP_BSWAP16(port);

	return number >= local->nat_first && number <= local->nat_last;
}

VP_INLINE _Bool vp_is_ours(const struct vp_local *local, __u16 port)
{
	return vp_vip_at(local, port) >= 0 || vp_in_nat_range(local, port);
}

/*
 * A UDP packet that hides its ports, or that takes more than a look to parse. No WebRTC client
 * sends such a thing, so nothing of it is forwarded or punted. A later fragment might be for a VIP
 * of its address, and is dropped if there is one.
 */
VP_INLINE enum vp_reason vp_judge_odd4(struct vp_packet *packet, struct vp_ipv4 *ip)
{
	struct vp_udp *udp;

	if (ip->fragment & VP_IPV4_OFFSET)
		return packet->local->vips ? VP_DROP_FRAGMENT : VP_PASS_NOT_OURS;
	udp = vp_udp_behind_options(ip, packet->end);
	if (!udp)
		return packet->local->vips ? VP_DROP_MALFORMED : VP_PASS_NOT_OURS;
	if (!vp_is_ours(packet->local, udp->dst))
		return VP_PASS_NOT_OURS;
	return ip->fragment & VP_IPV4_FRAGMENT ? VP_DROP_FRAGMENT : VP_DROP_OPTIONS;
}

VP_INLINE enum vp_reason vp_judge_odd6(struct vp_packet *packet, struct vp_ipv6 *ip)
{
	struct vp_extensions found = vp_walk_extensions(ip, packet->end);

	if (!found.udp) {
		if (!found.fragment)
			return VP_PASS_NOT_UDP;
		return packet->local->vips ? VP_DROP_FRAGMENT : VP_PASS_NOT_OURS;
	}
	if (!vp_is_ours(packet->local, found.udp->dst))
		return VP_PASS_NOT_OURS;
	return found.fragment ? VP_DROP_FRAGMENT : VP_DROP_OPTIONS;
}

VP_INLINE enum vp_reason vp_locate4(struct vp_config *cfg, struct vp_packet *packet)
{
	struct vp_ipv4 *ip = packet->l2.l3;

	if (ip->protocol != VP_PROTO_UDP)
		return VP_PASS_NOT_UDP;
	packet->local = vp_local_at(cfg, ip->dst);
	if (packet->local->family != 4 || packet->local->addr[0] != ip->dst)
		return VP_PASS_NOT_OURS;
	if (VP_UNLIKELY(ip->version_ihl != VP_IPV4_PLAIN || ip->fragment & VP_IPV4_FRAGMENT))
		return vp_judge_odd4(packet, ip);
	packet->udp = (void *)(ip + 1);
	packet->bytes = VP_BSWAP16(ip->total_len);
	if ((void *)(packet->udp + 1) > packet->end)
		return VP_DROP_MALFORMED;
	return VP_GO_ON;
}

VP_INLINE enum vp_reason vp_locate6(struct vp_config *cfg, struct vp_packet *packet)
{
	struct vp_ipv6 *ip = packet->l2.l3;

	packet->local = vp_local_at(cfg, vp_fold6(ip->dst));
	if (packet->local->family != 6 || !vp_same6(packet->local->addr, ip->dst))
		return ip->next == VP_PROTO_UDP ? VP_PASS_NOT_OURS : VP_PASS_NOT_UDP;
	if (VP_UNLIKELY(ip->next != VP_PROTO_UDP))
		return vp_judge_odd6(packet, ip);
	packet->udp = (void *)(ip + 1);
	packet->bytes = VP_BSWAP16(ip->payload_len) + sizeof(*ip);
	if ((void *)(packet->udp + 1) > packet->end)
		return VP_DROP_MALFORMED;
	return VP_GO_ON;
}

VP_INLINE struct vp_bucket *vp_bucket_at(_Bool six, __u32 number)
{
	return six ? index6.lookup(&number) : index4.lookup(&number);
}

VP_INLINE struct vp_group *vp_group_at(_Bool six, __u32 number)
{
	return six ? groups6.lookup(&number) : groups4.lookup(&number);
}

/* Of records and transceivers, the part that both families have is found; addresses follow it. */
#define VP_ADDRESSES(common) ((__u32 *)((common) + 1))

VP_INLINE struct vp_up *vp_up_at(_Bool six, __u32 slot)
{
	return six ? (void *)upstream6.lookup(&slot) : (void *)upstream4.lookup(&slot);
}

VP_INLINE struct vp_down *vp_down_at(_Bool six, __u32 slot)
{
	return six ? (void *)downstream6.lookup(&slot) : (void *)downstream4.lookup(&slot);
}

VP_INLINE struct vp_flow_aux *vp_aux_at(_Bool six, __u32 slot)
{
	return six ? flow_aux6.lookup(&slot) : flow_aux4.lookup(&slot);
}

VP_INLINE const struct vp_transceiver *vp_transceiver_at(_Bool six, __u32 number)
{
	return six ? (void *)transceivers6.lookup(&number) : (void *)transceivers4.lookup(&number);
}

VP_INLINE _Bool vp_same(_Bool six, const __u32 *a, const __u32 *b)
{
	return six ? vp_same6(a, b) : *a == *b;
}

VP_INLINE _Bool vp_is_of(_Bool six, const struct vp_up *record, const struct vp_client *client)
{
	const __u32 *whose = (void *)&record->client_port;

	return vp_same(six, VP_ADDRESSES(record), client->addr) &&
	       VP_READ_ONCE(*whose) ==
		       (client->port | client->vip << 16 | (__u64)VP_SLOT_LIVE << 24);
}

VP_INLINE __u64 vp_hash_of(_Bool six, const struct vp_config *cfg, const struct vp_client *client)
{
	__u64 bits = six ? vp_client6_bits(client->addr, client->port)
			 : vp_client4_bits(*client->addr, client->port);

	return vp_hash_client(bits, cfg->index_seed);
}

VP_INLINE void vp_group_of(_Bool six, const struct vp_config *cfg, __u64 hash, _Bool second,
			   struct vp_group_place *place)
{
	vp_find_group(place, hash, second, cfg->index_groups[six], cfg->index_backbones[six]);
}

VP_INLINE _Bool vp_take_if_of(_Bool six, __u32 slot, const struct vp_client *client,
			      struct vp_flow *flow)
{
	struct vp_up *record = vp_up_at(six, slot);

	if (!record || !vp_is_of(six, record, client))
		return 0;
	flow->slot = slot;
	flow->record = record;
	return 1;
}

VP_INLINE _Bool vp_find_in_group(_Bool six, const struct vp_config *cfg, __u64 hash, _Bool second,
				 const struct vp_client *client, struct vp_flow *flow)
{
	struct vp_group_place place;
	struct vp_group *group;
	__u64 matches;

	vp_group_of(six, cfg, hash, second, &place);
	group = vp_group_at(six, place.group);
	if (!group)
		return 0;
	matches = vp_match_tags(group, vp_tag_of(hash));
	VP_NO_UNROLL
	for (int i = 0; i < VP_GROUP_SLOTS; i++) {
		__u64 bit = matches & -matches;

		if (!matches)
			return 0;
		if (vp_take_if_of(six, place.slot + vp_group_position(bit), client, flow))
			return 1;
		matches ^= bit;
	}
	return 0;
}

VP_INLINE void vp_find_in_buckets(_Bool six, const struct vp_config *cfg, __u64 hash,
				  const struct vp_client *client, struct vp_flow *flow)
{
	struct vp_bucket_place place;
	__u32 tag = vp_tag_of(hash);

	vp_find_buckets(&place, hash, cfg->index_buckets[six]);
#pragma unroll
	for (int choice = 0; choice < 2; choice++) {
		struct vp_bucket *bucket = vp_bucket_at(six, place.bucket[choice]);

		if (!bucket)
			return;
		VP_NO_UNROLL
		for (int i = 0; i < VP_BUCKET_ENTRIES; i++) {
			__u32 entry =
				VP_READ_ONCE(bucket->entry[(place.first + i) % VP_BUCKET_ENTRIES]);

			if (entry >> VP_SLOT_BITS == tag &&
			    vp_take_if_of(six, entry & VP_SLOT_MASK, client, flow))
				return;
		}
	}
}

/*
 * The slot of a client at a VIP. A tag is only a hint, eight bits of a hash, and may become another
 * client's at any time: the slot itself says whose it is.
 */
VP_INLINE void vp_find_client(_Bool six, const struct vp_config *cfg,
			      const struct vp_client *client, struct vp_flow *flow)
{
	__u64 hash = vp_hash_of(six, cfg, client);

	if (VP_LIKELY(vp_find_in_group(six, cfg, hash, 0, client, flow)) ||
	    vp_find_in_group(six, cfg, hash, 1, client, flow))
		return;
	vp_find_in_buckets(six, cfg, hash, client, flow);
}

VP_INLINE void vp_find_upstream(struct vp_config *cfg, struct vp_packet *packet,
				struct vp_flow *flow)
{
	struct vp_client client = {.port = packet->udp->src, .vip = packet->vip};

	if (packet->family == VP_FAMILY_IPV4) {
		client.addr = &((struct vp_ipv4 *)packet->l2.l3)->src;
		vp_find_client(0, cfg, &client, flow);
	} else {
		client.addr = ((struct vp_ipv6 *)packet->l2.l3)->src;
		vp_find_client(1, cfg, &client, flow);
	}
}

/* The flow of a NAT port, if the packet is from the transceiver that it leads to. */
VP_INLINE enum vp_reason vp_find_downstream(struct vp_packet *packet, struct vp_down **found)
{
	_Bool six = packet->family == VP_FAMILY_IPV6;
	const __u32 *src = six ? ((struct vp_ipv6 *)packet->l2.l3)->src
			       : &((struct vp_ipv4 *)packet->l2.l3)->src;
	struct vp_down *record =
		vp_down_at(six, packet->local->slot_base + VP_BSWAP16(packet->udp->dst));

	if (!record || record->state != VP_SLOT_LIVE)
		return VP_DROP_NO_FLOW;
	if (!vp_same(six, VP_ADDRESSES(record) + (six ? 4 : 1), src) ||
	    record->transceiver_port != packet->udp->src)
		return VP_DROP_WRONG_PEER;
	*found = record;
	return VP_GO_ON;
}

VP_INLINE enum vp_reason vp_check_token(const struct vp_config *cfg, const struct vp_ufrag *ufrag)
{
	__u32 now_min = cfg->clock_min;
	const struct vp_token_key *key;
	struct vp_token token;

	if (!vp_decode_token(ufrag, &token))
		return VP_DROP_TOKEN_ALPHABET;
	if (token.version != VP_TOKEN_VERSION)
		return VP_DROP_TOKEN_VERSION;
	key = &cfg->token_key[token.key_id % VP_TOKEN_KEYS];
	if (!key->set)
		return VP_DROP_TOKEN_KEY;
	if (vp_siphash13(key, token.signed8, token.signed5) != token.tag)
		return VP_DROP_TOKEN_TAG;
	if (!(now_min & VP_CLOCK_SET))
		return VP_DROP_NO_CLOCK;
	if (vp_is_expired(token.expiry_min, now_min))
		return VP_DROP_TOKEN_EXPIRED;
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
VP_INLINE enum vp_reason vp_punt(struct vp_config *cfg, struct vp_packet *packet,
				 enum vp_punt_class class, enum vp_reason reason)
{
	const struct vp_budget *budget = &cfg->budget[class];
	__u64 now_ns = bpf_ktime_get_coarse_ns();
	struct vp_debt *total, *source;
	__u64 seen, from;
	__u32 zero = 0;

	total = punt_total.lookup(&zero);
	if (!total || total->paid_at_ns[class] > now_ns + budget->total_burst_ns)
		return VP_DROP_TOTAL_BUDGET;
	source = vp_debt_of(packet);
	if (!source)
		return VP_DROP_SOURCE_BUDGET;
	from = vp_owed_from(source->paid_at_ns[class], now_ns);
	if (from > now_ns + budget->source_burst_ns)
		return VP_DROP_SOURCE_BUDGET;
	source->paid_at_ns[class] = from + budget->source_interval_ns;
	seen = VP_READ_ONCE(total->paid_at_ns[class]);
	from = vp_owed_from(seen, now_ns);
	if (__sync_val_compare_and_swap(&total->paid_at_ns[class], seen,
					from + budget->total_interval_ns) != seen)
		return VP_DROP_TOTAL_BUDGET;
	return reason;
}

VP_INLINE _Bool vp_goes_by(const struct vp_packet *packet, __u32 slot, const struct vp_ufrag *ufrag)
{
	struct vp_flow_aux *aux = vp_aux_at(packet->family == VP_FAMILY_IPV6, slot);

	return aux && VP_READ_ONCE(aux->ufrag) == vp_ufrag_mark(ufrag);
}

VP_INLINE enum vp_reason vp_judge_request(struct vp_packet *packet, struct vp_flow *flow,
					  struct vp_ufrag *ufrag)
{
	switch (vp_find_ufrag(packet->udp, packet->end, ufrag)) {
	case VP_UFRAG_FOUND:
		break;
	case VP_UFRAG_NO_USERNAME:
		return VP_DROP_NO_USERNAME;
	case VP_UFRAG_BAD_LENGTH:
		return VP_DROP_TOKEN_LENGTH;
	default:
		return VP_DROP_STUN_MALFORMED;
	}
	if (!flow->record)
		return VP_ASKS_TOKEN;
	return vp_goes_by(packet, flow->slot, ufrag) ? VP_FORWARD_UP : VP_ASKS_UFRAG;
}

VP_INLINE enum vp_reason vp_judge_upstream(struct vp_packet *packet, struct vp_flow *flow,
					   struct vp_ufrag *ufrag)
{
	__u8 *payload = (void *)(packet->udp + 1);
	enum vp_kind kind = VP_KIND_OTHER;

	if (VP_UNLIKELY(vp_is_binding_request(packet->udp, packet->end)))
		return vp_judge_request(packet, flow, ufrag);
	if (VP_LIKELY(flow->record))
		return VP_FORWARD_UP;
	if (packet->udp->len != VP_BSWAP16(sizeof(*packet->udp)) &&
	    (void *)(payload + 1) <= packet->end)
		kind = vp_kind_of(*payload);
	if (kind == VP_KIND_DTLS || kind == VP_KIND_MEDIA)
		return VP_ASKS_MEDIA;
	return VP_DROP_NOT_WEBRTC;
}

/* Rewrite to `src` and `dst`; both point to an address of the packet's family. */
VP_INLINE enum vp_reason vp_rewrite(struct vp_packet *packet, const __u32 *src, const __u32 *dst,
				    const struct vp_rewrite *to)
{
	__u64 addresses;

	if (packet->family == VP_FAMILY_IPV4) {
		struct vp_ipv4 *ip = packet->l2.l3;

		if (ip->ttl <= 1)
			return VP_DROP_TTL;
		addresses = vp_rewrite4(ip, *src, *dst, to);
	} else {
		struct vp_ipv6 *ip = packet->l2.l3;

		if (ip->hop_limit <= 1)
			return VP_DROP_TTL;
		addresses = vp_rewrite6(ip, src, dst, to);
	}
	vp_rewrite_udp(packet->udp, addresses, to);
	return VP_GO_ON;
}

/* Give the frame the L2 header of its way out, making or taking room where the tags differ. */
VP_INLINE enum vp_reason vp_address_frame(struct xdp_md *ctx, const struct vp_l2 *l2,
					  const struct vp_adjacency *adjacency)
{
	if (VP_LIKELY(!(l2->tags | adjacency->tag_count))) {
		vp_write_macs(l2->eth, adjacency);
		return VP_GO_ON;
	}
	if (l2->tags != adjacency->tag_count) {
		int room = (int)(l2->tags - adjacency->tag_count) * (int)sizeof(struct vp_tag);

		if (bpf_xdp_adjust_head(ctx, room))
			return VP_DROP_NO_HEADROOM;
	}
	if (!vp_write_l2((void *)(long)ctx->data, (void *)(long)ctx->data_end, adjacency, l2->type))
		return VP_DROP_MALFORMED;
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
 * Nearly all flows leave by the same next hop, so that is taken before the flow's record is looked
 * at. A CPU runs ahead of a read that it waits for, but only by so many instructions: what does not
 * depend on the record had better not come after it.
 */
VP_INLINE void vp_prefetch_default_egress(struct vp_config *cfg, const struct vp_packet *packet,
					  int direction, struct vp_egress *egress)
{
	vp_choose_egress(cfg, cfg->default_nexthop[packet->family == VP_FAMILY_IPV6][direction],
			 egress);
}

/* Rewrite to `src` and `dst` and address to the next hop, by an exit that is the right one mostly.
 */
VP_INLINE enum vp_reason vp_send(struct xdp_md *ctx, struct vp_config *cfg,
				 struct vp_packet *packet, struct vp_egress *egress, __u64 nexthop,
				 const __u32 *src, const __u32 *dst, const struct vp_rewrite *to)
{
	enum vp_reason refusal;

	if (VP_UNLIKELY(nexthop != egress->nexthop))
		vp_choose_egress(cfg, nexthop, egress);
	if (VP_UNLIKELY(packet->bytes > egress->adjacency->mtu))
		return egress->adjacency->usable ? VP_DROP_TOO_BIG : VP_DROP_NO_NEXTHOP;
	if (VP_UNLIKELY(egress->action != XDP_REDIRECT))
		return VP_DROP_NO_EGRESS;
	refusal = vp_rewrite(packet, src, dst, to);
	if (refusal != VP_GO_ON)
		return refusal;
	return vp_address_frame(ctx, &packet->l2, egress->adjacency);
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

VP_INLINE enum vp_reason vp_forward_up(struct xdp_md *ctx, struct vp_config *cfg,
				       struct vp_packet *packet, const struct vp_flow *flow,
				       struct vp_egress *egress)
{
	_Bool six = packet->family == VP_FAMILY_IPV6;
	const struct vp_transceiver *transceiver =
		vp_transceiver_at(six, flow->record->transceiver);
	__u32 id = (flow->slot >> 16) % VP_BACKBONES;
	const struct vp_backbone *ours = six ? &cfg->backbone6[id] : &cfg->backbone4[id];
	struct vp_rewrite to = {
		.src_port = VP_BSWAP16(flow->slot),
		.tos_set = cfg->tos_set[VP_UPSTREAM],
		.tos_mask = cfg->tos_mask[VP_UPSTREAM],
	};
	enum vp_reason refusal;

	if (!transceiver)
		return VP_DROP_NO_NEXTHOP; /* never: there are as many as there are numbers */
	to.dst_port = transceiver->port;
	refusal = vp_send(ctx, cfg, packet, egress, transceiver->nexthop, ours->addr,
			  VP_ADDRESSES(transceiver), &to);
	if (refusal != VP_GO_ON)
		return refusal;
	flow->record->seen = vp_now();
	vp_count_up(six, flow, packet->bytes);
	return VP_FORWARD_UP;
}

VP_INLINE enum vp_reason vp_forward_down(struct xdp_md *ctx, struct vp_config *cfg,
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
	enum vp_reason refusal = vp_send(ctx, cfg, packet, egress, record->nexthop, vip->addr,
					 VP_ADDRESSES(record), &to);

	if (refusal != VP_GO_ON)
		return refusal;
	record->packets++;
	record->bytes += packet->bytes;
	record->seen = vp_now();
	return VP_FORWARD_DOWN;
}

/* Find the UDP header of a packet that is for a VIP or our NAT range, whole and plain; or say why
 * not. */
VP_INLINE enum vp_reason vp_locate(struct vp_config *cfg, struct vp_packet *packet)
{
	enum vp_reason reason = packet->family == VP_FAMILY_IPV4 ? vp_locate4(cfg, packet)
								 : vp_locate6(cfg, packet);

	if (reason != VP_GO_ON)
		return reason;
	packet->vip = vp_vip_at(packet->local, packet->udp->dst);
	if (packet->vip < 0 && !vp_in_nat_range(packet->local, packet->udp->dst))
		return VP_PASS_NOT_OURS;
	if (!vp_lengths_agree(packet->l2.l3, packet->end, packet->udp, packet->bytes))
		return VP_DROP_MALFORMED;
	if (packet->family == VP_FAMILY_IPV6 && !packet->udp->check)
		return VP_DROP_NO_CHECKSUM; /* RFC 8200 §8.1 */
	return VP_GO_ON;
}

/*
 * `backbone` says whether the interface leads to transceivers: a packet that claims to be from one
 * is believed only there.
 */
VP_INLINE enum vp_reason vp_steer(struct xdp_md *ctx, struct vp_packet *packet,
				  struct vp_ufrag *ufrag, _Bool backbone)
{
	struct vp_config *cfg = vp_get_config();
	struct vp_flow flow = {};
	struct vp_down *down;
	struct vp_egress egress;
	enum vp_reason reason;

	if (!cfg)
		return VP_PASS_NOT_IP;
	reason = vp_locate(cfg, packet);
	if (reason != VP_GO_ON)
		return reason;
	if (packet->vip < 0) {
		if (!backbone)
			return VP_DROP_WRONG_SIDE;
		vp_prefetch_default_egress(cfg, packet, VP_DOWNSTREAM, &egress);
		reason = vp_find_downstream(packet, &down);
		if (reason != VP_GO_ON)
			return reason;
		return vp_forward_down(ctx, cfg, packet, down, &egress);
	}
	vp_prefetch_default_egress(cfg, packet, VP_UPSTREAM, &egress);
	vp_find_upstream(cfg, packet, &flow);
	reason = vp_judge_upstream(packet, &flow, ufrag);
	if (reason != VP_FORWARD_UP)
		return reason;
	return vp_forward_up(ctx, cfg, packet, &flow, &egress);
}

/* Whether what only the relay can answer goes up to it. One for both families, as it is much code.
 */
VP_INLINE enum vp_reason vp_admit(struct vp_packet *packet, const struct vp_ufrag *ufrag,
				  enum vp_reason asks)
{
	struct vp_config *cfg = vp_get_config();
	enum vp_reason refusal;

	if (!cfg)
		return VP_PASS_NOT_IP;
	if (asks == VP_ASKS_MEDIA)
		return vp_punt(cfg, packet, VP_PUNT_CLASS_MEDIA, VP_PUNT_MEDIA);
	refusal = vp_check_token(cfg, ufrag);
	if (refusal != VP_GO_ON)
		return refusal;
	return vp_punt(cfg, packet, VP_PUNT_CLASS_STUN,
		       asks == VP_ASKS_UFRAG ? VP_PUNT_UFRAG : VP_PUNT_TOKEN);
}

VP_INLINE void vp_count(const struct vp_packet *packet, enum vp_reason reason)
{
	__u32 index = packet->family * VP_REASONS + reason;
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

VP_INLINE int vp_finish(const struct vp_packet *packet, enum vp_reason reason)
{
	vp_count(packet, reason);
	return vp_action(reason);
}

/* The families part here, so that the compiler makes a program for each, and meet again for
 * strangers. */
VP_INLINE int vp_process(struct xdp_md *ctx, _Bool backbone)
{
	struct vp_packet packet = {.end = (void *)(long)ctx->data_end};
	enum vp_reason reason = VP_PASS_NOT_IP;
	struct vp_ufrag ufrag;

	if (!vp_parse_l2((void *)(long)ctx->data, packet.end, &packet.l2))
		return vp_finish(&packet, reason);
	if (packet.l2.type == VP_ETH_IPV4 && packet.l2.l3 + sizeof(struct vp_ipv4) <= packet.end) {
		packet.family = VP_FAMILY_IPV4;
		reason = vp_steer(ctx, &packet, &ufrag, backbone);
		if (VP_LIKELY(reason < VP_REASONS))
			return vp_finish(&packet, reason);
	}
	if (packet.l2.type == VP_ETH_IPV6 && packet.l2.l3 + sizeof(struct vp_ipv6) <= packet.end) {
		packet.family = VP_FAMILY_IPV6;
		reason = vp_steer(ctx, &packet, &ufrag, backbone);
	}
	if (reason >= VP_REASONS)
		reason = vp_admit(&packet, &ufrag, reason);
	return vp_finish(&packet, reason);
}

/* Not for an interface: run by whoever wants to compare `seen` with the present. Unshifted. */
int voxpop_clock(struct xdp_md *ctx)
{
	return bpf_jiffies64();
}

/*
 * Exchange an entry; false where it is no longer `old`. BCC compiles for CPUs that exchange 64 bits
 * alone, so the neighbour goes along, and if that changes meanwhile it takes another try.
 */
VP_INLINE _Bool vp_exchange(struct vp_bucket *bucket, __u32 i, __u32 old, __u32 new)
{
	__u64 *pair = (__u64 *)bucket + i % VP_BUCKET_ENTRIES / 2;
	__u32 shift = i % 2 * 32;

	VP_NO_UNROLL
	for (int tries = 0; tries < VP_EXCHANGE_TRIES; tries++) {
		__u64 seen = VP_READ_ONCE(*pair);
		__u64 wanted = (seen & ~(0xffffffffULL << shift)) | (__u64) new << shift;

		if ((__u32)(seen >> shift) != old)
			return 0;
		if (__sync_val_compare_and_swap(pair, seen, wanted) == seen)
			return 1;
	}
	return 0;
}

/* Exchange the first entry that is `old`, from `first` on. */
VP_INLINE _Bool vp_put(_Bool six, __u32 number, __u32 first, __u32 old, __u32 new)
{
	struct vp_bucket *bucket = vp_bucket_at(six, number);

	if (!bucket)
		return 0;
	VP_NO_UNROLL
	for (__u32 i = 0; i < VP_BUCKET_ENTRIES; i++)
		if (vp_exchange(bucket, first + i, old, new))
			return 1;
	return 0;
}

/* How many entries are in use; without a branch for each, which would be 2^16 paths to verify. */
VP_INLINE __u32 vp_used(_Bool six, __u32 number)
{
	struct vp_bucket *bucket = vp_bucket_at(six, number);
	__u32 used = 0;

	if (!bucket)
		return VP_BUCKET_ENTRIES;
#pragma unroll
	for (int i = 0; i < VP_BUCKET_ENTRIES; i++) {
		__u64 entry = VP_READ_ONCE(bucket->entry[i]);

		used += (entry + 0xffffffff) >> 32;
	}
	return used;
}

/* The tag of a slot, if that is at one of its client's groups. */
VP_INLINE __u8 *vp_tag_in_group(_Bool six, const struct vp_config *cfg, __u64 hash, __u32 slot)
{
#pragma unroll
	for (int second = 0; second < VP_CLIENT_GROUPS; second++) {
		struct vp_group_place place;
		struct vp_group *group;

		vp_group_of(six, cfg, hash, second, &place);
		if (slot - place.slot >= VP_GROUP_SLOTS)
			continue;
		group = vp_group_at(six, place.group);
		return group ? &group->tag[vp_tag_place(slot)] : 0;
	}
	return 0;
}

/* A new entry goes into the first bucket unless that is crowded, so that nearly all are found
 * there, and yet no bucket is ever full. */
VP_INLINE _Bool vp_enter(_Bool six, const struct vp_bucket_place *place, __u32 entry)
{
	__u32 here = place->bucket[0], there = place->bucket[1];
	__u32 used = vp_used(six, here);

	if (used > VP_BUCKET_CROWDED && vp_used(six, there) < used)
		here = there;
	return vp_put(six, here, place->first, 0, entry);
}

/* A tag is written even if a look finds the slot already: that may be by mistake, as
 * vp_same_bytes() makes one. */
VP_INLINE _Bool vp_index_insert(_Bool six, const struct vp_config *cfg, __u64 hash, __u32 slot,
				_Bool is_found)
{
	__u8 *in_group = vp_tag_in_group(six, cfg, hash, slot);
	struct vp_bucket_place place;
	__u32 tag = vp_tag_of(hash);

	if (in_group) {
		*in_group = tag;
		return 1;
	}
	if (is_found)
		return 1;
	vp_find_buckets(&place, hash, cfg->index_buckets[six]);
	return vp_enter(six, &place, slot | tag << VP_SLOT_BITS);
}

VP_INLINE _Bool vp_index_remove(_Bool six, const struct vp_config *cfg, __u64 hash, __u32 slot)
{
	__u8 *in_group = vp_tag_in_group(six, cfg, hash, slot);
	struct vp_bucket_place place;
	__u32 tag = vp_tag_of(hash), gone = slot | tag << VP_SLOT_BITS;

	if (in_group) {
		if (*in_group != tag)
			return 0;
		*in_group = 0;
		return 1;
	}
	vp_find_buckets(&place, hash, cfg->index_buckets[six]);
	return vp_put(six, place.bucket[0], place.first, gone, 0) ||
	       vp_put(six, place.bucket[1], place.first, gone, 0);
}

/*
 * Lead a client to a slot, and no longer to the one that it had. A packet that looks meanwhile may
 * find neither, where it looks for the new one before it is there and for the old one after: it is
 * then judged as a stranger's, as between any two flows of a client.
 */
VP_INLINE _Bool vp_index_replace(_Bool six, const struct vp_config *cfg,
				 const struct vp_client *client, __u32 slot)
{
	__u64 hash = vp_hash_of(six, cfg, client);
	struct vp_flow before = {};
	_Bool is_found;

	vp_find_client(six, cfg, client, &before);
	is_found = before.record && before.slot == slot;
	if (!vp_index_insert(six, cfg, hash, slot, is_found))
		return 0;
	if (before.record && !is_found)
		vp_index_remove(six, cfg, hash, before.slot);
	return 1;
}

VP_INLINE __u32 vp_run_index_task(_Bool six, const struct vp_index_request *request)
{
	struct vp_client client = {
		.addr = request->client, .port = request->port, .vip = request->vip};
	struct vp_config *cfg = vp_get_config();
	struct vp_group_place group;
	struct vp_flow flow = {};
	struct vp_up *record;

	if (!cfg)
		return 0;
	if (request->task == VP_INDEX_FIND) {
		vp_find_client(six, cfg, &client, &flow);
		return flow.slot;
	}
	if (request->task == VP_INDEX_GROUP) {
		vp_group_of(six, cfg, vp_hash_of(six, cfg, &client), request->slot, &group);
		return group.slot;
	}
	record = vp_up_at(six, request->slot);
	if (!record)
		return 0;
	client.addr = VP_ADDRESSES(record);
	client.port = record->client_port;
	client.vip = record->vip;
	if (request->task == VP_INDEX_LINK)
		return vp_index_replace(six, cfg, &client, request->slot);
	return vp_index_remove(six, cfg, vp_hash_of(six, cfg, &client), request->slot);
}

/* Not for an interface: run by the relay, so that entries are exchanged atomically, by whichever of
 * its workers, and only one side has to know the hash. */
int voxpop_index(struct xdp_md *ctx)
{
	const struct vp_index_request *request = (void *)(long)ctx->data;

	if ((void *)(request + 1) > (void *)(long)ctx->data_end)
		return 0;
	return request->family == 6 ? vp_run_index_task(1, request) : vp_run_index_task(0, request);
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
