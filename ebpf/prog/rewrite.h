/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Changing headers with their checksums (RFC 1624). Pure.
 *
 * A checksum is a one's complement sum, so a change of any number of fields is one addition of
 * ~old + new over all of them: the delta. It may be summed in words of 32 bits and folded at last.
 */
#ifndef VOXPOP_REWRITE_H
#define VOXPOP_REWRITE_H

#include "layout.h"
#include "parse.h"

/* The change of the word that has TTL in its first byte, when the TTL falls by one. */
#define VP_TTL_DELTA 0xfffe

/* One step from a one's complement sum to its 16 bits: of a sum below 2^32, two steps are enough.
 */
VP_INLINE __u64 vp_fold(__u64 sum)
{
	return (sum & 0xffff) + (sum >> 16);
}

/* Of a delta below 2^31. */
VP_INLINE __u16 vp_csum_apply(__u16 check, __u64 delta)
{
	return ~vp_fold(vp_fold(0xffff - check + delta));
}

/* Zero means "no checksum" (RFC 768): one that is absent stays so, and a computed zero is sent as
 * ones. */
VP_INLINE void vp_udp_csum_apply(struct vp_udp *udp, __u64 delta)
{
	__u16 check;

	if (!udp->check)
		return;
	check = vp_csum_apply(udp->check, delta);
	udp->check = check ? check : 0xffff;
}

/* What differs between the directions, both of which rewrite alike. */
struct vp_rewrite {
	__u16 src_port;
	__u16 dst_port;
	__u8 tos_set;
	__u8 tos_mask;
};

/* `addresses` is the delta of what vp_rewrite4() or vp_rewrite6() changed. */
VP_INLINE void vp_rewrite_udp(struct vp_udp *udp, __u64 addresses, const struct vp_rewrite *to)
{
	__u64 delta = addresses + 2 * 0xffff - udp->src - udp->dst + to->src_port + to->dst_port;

	udp->src = to->src_port;
	udp->dst = to->dst_port;
	vp_udp_csum_apply(udp, delta);
}

/* The delta of the word that has the DSCP in it. */
VP_INLINE __u64 vp_rewrite_tos(struct vp_ipv4 *ip, const struct vp_rewrite *to)
{
	__u8 tos = (ip->tos & ~to->tos_mask) | to->tos_set;
	__u64 delta = 0xffff + ((__u64)tos << 8) - ((__u64)ip->tos << 8);

	ip->tos = tos;
	return delta;
}

VP_INLINE __u64 vp_rewrite4(struct vp_ipv4 *ip, __u32 src, __u32 dst, const struct vp_rewrite *to)
{
	__u64 delta = VP_TTL_DELTA;
	__u64 addresses = vp_fold(2 * 0xffffffffULL - ip->src - ip->dst + src + dst);

	if (to->tos_mask)
		delta += vp_rewrite_tos(ip, to);
	ip->check = vp_csum_apply(ip->check, addresses + delta);
	ip->ttl--;
	ip->src = src;
	ip->dst = dst;
	return addresses;
}

VP_INLINE __u64 vp_rewrite6(struct vp_ipv6 *ip, const __u32 *src, const __u32 *dst,
			    const struct vp_rewrite *to)
{
	__u16 mask = VP_BSWAP16(to->tos_mask << 4);
	__u64 sum = 0;

#pragma unroll
	for (int i = 0; i < 4; i++)
		sum += (__u64)(__u32)~ip->src[i] + (__u32)~ip->dst[i] + src[i] + dst[i];
	ip->version_class = (ip->version_class & ~mask) | VP_BSWAP16(to->tos_set << 4);
	ip->hop_limit--;
	__builtin_memcpy(ip->src, src, sizeof(ip->src));
	__builtin_memcpy(ip->dst, dst, sizeof(ip->dst));
	return vp_fold(sum);
}

/* The bytes of a frame before the network header. */
VP_INLINE __u32 vp_l2_bytes(__u32 tags)
{
	return sizeof(struct vp_eth) + tags * sizeof(struct vp_tag);
}

/* In words: of bytes the compiler cannot tell that they may be copied four at a time. */
struct vp_macs {
	__u32 words[3];
};

VP_INLINE void vp_write_macs(struct vp_macs *macs, const struct vp_adjacency *adjacency)
{
	for (int i = 0; i < 3; i++)
		macs->words[i] = adjacency->macs[i];
}

/* Write the adjacency's L2 header; `data` has room for it. The type of the network layer goes last.
 */
VP_INLINE _Bool vp_write_l2(void *data, void *end, const struct vp_adjacency *adjacency, __u16 type)
{
	struct vp_macs *macs = data;
	__u16 *field = (void *)(macs + 1);

	if (data + vp_l2_bytes(VP_MAX_TAGS) > end)
		return 0;
	vp_write_macs(data, adjacency);
#pragma unroll
	for (int i = 0; i < VP_MAX_TAGS; i++) {
		if (i >= adjacency->tag_count)
			break;
		*field++ = adjacency->tags[2 * i];
		*field++ = adjacency->tags[2 * i + 1];
	}
	*field = type;
	return 1;
}

#endif
