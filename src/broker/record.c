/* Keys and values of what is stored.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "broker/record.h"

#include "base/assert.h"
#include "broker/subscription.h"
#include "protocol/reader.h"

#include <mqtt5/topic.h>

/* ---- keys ---- */

struct key_shape {
    const char *name;
    uint8_t letter, type;  /* type: of what belongs to a session */
    uint8_t first, second; /* bytes of the numbers, 0: none */
    bool of_session;
};

static const struct key_shape shapes[M5_RECORD_KINDS] = {
    [M5_RECORD_META] = {"meta", 'a', 0, 0, 0, false},
    [M5_RECORD_ALIVE] = {"alive", 'b', 0, 0, 0, false},
    [M5_RECORD_MESSAGE] = {"message", 'm', 0, 8, 0, false},
    [M5_RECORD_MAIL] = {"mail", 'p', 0, 1, 8, false},
    [M5_RECORD_RETAINED] = {"retained", 'r', 0, 8, 0, false},
    [M5_RECORD_SESSION] = {"session", 's', 0, 8, 0, true},
    [M5_RECORD_SUBSCRIPTION] = {"subscription", 's', 1, 8, 8, true},
    [M5_RECORD_DELIVERY] = {"delivery", 's', 2, 8, 8, true},
    [M5_RECORD_INCOMING] = {"incoming", 's', 3, 8, 2, true},
    [M5_RECORD_WILL] = {"will", 's', 4, 8, 0, true},
};

static uint8_t *write_number(uint8_t *out, uint64_t number, uint8_t size)
{
    for (uint8_t i = 0; i < size; i++)
        *out++ = (uint8_t)(number >> 8 * (size - 1u - i));
    return out;
}

static uint64_t read_number(const uint8_t *at, uint8_t size)
{
    uint64_t number = 0;
    for (uint8_t i = 0; i < size; i++)
        number = number << 8 | at[i];
    return number;
}

struct m5_record_key m5_key_of(enum m5_record_kind kind, uint64_t first, uint64_t second)
{
    M5_ASSERT(kind < M5_RECORD_KINDS);
    const struct key_shape *shape = &shapes[kind];
    struct m5_record_key key;
    uint8_t *at = key.bytes;
    *at++ = shape->letter;
    at = write_number(at, first, shape->first);
    if (shape->of_session)
        *at++ = shape->type;
    at = write_number(at, second, shape->second);
    key.size = (uint8_t)(at - key.bytes);
    return key;
}

struct m5_record_key m5_key_session_prefix(uint64_t serial)
{
    struct m5_record_key key = m5_key_of(M5_RECORD_SESSION, serial, 0);
    key.size--;
    return key;
}

enum m5_record_kind m5_record_kind(struct mqtt5_bytes key, uint64_t *first, uint64_t *second)
{
    *first = *second = 0;
    for (unsigned i = 0; i < M5_RECORD_KINDS; i++) {
        const struct key_shape *shape = &shapes[i];
        size_t size = 1u + shape->first + shape->second + shape->of_session;
        if (key.len != size || key.data[0] != shape->letter ||
            (shape->of_session && key.data[1 + shape->first] != shape->type))
            continue;
        *first = read_number(key.data + 1, shape->first);
        *second = read_number(key.data + key.len - shape->second, shape->second);
        return (enum m5_record_kind)i;
    }
    return M5_RECORD_UNKNOWN;
}

const char *m5_record_kind_name(enum m5_record_kind kind)
{
    return kind < M5_RECORD_KINDS ? shapes[kind].name : "unknown";
}

/* ---- parts ---- */

static uint64_t take_u64(struct m5_reader *reader)
{
    const uint8_t *p;
    return m5_take(reader, 8, &p) ? m5_read_u64(p) : 0;
}

static bool take_flag(struct m5_reader *reader)
{
    uint8_t flag = m5_take_u8(reader);
    m5_reader_need(reader, flag <= 1, MQTT5_ERR_TRAILING_BYTES);
    return flag == 1;
}

static bool finish(struct m5_reader *reader)
{
    return m5_reader_finish(reader) == MQTT5_OK;
}

/* ---- messages ---- */

#define MESSAGE_HEAD 16u /* expires 8, qos and retain 2, topic size 2, properties size 4 */

size_t m5_message_record_size(const struct m5_message_view *view)
{
    return MESSAGE_HEAD + view->topic.len + view->properties.len + view->payload.len;
}

uint8_t *m5_message_record_write(const struct m5_message_view *view, uint64_t wall_ms, uint8_t *out)
{
    out = m5_write_u64(out, m5_to_wall(view->expires_at_ms, wall_ms));
    *out++ = view->qos;
    *out++ = view->retain;
    out = m5_write_u16(out, (uint16_t)view->topic.len);
    out = m5_write_u32(out, (uint32_t)view->properties.len);
    return m5_copy(m5_copy(m5_copy(out, view->topic), view->properties), view->payload);
}

static bool is_topic(struct mqtt5_bytes topic)
{
    return mqtt5_topic_check(topic, UINT32_MAX) == MQTT5_OK;
}

/* The rest of the value is a message. */
static void take_message(struct m5_reader *reader, struct m5_message_view *out)
{
    out->expires_at_ms = take_u64(reader);
    out->qos = m5_take_u8(reader);
    out->retain = take_flag(reader);
    size_t topic_size = m5_take_u16(reader);
    size_t properties_size = m5_take_u32(reader);
    out->topic = m5_take_bytes(reader, topic_size);
    out->properties = m5_take_bytes(reader, properties_size);
    out->payload = m5_take_bytes(reader, m5_reader_left(reader));
    m5_reader_need(reader, out->qos <= 2, MQTT5_ERR_TRAILING_BYTES);
    m5_reader_need(reader, reader->error != MQTT5_OK || is_topic(out->topic),
                   MQTT5_ERR_TRAILING_BYTES);
}

bool m5_message_record_read(struct mqtt5_bytes value, struct m5_message_view *out)
{
    struct m5_reader reader = m5_reader_of(value);
    take_message(&reader, out);
    return finish(&reader);
}

/* ---- the store's own ---- */

void m5_meta_record_write(const struct m5_meta_record *record, uint8_t *out)
{
    out = m5_write_u64(out, record->version);
    out = m5_write_u64(m5_write_u64(out, record->key[0]), record->key[1]);
    m5_write_u32(out, record->shard_count);
}

bool m5_meta_record_read(struct mqtt5_bytes value, struct m5_meta_record *out)
{
    struct m5_reader reader = m5_reader_of(value);
    out->version = take_u64(&reader);
    out->key[0] = take_u64(&reader);
    out->key[1] = take_u64(&reader);
    out->shard_count = m5_take_u32(&reader);
    return finish(&reader) && out->version > 0 && out->shard_count > 0;
}

/* ---- sessions ---- */

#define SESSION_CONNECTED 1u
#define SESSION_ANONYMOUS 2u
#define SESSION_PROVED    4u
#define SESSION_HEAD      31u /* flags 1, expiry 4, three times 8, size of the client id 2 */

size_t m5_session_record_size(const struct m5_session_record *record)
{
    return SESSION_HEAD + record->client_id.len + record->username.len;
}

void m5_session_record_write(const struct m5_session_record *record, uint8_t *out)
{
    *out++ = (uint8_t)((record->connected ? SESSION_CONNECTED : 0) |
                       (record->anonymous ? SESSION_ANONYMOUS : 0) |
                       (record->proved ? SESSION_PROVED : 0));
    out = m5_write_u32(out, record->expiry_s);
    out = m5_write_u64(out, record->expires_wall_ms);
    out = m5_write_u64(out, record->will_wall_ms);
    out = m5_write_u64(out, record->given);
    out = m5_write_u16(out, (uint16_t)record->client_id.len);
    m5_copy(m5_copy(out, record->client_id), record->username);
}

bool m5_session_record_read(struct mqtt5_bytes value, struct m5_session_record *out)
{
    struct m5_reader reader = m5_reader_of(value);
    uint8_t flags = m5_take_u8(&reader);
    out->connected = (flags & SESSION_CONNECTED) != 0;
    out->anonymous = (flags & SESSION_ANONYMOUS) != 0;
    out->proved = (flags & SESSION_PROVED) != 0;
    out->expiry_s = m5_take_u32(&reader);
    out->expires_wall_ms = take_u64(&reader);
    out->will_wall_ms = take_u64(&reader);
    out->given = take_u64(&reader);
    out->client_id = m5_take_binary(&reader);
    out->username = m5_take_bytes(&reader, m5_reader_left(&reader));
    return finish(&reader) && flags <= (SESSION_CONNECTED | SESSION_ANONYMOUS | SESSION_PROVED) &&
           out->client_id.len > 0 && out->username.len <= UINT16_MAX &&
           m5_utf8_check(out->client_id) == MQTT5_OK && m5_utf8_check(out->username) == MQTT5_OK;
}

#define SUBSCRIPTION_HEAD 8u /* qos 1, flags 1, id 4, size of the share name 2 */

size_t m5_subscription_record_size(const struct m5_subscription_record *record)
{
    return SUBSCRIPTION_HEAD + record->share_name.len + record->filter.len;
}

void m5_subscription_record_write(const struct m5_subscription_record *record, uint8_t *out)
{
    *out++ = record->qos;
    *out++ = record->flags;
    out = m5_write_u32(out, record->id);
    out = m5_write_u16(out, (uint16_t)record->share_name.len);
    m5_copy(m5_copy(out, record->share_name), record->filter);
}

bool m5_subscription_record_read(struct mqtt5_bytes value, struct m5_subscription_record *out)
{
    struct m5_reader reader = m5_reader_of(value);
    out->qos = m5_take_u8(&reader);
    out->flags = m5_take_u8(&reader);
    out->id = m5_take_u32(&reader);
    out->share_name = m5_take_binary(&reader);
    out->filter = m5_take_bytes(&reader, m5_reader_left(&reader));
    return finish(&reader) && out->qos <= 2 &&
           out->flags <= (M5_SUB_NO_LOCAL | M5_SUB_RETAIN_AS_PUBLISHED) &&
           m5_utf8_check(out->share_name) == MQTT5_OK;
}

/* ---- deliveries ---- */

#define DELIVERY_RELEASED 1u
#define DELIVERY_RETAIN   2u
#define DELIVERY_HEAD     14u /* qos, flags, body 3, ticket 8, count of ids 3 */

size_t m5_delivery_record_size(const struct m5_delivery_record *record)
{
    size_t size = DELIVERY_HEAD + record->id_count * sizeof(uint32_t);
    if (record->body == M5_STORED_APART)
        size += 8;
    if (record->body == M5_STORED_WITHIN)
        size += m5_message_record_size(&record->view);
    return size;
}

void m5_delivery_record_write(const struct m5_delivery_record *record, const uint32_t *ids,
                              uint64_t wall_ms, uint8_t *out)
{
    *out++ = record->qos;
    *out++ = (uint8_t)((record->released ? DELIVERY_RELEASED : 0) |
                       (record->retain ? DELIVERY_RETAIN : 0));
    *out++ = (uint8_t)record->body;
    out = m5_write_u64(out, record->ticket);
    *out++ = (uint8_t)(record->id_count >> 16);
    out = m5_write_u16(out, (uint16_t)record->id_count);
    for (uint32_t i = 0; i < record->id_count; i++)
        out = m5_write_u32(out, ids[i]);
    if (record->body == M5_STORED_APART)
        m5_write_u64(out, record->message);
    if (record->body == M5_STORED_WITHIN)
        m5_message_record_write(&record->view, wall_ms, out);
}

bool m5_delivery_record_read(struct mqtt5_bytes value, struct m5_delivery_record *out)
{
    struct m5_reader reader = m5_reader_of(value);
    *out = (struct m5_delivery_record){.qos = m5_take_u8(&reader)};
    uint8_t flags = m5_take_u8(&reader);
    out->released = (flags & DELIVERY_RELEASED) != 0;
    out->retain = (flags & DELIVERY_RETAIN) != 0;
    out->body = (enum m5_stored_body)m5_take_u8(&reader);
    out->ticket = take_u64(&reader);
    out->id_count = (uint32_t)m5_take_u8(&reader) << 16;
    out->id_count |= m5_take_u16(&reader);
    out->ids = m5_take_bytes(&reader, out->id_count * sizeof(uint32_t));
    if (out->body == M5_STORED_APART)
        out->message = take_u64(&reader);
    else if (out->body == M5_STORED_WITHIN)
        take_message(&reader, &out->view);
    bool fits = out->released ? out->body == M5_STORED_NONE && out->qos == 2
                              : out->body == M5_STORED_APART || out->body == M5_STORED_WITHIN;
    return finish(&reader) && fits && (out->qos == 1 || out->qos == 2) &&
           flags <= (DELIVERY_RELEASED | DELIVERY_RETAIN);
}

/* ---- wills and retained messages ---- */

#define WILL_HEAD 9u /* delay 4, expiry 4, flag 1 */

size_t m5_will_record_size(const struct m5_will_record *record)
{
    return WILL_HEAD + m5_message_record_size(&record->view);
}

void m5_will_record_write(const struct m5_will_record *record, uint64_t wall_ms, uint8_t *out)
{
    out = m5_write_u32(m5_write_u32(out, record->delay_s), record->expiry_s);
    *out++ = record->expires;
    m5_message_record_write(&record->view, wall_ms, out);
}

bool m5_will_record_read(struct mqtt5_bytes value, struct m5_will_record *out)
{
    struct m5_reader reader = m5_reader_of(value);
    out->delay_s = m5_take_u32(&reader);
    out->expiry_s = m5_take_u32(&reader);
    out->expires = take_flag(&reader);
    take_message(&reader, &out->view);
    return finish(&reader);
}

size_t m5_retained_record_size(const struct m5_retained_record *record)
{
    return 2 + record->publisher.len + m5_message_record_size(&record->view);
}

void m5_retained_record_write(const struct m5_retained_record *record, uint64_t wall_ms,
                              uint8_t *out)
{
    out = m5_copy(m5_write_u16(out, (uint16_t)record->publisher.len), record->publisher);
    m5_message_record_write(&record->view, wall_ms, out);
}

bool m5_retained_record_read(struct mqtt5_bytes value, struct m5_retained_record *out)
{
    struct m5_reader reader = m5_reader_of(value);
    out->publisher = m5_take_binary(&reader);
    take_message(&reader, &out->view);
    return finish(&reader) && out->view.payload.len > 0;
}
