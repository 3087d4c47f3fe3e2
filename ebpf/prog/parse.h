/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Finding things in a frame. Pure functions over [data, end): they also compile on the host, where
 * they are tested and fuzzed. Each checks its own bounds and says false, or NULL, for what is not
 * there.
 */
#ifndef VOXPOP_PARSE_H
#define VOXPOP_PARSE_H

#include "wire.h"

struct vp_l2 {
	void *eth;
	void *l3;
	__u16 type; /* of what is at l3, network order */
	__u16 tags;
};

/* Ethernet with up to VP_MAX_TAGS tags; a third tag shows as the type. */
VP_INLINE _Bool vp_parse_l2(void *data, void *end, struct vp_l2 *l2)
{
	struct vp_eth *eth = data;

	if ((void *)(eth + 1) > end)
		return 0;
	l2->eth = eth;
	l2->l3 = eth + 1;
	l2->type = eth->type;
	l2->tags = 0;
#pragma unroll
	for (int i = 0; i < VP_MAX_TAGS; i++) {
		struct vp_tag *tag = l2->l3;

		if (l2->type != VP_ETH_8021Q && l2->type != VP_ETH_8021AD)
			break;
		if ((void *)(tag + 1) > end)
			return 0;
		l2->l3 = tag + 1;
		l2->type = tag->type;
		l2->tags++;
	}
	return 1;
}

/*
 * Whether lengths agree: UDP within IP within the frame. The frame may be longer (Ethernet
 * padding). Lengths are not added to pointers, as the verifier of Linux 6.1 knows no bounds of a
 * swapped one.
 */
VP_INLINE _Bool vp_lengths_agree(void *l3, void *end, struct vp_udp *udp, __u32 l3_bytes)
{
	__u64 udp_bytes = VP_BSWAP16(udp->len);

	return udp_bytes >= sizeof(*udp) && (void *)udp - l3 + udp_bytes <= l3_bytes &&
	       l3_bytes <= (__u64)(end - l3);
}

/* The UDP header behind IPv4 options; NULL where there is none. */
VP_INLINE struct vp_udp *vp_udp_behind_options(struct vp_ipv4 *ip, void *end)
{
	__u32 header = (ip->version_ihl & 0xf) * 4;
	struct vp_udp *udp = (void *)ip + header;

	if (ip->version_ihl >> 4 != 4 || header < sizeof(*ip) || (void *)(udp + 1) > end)
		return 0;
	return udp;
}

struct vp_extensions {
	struct vp_udp *udp; /* NULL: not UDP, hidden by a later fragment, or too deep */
	_Bool fragment;
};

/* Walk an IPv6 header chain to UDP (RFC 8200 §4). */
VP_INLINE struct vp_extensions vp_walk_extensions(struct vp_ipv6 *ip, void *end)
{
	struct vp_extensions found = {};
	__u8 *header = (void *)(ip + 1);
	__u8 next = ip->next;

#pragma unroll
	for (int i = 0; i < VP_MAX_EXTENSIONS; i++) {
		__u32 bytes;

		if (next == VP_PROTO_UDP || (void *)(header + 8) > end)
			break;
		if (next == VP_IPV6_FRAGMENT) {
			found.fragment = 1;
			bytes = 8;
			if (*(__u16 *)(header + 2) & VP_IPV6_OFFSET)
				return found;
		} else if (next == VP_IPV6_AUTH) {
			bytes = (header[1] + 2) * 4;
		} else if (next == VP_IPV6_HOP_BY_HOP || next == VP_IPV6_ROUTING ||
			   next == VP_IPV6_DESTINATION) {
			bytes = (header[1] + 1) * 8;
		} else {
			return found;
		}
		next = header[0];
		header += bytes;
	}
	if (next == VP_PROTO_UDP && (void *)(header + sizeof(struct vp_udp)) <= end)
		found.udp = (void *)header;
	return found;
}

enum vp_kind {
	VP_KIND_OTHER,
	VP_KIND_STUN, /* any STUN; whether a binding request, vp_is_binding_request() says */
	VP_KIND_DTLS,
	VP_KIND_MEDIA,
};

/* RFC 7983 §7, of a payload's first byte. */
VP_INLINE enum vp_kind vp_kind_of(__u8 first)
{
	if (first <= VP_FIRST_BYTE_STUN_LAST)
		return VP_KIND_STUN;
	if (first >= VP_FIRST_BYTE_DTLS_FIRST && first <= VP_FIRST_BYTE_DTLS_LAST)
		return VP_KIND_DTLS;
	if (first >= VP_FIRST_BYTE_MEDIA_FIRST && first <= VP_FIRST_BYTE_MEDIA_LAST)
		return VP_KIND_MEDIA;
	return VP_KIND_OTHER;
}

VP_INLINE __u64 vp_read16(const __u8 *at)
{
	return VP_BSWAP16(*(__u16 *)at);
}

/*
 * How many bytes a datagram of SRTP or SRTCP has at least, by its header: that of RTP with its
 * sources and its extension (RFC 3550 §5.1, §5.3.1), or the first packet of RTCP (§6.1), all of it
 * in clear (RFC 3711 §3), and the shortest tag. `limit` is what is certainly too much.
 */
VP_INLINE __u64 vp_media_bytes(const __u8 *payload, void *end, __u64 limit)
{
	const __u8 *extension = payload + (payload[0] & 0xf) * 4;
	__u64 bytes;

	if (VP_IS_RTCP(payload[1]))
		return 4 + vp_read16(payload + 2) * 4 + VP_SRTCP_MIN_TRAILER;
	bytes = VP_RTP_HEADER + (payload[0] & 0xf) * 4 + VP_SRTP_MIN_TAG;
	if (!(payload[0] & VP_RTP_EXTENSION))
		return bytes;
	if ((void *)(extension + VP_RTP_HEADER + 4) > end)
		return limit;
	return bytes + 4 + vp_read16(extension + VP_RTP_HEADER + 2) * 4;
}

/* The same of a record in DTLS 1.3's header, 001CSLEE (RFC 9147 §4). Without a length it has at
 * least what encrypting its number takes (§4.2.3). */
VP_INLINE __u64 vp_unified_bytes(const __u8 *payload)
{
	__u64 header = payload[0] & VP_DTLS_LONG_SEQUENCE ? 3 : 2;
	__u32 behind = VP_BSWAP32(*(__u32 *)(payload + 1)) << (header - 2) * 8;

	if (!(payload[0] & VP_DTLS_HAS_LENGTH))
		return header + VP_DTLS_MIN_CIPHERTEXT;
	return header + 2 + (behind >> 8 & 0xffff);
}

/* Of first bytes, a bit for each four: all that is told apart by them begins and ends with fours.
 * Connection ids (C of 001CSLEE) have to be agreed on, which WebRTC does not. */
#define VP_FIRST_STUN	 0x0000000000000001ULL
#define VP_FIRST_RECORD	 0x00000000000000e0ULL
#define VP_FIRST_UNIFIED 0x0000000000000f00ULL
#define VP_FIRST_MEDIA	 0x0000ffff00000000ULL
/* The same of second bytes of media: payload types 64-95 are RTCP's (RFC 5761 §4), which has the
 * marker's bit set. */
#define VP_SECOND_MEDIA 0xffffffffff00ffffULL

/* Whether two bytes may begin any kind; without a branch for each, as a flood's are random. */
VP_INLINE _Bool vp_may_begin(__u64 first, __u64 second)
{
	__u64 media = VP_FIRST_MEDIA >> (first >> 2) & VP_SECOND_MEDIA >> (second >> 2);
	__u64 record = VP_FIRST_RECORD >> (first >> 2) & ((second ^ VP_DTLS_MAJOR) - 1) >> 63;

	return (media | record | (VP_FIRST_STUN | VP_FIRST_UNIFIED) >> (first >> 2)) & 1;
}

/*
 * Whether a datagram begins as STUN, DTLS or media do, and has the bytes that its first header
 * speaks of. core/demux.py says the same. What is random hardly ever does, and is spared the
 * look-ups; what a transceiver could take always does.
 */
VP_INLINE _Bool vp_is_well_formed(struct vp_udp *udp, void *end)
{
	__u8 *payload = (void *)(udp + 1);
	__u64 bytes = VP_BSWAP16(udp->len) - sizeof(*udp);

	if ((void *)(payload + VP_SHORTEST) > end || bytes < VP_SHORTEST ||
	    !vp_may_begin(payload[0], payload[1]))
		return 0;
	if (payload[0] >= VP_FIRST_BYTE_MEDIA_FIRST)
		return vp_media_bytes(payload, end, bytes + 1) <= bytes;
	if (payload[0] >= VP_FIRST_BYTE_UNIFIED)
		return vp_unified_bytes(payload) <= bytes;
	if (payload[0] >= VP_FIRST_BYTE_DTLS_FIRST)
		return VP_DTLS_HEADER + vp_read16(payload + VP_DTLS_HEADER - 2) <= bytes;
	return bytes >= sizeof(struct vp_stun) &&
	       ((struct vp_stun *)payload)->cookie == VP_STUN_COOKIE;
}

VP_INLINE _Bool vp_is_binding_request(struct vp_udp *udp, void *end)
{
	struct vp_stun *stun = (void *)(udp + 1);

	return (void *)(stun + 1) <= end && stun->type == VP_STUN_BINDING_REQUEST &&
	       stun->cookie == VP_STUN_COOKIE &&
	       VP_BSWAP16(udp->len) >= sizeof(*udp) + sizeof(*stun);
}

enum vp_ufrag_result {
	VP_UFRAG_FOUND,
	VP_UFRAG_MALFORMED,
	VP_UFRAG_NO_USERNAME,
	VP_UFRAG_BAD_LENGTH,
};

/* The receiver's ufrag, as the little-endian words that vp_open_token() and vp_ufrag_mark() take.
 */
struct vp_ufrag {
	__u64 chars[3];
	__u32 last;
};

/*
 * The first 28 characters of USERNAME, which a colon must follow (RFC 8445 §7.2.2). Attributes come
 * in any order (libjuice, libnice); those behind MESSAGE-INTEGRITY are not ours to judge, the
 * relay does.
 */
VP_INLINE enum vp_ufrag_result vp_find_ufrag(struct vp_udp *udp, void *end, struct vp_ufrag *ufrag)
{
	struct vp_stun *stun = (void *)(udp + 1);
	__u32 size = VP_BSWAP16(stun->len);
	__u32 offset = 0;

	if (size & 3 || size > VP_STUN_MAX_BYTES ||
	    size + sizeof(*stun) + sizeof(*udp) != VP_BSWAP16(udp->len))
		return VP_UFRAG_MALFORMED;
#pragma clang loop unroll(disable)
	for (int i = 0; i < VP_STUN_MAX_ATTRIBUTES; i++) {
		struct vp_stun_attribute *attribute = (void *)(stun + 1) + (offset & 0x7ff);
		__u64 *value = (void *)(attribute + 1);
		__u32 length;

		if (offset >= size)
			return VP_UFRAG_NO_USERNAME;
		if ((void *)value > end)
			return VP_UFRAG_MALFORMED;
		length = VP_BSWAP16(attribute->len);
		if (offset + sizeof(*attribute) + length > size)
			return VP_UFRAG_MALFORMED;
		if (attribute->type == VP_STUN_USERNAME) {
			if (length <= VP_UFRAG_CHARS || (void *)value + VP_UFRAG_CHARS + 1 > end ||
			    ((char *)value)[VP_UFRAG_CHARS] != ':')
				return VP_UFRAG_BAD_LENGTH;
			ufrag->chars[0] = value[0];
			ufrag->chars[1] = value[1];
			ufrag->chars[2] = value[2];
			ufrag->last = *(__u32 *)(value + 3);
			return VP_UFRAG_FOUND;
		}
		offset += sizeof(*attribute) + ((length + 3) & ~3u);
	}
	return VP_UFRAG_MALFORMED;
}

#endif
