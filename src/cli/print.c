/* Messages as text: payloads, topics, properties, JSON.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/print.h"

#include "cli/json.h"

#include <mqtt5/topic.h>

#include <inttypes.h>
#include <string.h>

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

/* ---- JSON ---- */

/* "payload" when it is text, else "payload_base64". */
static void put_json_payload(FILE *out, struct mqtt5_bytes payload)
{
    if (mqtt5_utf8_check(payload) == MQTT5_OK) {
        fputs("\"payload\":", out);
        cli_json_string(out, payload);
        return;
    }
    fputs("\"payload_base64\":\"", out);
    cli_base64(out, payload);
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
    case MQTT5_PROPERTY_TYPE_UTF8: cli_json_string(out, property->bytes); break;
    case MQTT5_PROPERTY_TYPE_BINARY:
        putc('"', out);
        cli_hex(out, property->bytes);
        putc('"', out);
        break;
    case MQTT5_PROPERTY_TYPE_PAIR:
        putc('[', out);
        cli_json_string(out, property->bytes);
        putc(',', out);
        cli_json_string(out, property->value);
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

/* When it came, to the microsecond. */
static void put_json_time(FILE *out, struct timespec at)
{
    char text[64];
    struct tm utc;
    gmtime_r(&at.tv_sec, &utc);
    text[strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc)] = 0;
    fprintf(out, ",\"received_at\":\"%s.%06ldZ\"", text, (long)at.tv_nsec / 1000);
}

static void print_json(FILE *out, const struct mqtt5_publish *message, struct timespec at)
{
    fputs("{\"topic\":", out);
    cli_json_string(out, message->topic);
    fprintf(out, ",\"qos\":%u,\"retain\":%s,\"dup\":%s,", (unsigned)message->qos,
            message->retain ? "true" : "false", message->dup ? "true" : "false");
    put_json_payload(out, message->payload);
    if (message->properties.raw.len > 0)
        put_json_properties(out, &message->properties);
    put_json_time(out, at);
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
    case MQTT5_PROPERTY_TYPE_BINARY: cli_hex(out, property->bytes); break;
    case MQTT5_PROPERTY_TYPE_PAIR:
        put_safe(out, property->bytes);
        putc('=', out);
        put_safe(out, property->value);
        break;
    }
    putc('\n', out);
}

static void put_payload(FILE *out, struct mqtt5_bytes payload, enum cli_payload_form form)
{
    switch (form) {
    case CLI_PAYLOAD_RAW: put(out, payload); break;
    case CLI_PAYLOAD_HEX: cli_hex(out, payload); break;
    case CLI_PAYLOAD_BASE64: cli_base64(out, payload); break;
    }
}

static void print_properties(FILE *out, struct mqtt5_bytes raw)
{
    struct mqtt5_property property;
    while (mqtt5_property_next(&raw, &property))
        print_property(out, &property);
}

bool cli_print_message(FILE *out, const struct mqtt5_publish *message,
                       const struct cli_print_style *style, struct timespec at)
{
    bool ok = true;
    if (style->form == CLI_PRINT_JSON) {
        print_json(out, message, at);
        return true;
    }
    if (style->form == CLI_PRINT_FORMAT)
        ok = cli_format_print(out, style->format, message, at);
    if (style->form == CLI_PRINT_VERBOSE) {
        put_safe(out, message->topic);
        fputs(": ", out);
    }
    if (style->form != CLI_PRINT_FORMAT)
        put_payload(out, message->payload, style->payload);
    if (!style->no_line_end)
        putc('\n', out);
    if (style->properties)
        print_properties(out, message->properties.raw);
    return ok;
}

bool cli_print_flush(FILE *out)
{
    return fflush(out) == 0;
}
