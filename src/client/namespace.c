/* Rules for topics beyond the protocol's: tables of what a service takes, and one way to read them.
 *
 * A pattern is levels. `{id}` is the device id; `+` any level that is not empty; `#` all that is
 * left, at least one level; a level that ends in `*` begins so; any other is itself. A filter is
 * within a pattern when all that it can match is: so its own wildcards may stand at `+` (a single
 * level) and under `#` only.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <mqtt5/namespace.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "protocol/topic.h"
#include "protocol/utf8.h"

#include <mqtt5/topic.h>

enum use { USE_NAME, USE_FILTER };

struct pattern {
    enum mqtt5_namespace kind;
    enum use use;
    const char *text;
};

static const struct pattern patterns[] = {
    {MQTT5_NAMESPACE_AWS_IOT, USE_NAME, "$aws/rules/+/#"},
    {MQTT5_NAMESPACE_AWS_IOT, USE_NAME, "$aws/things/{id}/shadow/get"},
    {MQTT5_NAMESPACE_AWS_IOT, USE_NAME, "$aws/things/{id}/shadow/update"},
    {MQTT5_NAMESPACE_AWS_IOT, USE_NAME, "$aws/things/{id}/shadow/delete"},
    {MQTT5_NAMESPACE_AWS_IOT, USE_NAME, "$aws/things/{id}/shadow/name/+/get"},
    {MQTT5_NAMESPACE_AWS_IOT, USE_NAME, "$aws/things/{id}/shadow/name/+/update"},
    {MQTT5_NAMESPACE_AWS_IOT, USE_NAME, "$aws/things/{id}/shadow/name/+/delete"},
    {MQTT5_NAMESPACE_AWS_IOT, USE_NAME, "$aws/things/{id}/jobs/get"},
    {MQTT5_NAMESPACE_AWS_IOT, USE_NAME, "$aws/things/{id}/jobs/start-next"},
    {MQTT5_NAMESPACE_AWS_IOT, USE_NAME, "$aws/things/{id}/jobs/+/get"},
    {MQTT5_NAMESPACE_AWS_IOT, USE_NAME, "$aws/things/{id}/jobs/+/update"},
    {MQTT5_NAMESPACE_AWS_IOT, USE_NAME, "$aws/things/{id}/streams/+/get/+"},
    {MQTT5_NAMESPACE_AWS_IOT, USE_NAME, "$aws/things/{id}/streams/+/describe/+"},
    {MQTT5_NAMESPACE_AWS_IOT, USE_NAME, "$aws/things/{id}/defender/metrics/+"},
    {MQTT5_NAMESPACE_AWS_IOT, USE_FILTER, "$aws/things/{id}/#"},
    {MQTT5_NAMESPACE_AWS_IOT, USE_FILTER, "$aws/events/#"},

    {MQTT5_NAMESPACE_AZURE_IOT, USE_NAME, "devices/{id}/messages/events/#"},
    {MQTT5_NAMESPACE_AZURE_IOT, USE_NAME, "devices/{id}/modules/+/messages/events/#"},
    {MQTT5_NAMESPACE_AZURE_IOT, USE_NAME, "$iothub/twin/GET/?$rid=*"},
    {MQTT5_NAMESPACE_AZURE_IOT, USE_NAME, "$iothub/twin/PATCH/properties/reported/?$rid=*"},
    {MQTT5_NAMESPACE_AZURE_IOT, USE_NAME, "$iothub/methods/res/+/?$rid=*"},
    {MQTT5_NAMESPACE_AZURE_IOT, USE_FILTER, "devices/{id}/messages/devicebound/#"},
    {MQTT5_NAMESPACE_AZURE_IOT, USE_FILTER, "devices/{id}/modules/+/#"},
    {MQTT5_NAMESPACE_AZURE_IOT, USE_FILTER, "$iothub/twin/res/#"},
    {MQTT5_NAMESPACE_AZURE_IOT, USE_FILTER, "$iothub/twin/PATCH/properties/desired/#"},
    {MQTT5_NAMESPACE_AZURE_IOT, USE_FILTER, "$iothub/methods/POST/#"},

    {MQTT5_NAMESPACE_GOOGLE_IOT, USE_NAME, "/devices/{id}/events"},
    {MQTT5_NAMESPACE_GOOGLE_IOT, USE_NAME, "/devices/{id}/events/#"},
    {MQTT5_NAMESPACE_GOOGLE_IOT, USE_NAME, "/devices/{id}/state"},
    {MQTT5_NAMESPACE_GOOGLE_IOT, USE_FILTER, "/devices/{id}/config"},
    {MQTT5_NAMESPACE_GOOGLE_IOT, USE_FILTER, "/devices/{id}/errors"},
    {MQTT5_NAMESPACE_GOOGLE_IOT, USE_FILTER, "/devices/{id}/commands/#"},
};

/* What a namespace has beside patterns. */
struct service {
    uint32_t size_max, levels_max; /* 0: no limit */
    uint32_t level_size_max;       /* 0: no limit, and a level may be empty */
    bool charset;                  /* letters, digits and marks only */
    bool own_topics;               /* what does not begin with '$' is free */
    bool shared;                   /* takes shared subscriptions */
    const char *outside;           /* the rule broken by what no pattern has */
};

static const struct service services[] = {
    [MQTT5_NAMESPACE_STANDARD] = {.own_topics = true, .shared = true},
    [MQTT5_NAMESPACE_RESTRICTIVE] = {.size_max = 256,
                                     .levels_max = 16,
                                     .level_size_max = 64,
                                     .charset = true,
                                     .own_topics = true,
                                     .shared = true},
    [MQTT5_NAMESPACE_AWS_IOT] = {.size_max = 256,
                                 .levels_max = 8,
                                 .own_topics = true,
                                 .shared = true,
                                 .outside = "AWS IoT keeps this topic for itself, or for another "
                                            "thing"},
    [MQTT5_NAMESPACE_AZURE_IOT] = {.outside = "Azure IoT Hub has no such topic for this device"},
    [MQTT5_NAMESPACE_GOOGLE_IOT] = {.outside = "Google Cloud IoT has no such topic for this "
                                               "device"},
};

/* A name or filter on its way through the rules. */
struct subject {
    const struct mqtt5_namespace_rules *rules;
    const struct service *service;
    enum use use;
    struct mqtt5_bytes whole; /* as given; offsets count in it */
    struct mqtt5_bytes text;  /* without "$share/name/" */
    struct mqtt5_namespace_fault fault;
};

/* ---- faults ---- */

/* The code point that begins at @p at in well-formed UTF-8. */
static uint32_t decode(const uint8_t *at)
{
    if (at[0] < 0x80)
        return at[0];
    if (at[0] < 0xE0)
        return (at[0] & 0x1Fu) << 6 | (at[1] & 0x3Fu);
    const uint32_t three = (at[1] & 0x3Fu) << 6 | (at[2] & 0x3Fu);
    if (at[0] < 0xF0)
        return (at[0] & 0x0Fu) << 12 | three;
    return (at[0] & 0x07u) << 18 | three << 6 | (at[3] & 0x3Fu);
}

static bool is_part_of_character(uint8_t byte)
{
    return (byte & 0xC0) == 0x80;
}

/* Refuses because of what is at @p at, or of the character that it is in; false, for the caller to
 * return. */
static bool refuse(struct subject *subject, enum mqtt5_error error, const uint8_t *at,
                   const char *rule)
{
    const struct mqtt5_bytes whole = subject->whole;
    size_t offset = (size_t)(at - whole.data);
    M5_ASSERT(offset <= whole.len);
    const bool readable = error != MQTT5_ERR_UTF8 && offset < whole.len;
    while (readable && offset > 0 && is_part_of_character(whole.data[offset]))
        offset--;
    subject->fault = (struct mqtt5_namespace_fault){
        .error = error,
        .rule = rule,
        .offset = offset,
        .character = readable ? decode(whole.data + offset) : 0,
    };
    return false;
}

/* ---- the protocol's own rules ---- */

/* Where well-formed UTF-8 without U+0000 ends: the longest beginning that the check takes. */
static const uint8_t *find_bad_character(struct mqtt5_bytes text)
{
    for (size_t i = 0; i < text.len;) {
        size_t size = 1;
        while (i + size < text.len && is_part_of_character(text.data[i + size]))
            size++;
        if (m5_utf8_check(m5_bytes(text.data + i, size)) != MQTT5_OK)
            return text.data + i;
        i += size;
    }
    return text.data + text.len;
}

/* The first wildcard, or the first that is not where it may be; the end: none. */
static const uint8_t *find_wildcard(struct mqtt5_bytes text, bool misplaced_only)
{
    const uint8_t *end = text.data + text.len;
    for (const uint8_t *at = text.data; at < end; at++) {
        if (*at != '+' && *at != '#')
            continue;
        const bool begins = at == text.data || at[-1] == '/';
        const bool ends = at + 1 == end || (*at == '+' && at[1] == '/');
        if (!misplaced_only || !begins || !ends)
            return at;
    }
    return end;
}

static const uint8_t *fault_position(const struct subject *subject, enum mqtt5_error error)
{
    const struct mqtt5_bytes whole = subject->whole;
    switch ((int)error) {
    case MQTT5_ERR_UTF8:
    case MQTT5_ERR_UTF8_NUL: return find_bad_character(whole);
    case MQTT5_ERR_TOPIC_WILDCARD: return find_wildcard(whole, false);
    case MQTT5_ERR_FILTER_WILDCARD: return find_wildcard(subject->text, true);
    default: return whole.data + whole.len;
    }
}

static bool follows_protocol(struct subject *subject)
{
    struct mqtt5_filter filter = {.filter = subject->whole};
    const enum mqtt5_error error = subject->use == USE_NAME
                                       ? mqtt5_topic_check(subject->whole, UINT32_MAX)
                                       : mqtt5_filter_parse(subject->whole, UINT32_MAX, &filter);
    subject->text = filter.filter;
    if (error == MQTT5_OK)
        return true;
    return refuse(subject, error, fault_position(subject, error), mqtt5_error_text(error));
}

/* ---- sizes and characters ---- */

static struct mqtt5_bytes first_level(struct mqtt5_bytes text)
{
    const uint8_t *slash = text.len > 0 ? memchr(text.data, '/', text.len) : NULL;
    return slash == NULL ? text : m5_bytes(text.data, (size_t)(slash - text.data));
}

/* What is behind the first level and its slash; data NULL: that was the last. */
static struct mqtt5_bytes behind(struct mqtt5_bytes text, size_t level_size)
{
    return level_size == text.len ? m5_bytes(NULL, 0)
                                  : m5_bytes(text.data + level_size + 1, text.len - level_size - 1);
}

static bool begins_with(struct mqtt5_bytes text, struct mqtt5_bytes prefix)
{
    return text.len >= prefix.len && m5_bytes_equal(m5_bytes(text.data, prefix.len), prefix);
}

/* AWS does not count "$aws/rules/<rule>/", which never reaches a subscriber. */
static struct mqtt5_bytes counted_part(const struct subject *subject)
{
    const struct mqtt5_bytes text = subject->text, prefix = m5_bytes_of("$aws/rules/");
    if (subject->rules->kind != MQTT5_NAMESPACE_AWS_IOT || !begins_with(text, prefix))
        return text;
    const struct mqtt5_bytes rest = m5_bytes(text.data + prefix.len, text.len - prefix.len);
    const struct mqtt5_bytes counted = behind(rest, first_level(rest).len);
    return counted.data == NULL ? text : counted;
}

static const uint8_t *level_begin(struct mqtt5_bytes text, uint32_t index)
{
    for (; index > 0; index--)
        text = behind(text, first_level(text).len);
    return text.data;
}

static bool fits(struct subject *subject)
{
    const struct mqtt5_namespace_rules *rules = subject->rules;
    const struct mqtt5_bytes text = counted_part(subject);
    const uint32_t size_max = rules->size_max != 0 ? rules->size_max : subject->service->size_max;
    const uint32_t levels_max =
        rules->levels_max != 0 ? rules->levels_max : subject->service->levels_max;
    if (size_max != 0 && text.len > size_max)
        return refuse(subject, MQTT5_ERR_NOT_AUTHORIZED, text.data + size_max,
                      "longer than the namespace allows");
    if (levels_max != 0 && m5_topic_levels(text) > levels_max)
        return refuse(subject,
                      subject->use == USE_NAME ? MQTT5_ERR_TOPIC_LEVELS : MQTT5_ERR_FILTER_LEVELS,
                      level_begin(text, levels_max), "more levels than the namespace allows");
    return true;
}

static bool in_charset(uint8_t byte)
{
    const uint8_t letter = byte | 0x20;
    return (letter >= 'a' && letter <= 'z') || (byte >= '0' && byte <= '9') ||
           (byte != 0 && memchr("-_.:@=,", byte, 7) != NULL);
}

static bool is_wildcard(struct mqtt5_bytes level)
{
    return level.len == 1 && (level.data[0] == '+' || level.data[0] == '#');
}

static bool has_plain_levels(struct subject *subject)
{
    const uint32_t size_max = subject->service->level_size_max;
    for (struct mqtt5_bytes rest = subject->text; rest.data != NULL;) {
        const struct mqtt5_bytes level = first_level(rest);
        if (level.len == 0)
            return refuse(subject, MQTT5_ERR_NOT_AUTHORIZED, level.data, "an empty level");
        if (level.len > size_max)
            return refuse(subject, MQTT5_ERR_NOT_AUTHORIZED, level.data + size_max,
                          "a level longer than the namespace allows");
        for (size_t i = 0; i < level.len && !is_wildcard(level); i++) {
            if (!in_charset(level.data[i]))
                return refuse(subject, MQTT5_ERR_NOT_AUTHORIZED, level.data + i,
                              "a character that the namespace does not allow");
        }
        rest = behind(rest, level.len);
    }
    return true;
}

/* ---- patterns ---- */

static bool level_within(const struct subject *subject, struct mqtt5_bytes pattern,
                         struct mqtt5_bytes level)
{
    const char *id = subject->rules->device_id;
    if (m5_bytes_equal(pattern, m5_bytes_of("+")))
        return level.len > 0 && !m5_bytes_equal(level, m5_bytes_of("#"));
    if (m5_bytes_equal(pattern, m5_bytes_of("{id}")))
        return id != NULL && m5_bytes_equal(level, m5_bytes_of(id));
    if (pattern.len > 0 && pattern.data[pattern.len - 1] == '*')
        return begins_with(level, m5_bytes(pattern.data, pattern.len - 1));
    return m5_bytes_equal(pattern, level);
}

/* True when @p text is within @p pattern; else *@p at is where it leaves it, if further than what
 * it was. */
static bool pattern_has(const struct subject *subject, const char *pattern, const uint8_t **at)
{
    struct mqtt5_bytes wanted = m5_bytes_of(pattern), rest = subject->text;
    const uint8_t *end = rest.data + rest.len;
    for (;;) {
        const struct mqtt5_bytes wanted_level = first_level(wanted);
        if (rest.data != NULL && m5_bytes_equal(wanted_level, m5_bytes_of("#")))
            return true;
        if (wanted.data == NULL && rest.data == NULL)
            return true;
        const struct mqtt5_bytes level = first_level(rest);
        if (wanted.data == NULL || rest.data == NULL || !level_within(subject, wanted_level, level))
            break;
        wanted = behind(wanted, wanted_level.len);
        rest = behind(rest, level.len);
    }
    const uint8_t *left = rest.data == NULL ? end : rest.data;
    if (left > *at)
        *at = left;
    return false;
}

static bool in_patterns(struct subject *subject)
{
    const uint8_t *at = subject->text.data;
    for (size_t i = 0; i < M5_COUNT_OF(patterns); i++) {
        const struct pattern *pattern = &patterns[i];
        if (pattern->kind == subject->rules->kind && pattern->use == subject->use &&
            pattern_has(subject, pattern->text, &at))
            return true;
    }
    return refuse(subject, MQTT5_ERR_NOT_AUTHORIZED, at, subject->service->outside);
}

/* ---- the order of the rules ---- */

static bool is_system(struct mqtt5_bytes text)
{
    return m5_bytes_equal(first_level(text), m5_bytes_of("$SYS"));
}

static bool is_not_reserved(struct subject *subject)
{
    const struct mqtt5_namespace_rules *rules = subject->rules;
    for (size_t i = 0; i < rules->reserved_prefix_count; i++) {
        if (begins_with(subject->text, m5_bytes_of(rules->reserved_prefixes[i])))
            return refuse(subject, MQTT5_ERR_NOT_AUTHORIZED, subject->text.data,
                          "a reserved prefix");
    }
    return true;
}

static bool is_allowed(struct subject *subject)
{
    const struct service *service = subject->service;
    if (!follows_protocol(subject) || !is_not_reserved(subject) || !fits(subject))
        return false;
    if (subject->text.data != subject->whole.data && !service->shared)
        return refuse(subject, MQTT5_ERR_NOT_AUTHORIZED, subject->whole.data,
                      "the service has no shared subscriptions");
    if (is_system(subject->text))
        return subject->rules->system_topics ||
               refuse(subject, MQTT5_ERR_NOT_AUTHORIZED, subject->text.data, "a system topic");
    if (service->charset)
        return has_plain_levels(subject);
    const bool owned =
        service->own_topics && (subject->text.data[0] != '$' || service->outside == NULL);
    return owned || in_patterns(subject);
}

static enum mqtt5_error check(const struct mqtt5_namespace_rules *rules, enum use use,
                              struct mqtt5_bytes text, struct mqtt5_namespace_fault *fault)
{
    if (mqtt5_namespace_rules_check(rules) != MQTT5_OK)
        return MQTT5_ERR_CONFIG;
    struct subject subject = {
        .rules = rules,
        .service = &services[rules->kind],
        .use = use,
        .whole = text.len > 0 ? text : m5_bytes_of(""),
    };
    if (is_allowed(&subject))
        return MQTT5_OK;
    if (fault != NULL)
        *fault = subject.fault;
    return subject.fault.error;
}

/* ---- for all ---- */

void mqtt5_namespace_rules_init(struct mqtt5_namespace_rules *rules, enum mqtt5_namespace kind)
{
    *rules = (struct mqtt5_namespace_rules){
        .struct_size = sizeof *rules,
        .kind = kind,
        .system_topics = kind == MQTT5_NAMESPACE_STANDARD,
    };
}

enum mqtt5_error mqtt5_namespace_rules_check(const struct mqtt5_namespace_rules *rules)
{
    if (rules->struct_size != sizeof *rules || (size_t)rules->kind >= M5_COUNT_OF(services))
        return MQTT5_ERR_CONFIG;
    if (rules->reserved_prefix_count > 0 && rules->reserved_prefixes == NULL)
        return MQTT5_ERR_CONFIG;
    if (rules->device_id == NULL)
        return MQTT5_OK;
    const struct mqtt5_bytes id = m5_bytes_of(rules->device_id);
    const bool one_level = mqtt5_topic_check(id, 1) == MQTT5_OK;
    return one_level ? MQTT5_OK : MQTT5_ERR_CONFIG;
}

enum mqtt5_error mqtt5_namespace_check_topic(const struct mqtt5_namespace_rules *rules,
                                             struct mqtt5_bytes topic,
                                             struct mqtt5_namespace_fault *fault)
{
    return check(rules, USE_NAME, topic, fault);
}

enum mqtt5_error mqtt5_namespace_check_filter(const struct mqtt5_namespace_rules *rules,
                                              struct mqtt5_bytes filter,
                                              struct mqtt5_namespace_fault *fault)
{
    return check(rules, USE_FILTER, filter, fault);
}

/* ---- words ---- */

/* Text that is cut at the end of a buffer, and counted beyond it. */
struct writer {
    char *out;
    size_t size, length;
};

static void write_text(struct writer *writer, struct mqtt5_bytes text)
{
    for (size_t i = 0; i < text.len; i++, writer->length++) {
        if (writer->length + 1 < writer->size)
            writer->out[writer->length] = (char)text.data[i];
    }
}

static void write_number(struct writer *writer, uint64_t value, unsigned base, unsigned least)
{
    uint8_t digits[20];
    unsigned count = 0;
    for (; value > 0 || count < least; value /= base)
        digits[sizeof digits - ++count] = (uint8_t) "0123456789ABCDEF"[value % base];
    write_text(writer, m5_bytes(digits + sizeof digits - count, count));
}

size_t mqtt5_namespace_explain(const struct mqtt5_namespace_fault *fault, char *out, size_t size)
{
    struct writer writer = {.out = out, .size = size};
    write_text(&writer, m5_bytes_of(fault->rule));
    write_text(&writer, m5_bytes_of(": "));
    if (fault->character != 0) {
        write_text(&writer, m5_bytes_of("U+"));
        write_number(&writer, fault->character, 16, 4);
        const uint8_t printable = (uint8_t)fault->character;
        if (fault->character > 0x20 && fault->character < 0x7F) {
            write_text(&writer, m5_bytes_of(" '"));
            write_text(&writer, m5_bytes(&printable, 1));
            write_text(&writer, m5_bytes_of("'"));
        }
        write_text(&writer, m5_bytes_of(" "));
    }
    write_text(&writer, m5_bytes_of("at byte "));
    write_number(&writer, fault->offset, 10, 1);
    if (size > 0)
        out[writer.length < size ? writer.length : size - 1] = 0;
    return writer.length;
}

/* ---- endpoints ---- */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool equals_at(struct mqtt5_bytes host, size_t offset, const char *text)
{
    const size_t size = strlen(text);
    if (offset > host.len || host.len - offset < size)
        return false;
    for (size_t i = 0; i < size; i++) {
        if (lower((char)host.data[offset + i]) != text[i])
            return false;
    }
    return true;
}

/* Takes @p suffix off the end, if something is left before it. */
static bool cut_suffix(struct mqtt5_bytes *host, const char *suffix)
{
    const size_t size = strlen(suffix);
    if (host->len <= size || !equals_at(*host, host->len - size, suffix))
        return false;
    host->len -= size;
    return true;
}

bool mqtt5_host_is_aws_iot(const char *host)
{
    if (host == NULL)
        return false;
    struct mqtt5_bytes rest = m5_bytes_of(host);
    (void)cut_suffix(&rest, ".");
    (void)cut_suffix(&rest, ".cn");
    if (!cut_suffix(&rest, ".amazonaws.com"))
        return false;
    /* What is left is <endpoint>.iot.<region>: neither end may be empty. */
    for (size_t i = 1; i + 1 < rest.len; i++) {
        if (equals_at(rest, i, ".iot.") && i + 5 < rest.len)
            return true;
        if (equals_at(rest, i, ".iot-fips.") && i + 10 < rest.len)
            return true;
    }
    return false;
}
