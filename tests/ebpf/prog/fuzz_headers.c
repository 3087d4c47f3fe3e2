// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The pure headers of the fast path on the host, under AddressSanitizer and libFuzzer.
 *
 * Invariant: whatever the frame, nothing is read or written outside of [data, end), and what is
 * found lies inside of it. The frame is copied to the very end of an allocation of its size, so
 * that one byte too far is seen.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"
#include "layout.h"
#include "parse.h"
#include "index.h"
#include "token.h"
#include "rewrite.h"

static void require(_Bool true_thing)
{
	if (!true_thing)
		abort();
}

static void look_at_udp(void *l3, void *end, struct vp_udp *udp, uint32_t l3_bytes)
{
	struct vp_ufrag ufrag;
	struct vp_token token;

	require((void *)udp >= l3 && (void *)(udp + 1) <= end);
	if (!vp_lengths_agree(l3, end, udp, l3_bytes))
		return;
	require((void *)udp + VP_BSWAP16(udp->len) <= end);
	if (vp_is_well_formed(udp, end))
		require(VP_BSWAP16(udp->len) >= sizeof(*udp) + VP_SHORTEST);
	if (!vp_is_binding_request(udp, end) || vp_find_ufrag(udp, end, &ufrag) != VP_UFRAG_FOUND)
		return;
	vp_ufrag_mark(&ufrag);
	if (vp_decode_token(&ufrag, &token))
		require(token.version < 8 && token.key_id < VP_TOKEN_KEYS);
}

/* One's complement, of whole words wherever they lie. */
static uint32_t sum_of(const void *data, size_t size)
{
	const uint8_t *bytes = data;
	uint64_t sum = 0;

	for (size_t i = 0; i < size; i += 2)
		sum += bytes[i] | bytes[i + 1] << 8;
	return sum % 0xffff;
}

/* No sum over a header and its checksum changes, whatever it was. */
static void rewrite(void *data, void *end, const struct vp_l2 *l2, struct vp_udp *udp)
{
	static const uint32_t other[4] = {0x01000000, 0xffffffff, 0, 0xfeff0000};
	const struct vp_rewrite to = {
		.src_port = 1, .dst_port = 0xffff, .tos_set = 0xb8, .tos_mask = 0xfc};
	const struct vp_adjacency way = {.tag_count = VP_MAX_TAGS};
	_Bool is_ipv4 = l2->type == VP_ETH_IPV4;
	uint8_t *addresses = (uint8_t *)l2->l3 + (is_ipv4 ? 12 : 8);
	uint32_t size = is_ipv4 ? 8 : 32, l4_before, l3_before = 0;
	uint64_t delta;

	l4_before = (sum_of(addresses, size) + sum_of(udp, sizeof(*udp))) % 0xffff;
	if (is_ipv4) {
		if (!((struct vp_ipv4 *)l2->l3)->ttl)
			return; /* goes nowhere */
		l3_before = sum_of(l2->l3, sizeof(struct vp_ipv4));
		delta = vp_rewrite4(l2->l3, other[0], other[1], &to);
		require(sum_of(l2->l3, sizeof(struct vp_ipv4)) == l3_before);
	} else {
		delta = vp_rewrite6(l2->l3, other, other, &to);
	}
	if (udp->check) {
		vp_rewrite_udp(udp, delta, &to);
		require((sum_of(addresses, size) + sum_of(udp, sizeof(*udp))) % 0xffff ==
			l4_before);
	} else {
		vp_rewrite_udp(udp, delta, &to);
		require(!udp->check);
	}
	vp_write_l2(data, end, &way, l2->type);
}

static void look_at_frame(void *data, void *end)
{
	struct vp_udp *udp = NULL;
	struct vp_l2 l2;

	if (!vp_parse_l2(data, end, &l2))
		return;
	require(l2.l3 <= end && l2.tags <= VP_MAX_TAGS);
	if (l2.type == VP_ETH_IPV4) {
		struct vp_ipv4 *ip = l2.l3;

		if ((void *)(ip + 1) > end)
			return;
		udp = vp_udp_behind_options(ip, end);
		if (udp)
			look_at_udp(ip, end, udp, VP_BSWAP16(ip->total_len));
	} else if (l2.type == VP_ETH_IPV6) {
		struct vp_ipv6 *ip = l2.l3;

		if ((void *)(ip + 1) > end)
			return;
		udp = vp_walk_extensions(ip, end).udp;
		if (udp)
			look_at_udp(ip, end, udp, VP_BSWAP16(ip->payload_len) + sizeof(*ip));
	}
	if (udp)
		rewrite(data, end, &l2, udp);
}

/* Each slot with the tag is among the matches, and each match stands for one slot. */
static void look_at_tags(const uint8_t *data, size_t size)
{
	struct vp_group group;
	uint32_t seen = 0;
	uint64_t matches;

	if (size <= sizeof(group))
		return;
	memcpy(&group, data, sizeof(group));
	matches = vp_match_tags(&group, data[sizeof(group)]);
	while (matches) {
		uint64_t bit = matches & -matches;
		uint32_t position = vp_group_position(bit);

		require(position < VP_GROUP_SLOTS && !(seen >> position & 1));
		seen |= 1U << position;
		matches ^= bit;
	}
	for (int i = 0; i < VP_GROUP_SLOTS; i++)
		require(group.tag[vp_tag_place(i)] != data[sizeof(group)] || seen >> i & 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	uint8_t *frame = malloc(size ? size : 1);

	if (size)
		memcpy(frame, input, size);
	look_at_frame(frame, frame + size);
	look_at_tags(frame, size);
	free(frame);
	return 0;
}
