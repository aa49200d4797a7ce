/* Configuration files, YAML and JSON: read, finished, compared with the defaults.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/assert.h"
#include "base/bytes.h"
#include "host/auth/text.h"
#include "host/config/config.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void see(void *ctx, const struct m5_config_change *change)
{
    size_t *count = (size_t *)ctx;
    M5_ASSERT(change->path[0] != 0);
    (*count)++;
}

static void check(const struct m5_config *config, const struct m5_config *defaults)
{
    const struct mqtt5_broker_options *options = m5_config_options(config);
    const char *why;
    size_t count = 0;
    M5_ASSERT(mqtt5_broker_config_check(&options->config, &why) == MQTT5_OK);
    for (size_t i = 0; i < options->listener_count; i++) {
        const struct mqtt5_listener *listener = &options->listeners[i];
        const bool is_unix = listener->transport == MQTT5_TRANSPORT_UNIX;
        M5_ASSERT(is_unix ? listener->path != NULL : listener->host != NULL);
    }
    M5_ASSERT(m5_config_diff(defaults, config, see, &count) == count);
    M5_ASSERT(m5_config_diff(config, config, see, &count) == 0);
    for (size_t i = 0; i < m5_config_file_count(config); i++)
        M5_ASSERT(m5_config_file(config, i) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct m5_problems problems;
    m5_problems_init(&problems);
    struct m5_config *config = m5_config_new(&m5_libc_allocator);
    struct m5_config *defaults = m5_config_new(&m5_libc_allocator);
    M5_ASSERT(config != NULL && defaults != NULL);
    const bool read =
        m5_config_read_text(config, "f", "/nonexistent", m5_bytes(data, size), &problems);
    M5_ASSERT(read == (problems.errors == 0));
    if (read && m5_config_finish(config, &problems))
        check(config, defaults);
    else
        M5_ASSERT(problems.errors > 0);
    for (uint32_t i = 0; i < problems.count; i++)
        M5_ASSERT(problems.items[i].text[0] != 0);
    m5_problems_sort(&problems);
    m5_config_free(config);
    m5_config_free(defaults);
    m5_problems_fini(&problems);
    return 0;
}
