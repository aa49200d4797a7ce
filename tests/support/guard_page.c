/* Bytes that end where the mapped memory ends.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/guard_page.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void guard_page_init(struct guard_page *guard, size_t size_max)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t room = (size_max + page - 1) / page * page + page;
    void *start =
        mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED || mprotect((uint8_t *)start + room, page, PROT_NONE) != 0) {
        perror("guard page");
        abort();
    }
    *guard =
        (struct guard_page){.start = start, .end = (uint8_t *)start + room, .mapped = room + page};
}

void guard_page_fini(struct guard_page *guard)
{
    munmap(guard->start, guard->mapped);
    *guard = (struct guard_page){0};
}

struct mqtt5_bytes guard_page_place(struct guard_page *guard, struct mqtt5_bytes bytes)
{
    if (bytes.len > (size_t)(guard->end - guard->start)) {
        fprintf(stderr, "guard page: %zu bytes are too many\n", bytes.len);
        abort();
    }
    uint8_t *place = guard->end - bytes.len;
    if (bytes.len > 0)
        memcpy(place, bytes.data, bytes.len);
    return (struct mqtt5_bytes){.data = place, .len = bytes.len};
}
