/* Properties of packets, as given on the command line: -D PACKET NAME VALUE [VALUE].
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/property.h"

#include "cli/text.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ID_MAX 0x2Au /* the highest identifier of a property */

/* ---- names ---- */

const char *cli_property_name(uint32_t id, char out[CLI_PROPERTY_NAME_SIZE])
{
    const char *text = mqtt5_property_text(id);
    size_t size = 0;
    for (; text != NULL && text[size] != 0 && size < CLI_PROPERTY_NAME_SIZE - 1; size++)
        out[size] = text[size] == ' ' ? '-' : (char)tolower((unsigned char)text[size]);
    out[size] = 0;
    return out;
}

uint32_t cli_property_find(const char *name)
{
    char text[CLI_PROPERTY_NAME_SIZE];
    for (uint32_t id = 1; id <= ID_MAX; id++) {
        if (mqtt5_property_text(id) != NULL && strcmp(cli_property_name(id, text), name) == 0)
            return id;
    }
    return 0;
}

static const char *suggest(const char *name)
{
    static char texts[ID_MAX + 1][CLI_PROPERTY_NAME_SIZE];
    const char *names[ID_MAX + 1];
    size_t count = 0;
    for (uint32_t id = 1; id <= ID_MAX; id++) {
        if (mqtt5_property_text(id) != NULL)
            names[count++] = cli_property_name(id, texts[id]);
    }
    names[count] = NULL;
    return cli_suggest(name, names);
}

static uint32_t packet_of(const struct cli_packet_name *packets, const char *name)
{
    for (; packets->name != NULL; packets++) {
        if (strcmp(packets->name, name) == 0)
            return packets->packet;
    }
    return 0;
}

static int complain_of_packet(const struct cli_call *call, const char *name,
                              const struct cli_packet_name *packets)
{
    char list[128] = "";
    size_t used = 0;
    for (; packets->name != NULL && used < sizeof list; packets++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", used > 0 ? ", " : "",
                                 packets->name);
    return cli_usage(call, "-D: this command has properties of %s, not of \"%s\"", list, name);
}

/* ---- values ---- */

/* How a number may be: 0 when the property @p id has none. */
static uint32_t number_max(uint32_t id)
{
    switch (id) {
#define MAX_BYTE   UINT8_MAX
#define MAX_U16    UINT16_MAX
#define MAX_U32    UINT32_MAX
#define MAX_VARINT 268435455u
#define MAX_UTF8   0
#define MAX_BINARY 0
#define MAX_PAIR   0
#define X(name, field, number, type, packets, many, text) \
    case number: return MAX_##type;
        MQTT5_PROPERTY_TABLE(X)
#undef X
    default: return 0;
    }
}

static bool read_number(const char *text, uint32_t max, uint32_t *out)
{
    char *end;
    errno = 0;
    const unsigned long long number = strtoull(text, &end, 10);
    *out = (uint32_t)number;
    return isdigit((unsigned char)*text) && *end == 0 && errno == 0 && number <= max;
}

static void set_value(struct mqtt5_properties *set, uint32_t id, uint32_t value, const char *string)
{
    switch (id) {
#define SET_BYTE(field)   set->field = value
#define SET_U16(field)    set->field = value
#define SET_U32(field)    set->field = value
#define SET_VARINT(field) set->field = value
#define SET_UTF8(field)   set->field = cli_bytes(string)
#define SET_BINARY(field) set->field = cli_bytes(string)
#define SET_PAIR(field)   (void)string
#define X(name, field, number, type, packets, many, text) \
    case number: SET_##type(field); break;
        MQTT5_PROPERTY_TABLE(X)
#undef X
    default: return;
    }
    set->present |= (uint64_t)1 << id;
}

/* ---- reading ---- */

static int check_property(const struct cli_call *call, uint32_t packet, const char *const *words)
{
    const uint32_t id = cli_property_find(words[1]);
    const char *guess = id == 0 ? suggest(words[1]) : NULL;
    uint32_t number;
    if (guess != NULL)
        return cli_usage(call, "-D: there is no property %s (did you mean %s?)", words[1], guess);
    if (id == 0)
        return cli_usage(call, "-D: there is no property %s", words[1]);
    if ((mqtt5_property_packets(id) & packet) == 0)
        return cli_usage(call, "-D: %s is no property of %s", words[1], words[0]);
    if (number_max(id) != 0 && !read_number(words[2], number_max(id), &number))
        return cli_usage(call, "-D %s %s wants a number up to %u, not \"%s\"", words[0], words[1],
                         number_max(id), words[2]);
    return CLI_OK;
}

int cli_properties_check(const struct cli_call *call, const struct cli_strings *words,
                         const struct cli_packet_name *packets)
{
    int code = CLI_OK;
    for (size_t i = 0; code == CLI_OK && i < words->count; i += CLI_PROPERTY_WORDS) {
        const uint32_t packet = packet_of(packets, words->items[i]);
        code = packet == 0 ? complain_of_packet(call, words->items[i], packets)
                           : check_property(call, packet, words->items + i);
    }
    return code;
}

static int add_pair(const struct cli_call *call, const char *text, struct mqtt5_user_property *out)
{
    const char *equals = strchr(text, '=');
    if (equals == NULL)
        return cli_usage(call, "--user-property wants NAME=VALUE, not \"%s\"", text);
    out->name = (struct mqtt5_bytes){.data = (const uint8_t *)text, .len = (size_t)(equals - text)};
    out->value = cli_bytes(equals + 1);
    return CLI_OK;
}

static void add_words(const struct cli_strings *words, const char *packet,
                      struct cli_properties *out, uint32_t *count)
{
    for (size_t i = 0; i < words->count; i += CLI_PROPERTY_WORDS) {
        const char *const *item = words->items + i;
        const uint32_t id = cli_property_find(item[1]);
        uint32_t number = 0;
        if (strcmp(item[0], packet) != 0)
            continue;
        if (id == MQTT5_PROPERTY_USER_PROPERTY)
            out->users[(*count)++] = (struct mqtt5_user_property){.name = cli_bytes(item[2]),
                                                                  .value = cli_bytes(item[3])};
        else if (number_max(id) == 0 || read_number(item[2], number_max(id), &number))
            set_value(&out->set, id, number, item[2]);
    }
}

int cli_properties_set(const struct cli_call *call, const struct cli_strings *words,
                       const char *packet, const struct cli_strings *pairs,
                       struct cli_properties *out)
{
    const size_t pair_count = pairs == NULL ? 0 : pairs->count;
    uint32_t count = 0;
    int code = CLI_OK;
    *out =
        (struct cli_properties){.users = calloc(words->count + pair_count + 1, sizeof *out->users)};
    if (out->users == NULL)
        return cli_failed(call, "out of memory");
    add_words(words, packet, out, &count);
    for (size_t i = 0; code == CLI_OK && i < pair_count; i++)
        code = add_pair(call, pairs->items[i], &out->users[count++]);
    if (count > 0) {
        MQTT5_SET(&out->set, USER_PROPERTY);
        out->set.user_property =
            (struct mqtt5_user_properties){.items = out->users, .count = count};
    }
    return code;
}

void cli_properties_free(struct cli_properties *properties)
{
    free(properties->users);
    *properties = (struct cli_properties){0};
}
