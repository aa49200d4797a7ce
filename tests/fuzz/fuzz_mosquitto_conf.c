/* mosquitto.conf files.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/assert.h"
#include "base/bytes.h"
#include "host/auth/text.h"
#include "host/config/config.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct m5_problems problems;
    const char *why;
    m5_problems_init(&problems);
    struct m5_config *config = m5_config_new(&m5_libc_allocator);
    M5_ASSERT(config != NULL);
    const bool read = m5_config_read_mosquitto_text(config, "f", m5_bytes(data, size), &problems);
    M5_ASSERT(read == (problems.errors == 0));
    if (read && m5_config_finish(config, &problems))
        M5_ASSERT(mqtt5_broker_config_check(&m5_config_options(config)->config, &why) == MQTT5_OK);
    else
        M5_ASSERT(problems.errors > 0);
    m5_config_free(config);
    m5_problems_fini(&problems);
    return 0;
}
