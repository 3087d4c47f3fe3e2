/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Where in the index the slot of a client is looked for.
 *
 * An entry is 24 bits of slot number below an 8-bit tag; 0 is free, as no slot has NAT port 0. A
 * client has two buckets of sixteen entries, each a cache line, and begins in each at a place of
 * its own, so that the first look mostly hits.
 */
#ifndef VOXPOP_INDEX_H
#define VOXPOP_INDEX_H

#include "wire.h"
#include "layout.h"

VP_INLINE _Bool vp_same6(const __u32 *a, const __u32 *b)
{
	return a[3] == b[3] && a[2] == b[2] && a[1] == b[1] && a[0] == b[0];
}

VP_INLINE __u64 vp_fold6(const __u32 *addr)
{
	__u64 high = (__u64)addr[0] << 32 | addr[1];
	__u64 low = (__u64)addr[2] << 32 | addr[3];

	return (high * VP_FOLD_MULTIPLIER) ^ low;
}

#define VP_SLOT_MASK	  ((1U << VP_SLOT_BITS) - 1)
#define VP_EXCHANGE_TRIES 8
#define VP_BUCKET_CROWDED 10 /* with more entries than these, the other one is looked at */

struct vp_place {
	__u32 bucket[2];
	__u32 tag;   /* in the bits where an entry has it */
	__u32 first; /* entry to begin with */
};

VP_INLINE __u64 vp_client4_bits(__u32 client, __u16 port, __u16 vip)
{
	return (__u64)client << 32 | (__u32)port << 16 | vip;
}

VP_INLINE __u64 vp_client6_bits(const __u32 *client, __u16 port, __u16 vip)
{
	return vp_fold6(client) * VP_FOLD_MULTIPLIER ^ ((__u32)port << 16 | vip);
}

/*
 * The seed is secret and odd, so that nobody can choose addresses and ports that meet. Each folding
 * brings down what the multiplication has mixed, which is the upper half. A share of 32 or 26 bits,
 * scaled to the number of buckets, names one of them.
 */
VP_INLINE void vp_find_place(struct vp_place *place, __u64 client, __u64 seed, __u64 buckets)
{
	__u64 hash = (client ^ client >> 32) * seed;

	hash = (hash ^ hash >> 32) * VP_FOLD_MULTIPLIER;
	hash ^= hash >> 32;
	place->tag = (__u32)(hash >> 56) << VP_SLOT_BITS;
	place->first = hash >> 52 & (VP_BUCKET_ENTRIES - 1);
	place->bucket[0] = (hash & 0xffffffff) * buckets >> 32;
	place->bucket[1] = (hash >> 26 & 0x3ffffff) * buckets >> 26;
}

#endif
