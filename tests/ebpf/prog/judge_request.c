// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * What the fast path makes of a stranger's datagram, up to its token, as a function for the host:
 * to be compared with what Python makes of it. The same steps as vp_judge_request() and
 * vp_check_token(), over the same pure headers.
 */
#include <stdint.h>
#include <string.h>

#include "wire.h"
#include "layout.h"
#include "parse.h"
#include "token.h"

enum judgement {
	NO_REQUEST,
	MALFORMED,
	NO_USERNAME,
	BAD_LENGTH,
	BAD_ALPHABET,
	BAD_VERSION,
	UNKNOWN_KEY,
	BAD_TAG,
	EXPIRED,
	GOOD,
};

static enum judgement judge_token(const struct vp_ufrag *ufrag, const struct vp_token_key *keys,
				  uint16_t now_min)
{
	const struct vp_token_key *key;
	struct vp_token token;

	if (!vp_decode_token(ufrag, &token))
		return BAD_ALPHABET;
	if (token.version != VP_TOKEN_VERSION)
		return BAD_VERSION;
	key = &keys[token.key_id % VP_TOKEN_KEYS];
	if (!key->set)
		return UNKNOWN_KEY;
	if (vp_siphash13(key, token.signed8, token.signed5) != token.tag)
		return BAD_TAG;
	return vp_is_expired(token.expiry_min, now_min) ? EXPIRED : GOOD;
}

/* `frame` as below. */
int is_well_formed(uint8_t *frame, uint32_t size)
{
	struct vp_udp *udp = (void *)frame;

	udp->len = VP_BSWAP16(size + sizeof(*udp));
	return vp_is_well_formed(udp, frame + sizeof(*udp) + size);
}

/* `frame` is a UDP header and `size` bytes of payload. */
int judge_request(uint8_t *frame, uint32_t size, const struct vp_token_key *keys, uint16_t now_min)
{
	struct vp_udp *udp = (void *)frame;
	void *end = frame + sizeof(*udp) + size;
	struct vp_ufrag ufrag;

	udp->len = VP_BSWAP16(size + sizeof(*udp));
	if (!vp_is_binding_request(udp, end))
		return NO_REQUEST;
	switch (vp_find_ufrag(udp, end, &ufrag)) {
	case VP_UFRAG_FOUND:
		return judge_token(&ufrag, keys, now_min);
	case VP_UFRAG_NO_USERNAME:
		return NO_USERNAME;
	case VP_UFRAG_BAD_LENGTH:
		return BAD_LENGTH;
	default:
		return MALFORMED;
	}
}
