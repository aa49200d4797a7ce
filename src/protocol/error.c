/* Error numbers as words, names and reason codes, all out of MQTT5_ERROR_TABLE.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <mqtt5/error.h>

const char *mqtt5_error_text(enum mqtt5_error error)
{
    switch (error) {
#define X(name, reason, text) \
    case MQTT5_##name: return text;
        MQTT5_ERROR_TABLE(X)
#undef X
    case MQTT5_ERROR_COUNT: break;
    }
    return "unknown error";
}

const char *mqtt5_error_name(enum mqtt5_error error)
{
    switch (error) {
#define X(name, reason, text) \
    case MQTT5_##name: return "MQTT5_" #name;
        MQTT5_ERROR_TABLE(X)
#undef X
    case MQTT5_ERROR_COUNT: break;
    }
    return "unknown error";
}

enum mqtt5_reason_code mqtt5_error_reason(enum mqtt5_error error)
{
    switch (error) {
#define X(name, reason, text) \
    case MQTT5_##name: return MQTT5_REASON_##reason;
        MQTT5_ERROR_TABLE(X)
#undef X
    case MQTT5_ERROR_COUNT: break;
    }
    return MQTT5_REASON_UNSPECIFIED_ERROR;
}
