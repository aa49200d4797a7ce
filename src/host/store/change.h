/* Changes of several batches as one list: what cancels is left out, the rest is written to the log
 * and read from it.
 *
 * A change as bytes: operation, size of the key, size of the value (4, big-endian), key, value.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_STORE_CHANGE_H
#define M5_HOST_STORE_CHANGE_H

#include "broker/store.h"

struct m5_change_list {
    struct m5_store_change *items; /* views of what they were read from; op 0: left out */
    uint32_t count, capacity, live;
    struct m5_change_slot *slots; /* the table of m5_changes_elide(), kept for the next time */
    uint32_t slots_capacity;
};

void m5_changes_fini(struct m5_change_list *list);
void m5_changes_clear(struct m5_change_list *list); /* keeps a moderate amount of memory */

/* Appends the changes of @p batch, views of it. False without memory: the list as it was. */
bool m5_changes_add_batch(struct m5_change_list *list, const struct m5_batch *batch);

/* Appends the changes written in @p bytes, views of it. MQTT5_ERR_TRUNCATED: they make no sense. */
enum mqtt5_error m5_changes_read(struct m5_change_list *list, struct mqtt5_bytes bytes);

/* Leaves out what a later change of the list makes void: what is overwritten or deleted again, and
 * a DELETE of what was never stored. What is left has the same effect. Without memory nothing is
 * left out. */
void m5_changes_elide(struct m5_change_list *list);

/* Bytes of all that is left, and writing them; returns one past the end. */
uint64_t m5_changes_size(const struct m5_change_list *list);
uint8_t *m5_changes_write(const struct m5_change_list *list, uint8_t *out);

#endif
