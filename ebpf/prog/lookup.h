/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Part of relay_xdp.c: second, whose packet it is: the flow of a client at a VIP, by the index of
 * index.h; or that of a NAT port, which is its slot.
 */
#ifndef VOXPOP_LOOKUP_H
#define VOXPOP_LOOKUP_H

#include "index.h"
#include "packet.h"

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
		if (VP_LIKELY(!vp_has_entries(bucket)) || !vp_match_entries(bucket, tag))
			continue;
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
VP_INLINE enum vp_fate vp_find_downstream(struct vp_packet *packet, struct vp_down **found)
{
	_Bool six = packet->family == VP_FAMILY_IPV6;
	const __u32 *src = six ? ((struct vp_ipv6 *)packet->l2.l3)->src
			       : &((struct vp_ipv4 *)packet->l2.l3)->src;
	struct vp_down *record =
		vp_down_at(six, packet->local->slot_base + VP_BSWAP16(packet->udp->dst));

	if (!record || record->state != VP_SLOT_LIVE)
		return vp_decide(packet, VP_DROP_NO_FLOW);
	if (!vp_same(six, VP_ADDRESSES(record) + (six ? 4 : 1), src) ||
	    record->transceiver_port != packet->udp->src)
		return vp_decide(packet, VP_DROP_WRONG_PEER);
	*found = record;
	return VP_GO_ON;
}

#endif
