/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Every way in which a packet can end. Each packet is counted under exactly one reason, so the
 * counters add up to the packets seen. The names are metric labels; ebpf/verdict.py has them too,
 * held equal by a test, and says what each means.
 *
 * A new reason goes to the end, as the number of each is a place in pinned counters. One that is no
 * longer used keeps its place.
 */
#ifndef VOXPOP_VERDICT_H
#define VOXPOP_VERDICT_H

#define VP_REASON_LIST(X)                                       \
	X(FORWARD_UP, REDIRECT, "forward_upstream")             \
	X(FORWARD_DOWN, REDIRECT, "forward_downstream")         \
	X(PUNT_TOKEN, PASS, "punt_token")                       \
	X(PUNT_UFRAG, PASS, "punt_other_ufrag")                 \
	X(PUNT_MEDIA, PASS, "punt_media")                       \
	X(PASS_NOT_IP, PASS, "pass_not_ip")                     \
	X(PASS_NOT_UDP, PASS, "pass_not_udp")                   \
	X(PASS_NOT_OURS, PASS, "pass_not_ours")                 \
	X(DROP_MALFORMED, DROP, "drop_malformed")               \
	X(DROP_FRAGMENT, DROP, "drop_fragment")                 \
	X(DROP_OPTIONS, DROP, "drop_ip_options")                \
	X(DROP_NO_CHECKSUM, DROP, "drop_no_checksum")           \
	X(DROP_TTL, DROP, "drop_ttl")                           \
	X(DROP_TOO_BIG, DROP, "drop_too_big")                   \
	X(DROP_NO_NEXTHOP, DROP, "drop_no_nexthop")             \
	X(DROP_NO_EGRESS, DROP, "drop_no_egress")               \
	X(DROP_NO_HEADROOM, DROP, "drop_no_headroom")           \
	X(DROP_WRONG_SIDE, DROP, "drop_wrong_side")             \
	X(DROP_NO_FLOW, DROP, "drop_no_flow")                   \
	X(DROP_WRONG_PEER, DROP, "drop_wrong_peer")             \
	X(DROP_NOT_WEBRTC, DROP, "drop_not_webrtc")             \
	X(DROP_STUN_MALFORMED, DROP, "drop_stun_malformed")     \
	X(DROP_NO_USERNAME, DROP, "drop_token_no_username")     \
	X(DROP_TOKEN_LENGTH, DROP, "drop_token_bad_length")     \
	X(DROP_TOKEN_ALPHABET, DROP, "drop_token_bad_alphabet") \
	X(DROP_TOKEN_VERSION, DROP, "drop_token_bad_version")   \
	X(DROP_TOKEN_KEY, DROP, "drop_token_unknown_key")       \
	X(DROP_TOKEN_TAG, DROP, "drop_token_bad_tag")           \
	X(DROP_TOKEN_EXPIRED, DROP, "drop_token_expired")       \
	X(DROP_NO_CLOCK, DROP, "drop_no_clock")                 \
	X(DROP_SOURCE_BUDGET, DROP, "drop_source_budget")       \
	X(DROP_TOTAL_BUDGET, DROP, "drop_total_budget")         \
	X(DROP_INTERNAL, DROP, "drop_internal")                 \
	X(DROP_TOKEN_BUDGET, DROP, "drop_token_budget")         \
	X(DROP_EMERGENCY_MEDIA, DROP, "drop_emergency_media")   \
	X(DROP_EMERGENCY_PORT, DROP, "drop_emergency_port")     \
	X(PUNT_CONTESTED, PASS, "punt_contested")

#define VP_REASON_ENUM(name, action, label) VP_##name,

enum vp_reason {
	VP_REASON_LIST(VP_REASON_ENUM) VP_REASONS,
};

/*
 * Counters come in a block of as many for each family, so that a new reason fits the map that is
 * pinned already. It is the bits of vp_action()'s word as well: where it ends, both have to change,
 * and SCHEMA_VERSION with them.
 */
#define VP_REASON_STRIDE 64
_Static_assert(VP_REASONS <= VP_REASON_STRIDE, "no counter is left for another reason");

enum vp_family {
	VP_FAMILY_NONE,
	VP_FAMILY_IPV4,
	VP_FAMILY_IPV6,
	VP_FAMILIES,
};

#define VP_COUNTERS (VP_REASON_STRIDE * VP_FAMILIES)

#endif
