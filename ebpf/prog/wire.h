/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What is on the wire: headers and constants, all multi-byte fields in network order.
 *
 * Own structs in place of the kernel's: linux/ip.h pulls a third of the network stack into every
 * start of the dataplane, and these few also compile on the host for tests and fuzzing.
 */
#ifndef VOXPOP_WIRE_H
#define VOXPOP_WIRE_H

#include <linux/types.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "checksum deltas and token words are written for little-endian hosts"
#endif

#define VP_INLINE static inline __attribute__((always_inline))

#define VP_BSWAP16(x) __builtin_bswap16(x)
#define VP_BSWAP32(x) __builtin_bswap32(x)
#define VP_BSWAP64(x) __builtin_bswap64(x)

#define VP_ETH_IPV4   VP_BSWAP16(0x0800)
#define VP_ETH_IPV6   VP_BSWAP16(0x86dd)
#define VP_ETH_8021Q  VP_BSWAP16(0x8100)
#define VP_ETH_8021AD VP_BSWAP16(0x88a8)

#define VP_MAX_TAGS 2

#define VP_PROTO_UDP 17

/* RFC 791 §3.1: more-fragments flag and offset; "don't fragment" and the reserved bit are neither.
 */
#define VP_IPV4_FRAGMENT VP_BSWAP16(0x3fff)
#define VP_IPV4_OFFSET	 VP_BSWAP16(0x1fff)
#define VP_IPV4_PLAIN	 0x45 /* version 4, five words: no options */

/* RFC 8200 §4.1, and AH of RFC 4302, whose length counts in other units. */
#define VP_IPV6_HOP_BY_HOP  0
#define VP_IPV6_ROUTING	    43
#define VP_IPV6_FRAGMENT    44
#define VP_IPV6_AUTH	    51
#define VP_IPV6_DESTINATION 60
#define VP_IPV6_OFFSET	    VP_BSWAP16(0xfff8)
#define VP_MAX_EXTENSIONS   6

struct vp_eth {
	__u8 dst[6];
	__u8 src[6];
	__u16 type;
};

struct vp_tag {
	__u16 tci;
	__u16 type; /* of what follows */
};

struct vp_ipv4 {
	__u8 version_ihl;
	__u8 tos;
	__u16 total_len;
	__u16 id;
	__u16 fragment;
	__u8 ttl;
	__u8 protocol;
	__u16 check;
	__u32 src;
	__u32 dst;
};

struct vp_ipv6 {
	__u16 version_class; /* version 4 bits, traffic class 8, flow label's first 4 */
	__u16 flow;
	__u16 payload_len;
	__u8 next;
	__u8 hop_limit;
	__u32 src[4];
	__u32 dst[4];
};

struct vp_udp {
	__u16 src;
	__u16 dst;
	__u16 len;
	__u16 check;
};

/* RFC 8489 §5 */
struct vp_stun {
	__u16 type;
	__u16 len; /* of what follows this header */
	__u32 cookie;
	__u32 transaction[3];
};

struct vp_stun_attribute {
	__u16 type;
	__u16 len; /* without padding */
};

#define VP_STUN_BINDING_REQUEST VP_BSWAP16(0x0001)
#define VP_STUN_COOKIE		VP_BSWAP32(0x2112a442)
#define VP_STUN_USERNAME	VP_BSWAP16(0x0006)
#define VP_STUN_MAX_ATTRIBUTES	32   /* as core/stun.py; real clients send at most 9 */
#define VP_STUN_MAX_BYTES	1280 /* a check fits the smallest IPv6 MTU (RFC 8445 §7.1) */

/* The classes of RFC 7983 §7 that a WebRTC port speaks. */
#define VP_FIRST_BYTE_STUN_LAST	  3
#define VP_FIRST_BYTE_DTLS_FIRST  20
#define VP_FIRST_BYTE_DTLS_LAST	  63
#define VP_FIRST_BYTE_MEDIA_FIRST 128
#define VP_FIRST_BYTE_MEDIA_LAST  191

#define VP_FIRST_BYTE_UNIFIED 32 /* RFC 9147 §4 */

#define VP_SHORTEST 14 /* of all that a client sends: a record of one byte */

#define VP_RTP_HEADER	     12
#define VP_RTP_EXTENSION     0x10 /* of the first byte */
#define VP_SRTP_MIN_TAG	     4	  /* AES_CM_128_HMAC_SHA1_32 (RFC 5764 §4.1.2) */
#define VP_SRTCP_MIN_TRAILER 8	  /* index and tag (RFC 3711 §3.4) */
#define VP_IS_RTCP(second)   (((second)&0xe0) == 0xc0)

#define VP_DTLS_HEADER	       13   /* RFC 6347 §4.1; its length comes last */
#define VP_DTLS_MAJOR	       0xfe /* of every version, 1.3's records without encryption included */
#define VP_DTLS_LONG_SEQUENCE  0x08 /* S and L of 001CSLEE (RFC 9147 §4) */
#define VP_DTLS_HAS_LENGTH     0x04
#define VP_DTLS_MIN_CIPHERTEXT 16

#define VP_UFRAG_CHARS 28

#endif
