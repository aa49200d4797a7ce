/* Random packets that may be encoded.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/wire_random.h"

#include "base/assert.h"
#include "base/bytes.h"

struct maker {
    struct m5_rng *rng;
    struct wire_room *room;
    uint8_t version;
};

static uint64_t below(struct maker *maker, uint64_t bound)
{
    return m5_rng_below(maker->rng, bound);
}

static bool toss(struct maker *maker)
{
    return below(maker, 2) == 0;
}

/* Short as a rule, sometimes long enough for a length of two or three bytes. */
static size_t random_size(struct maker *maker)
{
    const uint64_t kind = below(maker, 40);
    return (size_t)below(maker, kind == 0 ? 3000 : kind < 4 ? 200 : 9);
}

static struct mqtt5_bytes random_bytes(struct maker *maker)
{
    const size_t size = random_size(maker);
    M5_ASSERT(maker->room->used + size <= sizeof maker->room->bytes);
    uint8_t *out = maker->room->bytes + maker->room->used;
    m5_rng_fill(maker->rng, out, size);
    maker->room->used += size;
    return m5_bytes(out, size);
}

/* Characters out of @p alphabet, at least @p size_min of them. */
static struct mqtt5_bytes random_out_of(struct maker *maker, const char *const alphabet[],
                                        size_t count, size_t size_min)
{
    uint8_t *const out = maker->room->bytes + maker->room->used;
    uint8_t *at = out;
    for (size_t n = size_min + random_size(maker); n > 0; n--)
        at = m5_copy(at, m5_bytes_of(alphabet[below(maker, count)]));
    maker->room->used += (size_t)(at - out);
    M5_ASSERT(maker->room->used <= sizeof maker->room->bytes);
    return m5_bytes(out, (size_t)(at - out));
}

static struct mqtt5_bytes random_text(struct maker *maker)
{
    static const char *const alphabet[] = {
        "a", "Z", "0", "/", "#", "$", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    return random_out_of(maker, alphabet, M5_COUNT_OF(alphabet), 0);
}

static struct mqtt5_bytes random_topic(struct maker *maker)
{
    static const char *const alphabet[] = {"a", "b", "/", "$", "\xc3\xa9"};
    return random_out_of(maker, alphabet, M5_COUNT_OF(alphabet), 1);
}

/* Values by wire type; the few with rules of their own are set right afterwards. */
static uint32_t random_BYTE(struct maker *maker)
{
    return (uint32_t)below(maker, 2);
}

static uint32_t random_U16(struct maker *maker)
{
    return 1 + (uint32_t)below(maker, UINT16_MAX);
}

static uint32_t random_U32(struct maker *maker)
{
    return 1 + (uint32_t)below(maker, UINT32_MAX);
}

static uint32_t random_VARINT(struct maker *maker)
{
    return 1 +
           (uint32_t)below(maker, (uint64_t)1 << (7 * (1 + below(maker, 4)))) % MQTT5_VARINT_MAX;
}

static struct mqtt5_bytes random_UTF8(struct maker *maker)
{
    return random_text(maker);
}

static struct mqtt5_bytes random_BINARY(struct maker *maker)
{
    return random_bytes(maker);
}

static struct mqtt5_user_properties random_PAIR(struct maker *maker)
{
    /* The second list is for the will, whose properties are made after those of the packet. */
    static const size_t lists = M5_COUNT_OF(maker->room->user_properties);
    size_t list = 0;
    while (list + 1 < lists && maker->room->user_properties[list][0].name.data != NULL)
        list++;
    struct mqtt5_user_property *items = maker->room->user_properties[list];
    const uint32_t count = 1 + (uint32_t)below(maker, 4);
    for (uint32_t i = 0; i < count; i++) {
        items[i].name = random_text(maker);
        items[i].value = random_text(maker);
    }
    return (struct mqtt5_user_properties){.items = items, .count = count};
}

static void random_properties(struct maker *maker, uint32_t packet, struct mqtt5_properties *out)
{
    out->present = 0;
    out->raw = (struct mqtt5_bytes){0};
    if (maker->version < MQTT5_VERSION_5 || below(maker, 4) == 0)
        return;
#define X(NAME, field, id, type, packets, many, text)      \
    if (((packets)&packet) != 0 && below(maker, 3) == 0) { \
        out->field = random_##type(maker);                 \
        MQTT5_SET(out, NAME);                              \
    }
    MQTT5_PROPERTY_TABLE(X)
#undef X
    if (MQTT5_HAS(out, RESPONSE_TOPIC))
        out->response_topic = random_topic(maker);
    if (MQTT5_HAS(out, AUTHENTICATION_DATA) && !MQTT5_HAS(out, AUTHENTICATION_METHOD)) {
        out->authentication_method = random_text(maker);
        MQTT5_SET(out, AUTHENTICATION_METHOD);
    }
}

static uint16_t random_id(struct maker *maker)
{
    return (uint16_t)(1 + below(maker, UINT16_MAX));
}

static uint8_t random_reason(struct maker *maker, uint8_t type)
{
    for (;;) {
        const uint8_t reason = (uint8_t)m5_rng_next(maker->rng);
        if (mqtt5_reason_allowed(reason, type))
            return reason;
    }
}

static void random_connect(struct maker *maker, struct mqtt5_connect *out)
{
    const bool is_v5 = maker->version == MQTT5_VERSION_5;
    out->version = maker->version;
    out->bridge = !is_v5 && toss(maker);
    out->clean_start = toss(maker);
    out->keep_alive_s = (uint16_t)m5_rng_next(maker->rng);
    out->client_id = is_v5 ? random_text(maker) : random_topic(maker);
    out->has_username = toss(maker);
    out->has_password = toss(maker) && (is_v5 || out->has_username);
    out->username = random_text(maker);
    out->password = random_bytes(maker);
    random_properties(maker, MQTT5_IN_CONNECT, &out->properties);
    out->has_will = toss(maker);
    if (!out->has_will)
        return;
    out->will.qos = (uint8_t)below(maker, 3);
    out->will.retain = toss(maker);
    out->will.topic = random_topic(maker);
    out->will.payload = random_bytes(maker);
    random_properties(maker, MQTT5_IN_WILL, &out->will.properties);
}

static void random_connack(struct maker *maker, struct mqtt5_connack *out)
{
    out->reason_code = maker->version < MQTT5_VERSION_5 ? (uint8_t)below(maker, 6)
                                                        : random_reason(maker, MQTT5_CONNACK);
    out->session_present =
        out->reason_code == 0 && maker->version > MQTT5_VERSION_3_1 && toss(maker);
    random_properties(maker, MQTT5_IN_CONNACK, &out->properties);
}

static void random_publish(struct maker *maker, struct mqtt5_publish *out)
{
    out->qos = (uint8_t)below(maker, 3);
    out->retain = toss(maker);
    out->dup = out->qos > 0 && toss(maker);
    out->packet_id = out->qos > 0 ? random_id(maker) : 0;
    out->payload = random_bytes(maker);
    random_properties(maker, MQTT5_IN_PUBLISH, &out->properties);
    out->topic = random_topic(maker);
    if (MQTT5_HAS(&out->properties, TOPIC_ALIAS) && toss(maker))
        out->topic = (struct mqtt5_bytes){0};
}

static void random_ack(struct maker *maker, uint8_t type, struct mqtt5_ack *out)
{
    out->packet_id = random_id(maker);
    const bool bare = maker->version < MQTT5_VERSION_5 || toss(maker);
    out->reason_code = bare ? 0 : random_reason(maker, type);
    random_properties(maker, 1u << type, &out->properties);
}

static void random_subscribe(struct maker *maker, struct mqtt5_subscribe *out)
{
    out->packet_id = random_id(maker);
    out->count = 1 + (uint32_t)below(maker, 4);
    out->items = maker->room->requests;
    for (uint32_t i = 0; i < out->count; i++) {
        const bool is_v5 = maker->version == MQTT5_VERSION_5;
        maker->room->requests[i] = (struct mqtt5_subscription_request){
            .filter = random_topic(maker),
            .qos = (uint8_t)below(maker, 3),
            .no_local = is_v5 && toss(maker),
            .retain_as_published = is_v5 && toss(maker),
            .retain_handling = is_v5 ? (uint8_t)below(maker, 3) : 0,
        };
    }
    random_properties(maker, MQTT5_IN_SUBSCRIBE, &out->properties);
}

static void random_unsubscribe(struct maker *maker, struct mqtt5_unsubscribe *out)
{
    out->packet_id = random_id(maker);
    out->count = 1 + (uint32_t)below(maker, 4);
    out->items = maker->room->filters;
    for (uint32_t i = 0; i < out->count; i++)
        maker->room->filters[i] = random_topic(maker);
    random_properties(maker, MQTT5_IN_UNSUBSCRIBE, &out->properties);
}

static void random_suback(struct maker *maker, uint8_t type, struct mqtt5_suback *out)
{
    static const uint8_t codes_of_3[] = {0, 1, 2, 0x80};
    out->packet_id = random_id(maker);
    uint8_t *codes = maker->room->bytes + maker->room->used;
    const size_t count = 1 + (size_t)below(maker, 9);
    for (size_t i = 0; i < count; i++)
        codes[i] = maker->version < MQTT5_VERSION_5 ? codes_of_3[below(maker, 4)]
                                                    : random_reason(maker, type);
    maker->room->used += count;
    const bool has_codes = type == MQTT5_SUBACK || maker->version == MQTT5_VERSION_5;
    out->reason_codes = has_codes ? m5_bytes(codes, count) : (struct mqtt5_bytes){0};
    random_properties(maker, 1u << type, &out->properties);
}

static void random_disconnect(struct maker *maker, struct mqtt5_reasoned *out)
{
    const bool bare = maker->version < MQTT5_VERSION_5 || toss(maker);
    out->reason_code = bare ? 0 : random_reason(maker, MQTT5_DISCONNECT);
    random_properties(maker, MQTT5_IN_DISCONNECT, &out->properties);
}

static void random_auth(struct maker *maker, struct mqtt5_reasoned *out)
{
    random_properties(maker, MQTT5_IN_AUTH, &out->properties);
    out->reason_code = random_reason(maker, MQTT5_AUTH);
    if (out->reason_code == 0 && out->properties.present == 0)
        return;
    out->properties.authentication_method = random_text(maker);
    MQTT5_SET(&out->properties, AUTHENTICATION_METHOD);
}

void wire_random(struct m5_rng *rng, uint8_t version, struct wire_room *room,
                 struct mqtt5_packet *out)
{
    struct maker maker = {.rng = rng, .room = room, .version = version};
    room->used = 0;
    room->user_properties[0][0] = room->user_properties[1][0] = (struct mqtt5_user_property){0};
    *out = (struct mqtt5_packet){0};
    out->type = (uint8_t)(1 + below(&maker, version == MQTT5_VERSION_5 ? 15 : 14));
    switch ((enum mqtt5_packet_type)out->type) {
    case MQTT5_CONNECT: random_connect(&maker, &out->as.connect); break;
    case MQTT5_CONNACK: random_connack(&maker, &out->as.connack); break;
    case MQTT5_PUBLISH: random_publish(&maker, &out->as.publish); break;
    case MQTT5_PUBACK:
    case MQTT5_PUBREC:
    case MQTT5_PUBREL:
    case MQTT5_PUBCOMP: random_ack(&maker, out->type, &out->as.ack); break;
    case MQTT5_SUBSCRIBE: random_subscribe(&maker, &out->as.subscribe); break;
    case MQTT5_UNSUBSCRIBE: random_unsubscribe(&maker, &out->as.unsubscribe); break;
    case MQTT5_SUBACK:
    case MQTT5_UNSUBACK: random_suback(&maker, out->type, &out->as.suback); break;
    case MQTT5_DISCONNECT: random_disconnect(&maker, &out->as.disconnect); break;
    case MQTT5_AUTH: random_auth(&maker, &out->as.auth); break;
    case MQTT5_PINGREQ:
    case MQTT5_PINGRESP: break;
    }
}
