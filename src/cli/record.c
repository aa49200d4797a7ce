/* Records of the store as lines for people, or as JSON.
 *
 *     session session=7 client="a" expiry_s=300 connected=false
 *     {"kind":"session","session":7,"client":"a","expiry_s":300,"connected":false}
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/record.h"

#include "base/timer.h"
#include "broker/record.h"
#include "cli/json.h"
#include "host/log.h"

#include <inttypes.h>

struct line {
    FILE *out; /* NULL: nothing is printed */
    bool json;
};

/* ---- fields ---- */

static void put_name(const struct line *line, const char *name)
{
    fprintf(line->out, line->json ? ",\"%s\":" : " %s=", name);
}

static void put_number(const struct line *line, const char *name, uint64_t number)
{
    if (line->out == NULL)
        return;
    put_name(line, name);
    fprintf(line->out, "%" PRIu64, number);
}

static void put_flag(const struct line *line, const char *name, bool flag)
{
    if (line->out == NULL)
        return;
    put_name(line, name);
    fputs(flag ? "true" : "false", line->out);
}

/* Times that are never are left out. */
static void put_time(const struct line *line, const char *name, uint64_t time_ms)
{
    if (time_ms != M5_NEVER)
        put_number(line, name, time_ms);
}

static void put_text(const struct line *line, const char *name, struct mqtt5_bytes text)
{
    if (line->out == NULL)
        return;
    put_name(line, name);
    if (line->json) {
        cli_json_string(line->out, text);
        return;
    }
    fputc('"', line->out);
    for (size_t i = 0; i < text.len;) {
        char part[256];
        const size_t size = text.len - i < 32 ? text.len - i : 32;
        const size_t written =
            m5_log_escape(part, sizeof part, m5_bytes(text.data + i, size), false);
        fwrite(part, 1, written, line->out);
        i += size;
    }
    fputc('"', line->out);
}

static void put_word(const struct line *line, const char *name, const char *word)
{
    if (line->out == NULL)
        return;
    put_name(line, name);
    fprintf(line->out, line->json ? "\"%s\"" : "%s", word);
}

static void put_rest(const struct line *line, const struct m5_message_view *view)
{
    put_flag(line, "retain", view->retain);
    put_time(line, "expires_at_ms", view->expires_at_ms);
    put_number(line, "properties_bytes", view->properties.len);
    put_number(line, "payload_bytes", view->payload.len);
}

static void put_message(const struct line *line, const struct m5_message_view *view)
{
    put_text(line, "topic", view->topic);
    put_number(line, "qos", view->qos);
    put_rest(line, view);
}

/* ---- kinds ---- */

static bool put_meta(const struct line *line, struct mqtt5_bytes value)
{
    struct m5_meta_record meta;
    if (!m5_meta_record_read(value, &meta))
        return false;
    put_number(line, "version", meta.version);
    put_number(line, "shards", meta.shard_count);
    return true;
}

static bool put_alive(const struct line *line, struct mqtt5_bytes value)
{
    if (value.len != M5_ALIVE_RECORD_SIZE)
        return false;
    put_number(line, "at_ms", m5_read_u64(value.data));
    return true;
}

static bool put_plain_message(const struct line *line, struct mqtt5_bytes value)
{
    struct m5_message_view view;
    if (!m5_message_record_read(value, &view))
        return false;
    put_message(line, &view);
    return true;
}

static bool put_retained(const struct line *line, struct mqtt5_bytes value)
{
    struct m5_retained_record record;
    if (!m5_retained_record_read(value, &record))
        return false;
    put_text(line, "publisher", record.publisher);
    put_message(line, &record.view);
    return true;
}

static bool put_session(const struct line *line, struct mqtt5_bytes value)
{
    struct m5_session_record record;
    if (!m5_session_record_read(value, &record))
        return false;
    put_text(line, "client", record.client_id);
    if (!record.anonymous)
        put_text(line, "user", record.username);
    put_number(line, "expiry_s", record.expiry_s);
    put_flag(line, "connected", record.connected);
    put_time(line, "expires_at_ms", record.expires_wall_ms);
    put_time(line, "will_at_ms", record.will_wall_ms);
    return true;
}

static bool put_subscription(const struct line *line, struct mqtt5_bytes value)
{
    struct m5_subscription_record record;
    if (!m5_subscription_record_read(value, &record))
        return false;
    if (record.share_name.len > 0)
        put_text(line, "share", record.share_name);
    put_text(line, "filter", record.filter);
    put_number(line, "qos", record.qos);
    if (record.id != 0)
        put_number(line, "identifier", record.id);
    return true;
}

static bool put_delivery(const struct line *line, struct mqtt5_bytes value)
{
    struct m5_delivery_record record;
    if (!m5_delivery_record_read(value, &record))
        return false;
    put_number(line, "qos", record.qos);
    put_flag(line, "released", record.released);
    if (record.body == M5_STORED_APART)
        put_number(line, "message", record.message);
    if (record.body != M5_STORED_WITHIN)
        return true;
    put_text(line, "topic", record.view.topic);
    put_number(line, "published_qos", record.view.qos);
    put_rest(line, &record.view);
    return true;
}

static bool put_will(const struct line *line, struct mqtt5_bytes value)
{
    struct m5_will_record record;
    if (!m5_will_record_read(value, &record))
        return false;
    put_number(line, "delay_s", record.delay_s);
    put_message(line, &record.view);
    return true;
}

static bool put_value(const struct line *line, enum m5_record_kind kind, struct mqtt5_bytes value)
{
    switch (kind) {
    case M5_RECORD_META: return put_meta(line, value);
    case M5_RECORD_ALIVE: return put_alive(line, value);
    case M5_RECORD_MESSAGE: return put_plain_message(line, value);
    case M5_RECORD_RETAINED: return put_retained(line, value);
    case M5_RECORD_SESSION: return put_session(line, value);
    case M5_RECORD_SUBSCRIPTION: return put_subscription(line, value);
    case M5_RECORD_DELIVERY: return put_delivery(line, value);
    case M5_RECORD_WILL: return put_will(line, value);
    case M5_RECORD_MAIL: put_number(line, "bytes", value.len); return true;
    case M5_RECORD_INCOMING: return true;
    case M5_RECORD_UNKNOWN: return false;
    }
    return false;
}

/* The numbers in a key, by what they are. */
static void put_key(const struct line *line, enum m5_record_kind kind, const uint64_t numbers[2])
{
    static const char *const names[M5_RECORD_KINDS][2] = {
        [M5_RECORD_MESSAGE] = {"message"},
        [M5_RECORD_MAIL] = {"shard", "number"},
        [M5_RECORD_RETAINED] = {"number"},
        [M5_RECORD_SESSION] = {"session"},
        [M5_RECORD_SUBSCRIPTION] = {"session", "number"},
        [M5_RECORD_DELIVERY] = {"session", "sequence"},
        [M5_RECORD_INCOMING] = {"session", "packet_id"},
        [M5_RECORD_WILL] = {"session"},
    };
    for (unsigned i = 0; kind < M5_RECORD_KINDS && i < 2; i++) {
        if (names[kind][i] != NULL)
            put_number(line, names[kind][i], numbers[i]);
    }
}

bool cli_record_print(FILE *out, struct mqtt5_bytes key, struct mqtt5_bytes value, bool json)
{
    const struct line line = {.out = out, .json = json};
    uint64_t numbers[2];
    const enum m5_record_kind kind = m5_record_kind(key, &numbers[0], &numbers[1]);
    if (out != NULL)
        fprintf(out, json ? "{\"kind\":\"%s\"" : "%s", m5_record_kind_name(kind));
    put_key(&line, kind, numbers);
    bool sound = value.data != NULL;
    if (!sound)
        put_word(&line, "damaged", "checksum");
    else if (!put_value(&line, kind, value)) {
        sound = false;
        put_word(&line, "damaged", "value");
    }
    if (out != NULL)
        fputs(json ? "}\n" : "\n", out);
    return sound;
}
