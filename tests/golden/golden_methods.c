/* An authenticator for conversations: it does what the client's data say.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "broker/access.h"
#include "golden/golden_world.h"

#include <string.h>

static bool says(struct mqtt5_bytes text, const char *word)
{
    return text.len == strlen(word) && memcmp(text.data, word, text.len) == 0;
}

static struct mqtt5_bytes bytes_of(const char *text)
{
    return (struct mqtt5_bytes){(const uint8_t *)text, strlen(text)};
}

static enum m5_access_answer may_connect(void *ctx, const struct m5_credentials *shown,
                                         enum mqtt5_reason_code *reason)
{
    (void)ctx;
    *reason = MQTT5_REASON_BAD_AUTHENTICATION_METHOD;
    if (!shown->has_method)
        return M5_ACCESS_ALLOW;
    return says(shown->method, "golden") ? M5_ACCESS_PENDING : M5_ACCESS_DENY;
}

const struct m5_access golden_methods = {.allow_everything = true, .connect = may_connect};

bool golden_methods_answer(struct m5_shard *shard)
{
    struct m5_credentials shown;
    struct m5_conn *conn;
    bool any = false;
    while ((conn = m5_shard_next_check(shard, &shown)) != NULL) {
        struct m5_verdict verdict = {.kind = M5_VERDICT_DENY,
                                     .reason = MQTT5_REASON_NOT_AUTHORIZED};
        if (says(shown.data, "more"))
            verdict = (struct m5_verdict){
                .kind = M5_VERDICT_CONTINUE, .has_data = true, .data = bytes_of("ask")};
        if (says(shown.data, "allow"))
            verdict = (struct m5_verdict){.kind = M5_VERDICT_ALLOW,
                                          .has_data = true,
                                          .data = bytes_of("bye"),
                                          .named = true,
                                          .username = bytes_of("someone")};
        m5_conn_verified(conn, &verdict);
        any = true;
    }
    return any;
}
