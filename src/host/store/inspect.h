/* Looking at a store from outside, also while a broker runs on it: nothing is changed or made.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_STORE_INSPECT_H
#define M5_HOST_STORE_INSPECT_H

#include "host/store/store.h"

struct m5_inspect_report {
    char why[M5_STORE_WHY_SIZE];    /* what failed, in words; "" on success */
    char damage[M5_STORE_WHY_SIZE]; /* the first damage that was found; "": none */
    long owner;          /* process of the broker that runs on it, -1: unknown which, 0: none */
    uint32_t format;     /* of the files */
    uint64_t written_ms; /* wall clock, of the last group */
    uint64_t group;      /* the last group */
    uint64_t group_map;  /* the last one that is in the map; the log has the others */
    uint64_t records;    /* in the map, without the store's own */
    uint64_t checksums;  /* of them, with a wrong checksum */
    uint64_t bytes_map, bytes_free, bytes_log; /* files, and of the map what is free */
};

struct m5_inspect;

/* Opens the store in @p dir and checks the whole of it. The state that is seen is the one of this
 * moment. Not in the process that runs the store.
 * @return MQTT5_OK; MQTT5_ERR_TRUNCATED: damaged (report->damage); MQTT5_ERR_CONFIG: there is no
 * store, or a later version made it; MQTT5_ERR_IO; MQTT5_ERR_NOMEM. *out is not NULL when there is
 * something to walk: on MQTT5_OK, and when the damage is in values or in the log only. */
enum mqtt5_error m5_inspect_open(const char *dir, struct m5_inspect **out,
                                 struct m5_inspect_report *report);

/* Hands out all records, keys in ascending order; a value whose checksum is wrong has data NULL.
 * Views live during the call. @return MQTT5_OK, what @p fn returned, or an error of the system. */
enum mqtt5_error m5_inspect_walk(struct m5_inspect *inspect, m5_store_record_fn *fn, void *ctx);

/* Closes and frees; NULL is accepted. */
void m5_inspect_free(struct m5_inspect *inspect);

/* Writes the store in @p dir, as it is at this moment, to the folder @p target, which is made, or
 * is empty: a store that a broker can be started on. Durable when it returns.
 * @return as m5_inspect_open(); nothing is left in @p target on failure. */
enum mqtt5_error m5_store_backup(const char *dir, const char *target,
                                 struct m5_inspect_report *report);

#endif
