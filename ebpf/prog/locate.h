/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Part of relay_xdp.c: first, whether a packet is ours at all: UDP, to a VIP or a NAT port, whole
 * and plain.
 */
#ifndef VOXPOP_LOCATE_H
#define VOXPOP_LOCATE_H

#include "index.h"
#include "packet.h"

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

/* Not ours, so the kernel's. In an emergency, of the addresses that strangers know, what a socket
 * waits for is its; see vp_ask_socket(). */
VP_INLINE enum vp_fate vp_leave(const struct vp_config *cfg, struct vp_packet *packet)
{
	if (VP_UNLIKELY(cfg->emergency) && packet->local->vips)
		return VP_ASKS_SOCKET;
	return vp_decide(packet, VP_PASS_NOT_OURS);
}

/* The same of what hides its ports: nobody waits for that. */
VP_INLINE enum vp_fate vp_leave_odd(const struct vp_config *cfg, struct vp_packet *packet)
{
	if (cfg->emergency && packet->local->vips)
		return vp_decide(packet, VP_DROP_EMERGENCY_PORT);
	return vp_decide(packet, VP_PASS_NOT_OURS);
}

/*
 * A UDP packet that hides its ports, or that takes more than a look to parse. No WebRTC client
 * sends such a thing, so nothing of it is forwarded or punted. A later fragment might be for a VIP
 * of its address, and is dropped if there is one.
 */
VP_INLINE enum vp_fate vp_judge_odd4(const struct vp_config *cfg, struct vp_packet *packet,
				     struct vp_ipv4 *ip)
{
	struct vp_udp *udp;

	if (ip->fragment & VP_IPV4_OFFSET)
		return vp_decide(packet, packet->local->vips ? VP_DROP_FRAGMENT : VP_PASS_NOT_OURS);
	udp = vp_udp_behind_options(ip, packet->end);
	if (!udp)
		return vp_decide(packet,
				 packet->local->vips ? VP_DROP_MALFORMED : VP_PASS_NOT_OURS);
	if (!vp_is_ours(packet->local, udp->dst))
		return vp_leave_odd(cfg, packet);
	return vp_decide(packet,
			 ip->fragment & VP_IPV4_FRAGMENT ? VP_DROP_FRAGMENT : VP_DROP_OPTIONS);
}

VP_INLINE enum vp_fate vp_judge_odd6(const struct vp_config *cfg, struct vp_packet *packet,
				     struct vp_ipv6 *ip)
{
	struct vp_extensions found = vp_walk_extensions(ip, packet->end);

	if (!found.udp) {
		if (!found.fragment)
			return vp_decide(packet, VP_PASS_NOT_UDP);
		return vp_decide(packet, packet->local->vips ? VP_DROP_FRAGMENT : VP_PASS_NOT_OURS);
	}
	if (!vp_is_ours(packet->local, found.udp->dst))
		return vp_leave_odd(cfg, packet);
	return vp_decide(packet, found.fragment ? VP_DROP_FRAGMENT : VP_DROP_OPTIONS);
}

VP_INLINE enum vp_fate vp_locate4(struct vp_config *cfg, struct vp_packet *packet)
{
	struct vp_ipv4 *ip = packet->l2.l3;

	if (ip->protocol != VP_PROTO_UDP)
		return vp_decide(packet, VP_PASS_NOT_UDP);
	packet->local = vp_local_at(cfg, ip->dst);
	if (packet->local->family != 4 || packet->local->addr[0] != ip->dst)
		return vp_decide(packet, VP_PASS_NOT_OURS);
	if (VP_UNLIKELY(ip->version_ihl != VP_IPV4_PLAIN || ip->fragment & VP_IPV4_FRAGMENT))
		return vp_judge_odd4(cfg, packet, ip);
	packet->udp = (void *)(ip + 1);
	packet->bytes = VP_BSWAP16(ip->total_len);
	if ((void *)(packet->udp + 1) > packet->end)
		return vp_decide(packet, VP_DROP_MALFORMED);
	return VP_GO_ON;
}

VP_INLINE enum vp_fate vp_locate6(struct vp_config *cfg, struct vp_packet *packet)
{
	struct vp_ipv6 *ip = packet->l2.l3;

	packet->local = vp_local_at(cfg, vp_fold6(ip->dst));
	if (packet->local->family != 6 || !vp_same6(packet->local->addr, ip->dst))
		return vp_decide(packet,
				 ip->next == VP_PROTO_UDP ? VP_PASS_NOT_OURS : VP_PASS_NOT_UDP);
	if (VP_UNLIKELY(ip->next != VP_PROTO_UDP))
		return vp_judge_odd6(cfg, packet, ip);
	packet->udp = (void *)(ip + 1);
	packet->bytes = VP_BSWAP16(ip->payload_len) + sizeof(*ip);
	if ((void *)(packet->udp + 1) > packet->end)
		return vp_decide(packet, VP_DROP_MALFORMED);
	return VP_GO_ON;
}

/* Find the UDP header of a packet that is for a VIP or our NAT range, whole and plain; or say why
 * not. */
VP_INLINE enum vp_fate vp_locate(struct vp_config *cfg, struct vp_packet *packet)
{
	enum vp_fate fate = packet->family == VP_FAMILY_IPV4 ? vp_locate4(cfg, packet)
							     : vp_locate6(cfg, packet);

	if (fate == VP_DECIDED)
		return fate;
	packet->vip = vp_vip_at(packet->local, packet->udp->dst);
	if (packet->vip < 0 && !vp_in_nat_range(packet->local, packet->udp->dst))
		return vp_leave(cfg, packet);
	if (!vp_lengths_agree(packet->l2.l3, packet->end, packet->udp, packet->bytes))
		return vp_decide(packet, VP_DROP_MALFORMED);
	if (packet->family == VP_FAMILY_IPV6 && !packet->udp->check)
		return vp_decide(packet, VP_DROP_NO_CHECKSUM); /* RFC 8200 §8.1 */
	return VP_GO_ON;
}

#endif
