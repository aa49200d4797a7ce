/* How many connections a listener takes: in all, of one address at a time, and a second. Asked
 * right after accept(), before TLS or a byte of MQTT costs anything.
 *
 * One table for all workers, behind a mutex that is taken when a connection comes and when it goes,
 * and only by listeners that have a limit. An address is counted for each listener by itself, an
 * IPv6 address by its /64. Clients of a Unix socket have no address: only `connections_max` counts
 * them.
 *
 * Everything is O(1). Memory is bounded: an entry for each address that is connected, and at most
 * M5_ADMISSION_IDLE_MAX for those that were, which the rate needs for a second; of these the one
 * that was seen longest ago goes first.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_ADMISSION_H
#define M5_HOST_ADMISSION_H

#include "host/address.h"

#include <mqtt5/allocator.h>

#include <stdint.h>

#define M5_ADMISSION_IDLE_MAX 65536u

enum m5_admission {
    M5_ADMITTED,
    M5_ADMISSION_FULL,    /* connections_max of the listener */
    M5_ADMISSION_CROWDED, /* connections_per_address_max */
    M5_ADMISSION_HASTY,   /* connection_rate_max */
    M5_ADMISSION_NOMEM    /* no memory to count it */
};

/* 0 = no limit. */
struct m5_admission_limits {
    uint32_t connections_max;
    uint32_t connections_per_address_max;
    uint32_t connection_rate_max; /* new ones a second of one address; as many at once */
};

/* What was refused since the start. */
struct m5_admission_counts {
    uint64_t full, crowded, hasty, nomem;
};

struct m5_admission_table;

/* NULL without memory or randomness. @p allocator is borrowed and used by several threads. */
struct m5_admission_table *m5_admission_new(const struct mqtt5_allocator *allocator);

/* Accepts NULL; tickets that are still out die with it. */
void m5_admission_free(struct m5_admission_table *table);

/* Sets what counts for listener @p listener from now on; who is connected stays. Listeners that
 * were never told of have no limits. False without memory. */
bool m5_admission_limit(struct m5_admission_table *table, uint32_t listener,
                        const struct m5_admission_limits *limits);

/* May a connection of @p address come in by @p listener? When M5_ADMITTED, *ticket is for
 * m5_admission_leave() (0: nothing was counted); else it is 0. @p now_ms is monotonic. Where the
 * PROXY protocol is spoken, ask when the header has come, with the address that it tells. */
enum m5_admission m5_admission_ask(struct m5_admission_table *table, uint32_t listener,
                                   const struct m5_address *address, uint64_t now_ms,
                                   uint32_t *ticket);

/* The connection of this ticket has gone; accepts 0. */
void m5_admission_leave(struct m5_admission_table *table, uint32_t ticket);

struct m5_admission_counts m5_admission_counts(struct m5_admission_table *table);

/* What a refusal is called in the log: the name of the limit. */
const char *m5_admission_text(enum m5_admission answer);

#endif
