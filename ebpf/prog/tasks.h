/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Part of relay_xdp.c: programs that never see a packet. Whoever has them pinned runs them by
 * BPF_PROG_TEST_RUN.
 */
#ifndef VOXPOP_TASKS_H
#define VOXPOP_TASKS_H

#include "locate.h"
#include "lookup.h"

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
	if (request->task == VP_INDEX_KNOWS)
		return VP_KNOWS_CONTESTS;
	record = vp_up_at(six, request->slot);
	if (!record)
		return 0;
	client.addr = VP_ADDRESSES(record);
	client.port = record->client_port;
	client.vip = record->vip;
	if (request->task == VP_INDEX_LINK)
		return vp_index_replace(six, cfg, &client, request->slot);
	if (request->task == VP_INDEX_UNLINK)
		return vp_index_remove(six, cfg, vp_hash_of(six, cfg, &client), request->slot);
	return 0; /* of a newer relay */
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

#endif
