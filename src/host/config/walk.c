/* Goes through all fields of a configuration, in the order of the schema.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/config/data.h"

#include <string.h>

struct walk {
    m5_config_walk_fn *each;
    void *ctx;
    char path[M5_PROBLEM_PATH_SIZE];
};

static void walk_section(struct walk *walk, const struct m5_section *section, const void *base);

static void walk_list(struct walk *walk, const struct m5_key *key, const void *base)
{
    const char *items = *(const char *const *)(const void *)((const char *)base + key->offset);
    const size_t count = *(const size_t *)(const void *)((const char *)base + key->count_offset);
    const size_t size = strlen(walk->path);
    for (size_t i = 0; i < count; i++) {
        snprintf(walk->path + size, sizeof walk->path - size, "[%zu]", i);
        walk_section(walk, key->section, items + i * key->section->size);
    }
}

static void walk_key(struct walk *walk, const struct m5_key *key, const void *base)
{
    const void *inner = (const char *)base + key->offset;
    switch (key->type) {
    case M5_KEY_ABSENT:
    case M5_KEY_PATTERN: break;
    case M5_KEY_LIST: walk_list(walk, key, base); break;
    case M5_KEY_SECTION:
        if (key->is_pointer)
            inner = *(const void *const *)inner;
        if (inner != NULL)
            walk_section(walk, key->section, inner);
        break;
    default: walk->each(walk->ctx, walk->path, key, base);
    }
}

static void walk_section(struct walk *walk, const struct m5_section *section, const void *base)
{
    const size_t size = strlen(walk->path);
    for (const struct m5_key *key = section->keys; key->name != NULL; key++) {
        snprintf(walk->path + size, sizeof walk->path - size, "%s%s", size > 0 ? "." : "",
                 key->name);
        walk_key(walk, key, base);
        walk->path[size] = 0;
    }
}

void m5_config_walk(const struct m5_config *config, m5_config_walk_fn *each, void *ctx)
{
    struct walk walk = {.each = each, .ctx = ctx};
    walk_section(&walk, &m5_schema_root, config);
}
