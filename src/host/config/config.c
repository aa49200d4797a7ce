/* A configuration's beginning and end, and the files that it names.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/config/config.h"

#include "base/alloc.h"
#include "host/config/data.h"

#include <string.h>

struct m5_config *m5_config_new(const struct mqtt5_allocator *allocator)
{
    struct m5_problems problems;
    struct m5_config *config = (struct m5_config *)m5_alloc_zero(allocator, sizeof *config);
    if (config == NULL)
        return NULL;
    config->allocator = allocator;
    m5_arena_init(&config->arena, allocator);
    mqtt5_broker_options_init(&config->options);
    m5_problems_init(&problems);
    const bool ok = m5_section_defaults(&m5_schema_root, config, &problems);
    m5_problems_fini(&problems);
    if (ok)
        return config;
    m5_config_free(config);
    return NULL;
}

void m5_config_free(struct m5_config *config)
{
    if (config == NULL)
        return;
    m5_arena_fini(&config->arena);
    m5_free(config->allocator, config, sizeof *config);
}

const struct mqtt5_broker_options *m5_config_options(const struct m5_config *config)
{
    return &config->options;
}

bool m5_config_watches(const struct m5_config *config)
{
    return config->watch_files;
}

struct counting {
    size_t wanted, count;
    const char *path;
};

static void count_file(void *ctx, const char *path, const struct m5_key *key, const void *base)
{
    struct counting *counting = (struct counting *)ctx;
    (void)path;
    if (key->type != M5_KEY_PATH || key->is_output)
        return;
    const char *file = *(const char *const *)(const void *)((const char *)base + key->offset);
    if (file != NULL && counting->count++ == counting->wanted)
        counting->path = file;
}

static struct counting walk_files(const struct m5_config *config, size_t wanted)
{
    struct counting counting = {.wanted = wanted};
    for (size_t i = 0; i < config->read_count; i++)
        if (counting.count++ == wanted)
            counting.path = config->read[i];
    m5_config_walk(config, count_file, &counting);
    return counting;
}

size_t m5_config_file_count(const struct m5_config *config)
{
    return walk_files(config, SIZE_MAX).count;
}

const char *m5_config_file(const struct m5_config *config, size_t index)
{
    return walk_files(config, index).path;
}
