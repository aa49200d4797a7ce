/* Paged bit set of packet identifiers.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "broker/id_set.h"

#include "base/alloc.h"

static const size_t pages_size = M5_ID_PAGES * sizeof(struct m5_id_page *);

static uint64_t bit_of(uint16_t id)
{
    return (uint64_t)1 << (id & 63u);
}

bool m5_id_set_has(const struct m5_id_set *set, uint16_t id)
{
    if (set->pages == NULL || set->pages[id >> 10] == NULL)
        return false;
    return (set->pages[id >> 10]->bits[id >> 6 & 15u] & bit_of(id)) != 0;
}

bool m5_id_set_add(struct m5_id_set *set, const struct mqtt5_allocator *allocator, uint16_t id)
{
    if (m5_id_set_has(set, id))
        return true;
    if (set->pages == NULL && (set->pages = m5_alloc_zero(allocator, pages_size)) == NULL)
        return false;
    struct m5_id_page *page = set->pages[id >> 10];
    if (page == NULL) {
        page = m5_alloc_zero(allocator, sizeof *page);
        if (page == NULL) {
            if (set->count == 0)
                m5_id_set_clear(set, allocator);
            return false;
        }
        set->pages[id >> 10] = page;
    }
    page->bits[id >> 6 & 15u] |= bit_of(id);
    page->count++;
    set->count++;
    return true;
}

/* Pages stay while the set is in use: ids go round, and the next one is near. */
bool m5_id_set_remove(struct m5_id_set *set, uint16_t id)
{
    if (!m5_id_set_has(set, id))
        return false;
    struct m5_id_page *page = set->pages[id >> 10];
    page->bits[id >> 6 & 15u] &= ~bit_of(id);
    page->count--;
    set->count--;
    return true;
}

void m5_id_set_clear(struct m5_id_set *set, const struct mqtt5_allocator *allocator)
{
    if (set->pages == NULL)
        return;
    for (uint32_t i = 0; i < M5_ID_PAGES; i++)
        m5_free(allocator, set->pages[i], sizeof(struct m5_id_page));
    m5_free(allocator, set->pages, pages_size);
    *set = (struct m5_id_set){0};
}
