// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Compiled behind relay_xdp.c, whose entry it calls as a function: packets of flows that another
 * process begins and ends all the while (churner.py), millions in one test run.
 *
 * Each iteration draws a flow and a direction at random, writes the packet afresh, lets the program
 * judge it, and looks at what came of it. Where a packet has to go follows from where it is from,
 * by the numbers of churner.py, so a wrong address shows without a look at the maps. NAT ports
 * alone are the relay's to choose: the harness learns them from upstream packets, as a transceiver
 * does.
 */

struct churn {
	__u64 seed;
	__u64 right[2];	 /* forwarded to the right address, by direction */
	__u64 absent[2]; /* dropped or passed up: no such flow at that moment */
	__u64 wrong[2];
	__u32 payload_sum;
	__u32 wrong_number; /* of the last wrong packet: its flow, */
	__u32 wrong_host;   /* and where it would have gone */
	__u32 wrong_port;
};

VP_MAP("array", __u32, struct churn, churn);
VP_MAP("array", __u32, __u32, churn_ports);  /* flow → its NAT port when last seen */
VP_MAP("array", __u32, __u32, churn_owners); /* NAT port → the flow last seen there */

/* As churner.py numbers them. */
#define CHURN_FLOWS	  64 /* of each family */
#define CHURN_FIRST_PORT  4096
#define CHURN_PORTS	  4096
#define CHURN_CLIENT4	  0xcb007100 /* 203.0.113.n */
#define CHURN_CLIENT6	  0x000c
#define CHURN_CLIENT_PORT 5000
#define CHURN_PEER4	  0x0a140000 /* 10.20.0.n */
#define CHURN_PEER6	  0x0020
#define CHURN_PEER_PORT	  40000
#define CHURN_VIP4	  0xc6336401 /* 198.51.100.1 */
#define CHURN_VIP6	  0x000f
#define CHURN_VIP_PORT	  3478
#define CHURN_BACKBONE4	  0xc000020a /* 192.0.2.10 */
#define CHURN_BACKBONE6	  0x000b
#define CHURN_TTL	  64

struct churn_end {
	__u32 addr[4]; /* IPv4 in the first word */
	__u16 port;
};

struct churn_draw {
	__u32 number; /* of the flow */
	__u16 nat_port;
	__u8 direction;
};

struct churn_headers {
	struct vp_ipv4 *ip4; /* one of the two */
	struct vp_ipv6 *ip6;
	struct vp_udp *udp;
};

/* 2001:db8:<net>::<host>, or the IPv4 address `host4`. */
VP_INLINE void churn_name(struct churn_end *end, _Bool six, __u32 host4, __u32 net, __u32 host6,
			  __u16 port)
{
	end->addr[0] = VP_BSWAP32(six ? 0x20010db8 : host4);
	end->addr[1] = six ? VP_BSWAP32(net << 16) : 0;
	end->addr[2] = 0;
	end->addr[3] = six ? VP_BSWAP32(host6) : 0;
	end->port = VP_BSWAP16(port);
}

VP_INLINE void churn_client(struct churn_end *end, _Bool six, __u32 number)
{
	churn_name(end, six, CHURN_CLIENT4 + number + 1, CHURN_CLIENT6, number + 1,
		   CHURN_CLIENT_PORT + number);
}

VP_INLINE void churn_peer(struct churn_end *end, _Bool six, __u32 number)
{
	churn_name(end, six, CHURN_PEER4 + number + 1, CHURN_PEER6, number + 1,
		   CHURN_PEER_PORT + number);
}

VP_INLINE void churn_vip(struct churn_end *end, _Bool six)
{
	churn_name(end, six, CHURN_VIP4, CHURN_VIP6, 1, CHURN_VIP_PORT);
}

VP_INLINE void churn_backbone(struct churn_end *end, _Bool six, __u16 nat_port)
{
	churn_name(end, six, CHURN_BACKBONE4, CHURN_BACKBONE6, 0x10, nat_port);
}

VP_INLINE _Bool churn_headers_of(struct xdp_md *ctx, _Bool six, struct churn_headers *to)
{
	void *l3 = (void *)(long)ctx->data + sizeof(struct vp_eth);

	to->ip4 = l3;
	to->ip6 = l3;
	to->udp = l3 + (six ? sizeof(struct vp_ipv6) : sizeof(struct vp_ipv4));
	return (void *)(to->udp + 1) <= (void *)(long)ctx->data_end;
}

VP_INLINE __u16 churn_fold(__u64 sum)
{
#pragma unroll
	for (int i = 0; i < 4; i++)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

VP_INLINE __u64 churn_words(const __u32 *words, int count)
{
	__u64 sum = 0;

#pragma unroll
	for (int i = 0; i < count; i++)
		sum += words[i];
	return sum;
}

VP_INLINE __u16 churn_ip_sum(struct churn_headers *at)
{
	return churn_fold(churn_words((void *)at->ip4, 5));
}

/* The whole UDP sum, of pseudo header, header and payload. */
VP_INLINE __u16 churn_udp_sum(struct churn_headers *at, _Bool six, __u32 payload_sum)
{
	__u64 sum = payload_sum + VP_BSWAP16(VP_PROTO_UDP) + at->udp->len;

	sum += six ? churn_words(at->ip6->src, 8) : churn_words(&at->ip4->src, 2);
	return churn_fold(sum + churn_words((void *)at->udp, 2));
}

VP_INLINE void churn_write(struct churn_headers *at, _Bool six, const struct churn_end *from,
			   const struct churn_end *to, __u32 payload_sum)
{
	at->udp->src = from->port;
	at->udp->dst = to->port;
	if (six) {
		at->ip6->hop_limit = CHURN_TTL;
		__builtin_memcpy(at->ip6->src, from->addr, sizeof(from->addr));
		__builtin_memcpy(at->ip6->dst, to->addr, sizeof(to->addr));
	} else {
		at->ip4->ttl = CHURN_TTL;
		at->ip4->src = from->addr[0];
		at->ip4->dst = to->addr[0];
		at->ip4->check = 0;
		at->ip4->check = ~churn_ip_sum(at);
	}
	at->udp->check = 0;
	at->udp->check = ~churn_udp_sum(at, six, payload_sum);
	if (!at->udp->check)
		at->udp->check = 0xffff;
}

VP_INLINE _Bool churn_is(const __u32 *addr, __u16 port, const struct churn_end *end, _Bool six)
{
	return port == end->port && (six ? vp_same6(addr, end->addr) : *addr == end->addr[0]);
}

VP_INLINE _Bool churn_arrived(struct churn_headers *at, _Bool six, const struct churn_end *from,
			      const struct churn_end *to, __u32 payload_sum)
{
	const __u32 *src = six ? at->ip6->src : &at->ip4->src;
	const __u32 *dst = six ? at->ip6->dst : &at->ip4->dst;
	__u8 ttl = six ? at->ip6->hop_limit : at->ip4->ttl;

	return churn_is(src, at->udp->src, from, six) && churn_is(dst, at->udp->dst, to, six) &&
	       ttl == CHURN_TTL - 1 && (six || churn_ip_sum(at) == 0xffff) &&
	       churn_udp_sum(at, six, payload_sum) == 0xffff;
}

/*
 * Downstream, mostly a flow's present NAT port; each eighth time any port, from the transceiver
 * that had it last, or of flow 0: what comes late, when the port rests, is written to, or is
 * another's.
 */
VP_INLINE _Bool churn_choose(struct churn *state, _Bool six, struct churn_draw *draw)
{
	__u32 bits, index, *found;

	state->seed = state->seed * 6364136223846793005ULL + 1442695040888963407ULL;
	bits = state->seed >> 32;
	draw->number = bits % CHURN_FLOWS;
	bits >>= 16;
	draw->direction = bits & 1 ? VP_DOWNSTREAM : VP_UPSTREAM;
	bits >>= 1;
	if (draw->direction == VP_UPSTREAM)
		return 1;
	if (bits % 8) {
		index = six * CHURN_FLOWS + draw->number;
		found = churn_ports.lookup(&index);
		draw->nat_port = found ? *found : 0;
		return draw->nat_port;
	}
	index = bits / 8 % CHURN_PORTS;
	draw->nat_port = CHURN_FIRST_PORT + index;
	index += six * CHURN_PORTS;
	found = churn_owners.lookup(&index);
	draw->number = found ? *found : 0;
	return 1;
}

/* What an upstream packet came from is where the transceiver answers to. */
VP_INLINE void churn_learn(_Bool six, __u32 number, __u16 nat_port)
{
	__u32 flow = six * CHURN_FLOWS + number, *port = churn_ports.lookup(&flow), *owner;
	__u32 index = six * CHURN_PORTS + (nat_port - CHURN_FIRST_PORT) % CHURN_PORTS;

	if (!port || *port == nat_port)
		return;
	*port = nat_port;
	owner = churn_owners.lookup(&index);
	if (owner)
		*owner = number;
}

VP_INLINE void churn_check(struct xdp_md *ctx, struct churn *state, _Bool six,
			   const struct churn_draw *draw)
{
	__u8 direction = draw->direction & 1;
	struct churn_end from, to;
	struct churn_headers at;

	if (!churn_headers_of(ctx, six, &at)) {
		state->wrong[direction]++;
		return;
	}
	if (direction == VP_UPSTREAM) {
		__u16 nat_port = VP_BSWAP16(at.udp->src);

		if ((__u16)(nat_port - CHURN_FIRST_PORT) >= CHURN_PORTS)
			nat_port = 0; /* which is nobody's */
		else
			churn_learn(six, draw->number, nat_port);
		churn_backbone(&from, six, nat_port);
		churn_peer(&to, six, draw->number);
	} else {
		churn_vip(&from, six);
		churn_client(&to, six, draw->number);
	}
	if (churn_arrived(&at, six, &from, &to, state->payload_sum)) {
		state->right[direction]++;
		return;
	}
	state->wrong[direction]++;
	state->wrong_number = draw->number;
	state->wrong_host = VP_BSWAP32(six ? at.ip6->dst[3] : at.ip4->dst);
	state->wrong_port = VP_BSWAP16(at.udp->dst);
}

VP_INLINE int churn_one(struct xdp_md *ctx, _Bool six)
{
	struct churn_draw draw = {};
	struct churn_end from, to;
	struct churn_headers at;
	struct churn *state;
	__u32 zero = 0;

	state = churn.lookup(&zero);
	if (!state || !churn_headers_of(ctx, six, &at))
		return XDP_ABORTED;
	if (!churn_choose(state, six, &draw)) {
		state->absent[VP_DOWNSTREAM]++;
		return XDP_TX;
	}
	if (draw.direction == VP_UPSTREAM) {
		churn_client(&from, six, draw.number);
		churn_vip(&to, six);
	} else {
		churn_peer(&from, six, draw.number);
		churn_backbone(&to, six, draw.nat_port);
	}
	churn_write(&at, six, &from, &to, state->payload_sum);
	if (vp_process(ctx, 1) == XDP_REDIRECT)
		churn_check(ctx, state, six, &draw);
	else
		state->absent[draw.direction & 1]++;
	return XDP_TX;
}

int churn4(struct xdp_md *ctx)
{
	return churn_one(ctx, 0);
}

int churn6(struct xdp_md *ctx)
{
	return churn_one(ctx, 1);
}
