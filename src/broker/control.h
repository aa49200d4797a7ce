/* Messages to the broker itself, below $CONTROL: kept for the host instead of being routed.
 *
 * The engine knows one such topic (env.control_topic). What clients publish there, if the policy
 * lets them, waits in the shard until the host takes it at the end of the turn; nobody who
 * subscribes gets it. The host's answer goes to the client that asked, and to nobody else. A shard
 * keeps a bounded number of them: beyond it PUBACK and PUBREC are 0x97.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BROKER_CONTROL_H
#define M5_BROKER_CONTROL_H

#include "base/list.h"

#include <mqtt5/packet.h>

struct m5_conn;
struct m5_shard;

#define M5_CONTROLS_MAX      64u
#define M5_CONTROL_BYTES_MAX 4194304u /* waiting in one shard */

struct m5_controls_waiting {
    struct m5_list requests;
    struct m5_list taken; /* the one that the host has: freed at its next call */
    uint32_t count;
    size_t bytes;
};

void m5_controls_init(struct m5_controls_waiting *waiting);
void m5_controls_fini(struct m5_shard *shard);

/* True for the topic that is the host's. */
bool m5_is_control(const struct m5_shard *shard, struct mqtt5_bytes topic);

/* Keeps @p publish for the host. MQTT5_REASON_SUCCESS, or why it is not taken. */
uint8_t m5_control_keep(struct m5_conn *conn, const struct mqtt5_publish *publish);

#endif
