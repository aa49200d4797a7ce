/* Bytes that end where the mapped memory ends: reading one more crashes, in any build.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef TEST_GUARD_PAGE_H
#define TEST_GUARD_PAGE_H

#include <mqtt5/bytes.h>

struct guard_page {
    uint8_t *start; /* of the mapping */
    uint8_t *end;   /* one past the last byte that may be touched */
    size_t mapped;  /* bytes, the page behind `end` included */
};

/* Room for @p size_max bytes. */
void guard_page_init(struct guard_page *guard, size_t size_max);
void guard_page_fini(struct guard_page *guard);

/* Copies @p bytes so that they end at the guard; valid until the next call. */
struct mqtt5_bytes guard_page_place(struct guard_page *guard, struct mqtt5_bytes bytes);

#endif
