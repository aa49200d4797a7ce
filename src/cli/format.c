/* The output of `sub --format`: the language of mosquitto_sub -F, by its manual page. Where version
 * 2.0.11 does something else we keep to the page: a field width never cuts a payload, and the time
 * in %j has one zone. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/format.h"

#include "cli/json.h"
#include "cli/property.h"
#include "cli/text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define NONE        UINT32_MAX
#define WIDTH_MAX   1000000u /* characters */
#define TIME_SIZE   256      /* bytes that strftime(3) may write for one conversion */
#define NUMBER_SIZE 16       /* bytes of a 32-bit number as text */

#define PARAMETERS "ACDEFIJPRSUXjlmpqrtx%"
#define TIMES      "aAbBcCdDeFgGhHIjklmMnNpPrRsStTuUVwWxXyYzZ+%@"

/* ---- reading ---- */

struct reading {
    const char *at;
    struct cli_format *format;
    char *error;
    size_t error_size;
};

__attribute__((format(printf, 2, 3))) static bool fail(struct reading *reading, const char *form,
                                                       ...)
{
    va_list arguments;
    va_start(arguments, form);
    vsnprintf(reading->error, reading->error_size, form, arguments);
    va_end(arguments);
    return false;
}

static bool read_number(struct reading *reading, uint32_t *out)
{
    for (*out = 0; *reading->at >= '0' && *reading->at <= '9'; reading->at++) {
        *out = *out * 10 + (uint32_t)(*reading->at - '0');
        if (*out > WIDTH_MAX)
            return fail(reading, "a width in the format is over %u", WIDTH_MAX);
    }
    return true;
}

/* Flags, width, precision and letter behind '%'. */
static bool read_parameter(struct reading *reading, struct cli_format_piece *piece)
{
    *piece = (struct cli_format_piece){.sign = '%', .precision = NONE};
    for (; *reading->at == '0' || *reading->at == '-'; reading->at++) {
        piece->zero |= *reading->at == '0';
        piece->left |= *reading->at == '-';
    }
    if (!read_number(reading, &piece->width))
        return false;
    if (*reading->at == '.') {
        reading->at++;
        if (!read_number(reading, &piece->precision))
            return false;
    }
    piece->letter = *reading->at;
    if (piece->letter == 0)
        return fail(reading, "the format ends within a parameter: write %%%% for a %%");
    if (strchr(PARAMETERS, piece->letter) == NULL)
        return fail(reading, "the format has %%%c, and there is no such parameter", piece->letter);
    reading->at++;
    piece->zero &= !piece->left;
    return true;
}

static bool read_time(struct reading *reading, struct cli_format_piece *piece)
{
    *piece = (struct cli_format_piece){.sign = '@', .letter = *reading->at};
    if (piece->letter == 0)
        return fail(reading, "the format ends behind a @: write @@ for a @");
    if (strchr(TIMES, piece->letter) == NULL)
        return fail(reading, "the format has @%c, and strftime knows no such letter",
                    piece->letter);
    reading->at++;
    return true;
}

static bool read_escape(struct reading *reading, char **text)
{
    static const char letters[] = "\\0aenrtv", meanings[] = "\\\0\a\033\n\r\t\v";
    const char letter = *reading->at;
    const char *found = letter != 0 ? strchr(letters, letter) : NULL;
    if (letter == 0)
        return fail(reading, "the format ends behind a backslash: write \\\\ for one");
    if (found == NULL)
        return fail(reading,
                    "the format has \\%c, which means nothing (\\\\ \\0 \\a \\e \\n \\r "
                    "\\t \\v do)",
                    letter);
    *(*text)++ = meanings[found - letters];
    reading->at++;
    return true;
}

/* Text up to the next sign, its escapes replaced, appended to @p text. */
static bool read_text(struct reading *reading, struct cli_format_piece *piece, char **text)
{
    char *start = *text;
    while (*reading->at != 0 && *reading->at != '%' && *reading->at != '@') {
        if (*reading->at != '\\')
            *(*text)++ = *reading->at++;
        else if (reading->at++, !read_escape(reading, text))
            return false;
    }
    *piece = (struct cli_format_piece){
        .text = {.data = (const uint8_t *)start, .len = (size_t)(*text - start)}};
    return true;
}

bool cli_format_read(const char *text, struct cli_format *out, char *error, size_t error_size)
{
    struct reading reading = {.at = text, .format = out, .error = error, .error_size = error_size};
    const size_t size = strlen(text);
    *out = (struct cli_format){.pieces = calloc(size + 1, sizeof *out->pieces),
                               .text = malloc(size + 1)};
    if (out->pieces == NULL || out->text == NULL)
        return fail(&reading, "out of memory");
    char *plain = out->text;
    while (*reading.at != 0) {
        struct cli_format_piece *piece = &out->pieces[out->count++];
        const char sign = *reading.at;
        bool ok;
        reading.at += sign == '%' || sign == '@';
        if (sign == '%')
            ok = read_parameter(&reading, piece);
        else if (sign == '@')
            ok = read_time(&reading, piece);
        else
            ok = read_text(&reading, piece, &plain);
        if (!ok)
            return false;
    }
    return true;
}

void cli_format_free(struct cli_format *format)
{
    free(format->pieces);
    free(format->text);
    *format = (struct cli_format){0};
}

/* ---- printing ---- */

static void put(FILE *out, struct mqtt5_bytes bytes)
{
    if (bytes.len > 0)
        fwrite(bytes.data, 1, bytes.len, out);
}

static void pad(FILE *out, const struct cli_format_piece *piece, size_t size, bool is_left)
{
    if (piece->left != is_left)
        return;
    for (size_t i = size; i < piece->width; i++)
        putc(piece->zero ? '0' : ' ', out);
}

/* Text is padded with blanks and cut at the precision. */
static void put_text(FILE *out, const struct cli_format_piece *piece, struct mqtt5_bytes text)
{
    struct cli_format_piece blank = *piece;
    blank.zero = false;
    if (text.len > piece->precision)
        text.len = piece->precision;
    pad(out, &blank, text.len, false);
    put(out, text);
    pad(out, &blank, text.len, true);
}

static void put_number(FILE *out, const struct cli_format_piece *piece, bool is_there,
                       uint32_t number)
{
    char text[NUMBER_SIZE];
    const int size = is_there ? snprintf(text, sizeof text, "%" PRIu32, number) : 0;
    pad(out, piece, (size_t)size, false);
    put(out, (struct mqtt5_bytes){.data = (const uint8_t *)text, .len = (size_t)size});
    pad(out, piece, (size_t)size, true);
}

static void put_payload(FILE *out, const struct cli_format_piece *piece, struct mqtt5_bytes payload)
{
    const bool is_hex = piece->letter != 'p';
    const size_t size = is_hex ? payload.len * 2 : payload.len;
    pad(out, piece, size, false);
    if (!is_hex)
        put(out, payload);
    for (size_t i = 0; is_hex && i < payload.len; i++)
        fprintf(out, piece->letter == 'x' ? "%02x" : "%02X", payload.data[i]);
    pad(out, piece, size, true);
}

static void put_user_properties(FILE *out, struct mqtt5_bytes raw)
{
    struct mqtt5_property property;
    const char *separator = "";
    while (mqtt5_property_next(&raw, &property)) {
        if (property.id != MQTT5_PROPERTY_USER_PROPERTY)
            continue;
        fputs(separator, out);
        put(out, property.bytes);
        putc(':', out);
        put(out, property.value);
        separator = " ";
    }
}

static void put_time(FILE *out, char letter, struct timespec at)
{
    char text[TIME_SIZE];
    const char format[] = {'%', letter, 0};
    struct tm local;
    if (letter == 'N') {
        fprintf(out, "%09ld", (long)at.tv_nsec);
    } else if (letter == '@') {
        putc('@', out);
    } else {
        localtime_r(&at.tv_sec, &local);
        fwrite(text, 1, strftime(text, sizeof text, format, &local), out);
    }
}

static void put_iso_time(FILE *out, const struct cli_format_piece *piece, struct timespec at)
{
    char text[TIME_SIZE];
    struct tm local;
    localtime_r(&at.tv_sec, &local);
    text[strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S%z", &local)] = 0;
    put_text(out, piece, cli_bytes(text));
}

/* ---- %j and %J ---- */

static void put_json_time(FILE *out, struct timespec at)
{
    char seconds[TIME_SIZE], zone[TIME_SIZE];
    struct tm local;
    localtime_r(&at.tv_sec, &local);
    seconds[strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", &local)] = 0;
    zone[strftime(zone, sizeof zone, "%z", &local)] = 0;
    fprintf(out, "{\"tst\":\"%s.%06ld%s\"", seconds, (long)at.tv_nsec / 1000, zone);
}

/* All of them as one object, where the first one stands. */
static void put_json_users(FILE *out, struct mqtt5_bytes raw)
{
    struct mqtt5_property property;
    const char *separator = "";
    fputs("\"user-properties\":{", out);
    while (mqtt5_property_next(&raw, &property)) {
        if (property.id != MQTT5_PROPERTY_USER_PROPERTY)
            continue;
        fputs(separator, out);
        cli_json_string(out, property.bytes);
        putc(':', out);
        cli_json_string(out, property.value);
        separator = ",";
    }
    putc('}', out);
}

static void put_json_property(FILE *out, const struct mqtt5_property *property)
{
    char name[CLI_PROPERTY_NAME_SIZE];
    fprintf(out, "\"%s\":", cli_property_name((uint32_t)property->id, name));
    if (property->type == MQTT5_PROPERTY_TYPE_UTF8 || property->type == MQTT5_PROPERTY_TYPE_BINARY)
        cli_json_string(out, property->bytes);
    else
        fprintf(out, "%" PRIu32, property->number);
}

static void put_json_properties(FILE *out, struct mqtt5_bytes raw)
{
    struct mqtt5_bytes rest = raw;
    struct mqtt5_property property;
    bool has_users = false;
    const char *separator = ",\"properties\":{";
    if (raw.len == 0)
        return;
    while (mqtt5_property_next(&rest, &property)) {
        const bool is_user = property.id == MQTT5_PROPERTY_USER_PROPERTY;
        if (is_user && has_users)
            continue;
        fputs(separator, out);
        separator = ",";
        has_users |= is_user;
        if (is_user)
            put_json_users(out, raw);
        else
            put_json_property(out, &property);
    }
    putc('}', out);
}

static bool put_json(FILE *out, const struct mqtt5_publish *message, struct timespec at,
                     bool is_quoted)
{
    if (!is_quoted && !cli_json_check(message->payload))
        return false;
    put_json_time(out, at);
    fputs(",\"topic\":", out);
    cli_json_string(out, message->topic);
    fprintf(out, ",\"qos\":%u,\"retain\":%u,\"payloadlen\":%zu", (unsigned)message->qos,
            (unsigned)message->retain, message->payload.len);
    if (message->qos > 0)
        fprintf(out, ",\"mid\":%u", (unsigned)message->packet_id);
    put_json_properties(out, message->properties.raw);
    fputs(",\"payload\":", out);
    if (is_quoted)
        cli_json_string(out, message->payload);
    else
        cli_json_compact(out, message->payload);
    putc('}', out);
    return true;
}

/* ---- the whole ---- */

#define NUMBER_OF(NAME, field)                                    \
    put_number(out, piece, MQTT5_HAS(&message->properties, NAME), \
               MQTT5_HAS(&message->properties, NAME) ? message->properties.field : 0)
#define TEXT_OF(NAME, field)                                                   \
    put_text(out, piece,                                                       \
             MQTT5_HAS(&message->properties, NAME) ? message->properties.field \
                                                   : (struct mqtt5_bytes){.data = NULL, .len = 0})

static void put_property(FILE *out, const struct cli_format_piece *piece,
                         const struct mqtt5_publish *message)
{
    switch (piece->letter) {
    case 'A': NUMBER_OF(TOPIC_ALIAS, topic_alias); break;
    case 'C': TEXT_OF(CONTENT_TYPE, content_type); break;
    case 'D':
        if (MQTT5_HAS(&message->properties, CORRELATION_DATA))
            put(out, message->properties.correlation_data);
        break;
    case 'E': NUMBER_OF(MESSAGE_EXPIRY_INTERVAL, message_expiry_interval_s); break;
    case 'F': NUMBER_OF(PAYLOAD_FORMAT_INDICATOR, payload_format_indicator); break;
    case 'P': put_user_properties(out, message->properties.raw); break;
    case 'R': /* not padded where there is none, as with mosquitto_sub */
        if (MQTT5_HAS(&message->properties, RESPONSE_TOPIC))
            put_text(out, piece, message->properties.response_topic);
        break;
    case 'S': NUMBER_OF(SUBSCRIPTION_IDENTIFIER, subscription_identifier); break;
    default: break;
    }
}

static bool put_parameter(FILE *out, const struct cli_format_piece *piece,
                          const struct mqtt5_publish *message, struct timespec at)
{
    switch (piece->letter) {
    case '%': putc('%', out); return true;
    case 'I': put_iso_time(out, piece, at); return true;
    case 'J': return put_json(out, message, at, false);
    case 'U': fprintf(out, "%lld.%09ld", (long long)at.tv_sec, (long)at.tv_nsec); return true;
    case 'j': return put_json(out, message, at, true);
    case 'l': put_number(out, piece, true, (uint32_t)message->payload.len); return true;
    case 'm': put_number(out, piece, true, message->packet_id); return true;
    case 'p':
    case 'x':
    case 'X': put_payload(out, piece, message->payload); return true;
    case 'q': fprintf(out, "%u", (unsigned)message->qos); return true;
    case 'r': fprintf(out, "%u", (unsigned)message->retain); return true;
    case 't': put_text(out, piece, message->topic); return true;
    default: put_property(out, piece, message); return true;
    }
}

bool cli_format_print(FILE *out, const struct cli_format *format,
                      const struct mqtt5_publish *message, struct timespec at)
{
    bool ok = true;
    for (size_t i = 0; i < format->count; i++) {
        const struct cli_format_piece *piece = &format->pieces[i];
        if (piece->sign == '%')
            ok &= put_parameter(out, piece, message, at);
        else if (piece->sign == '@')
            put_time(out, piece->letter, at);
        else
            put(out, piece->text);
    }
    return ok;
}
