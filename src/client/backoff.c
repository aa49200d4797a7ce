/* When to try a connection again.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "client/backoff.h"

#define SLOW_FACTOR 10u /* of min_ms, for MQTT5_CLASS_SLOW */

enum mqtt5_error m5_backoff_init(struct m5_backoff *backoff,
                                 const struct mqtt5_client_reconnect *policy, uint64_t seed)
{
    *backoff = (struct m5_backoff){.policy = *policy};
    m5_rng_init(&backoff->rng, seed);
    const bool sound =
        !policy->enabled || (policy->min_ms > 0 && policy->max_ms >= policy->min_ms &&
                             policy->factor_percent >= 100 && policy->jitter_percent <= 100);
    return sound ? MQTT5_OK : MQTT5_ERR_CONFIG;
}

/* min_ms * factor^(attempt - 1), at most max_ms. */
static uint64_t whole_wait_ms(const struct m5_backoff *backoff)
{
    const struct mqtt5_client_reconnect *policy = &backoff->policy;
    uint64_t wait = policy->min_ms;
    for (uint32_t i = 1; i < backoff->attempt && wait < policy->max_ms; i++) {
        const uint64_t longer = wait * policy->factor_percent / 100;
        if (longer == wait && policy->factor_percent > 100)
            wait++; /* so small that the factor is lost in the rounding */
        else if (longer == wait)
            break;
        else
            wait = longer;
    }
    return wait < policy->max_ms ? wait : policy->max_ms;
}

bool m5_backoff_next(struct m5_backoff *backoff, enum mqtt5_error_class class, uint32_t *wait_ms)
{
    const struct mqtt5_client_reconnect *policy = &backoff->policy;
    if (!policy->enabled || class == MQTT5_CLASS_PERMANENT || class == MQTT5_CLASS_NONE)
        return false;
    if (policy->attempts_max > 0 && backoff->attempt >= policy->attempts_max)
        return false;
    if (backoff->attempt < UINT32_MAX)
        backoff->attempt++;
    uint64_t wait = whole_wait_ms(backoff);
    const uint64_t slow = (uint64_t)policy->min_ms * SLOW_FACTOR;
    const bool is_slow = class == MQTT5_CLASS_SLOW || class == MQTT5_CLASS_REDIRECT;
    if (is_slow && wait < slow)
        wait = slow < policy->max_ms ? slow : policy->max_ms;
    wait -= m5_rng_below(&backoff->rng, wait * policy->jitter_percent / 100 + 1);
    *wait_ms = (uint32_t)wait;
    return true;
}

void m5_backoff_lasted(struct m5_backoff *backoff, uint64_t ms)
{
    if (ms >= backoff->policy.stable_ms)
        backoff->attempt = 0;
}

void m5_backoff_reset(struct m5_backoff *backoff)
{
    backoff->attempt = 0;
}

/* ---- classes of errors ---- */

static enum mqtt5_error_class class_of_reason(uint8_t reason_code)
{
    switch (reason_code) {
    case MQTT5_REASON_QUOTA_EXCEEDED:
    case MQTT5_REASON_CONNECTION_RATE_EXCEEDED:
    case MQTT5_REASON_MESSAGE_RATE_TOO_HIGH:
    case MQTT5_REASON_ADMINISTRATIVE_ACTION:
    case MQTT5_REASON_MAXIMUM_CONNECT_TIME:
    case MQTT5_REASON_PROTOCOL_ERROR:
    case MQTT5_REASON_MALFORMED_PACKET: return MQTT5_CLASS_SLOW;
    case MQTT5_REASON_USE_ANOTHER_SERVER:
    case MQTT5_REASON_SERVER_MOVED: return MQTT5_CLASS_REDIRECT;
    case MQTT5_REASON_UNSUPPORTED_PROTOCOL_VERSION:
    case MQTT5_REASON_CLIENT_IDENTIFIER_NOT_VALID:
    case MQTT5_REASON_BAD_USER_NAME_OR_PASSWORD:
    case MQTT5_REASON_NOT_AUTHORIZED:
    case MQTT5_REASON_BANNED:
    case MQTT5_REASON_BAD_AUTHENTICATION_METHOD:
    case MQTT5_REASON_SESSION_TAKEN_OVER:
    case MQTT5_REASON_TOPIC_NAME_INVALID:
    case MQTT5_REASON_PACKET_TOO_LARGE:
    case MQTT5_REASON_PAYLOAD_FORMAT_INVALID:
    case MQTT5_REASON_RETAIN_NOT_SUPPORTED:
    case MQTT5_REASON_QOS_NOT_SUPPORTED: return MQTT5_CLASS_PERMANENT;
    default: return MQTT5_CLASS_TRANSIENT;
    }
}

enum mqtt5_error_class mqtt5_client_classify(const struct mqtt5_client_result *result,
                                             uint8_t version)
{
    switch (result->error) {
    case MQTT5_OK: return MQTT5_CLASS_NONE;
    case MQTT5_ERR_REFUSED:
        if (version != MQTT5_VERSION_5)
            return result->reason_code == MQTT5_V3_SERVER_UNAVAILABLE ? MQTT5_CLASS_TRANSIENT
                                                                      : MQTT5_CLASS_PERMANENT;
        return class_of_reason(result->reason_code);
    case MQTT5_ERR_CLOSED: return class_of_reason(result->reason_code);
    case MQTT5_ERR_IO:
    case MQTT5_ERR_TIMEOUT:
    case MQTT5_ERR_NOMEM: return MQTT5_CLASS_TRANSIENT;
    case MQTT5_ERR_NOT_BUILT:
    case MQTT5_ERR_TLS:
    case MQTT5_ERR_WEBSOCKET:
    case MQTT5_ERR_UNSUPPORTED:
    case MQTT5_ERR_CONFIG:
    case MQTT5_ERR_INVALID_ARGUMENT:
    case MQTT5_ERR_NOT_AUTHORIZED: return MQTT5_CLASS_PERMANENT;
    default: return MQTT5_CLASS_SLOW; /* what the server sent made no sense */
    }
}
