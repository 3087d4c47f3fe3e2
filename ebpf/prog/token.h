/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The routing token: base64, SipHash-2-4 and expiry, as docs/token.md defines them and
 * core/token.py implements them. Pure; test vectors run through both.
 */
#ifndef VOXPOP_TOKEN_H
#define VOXPOP_TOKEN_H

#include "layout.h"
#include "parse.h"

#define VP_TOKEN_VERSION 1

#define VP_ONES 0x0101010101010101ULL
#define VP_HIGH 0x8080808080808080ULL

/* Bit 7 of every byte of `w` that is at least `c`, and anything below it; bytes and c are below
 * 0x80, so nothing carries. */
VP_INLINE __u64 vp_bytes_from(__u64 w, __u8 c)
{
	return w + VP_ONES * (0x80 - c);
}

/*
 * Eight base64 characters at once, the first in the lowest byte, as eight values of six bits. BCC
 * has no constant tables, and this is shorter than a look-up. False for anything outside of the
 * alphabet: what is in it is at least an odd number of its bounds. From bound to bound the
 * difference between a character and its value changes.
 */
VP_INLINE _Bool vp_base64_values(__u64 w, __u64 *values)
{
	__u64 slash = vp_bytes_from(w, '/'), digit = vp_bytes_from(w, '0');
	__u64 upper = vp_bytes_from(w, 'A'), lower = vp_bytes_from(w, 'a');
	__u64 known = vp_bytes_from(w, '+') ^ vp_bytes_from(w, '+' + 1) ^ slash ^
		      vp_bytes_from(w, '9' + 1) ^ upper ^ vp_bytes_from(w, 'Z' + 1) ^ lower ^
		      vp_bytes_from(w, 'z' + 1);

	if ((w | ~known) & VP_HIGH)
		return 0;
	*values = w + VP_ONES * (62 - '+') - ((slash & VP_HIGH) >> 7) * 3 -
		  ((digit & VP_HIGH) >> 7) * 12 - ((upper & VP_HIGH) >> 7) * 69 -
		  ((lower & VP_HIGH) >> 7) * 6;
	return 1;
}

/* Eight six-bit values, the first in the lowest byte, as one number of 48 bits, the first highest.
 */
VP_INLINE __u64 vp_base64_join(__u64 values)
{
	values = (values & 0x00ff00ff00ff00ffULL) << 6 | (values >> 8 & 0x00ff00ff00ff00ffULL);
	values = (values & 0x0000ffff0000ffffULL) << 12 | (values >> 16 & 0x0000ffff0000ffffULL);
	return (values & 0xffffffffULL) << 24 | values >> 32;
}

#define VP_ROTL(x, n) ((x) << (n) | (x) >> (64 - (n)))

struct vp_sip {
	__u64 v0, v1, v2, v3;
};

VP_INLINE void vp_sip_round(struct vp_sip *s)
{
	s->v0 += s->v1;
	s->v2 += s->v3;
	s->v1 = VP_ROTL(s->v1, 13) ^ s->v0;
	s->v3 = VP_ROTL(s->v3, 16) ^ s->v2;
	s->v0 = VP_ROTL(s->v0, 32) + s->v3;
	s->v2 += s->v1;
	s->v1 = VP_ROTL(s->v1, 17) ^ s->v2;
	s->v3 = VP_ROTL(s->v3, 21) ^ s->v0;
	s->v2 = VP_ROTL(s->v2, 32);
}

VP_INLINE void vp_sip_absorb(struct vp_sip *s, __u64 word)
{
	s->v3 ^= word;
	vp_sip_round(s);
	vp_sip_round(s);
	s->v0 ^= word;
}

/* SipHash-2-4 (Aumasson, Bernstein 2012) of 13 bytes: one whole word, five bytes and the length. */
VP_INLINE __u64 vp_siphash13(const struct vp_token_key *key, __u64 first8, __u64 last5)
{
	struct vp_sip s = {
		.v0 = key->k0 ^ 0x736f6d6570736575ULL,
		.v1 = key->k1 ^ 0x646f72616e646f6dULL,
		.v2 = key->k0 ^ 0x6c7967656e657261ULL,
		.v3 = key->k1 ^ 0x7465646279746573ULL,
	};

	vp_sip_absorb(&s, first8);
	vp_sip_absorb(&s, last5 | 13ULL << 56);
	s.v2 ^= 0xff;
#pragma unroll
	for (int i = 0; i < 4; i++)
		vp_sip_round(&s);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

struct vp_token {
	__u64 signed8; /* bytes 0–7 and 8–12 as little-endian words: what the tag covers */
	__u64 signed5;
	__u64 tag;
	__u16 expiry_min;
	__u8 version;
	__u8 key_id;
};

/* 28 characters are 21 bytes without a bit to spare. False outside of the alphabet. */
VP_INLINE _Bool vp_decode_token(const struct vp_ufrag *ufrag, struct vp_token *token)
{
	__u64 a, b, c, d;

	/* The last word is filled up with 'A', which stands for zero. */
	if (!vp_base64_values(ufrag->chars[0], &a) || !vp_base64_values(ufrag->chars[1], &b) ||
	    !vp_base64_values(ufrag->chars[2], &c) ||
	    !vp_base64_values(ufrag->last | 0x4141414100000000ULL, &d))
		return 0;
	a = vp_base64_join(a);	     /* bytes 0–5 */
	b = vp_base64_join(b);	     /* bytes 6–11 */
	c = vp_base64_join(c);	     /* bytes 12–17 */
	d = vp_base64_join(d) >> 24; /* bytes 18–20 */
	token->version = a >> 45;
	token->key_id = a >> 40 & 31;
	token->signed8 = VP_BSWAP64(a << 16 | b >> 32);
	token->signed5 = VP_BSWAP64(b << 32 | (c >> 40) << 24);
	token->tag = VP_BSWAP64(c << 24 | d);
	token->expiry_min = b >> 8 & 0xffff;
	return 1;
}

/* RFC 1982 §3.2: expired from the minute after the expiry on. */
VP_INLINE _Bool vp_is_expired(__u16 expiry_min, __u16 now_min)
{
	__u16 late = now_min - expiry_min;

	return late > 0 && late < 0x8000;
}

/*
 * 32 bits that tell a flow's own ufrag from another: the last eight characters, 48 bits of the tag,
 * hashed. A forger may hit the mark; the packet then goes where the flow goes anyway.
 */
VP_INLINE __u32 vp_ufrag_mark(const struct vp_ufrag *ufrag)
{
	__u64 tail = ufrag->chars[2] >> 32 | (__u64)ufrag->last << 32;

	return tail * VP_FOLD_MULTIPLIER >> 32;
}

#endif
