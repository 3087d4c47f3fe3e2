/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Where the slot of a client is looked for.
 *
 * First in its group, as in a SwissTable (Abseil): the tags of sixteen slots, its control bytes,
 * are two words, which stay in the caches where the slots do not, so mostly a slot costs one miss
 * of a cache, its own. Who found no slot in its first group has a second one; who found none there
 * either has an entry in one of two buckets of sixteen, each a cache line: 24 bits of slot number
 * below the tag; 0 is free, as no slot has NAT port 0. In a bucket the look begins at a place of
 * the client's own, so that the first one mostly hits.
 */
#ifndef VOXPOP_INDEX_H
#define VOXPOP_INDEX_H

#include "wire.h"
#include "layout.h"

VP_INLINE _Bool vp_same6(const __u32 *a, const __u32 *b)
{
	return a[3] == b[3] && a[2] == b[2] && a[1] == b[1] && a[0] == b[0];
}

/* The 128 bits of an address as 64. */
VP_INLINE __u64 vp_fold6(const __u32 *addr)
{
	__u64 high = (__u64)addr[0] << 32 | addr[1];
	__u64 low = (__u64)addr[2] << 32 | addr[3];

	return (high * VP_FOLD_MULTIPLIER) ^ low;
}

#define VP_SLOT_MASK	  ((1U << VP_SLOT_BITS) - 1)
#define VP_EXCHANGE_TRIES 8
#define VP_BUCKET_CROWDED 10 /* with more entries than these, the other one is looked at */

struct vp_group_place {
	__u32 group;
	__u32 slot; /* its first */
};

struct vp_bucket_place {
	__u32 bucket[2];
	__u32 first; /* entry to begin with */
};

VP_INLINE __u64 vp_client4_bits(__u32 client, __u16 port)
{
	return (__u64)client << 32 | port;
}

VP_INLINE __u64 vp_client6_bits(const __u32 *client, __u16 port)
{
	return vp_fold6(client) * VP_FOLD_MULTIPLIER ^ port;
}

/*
 * Multiplicative hashing, twice, the second time Fibonacci hashing (Knuth, TAOCP vol. 3, §6.4). The
 * seed is secret and odd, so that nobody can choose addresses and ports that meet. What a
 * multiplication has mixed best is the upper half: folding brings that down, for the next one.
 */
VP_INLINE __u64 vp_hash_client(__u64 client, __u64 seed)
{
	__u64 hash = client * seed;

	return (hash ^ hash >> 32) * VP_FOLD_MULTIPLIER;
}

/* 1 to 255, of bits that name no group. */
VP_INLINE __u32 vp_tag_of(__u64 hash)
{
	return ((hash >> 20 & 0xff) * 255 >> 8) + 1;
}

/* A share of 32 bits of the hash, or of 26, scaled to how many there are, names one of them. */
VP_INLINE void vp_find_group(struct vp_group_place *place, __u64 hash, _Bool second, __u64 groups,
			     __u64 backbones)
{
	__u64 share = second ? (__u32)(hash ^ hash >> 32) : hash >> 32;

	place->group = share * groups >> 32;
	place->slot =
		place->group * VP_GROUP_SLOTS + ((share * backbones >> 32) + 1) * VP_GROUP_FIRST;
}

VP_INLINE void vp_find_buckets(struct vp_bucket_place *place, __u64 hash, __u64 buckets)
{
	hash ^= hash >> 32;
	place->first = hash >> 52 & (VP_BUCKET_ENTRIES - 1);
	place->bucket[0] = (hash & 0xffffffff) * buckets >> 32;
	place->bucket[1] = (hash >> 26 & 0x3ffffff) * buckets >> 26;
}

#define VP_EACH_BYTE(byte) ((byte)*0x0101010101010101ULL)

/*
 * Bit 7 of each byte that is the same: the test for a zero byte (Mycroft 1987), as SwissTable has
 * it where there is no SIMD. The byte above such a one may be marked by mistake.
 */
VP_INLINE __u64 vp_same_bytes(__u64 word, __u64 wanted)
{
	__u64 differ = word ^ wanted;

	return (differ - VP_EACH_BYTE(0x01)) & ~differ & VP_EACH_BYTE(0x80);
}

/* The slots whose tag is the wanted one: a bit for each, which vp_group_position() understands. */
VP_INLINE __u64 vp_match_tags(const struct vp_group *group, __u32 tag)
{
	const __u64 *words = (const __u64 *)group->tag;
	__u64 wanted = VP_EACH_BYTE((__u64)tag);

	return vp_same_bytes(VP_READ_ONCE(words[0]), wanted) |
	       vp_same_bytes(VP_READ_ONCE(words[1]), wanted) >> 1;
}

/* Whether there is any: seldom, as nearly all clients are in one of their groups. */
VP_INLINE __u64 vp_has_entries(const struct vp_bucket *bucket)
{
	const __u64 *words = (const __u64 *)bucket->entry;
	__u64 any = 0;

#pragma unroll
	for (int i = 0; i < VP_BUCKET_ENTRIES / 2; i++)
		any |= VP_READ_ONCE(words[i]);
	return any;
}

#define VP_EACH_ENTRY(byte) ((byte)*0x0100000001000000ULL)

/*
 * Whether a bucket has an entry with a tag; not 0 where it may have, 0 where it has not. The same
 * test, of the upper byte of each half of a word: what is below it changes nothing. Strangers are
 * looked up in two buckets, each packet of a flood, so an entry at a time would be too dear.
 */
VP_INLINE __u64 vp_match_entries(const struct vp_bucket *bucket, __u32 tag)
{
	const __u64 *words = (const __u64 *)bucket->entry;
	__u64 wanted = VP_EACH_ENTRY((__u64)tag), found = 0;

#pragma unroll
	for (int i = 0; i < VP_BUCKET_ENTRIES / 2; i++) {
		__u64 differ = VP_READ_ONCE(words[i]) ^ wanted;

		found |= (differ - VP_EACH_ENTRY(0x01)) & ~differ;
	}
	return found & VP_EACH_ENTRY(0x80);
}

/*
 * Which slot of its group a bit of a match stands for. BPF has no instruction that counts trailing
 * zeros, so it is done as with a de Bruijn sequence (Leiserson, Prokop, Randall 1998): multiplying
 * by 2^n moves the four bits of VP_GROUP_ORDER that begin n below its top there. n is 7, 15, … 63
 * or 6, 14, … 62, for the two words of vp_match_tags(); VP_GROUP_ORDER was searched for so that
 * these sixteen windows are sixteen different numbers. So tags are in the order of that, and not of
 * their slots.
 */
VP_INLINE __u32 vp_group_position(__u64 bit)
{
	return bit * VP_GROUP_ORDER >> 60;
}

/*
 * The inverse: the place of a slot's tag. Four bits for each slot: nibble s is the place t, of
 * which the bit, 8 * (t % 8) + 7 - t / 8, has the position s.
 */
VP_INLINE __u32 vp_tag_place(__u32 slot)
{
	return 0x802f93c71ab54d6eULL >> slot % VP_GROUP_SLOTS * 4 & 0xf;
}

#endif
