/* The engine's events as log lines.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_LOG_EVENT_H
#define M5_HOST_LOG_EVENT_H

#include "broker/engine.h"
#include "host/log.h"

/* Takes all events off @p shard and writes them. */
void m5_log_shard_events(struct m5_log *log, struct m5_shard *shard);

#endif
