/* Messages as text: payloads, topics, properties, JSON.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/print.h"

#include <mqtt5/topic.h>

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

static void put(FILE *out, struct mqtt5_bytes bytes)
{
    if (bytes.len > 0)
        fwrite(bytes.data, 1, bytes.len, out);
}

/* A string of the protocol, which is UTF-8, for a terminal: no control characters. */
static void put_safe(FILE *out, struct mqtt5_bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < 0x20 || text.data[i] == 0x7F)
            fprintf(out, "\\x%02X", text.data[i]);
        else
            putc(text.data[i], out);
    }
}

static void put_hex(FILE *out, struct mqtt5_bytes bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        fprintf(out, "%02x", bytes.data[i]);
}

/* ---- JSON ---- */

static void put_json_string(FILE *out, struct mqtt5_bytes text)
{
    putc('"', out);
    for (size_t i = 0; i < text.len; i++) {
        const uint8_t c = text.data[i];
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7F)
            fprintf(out, "\\u%04x", c);
        else
            putc(c, out);
    }
    putc('"', out);
}

static void put_base64(FILE *out, struct mqtt5_bytes bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < bytes.len; i += 3) {
        const size_t left = bytes.len - i;
        const uint32_t group = (uint32_t)bytes.data[i] << 16 |
                               (uint32_t)(left > 1 ? bytes.data[i + 1] : 0) << 8 |
                               (uint32_t)(left > 2 ? bytes.data[i + 2] : 0);
        putc(digits[group >> 18], out);
        putc(digits[group >> 12 & 63], out);
        putc(left > 1 ? digits[group >> 6 & 63] : '=', out);
        putc(left > 2 ? digits[group & 63] : '=', out);
    }
}

/* "payload" when it is text, else "payload_base64". */
static void put_json_payload(FILE *out, struct mqtt5_bytes payload)
{
    if (mqtt5_utf8_check(payload) == MQTT5_OK) {
        fputs("\"payload\":", out);
        put_json_string(out, payload);
        return;
    }
    fputs("\"payload_base64\":\"", out);
    put_base64(out, payload);
    putc('"', out);
}

/* The property's name as a key: "Content Type" is "content_type". */
static void put_json_key(FILE *out, uint32_t id)
{
    putc('"', out);
    for (const char *c = mqtt5_property_text(id); *c != 0; c++)
        putc(*c == ' ' ? '_' : (*c >= 'A' && *c <= 'Z' ? *c + ('a' - 'A') : *c), out);
    fputs("\":", out);
}

static void put_json_value(FILE *out, const struct mqtt5_property *property)
{
    switch (property->type) {
    case MQTT5_PROPERTY_TYPE_BYTE:
    case MQTT5_PROPERTY_TYPE_U16:
    case MQTT5_PROPERTY_TYPE_U32:
    case MQTT5_PROPERTY_TYPE_VARINT: fprintf(out, "%" PRIu32, property->number); break;
    case MQTT5_PROPERTY_TYPE_UTF8: put_json_string(out, property->bytes); break;
    case MQTT5_PROPERTY_TYPE_BINARY:
        putc('"', out);
        put_hex(out, property->bytes);
        putc('"', out);
        break;
    case MQTT5_PROPERTY_TYPE_PAIR:
        putc('[', out);
        put_json_string(out, property->bytes);
        putc(',', out);
        put_json_string(out, property->value);
        putc(']', out);
        break;
    }
}

static bool may_repeat(uint32_t id)
{
    return id == MQTT5_PROPERTY_USER_PROPERTY || id == MQTT5_PROPERTY_SUBSCRIPTION_IDENTIFIER;
}

/* All values of a property that may repeat, as a list. */
static void put_json_list(FILE *out, struct mqtt5_bytes raw, uint32_t id)
{
    struct mqtt5_property property;
    const char *separator = "[";
    put_json_key(out, id);
    while (mqtt5_property_next(&raw, &property)) {
        if ((uint32_t)property.id != id)
            continue;
        fputs(separator, out);
        put_json_value(out, &property);
        separator = ",";
    }
    putc(']', out);
}

static void put_json_properties(FILE *out, const struct mqtt5_properties *properties)
{
    struct mqtt5_bytes raw = properties->raw;
    struct mqtt5_property property;
    uint64_t listed = 0;
    const char *separator = "";
    fputs(",\"properties\":{", out);
    while (mqtt5_property_next(&raw, &property)) {
        const uint64_t bit = (uint64_t)1 << (unsigned)property.id;
        if ((listed & bit) != 0)
            continue;
        listed |= bit;
        fputs(separator, out);
        separator = ",";
        if (may_repeat((uint32_t)property.id)) {
            put_json_list(out, properties->raw, (uint32_t)property.id);
        } else {
            put_json_key(out, (uint32_t)property.id);
            put_json_value(out, &property);
        }
    }
    putc('}', out);
}

static void print_json(FILE *out, const struct mqtt5_publish *message)
{
    fputs("{\"topic\":", out);
    put_json_string(out, message->topic);
    fprintf(out, ",\"qos\":%u,\"retain\":%s,\"dup\":%s,", (unsigned)message->qos,
            message->retain ? "true" : "false", message->dup ? "true" : "false");
    put_json_payload(out, message->payload);
    if (message->properties.raw.len > 0)
        put_json_properties(out, &message->properties);
    fputs("}\n", out);
}

/* ---- lines ---- */

static void print_property(FILE *out, const struct mqtt5_property *property)
{
    fprintf(out, "  %s: ", mqtt5_property_text((uint32_t)property->id));
    switch (property->type) {
    case MQTT5_PROPERTY_TYPE_BYTE:
    case MQTT5_PROPERTY_TYPE_U16:
    case MQTT5_PROPERTY_TYPE_U32:
    case MQTT5_PROPERTY_TYPE_VARINT: fprintf(out, "%" PRIu32, property->number); break;
    case MQTT5_PROPERTY_TYPE_UTF8: put_safe(out, property->bytes); break;
    case MQTT5_PROPERTY_TYPE_BINARY: put_hex(out, property->bytes); break;
    case MQTT5_PROPERTY_TYPE_PAIR:
        put_safe(out, property->bytes);
        putc('=', out);
        put_safe(out, property->value);
        break;
    }
    putc('\n', out);
}

void cli_print_message(FILE *out, const struct mqtt5_publish *message, enum cli_print_form form,
                       bool properties)
{
    struct mqtt5_bytes raw = message->properties.raw;
    struct mqtt5_property property;
    if (form == CLI_PRINT_JSON) {
        print_json(out, message);
        return;
    }
    if (form == CLI_PRINT_VERBOSE) {
        put_safe(out, message->topic);
        fputs(": ", out);
    }
    put(out, message->payload);
    putc('\n', out);
    while (properties && mqtt5_property_next(&raw, &property))
        print_property(out, &property);
}

bool cli_print_flush(FILE *out)
{
    struct stat about;
    if (fstat(fileno(out), &about) == 0 && S_ISREG(about.st_mode))
        return ferror(out) == 0;
    return fflush(out) == 0;
}
