/* Requests that wait for an acknowledgement, found by packet identifier.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "client/window.h"

#include "base/alloc.h"

#define CAPACITY_MIN 16u
#define CAPACITY_MAX 65536u /* a slot for every identifier, and one for 0 that is never used */
#define ID_COUNT     65535u

static struct m5_client_request **slot_of(const struct m5_client_window *window, uint16_t id)
{
    return &window->slots[id & (window->capacity - 1)];
}

bool m5_client_window_init(struct m5_client_window *window, const struct mqtt5_allocator *allocator)
{
    *window = (struct m5_client_window){.capacity = CAPACITY_MIN};
    window->slots = m5_alloc_zero(allocator, CAPACITY_MIN * sizeof *window->slots);
    return window->slots != NULL;
}

void m5_client_window_fini(struct m5_client_window *window, const struct mqtt5_allocator *allocator)
{
    m5_free(allocator, window->slots, window->capacity * sizeof *window->slots);
    *window = (struct m5_client_window){0};
}

/* Doubles the slots. Requests that differ modulo the old capacity differ modulo the new one. */
static void grow(struct m5_client_window *window, const struct mqtt5_allocator *allocator)
{
    struct m5_client_window wide = {.capacity = window->capacity * 2, .last = window->last};
    wide.slots = m5_alloc_zero(allocator, wide.capacity * sizeof *wide.slots);
    if (wide.slots == NULL)
        return; /* as full as it is, it still works */
    for (uint32_t i = 0; i < window->capacity; i++) {
        if (window->slots[i] == NULL)
            continue;
        *slot_of(&wide, window->slots[i]->packet_id) = window->slots[i];
        wide.used++;
    }
    M5_ASSERT(wide.used == window->used);
    m5_client_window_fini(window, allocator);
    *window = wide;
}

bool m5_client_window_add(struct m5_client_window *window, const struct mqtt5_allocator *allocator,
                          struct m5_client_request *request)
{
    if (window->used >= window->capacity / 2 && window->capacity < CAPACITY_MAX)
        grow(window, allocator);
    uint16_t id = window->last;
    /* Each slot is met within so many steps; one more for the identifier 0 that is passed over. */
    for (uint32_t step = 0; step <= window->capacity && window->used < ID_COUNT; step++) {
        id = id == ID_COUNT ? 1 : (uint16_t)(id + 1);
        if (*slot_of(window, id) != NULL)
            continue;
        *slot_of(window, id) = request;
        request->packet_id = window->last = id;
        window->used++;
        return true;
    }
    return false;
}

struct m5_client_request *m5_client_window_find(const struct m5_client_window *window, uint16_t id)
{
    struct m5_client_request *request = *slot_of(window, id);
    return request != NULL && request->packet_id == id ? request : NULL;
}

void m5_client_window_remove(struct m5_client_window *window, struct m5_client_request *request)
{
    struct m5_client_request **slot = slot_of(window, request->packet_id);
    M5_ASSERT(*slot == request);
    *slot = NULL;
    window->used--;
}
