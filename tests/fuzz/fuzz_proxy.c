/* Headers of the PROXY protocol: what is found in a beginning stays found, whatever follows.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/assert.h"
#include "base/bytes.h"
#include "transport/clean.h"
#include "transport/proxy/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_name(const char *name)
{
    return m5_is_clean(m5_bytes_of(name));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct m5_proxy_header out = {0}, last = {0};
    enum m5_proxy_answer answer = M5_PROXY_MORE;
    for (size_t have = 0; have <= size; have++) {
        const enum m5_proxy_answer now =
            m5_proxy_parse(m5_bytes(data, have), MQTT5_PROXY_ANY, &out);
        M5_ASSERT(answer == M5_PROXY_MORE || now == answer);
        M5_ASSERT(answer != M5_PROXY_DONE || out.size == last.size);
        M5_ASSERT(now != M5_PROXY_MORE || have < M5_PROXY_SIZE_MAX);
        M5_ASSERT((now == M5_PROXY_MALFORMED) == (out.wrong != NULL));
        answer = now;
        last = out;
    }
    if (answer != M5_PROXY_DONE)
        return 0;
    M5_ASSERT(out.size <= size && out.size <= M5_PROXY_SIZE_MAX);
    M5_ASSERT(out.version == 2 || out.size <= 107);
    M5_ASSERT(is_name(out.common_name) && is_name(out.server_name) && is_name(out.path));
    M5_ASSERT(out.certificate || out.common_name[0] == 0);
    return 0;
}
