// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Compiled behind relay_xdp.c, whose entry it calls as a function.
 *
 * A test run that is repeated hands the program what it left of the packet the time before, so each
 * iteration draws a flow at random and writes back every header field that the program changes.
 * What that costs is measured too, by bench_nothing.
 */

struct bench {
	__u64 seed;
	__u64 wrong; /* runs that did not end as expected */
	__u32 flows;
	__u32 pad;
};

VP_MAP("array", __u32, struct bench, bench);

/* As tests/bench/bench_fastpath.py numbers them. */
#define BENCH_CLIENTS	0x64000000 /* 100.0.0.0 and up: four ports of each address */
#define BENCH_STRANGERS 0x65000000
#define BENCH_PORT	40000
#define BENCH_VIP	0x0a000001
#define BENCH_VIP_PORT	3478
#define BENCH_BACKBONE	0x0a010001 /* 10.1.n.1 */
#define BENCH_NAT_FIRST 4096
#define BENCH_NAT_PORTS 61440
#define BENCH_PEER	0x0a020001
#define BENCH_PEER_PORT 40007

struct bench_packet {
	struct vp_eth eth;
	struct vp_ipv4 ip;
	struct vp_udp udp;
} __attribute__((packed));

VP_INLINE __u32 bench_draw(struct bench *state)
{
	state->seed = state->seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (state->seed >> 32) * state->flows >> 32;
}

VP_INLINE void bench_restore(struct xdp_md *ctx, __u32 src, __u16 sport, __u32 dst, __u16 dport)
{
	struct bench_packet *packet = (void *)(long)ctx->data;

	if ((void *)(packet + 1) > (void *)(long)ctx->data_end)
		return;
	__builtin_memset(&packet->eth, 0, 12);
	packet->ip.ttl = 64;
	packet->ip.check = 0x1234;
	packet->ip.src = VP_BSWAP32(src);
	packet->ip.dst = VP_BSWAP32(dst);
	packet->udp.src = VP_BSWAP16(sport);
	packet->udp.dst = VP_BSWAP16(dport);
	packet->udp.check = 0x5678;
}

VP_INLINE int bench_client(struct xdp_md *ctx, __u32 clients, int expected, _Bool process)
{
	__u32 zero = 0;
	struct bench *state = bench.lookup(&zero);
	__u32 flow;

	if (!state)
		return XDP_ABORTED;
	flow = bench_draw(state);
	bench_restore(ctx, clients + (flow >> 2), BENCH_PORT + (flow & 3), BENCH_VIP,
		      BENCH_VIP_PORT);
	if (process && vp_process(ctx, 1) != expected)
		state->wrong++;
	return XDP_TX;
}

int bench_tx(struct xdp_md *ctx)
{
	return XDP_TX;
}

int bench_nothing(struct xdp_md *ctx)
{
	return bench_client(ctx, BENCH_CLIENTS, 0, 0);
}

/* The memory of a flow's record and no program: what this machine's caches and TLB cost at least.
 */
int bench_record(struct xdp_md *ctx)
{
	__u32 zero = 0, flow, index;
	struct bench *state = bench.lookup(&zero);
	struct vp_up4 *flow_up;

	if (!state)
		return XDP_ABORTED;
	flow = bench_draw(state);
	bench_restore(ctx, BENCH_PEER, BENCH_PEER_PORT, BENCH_BACKBONE, BENCH_NAT_FIRST);
	index = (flow / BENCH_NAT_PORTS << 16) + BENCH_NAT_FIRST + flow % BENCH_NAT_PORTS;
	flow_up = upstream4.lookup(&index);
	if (flow_up)
		flow_up->common.counts++;
	return XDP_TX;
}

int bench_forward(struct xdp_md *ctx)
{
	return bench_client(ctx, BENCH_CLIENTS, XDP_REDIRECT, 1);
}

int bench_new_valid(struct xdp_md *ctx)
{
	return bench_client(ctx, BENCH_STRANGERS, XDP_PASS, 1);
}

int bench_new_forged(struct xdp_md *ctx)
{
	return bench_client(ctx, BENCH_STRANGERS, XDP_DROP, 1);
}

int bench_downstream(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct bench *state = bench.lookup(&zero);
	__u32 flow;

	if (!state)
		return XDP_ABORTED;
	flow = bench_draw(state);
	bench_restore(ctx, BENCH_PEER, BENCH_PEER_PORT,
		      BENCH_BACKBONE + (flow / BENCH_NAT_PORTS << 8),
		      BENCH_NAT_FIRST + flow % BENCH_NAT_PORTS);
	if (vp_process(ctx, 1) != XDP_REDIRECT)
		state->wrong++;
	return XDP_TX;
}
