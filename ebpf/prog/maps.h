/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Part of relay_xdp.c: all state, and only here. Maps are made and pinned by userspace
 * (ebpf/pins.py), which gives them their sizes and flags; what is declared here is how the program
 * names and types them. Each has a sentence: key → value; who writes; who reads.
 */
#ifndef VOXPOP_MAPS_H
#define VOXPOP_MAPS_H

#include "layout.h"

/*
 * BCC opens what is pinned by its number, which takes CAP_SYS_ADMIN. To compile alone, any maps of
 * these types do; who loads the program puts the pinned ones in their places.
 */
#ifdef VOXPOP_PIN_DIR
#define VP_MAP(kind, key, value, name) \
	BPF_TABLE_PINNED(kind, key, value, name, 1, VOXPOP_PIN_DIR "/" #name)
#define VP_DEVMAP "devmap:" VOXPOP_PIN_DIR "/egresses"
#else
#define VP_MAP(kind, key, value, name) BPF_TABLE(kind, key, value, name, 1)
#define VP_DEVMAP		       "devmap"
#endif

/*
 * 0 → struct vp_config, all that the relay tells the program; the relay; every packet. Typed as one
 * word: BCC generates code for each field of a value, and takes half a minute for these.
 */
VP_MAP("array", __u32, __u64, config);

/* Group → tags of its sixteen slots; the relay, by voxpop_index; each packet upstream. */
VP_MAP("array", __u32, struct vp_group, groups4);
VP_MAP("array", __u32, struct vp_group, groups6);

/* Bucket → slots and tags of clients that are in none of their groups; the same; new clients. */
VP_MAP("array", __u32, struct vp_bucket, index4);
VP_MAP("array", __u32, struct vp_bucket, index6);

/*
 * Slot, which is backbone index * 65536 + NAT port → its flow, upstream; the relay, what is counted
 * and stamped by the program; each packet of a flow upstream.
 */
VP_MAP("array", __u32, struct vp_up4, upstream4);
VP_MAP("array", __u32, struct vp_up6, upstream6);

/* Slot → its flow, downstream; the same; each packet of a flow downstream. */
VP_MAP("array", __u32, struct vp_down4, downstream4);
VP_MAP("array", __u32, struct vp_down6, downstream6);

/*
 * Slot → what is seldom needed of its flow; the relay, what is counted by the program; binding
 * requests, and each 255th packet upstream.
 */
VP_MAP("array", __u32, struct vp_flow_aux, flow_aux4);
VP_MAP("array", __u32, struct vp_flow_aux, flow_aux6);

/* Number → address, port and next hop of a transceiver; the relay; each packet upstream. */
VP_MAP("array", __u32, struct vp_transceiver4, transceivers4);
VP_MAP("array", __u32, struct vp_transceiver6, transceivers6);

/* Number → interface; the relay; each rewritten packet. */
BPF_XDP_REDIRECT_MAP(VP_DEVMAP, __u32, egresses, 1);

/* Family and reason → packets and bytes, per CPU; the program; metrics and inspection. */
VP_MAP("percpu_array", __u32, struct vp_counter, counters);

/* 0 → debt of all sources together; the program; each punt. */
VP_MAP("array", __u32, struct vp_debt, punt_total);

/*
 * Source → its debt; the program; each punt. An LRU, as forgetting a source only lets it start
 * afresh, and the total still holds.
 */
VP_MAP("lru_hash", struct vp_source, struct vp_debt, punt_sources);

/* Cell → debt of the tokens that it is a cell of; the program; each punt of a token. */
VP_MAP("array", __u32, struct vp_token_debt, punt_tokens);

#endif
