// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Compiled behind relay_xdp.c: the generator and the sink of tests/bench/bench_lab.py, and the
 * limit that it compares with.
 *
 * Frames of a live run are used again and again, so the generator writes every field that is
 * changed on the way. Its packets are whole: the sink verifies the header checksum of each.
 */

struct lab_bench {
	__u64 seed;
	__u64 arrived;
	__u64 wrong;
	__u32 flows;
	__u32 dst; /* of the packets sent, and below of those that the sink expects */
	__u32 sink_dst;
	__u16 dst_port; /* network order, as the addresses */
	__u16 sink_port;
	__u16 ip_check; /* of a packet of flow 0 */
	__u16 udp_check;
	__u8 macs[12];	    /* as sent */
	__u8 way_macs[12];  /* as redirected by the limit */
	__u8 back_macs[12]; /* the same, of the way back */
	/* Of a flood: eight bytes of each frame are drawn anew, at `random_at`; 0: none are. */
	__u64 random_base;
	__u64 random_mask;
	__u32 random_at;
	__u32 first_source;
};

VP_MAP("array", __u32, struct lab_bench, lab_bench);

#define LAB_CLIENTS                                                                  \
	0x64000000 /* 100.0.0.0 and up, four ports of each, as in fastpath_harness.c \
		    */
#define LAB_PORT      40000
#define LAB_NAT_FIRST 4096

struct lab_packet {
	struct vp_eth eth;
	struct vp_ipv4 ip;
	struct vp_udp udp;
} __attribute__((packed));

VP_INLINE int lab_send(struct xdp_md *ctx, struct lab_bench *state, __u32 first)
{
	struct lab_packet *packet = (void *)(long)ctx->data;
	__u32 flow, src, delta;
	__u16 port;

	if ((void *)(packet + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	state->seed = state->seed * 6364136223846793005ULL + 1442695040888963407ULL;
	flow = (state->seed >> 32) * state->flows >> 32;
	src = VP_BSWAP32(first + (flow >> 2));
	port = VP_BSWAP16(LAB_PORT + (flow & 3));
	delta = (src & 0xffff) + (src >> 16) + (__u16) ~(VP_BSWAP32(LAB_CLIENTS) & 0xffff) +
		(__u16) ~(VP_BSWAP32(LAB_CLIENTS) >> 16);
	__builtin_memcpy(packet, state->macs, 12);
	packet->ip.ttl = 64;
	packet->ip.src = src;
	packet->ip.dst = state->dst;
	packet->ip.check = vp_csum_apply(state->ip_check, delta);
	packet->udp.src = port;
	packet->udp.dst = state->dst_port;
	packet->udp.check =
		vp_csum_apply(state->udp_check, delta + port + (__u16)~VP_BSWAP16(LAB_PORT));
	return XDP_TX;
}

int lab_generate(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct lab_bench *state = lab_bench.lookup(&zero);

	return state ? lab_send(ctx, state, LAB_CLIENTS) : XDP_ABORTED;
}

/* Of strangers: tags that are wrong in another way each time, payloads of nothing. */
int lab_flood(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct lab_bench *state = lab_bench.lookup(&zero);
	__u64 *drawn;

	if (!state || lab_send(ctx, state, state->first_source) != XDP_TX)
		return XDP_ABORTED;
	if (state->random_at) {
		drawn = (void *)(long)ctx->data + (state->random_at & 0xff);
		if ((void *)(drawn + 1) > (void *)(long)ctx->data_end)
			return XDP_ABORTED;
		*drawn = state->random_base +
			 ((state->seed ^ state->seed >> 29) & state->random_mask);
	}
	return XDP_TX;
}

/* To the region (egress 0) or back (1), with nothing changed but MACs. */
VP_INLINE int lab_redirect(struct xdp_md *ctx, __u32 egress, _Bool touch_record)
{
	struct lab_packet *packet = (void *)(long)ctx->data;
	__u32 zero = 0, index;
	struct lab_bench *state = lab_bench.lookup(&zero);
	struct vp_up4 *flow;

	if (!state || (void *)(packet + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	if (packet->ip.protocol != VP_PROTO_UDP)
		return XDP_PASS;
	if (touch_record) {
		index = LAB_NAT_FIRST + ((VP_BSWAP32(packet->ip.src) - LAB_CLIENTS) << 2) +
			(VP_BSWAP16(packet->udp.src) - LAB_PORT);
		flow = upstream4.lookup(&index);
		if (flow)
			flow->common.counts++;
	}
	__builtin_memcpy(packet, egress ? state->back_macs : state->way_macs, 12);
	return egresses.redirect_map(egress, XDP_DROP);
}

int lab_limit(struct xdp_md *ctx)
{
	return lab_redirect(ctx, 0, 0);
}

/* With the memory of a flow's record: what whoever counts by flow pays on this machine. */
int lab_limit_record(struct xdp_md *ctx)
{
	return lab_redirect(ctx, 0, 1);
}

int lab_limit_back(struct xdp_md *ctx)
{
	return lab_redirect(ctx, 1, 0);
}

int lab_pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}

/* A transceiver that answers with what it got; sums stay right when addresses are swapped. */
int lab_echo(struct xdp_md *ctx)
{
	struct lab_packet *packet = (void *)(long)ctx->data;
	__u8 mac[6];
	__u32 addr;
	__u16 port;

	if ((void *)(packet + 1) > (void *)(long)ctx->data_end || packet->eth.type != VP_ETH_IPV4 ||
	    packet->ip.protocol != VP_PROTO_UDP)
		return XDP_PASS;
	__builtin_memcpy(mac, packet->eth.dst, 6);
	__builtin_memcpy(packet->eth.dst, packet->eth.src, 6);
	__builtin_memcpy(packet->eth.src, mac, 6);
	addr = packet->ip.dst;
	packet->ip.dst = packet->ip.src;
	packet->ip.src = addr;
	port = packet->udp.dst;
	packet->udp.dst = packet->udp.src;
	packet->udp.src = port;
	return XDP_TX;
}

/* What it costs the PoP to receive, and no more. */
int lab_drop(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct lab_bench *state = lab_bench.lookup(&zero);

	if (state)
		state->arrived++;
	return XDP_DROP;
}

int lab_sink(struct xdp_md *ctx)
{
	struct lab_packet *packet = (void *)(long)ctx->data;
	__u32 zero = 0, sum = 0;
	struct lab_bench *state = lab_bench.lookup(&zero);
	__u16 *word = (void *)&packet->ip;

	if (!state || (void *)(packet + 1) > (void *)(long)ctx->data_end)
		return XDP_PASS;
	if (packet->eth.type != VP_ETH_IPV4 || packet->ip.protocol != VP_PROTO_UDP)
		return XDP_PASS; /* ARP */
#pragma unroll
	for (int i = 0; i < 10; i++)
		sum += word[i];
	sum = (sum & 0xffff) + (sum >> 16);
	if (packet->ip.dst != state->sink_dst || packet->udp.dst != state->sink_port ||
	    (__u16)(sum + (sum >> 16)) != 0xffff)
		state->wrong++;
	else
		state->arrived++;
	return XDP_DROP;
}
