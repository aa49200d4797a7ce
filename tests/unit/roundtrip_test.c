/* Random packets there and back, and what the encoder refuses.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <mqtt5/packet.h>

#include "base/bytes.h"
#include "support/guard_page.h"
#include "support/hex.h"
#include "support/seed.h"
#include "support/unit.h"
#include "support/wire_check.h"
#include "support/wire_random.h"

#include <stdlib.h>

#define EQUAL_NUMBERS(a, b, field) assert_int_equal((a)->field, (b)->field)
#define EQUAL_BYTES(a, b, field)   assert_true(m5_bytes_equal((a)->field, (b)->field))

static void equal_BYTE(uint32_t a, uint32_t b)
{
    assert_int_equal(a, b);
}

static void equal_UTF8(struct mqtt5_bytes a, struct mqtt5_bytes b)
{
    assert_true(m5_bytes_equal(a, b));
}

#define equal_U16    equal_BYTE
#define equal_U32    equal_BYTE
#define equal_VARINT equal_BYTE
#define equal_BINARY equal_UTF8

/* The decoded ones are counted; one by one they are compared by equal_user_properties(). */
static void equal_PAIR(struct mqtt5_user_properties a, struct mqtt5_user_properties b)
{
    assert_int_equal(a.count, b.count);
}

static void equal_user_properties(const struct mqtt5_user_properties *made, struct mqtt5_bytes raw)
{
    struct mqtt5_property property;
    uint32_t i = 0;
    while (mqtt5_property_next(&raw, &property)) {
        if (property.id != MQTT5_PROPERTY_USER_PROPERTY)
            continue;
        assert_true(i < made->count);
        assert_true(m5_bytes_equal(property.bytes, made->items[i].name));
        assert_true(m5_bytes_equal(property.value, made->items[i].value));
        i++;
    }
    assert_int_equal(i, made->count);
}

static void equal_properties(const struct mqtt5_properties *made,
                             const struct mqtt5_properties *decoded)
{
    assert_int_equal(made->present, decoded->present);
#define X(NAME, field, id, type, packets, many, text) \
    if (MQTT5_HAS(made, NAME))                        \
        equal_##type(made->field, decoded->field);
    MQTT5_PROPERTY_TABLE(X)
#undef X
    if (MQTT5_HAS(made, USER_PROPERTY))
        equal_user_properties(&made->user_property, decoded->raw);
}

static void equal_connect(const struct mqtt5_connect *a, const struct mqtt5_connect *b)
{
    EQUAL_NUMBERS(a, b, version);
    EQUAL_NUMBERS(a, b, bridge);
    EQUAL_NUMBERS(a, b, clean_start);
    EQUAL_NUMBERS(a, b, keep_alive_s);
    EQUAL_BYTES(a, b, client_id);
    EQUAL_NUMBERS(a, b, has_username);
    EQUAL_NUMBERS(a, b, has_password);
    EQUAL_NUMBERS(a, b, has_will);
    if (a->has_username)
        EQUAL_BYTES(a, b, username);
    if (a->has_password)
        EQUAL_BYTES(a, b, password);
    if (!a->has_will)
        return;
    EQUAL_NUMBERS(a, b, will.qos);
    EQUAL_NUMBERS(a, b, will.retain);
    EQUAL_BYTES(a, b, will.topic);
    EQUAL_BYTES(a, b, will.payload);
    equal_properties(&a->will.properties, &b->will.properties);
}

static void equal_publish(const struct mqtt5_publish *a, const struct mqtt5_publish *b)
{
    EQUAL_NUMBERS(a, b, dup);
    EQUAL_NUMBERS(a, b, qos);
    EQUAL_NUMBERS(a, b, retain);
    EQUAL_NUMBERS(a, b, packet_id);
    EQUAL_BYTES(a, b, topic);
    EQUAL_BYTES(a, b, payload);
}

static void equal_subscribe(const struct mqtt5_subscribe *a, const struct mqtt5_subscribe *b,
                            uint8_t version)
{
    struct mqtt5_bytes rest = b->raw;
    EQUAL_NUMBERS(a, b, packet_id);
    EQUAL_NUMBERS(a, b, count);
    for (uint32_t i = 0; i < a->count; i++) {
        struct mqtt5_subscription_request request;
        assert_true(mqtt5_subscribe_next(&rest, version, &request));
        EQUAL_BYTES(&a->items[i], &request, filter);
        EQUAL_NUMBERS(&a->items[i], &request, qos);
        EQUAL_NUMBERS(&a->items[i], &request, no_local);
        EQUAL_NUMBERS(&a->items[i], &request, retain_as_published);
        EQUAL_NUMBERS(&a->items[i], &request, retain_handling);
    }
}

static void equal_unsubscribe(const struct mqtt5_unsubscribe *a, const struct mqtt5_unsubscribe *b)
{
    struct mqtt5_bytes rest = b->raw, filter;
    EQUAL_NUMBERS(a, b, packet_id);
    EQUAL_NUMBERS(a, b, count);
    for (uint32_t i = 0; i < a->count; i++) {
        assert_true(mqtt5_unsubscribe_next(&rest, &filter));
        assert_true(m5_bytes_equal(a->items[i], filter));
    }
}

static void equal_fields(const struct mqtt5_packet *a, const struct mqtt5_packet *b,
                         uint8_t version)
{
    assert_int_equal(a->type, b->type);
    switch ((enum mqtt5_packet_type)a->type) {
    case MQTT5_CONNECT: equal_connect(&a->as.connect, &b->as.connect); break;
    case MQTT5_CONNACK:
        EQUAL_NUMBERS(&a->as.connack, &b->as.connack, session_present);
        EQUAL_NUMBERS(&a->as.connack, &b->as.connack, reason_code);
        break;
    case MQTT5_PUBLISH: equal_publish(&a->as.publish, &b->as.publish); break;
    case MQTT5_PUBACK:
    case MQTT5_PUBREC:
    case MQTT5_PUBREL:
    case MQTT5_PUBCOMP:
        EQUAL_NUMBERS(&a->as.ack, &b->as.ack, packet_id);
        EQUAL_NUMBERS(&a->as.ack, &b->as.ack, reason_code);
        break;
    case MQTT5_SUBSCRIBE: equal_subscribe(&a->as.subscribe, &b->as.subscribe, version); break;
    case MQTT5_UNSUBSCRIBE: equal_unsubscribe(&a->as.unsubscribe, &b->as.unsubscribe); break;
    case MQTT5_SUBACK:
    case MQTT5_UNSUBACK:
        EQUAL_NUMBERS(&a->as.suback, &b->as.suback, packet_id);
        EQUAL_BYTES(&a->as.suback, &b->as.suback, reason_codes);
        break;
    case MQTT5_DISCONNECT:
    case MQTT5_AUTH: EQUAL_NUMBERS(&a->as.auth, &b->as.auth, reason_code); break;
    case MQTT5_PINGREQ:
    case MQTT5_PINGRESP: break;
    }
}

static void equal_packets(struct mqtt5_packet *made, struct mqtt5_packet *decoded, uint8_t version)
{
    equal_fields(made, decoded, version);
    struct mqtt5_properties *properties = wire_properties(made);
    if (properties != NULL)
        equal_properties(properties, wire_properties(decoded));
}

/* Exactly the bytes that were announced are written, they decode to the same packet, and what was
 * decoded encodes to the same bytes. */
static void there_and_back(struct mqtt5_packet *made, uint8_t version, struct guard_page *guard)
{
    struct mqtt5_decode_limits limits;
    struct mqtt5_frame frame;
    struct mqtt5_packet decoded;
    mqtt5_decode_limits_init(&limits);
    const size_t size = mqtt5_packet_size(made, version);
    assert_true(size >= 2);
    uint8_t *out = guard->end - size;
    assert_ptr_equal(mqtt5_packet_write(made, version, out, size), guard->end);
    assert_int_equal(mqtt5_frame_read(m5_bytes(out, size), UINT32_MAX, &frame), MQTT5_OK);
    assert_int_equal(frame.size, size);
    assert_int_equal(mqtt5_packet_decode(&frame, version, &limits, &decoded), MQTT5_OK);
    equal_packets(made, &decoded, version);

    if (made->type == MQTT5_PUBLISH && made->as.publish.topic.len == 0)
        return; /* its alias must be given by field */
    uint8_t *again = malloc(size);
    assert_non_null(again);
    wire_pass_on(&decoded);
    assert_int_equal(mqtt5_packet_size(&decoded, version), size);
    mqtt5_packet_write(&decoded, version, again, size);
    assert_memory_equal(again, out, size);
    free(again);
}

static void random_packets_come_back_as_they_were(void **state)
{
    (void)state;
    struct m5_rng rng;
    struct guard_page guard;
    struct wire_room *room = malloc(sizeof *room);
    assert_non_null(room);
    unsigned seen[16] = {0};
    guard_page_init(&guard, sizeof room->bytes * 2);
    m5_rng_init(&rng, test_seed(1));
    for (unsigned i = 0; i < 60000; i++) {
        struct mqtt5_packet packet;
        const uint8_t version = (uint8_t)(i % 4 == 0 ? 3 : i % 4 == 1 ? 4 : 5);
        wire_random(&rng, version, room, &packet);
        there_and_back(&packet, version, &guard);
        seen[packet.type]++;
    }
    for (unsigned type = 1; type < 16; type++)
        assert_true(seen[type] > 100);
    guard_page_fini(&guard);
    free(room);
}

/* Random packets with a few bytes changed: never read past the end, and what is accepted holds. */
static void random_damage_is_survived(void **state)
{
    (void)state;
    struct m5_rng rng;
    struct guard_page guard;
    struct wire_room *room = malloc(sizeof *room);
    assert_non_null(room);
    unsigned accepted = 0, refused = 0;
    guard_page_init(&guard, sizeof room->bytes * 2);
    m5_rng_init(&rng, test_seed(1));
    for (unsigned i = 0; i < 100000; i++) {
        struct mqtt5_packet packet;
        const uint8_t version = (uint8_t)(3 + i % 3);
        wire_random(&rng, version, room, &packet);
        const size_t size = mqtt5_packet_size(&packet, version);
        uint8_t *out = guard.end - size;
        mqtt5_packet_write(&packet, version, out, size);
        for (uint64_t n = 1 + m5_rng_below(&rng, 3); n > 0; n--)
            out[m5_rng_below(&rng, size)] = (uint8_t)m5_rng_next(&rng);
        if (wire_check(m5_bytes(out, size), version) == MQTT5_OK)
            accepted++;
        else
            refused++;
    }
    assert_true(accepted > 1000 && refused > 1000);
    guard_page_fini(&guard);
    free(room);
}

static struct mqtt5_packet valid_publish(void)
{
    struct mqtt5_packet packet = {.type = MQTT5_PUBLISH};
    packet.as.publish = (struct mqtt5_publish){
        .qos = 1, .packet_id = 1, .topic = m5_bytes_of("t"), .payload = m5_bytes_of("p")};
    return packet;
}

static void publish_that_cannot_be_encoded_has_no_size(void **state)
{
    (void)state;
    static uint8_t large[70000];
    struct mqtt5_packet packet = valid_publish();
    assert_int_equal(mqtt5_packet_size(&packet, 5), 9);
    assert_int_equal(mqtt5_packet_size(&packet, 4), 8);
    packet.as.publish.qos = 3;
    assert_int_equal(mqtt5_packet_size(&packet, 5), 0);
    packet = valid_publish();
    packet.as.publish.packet_id = 0;
    assert_int_equal(mqtt5_packet_size(&packet, 5), 0);
    packet = valid_publish();
    packet.as.publish.qos = 0; /* [MQTT-2.2.1-2] */
    assert_int_equal(mqtt5_packet_size(&packet, 5), 0);
    packet.as.publish.packet_id = 0;
    assert_int_equal(mqtt5_packet_size(&packet, 5), 7);
    packet.as.publish.dup = true; /* [MQTT-3.3.1-2] */
    assert_int_equal(mqtt5_packet_size(&packet, 5), 0);
    packet = valid_publish();
    packet.as.publish.topic = m5_bytes(large, MQTT5_STRING_MAX); /* [MQTT-4.7.3-3] */
    assert_true(mqtt5_packet_size(&packet, 5) > MQTT5_STRING_MAX);
    packet.as.publish.topic.len++;
    assert_int_equal(mqtt5_packet_size(&packet, 5), 0);
    packet.as.publish.topic.len = 0;
    assert_int_equal(mqtt5_packet_size(&packet, 5), 0);
    MQTT5_SET(&packet.as.publish.properties, TOPIC_ALIAS);
    packet.as.publish.properties.topic_alias = 9;
    assert_true(mqtt5_packet_size(&packet, 5) > 0);
    assert_int_equal(mqtt5_packet_size(&packet, 4), 0);
    packet = valid_publish();
    packet.as.publish.payload.len = MQTT5_REMAINING_LENGTH_MAX - 6; /* only measured */
    assert_int_equal(mqtt5_packet_size(&packet, 5), 5 + MQTT5_REMAINING_LENGTH_MAX);
    packet.as.publish.payload.len++;
    assert_int_equal(mqtt5_packet_size(&packet, 5), 0);
    packet.as.publish.payload.len = SIZE_MAX;
    assert_int_equal(mqtt5_packet_size(&packet, 5), 0);
}

static void properties_that_cannot_be_encoded_have_no_size(void **state)
{
    (void)state;
    static uint8_t large[70000];
    struct mqtt5_packet packet = valid_publish();
    struct mqtt5_properties *properties = &packet.as.publish.properties;
    properties->receive_maximum = 1;
    MQTT5_SET(properties, RECEIVE_MAXIMUM);
    assert_int_equal(mqtt5_packet_size(&packet, 5), 0);
    properties->present = (uint64_t)1 << 63;
    assert_int_equal(mqtt5_packet_size(&packet, 5), 0);
    properties->present = 0;
    properties->topic_alias = 65536;
    MQTT5_SET(properties, TOPIC_ALIAS);
    assert_int_equal(mqtt5_packet_size(&packet, 5), 0);
    properties->present = 0;
    properties->payload_format_indicator = 256;
    MQTT5_SET(properties, PAYLOAD_FORMAT_INDICATOR);
    assert_int_equal(mqtt5_packet_size(&packet, 5), 0);
    properties->present = 0;
    properties->subscription_identifier = MQTT5_VARINT_MAX + 1;
    MQTT5_SET(properties, SUBSCRIPTION_IDENTIFIER);
    assert_int_equal(mqtt5_packet_size(&packet, 5), 0);
    properties->present = 0;
    properties->content_type = m5_bytes(large, MQTT5_STRING_MAX + 1);
    MQTT5_SET(properties, CONTENT_TYPE);
    assert_int_equal(mqtt5_packet_size(&packet, 5), 0);
    properties->present = 0;
    struct mqtt5_user_property item = {.name = m5_bytes(large, MQTT5_STRING_MAX + 1)};
    properties->user_property = (struct mqtt5_user_properties){.items = &item, .count = 1};
    MQTT5_SET(properties, USER_PROPERTY);
    assert_int_equal(mqtt5_packet_size(&packet, 5), 0);
    item.name.len = 0;
    assert_int_equal(mqtt5_packet_size(&packet, 5), 9 + 5);
    properties->raw.len = MQTT5_VARINT_MAX; /* only measured */
    assert_int_equal(mqtt5_packet_size(&packet, 5), 0);
}

static void other_packets_that_cannot_be_encoded_have_no_size(void **state)
{
    (void)state;
    struct mqtt5_packet packet = {.type = MQTT5_SUBSCRIBE};
    struct mqtt5_subscription_request request = {.filter = m5_bytes_of("f")};
    packet.as.subscribe = (struct mqtt5_subscribe){.packet_id = 1, .items = &request};
    assert_int_equal(mqtt5_packet_size(&packet, 5), 0); /* [MQTT-3.8.3-2] */
    packet.as.subscribe.count = 1;
    assert_int_equal(mqtt5_packet_size(&packet, 5), 2 + 2 + 1 + 4);
    request.qos = 3;
    assert_int_equal(mqtt5_packet_size(&packet, 5), 0);
    request = (struct mqtt5_subscription_request){.filter = m5_bytes_of("f"), .retain_handling = 3};
    assert_int_equal(mqtt5_packet_size(&packet, 5), 0);
    request = (struct mqtt5_subscription_request){0};
    assert_int_equal(mqtt5_packet_size(&packet, 5), 0);

    packet = (struct mqtt5_packet){.type = MQTT5_UNSUBSCRIBE, .as.unsubscribe.packet_id = 1};
    assert_int_equal(mqtt5_packet_size(&packet, 5), 0); /* [MQTT-3.10.3-2] */
    packet = (struct mqtt5_packet){.type = MQTT5_SUBACK, .as.suback.packet_id = 1};
    assert_int_equal(mqtt5_packet_size(&packet, 5), 0);
    packet.type = MQTT5_UNSUBACK;
    assert_int_equal(mqtt5_packet_size(&packet, 4), 4);
    packet = (struct mqtt5_packet){.type = MQTT5_PUBACK};
    assert_int_equal(mqtt5_packet_size(&packet, 5), 0);
    packet = (struct mqtt5_packet){.type = MQTT5_AUTH};
    assert_int_equal(mqtt5_packet_size(&packet, 5), 2);
    assert_int_equal(mqtt5_packet_size(&packet, 4), 0);
    packet = (struct mqtt5_packet){.type = MQTT5_CONNACK, .as.connack.reason_code = 0x87};
    assert_int_equal(mqtt5_packet_size(&packet, 4), 0);
    assert_int_equal(mqtt5_packet_size(&packet, 5), 5);
    packet = (struct mqtt5_packet){0};
    assert_int_equal(mqtt5_packet_size(&packet, 5), 0);
}

static void connect_that_cannot_be_encoded_has_no_size(void **state)
{
    (void)state;
    struct mqtt5_packet packet = {.type = MQTT5_CONNECT, .as.connect.version = 5};
    struct mqtt5_connect *connect = &packet.as.connect;
    assert_int_equal(mqtt5_packet_size(&packet, 0), 15);
    connect->has_password = true;
    assert_int_equal(mqtt5_packet_size(&packet, 0), 17);
    connect->version = 4;
    assert_int_equal(mqtt5_packet_size(&packet, 0), 0);
    *connect = (struct mqtt5_connect){.version = 6};
    assert_int_equal(mqtt5_packet_size(&packet, 0), 0);
    *connect = (struct mqtt5_connect){.version = 5, .bridge = true};
    assert_int_equal(mqtt5_packet_size(&packet, 0), 0);
    *connect = (struct mqtt5_connect){.version = 5, .has_will = true};
    assert_int_equal(mqtt5_packet_size(&packet, 0), 0);
    connect->will.topic = m5_bytes_of("w");
    assert_int_equal(mqtt5_packet_size(&packet, 0), 15 + 1 + 3 + 2);
    connect->will.qos = 3;
    assert_int_equal(mqtt5_packet_size(&packet, 0), 0);
}

/* 3.1.1 has one code for every refused filter. */
static void suback_of_3_1_1_has_one_failure(void **state)
{
    (void)state;
    uint8_t out[16], expected[16];
    struct mqtt5_packet packet = {.type = MQTT5_SUBACK};
    packet.as.suback =
        (struct mqtt5_suback){.packet_id = 7, .reason_codes = m5_bytes("\x01\x87\x8f", 3)};
    const size_t size = mqtt5_packet_size(&packet, 4);
    mqtt5_packet_write(&packet, 4, out, size);
    assert_true(m5_bytes_equal(m5_bytes(out, size), hex_read("90 [0007 01 80 80]", expected, 16)));
}

/* Order of section by section: own fields by identifier, user properties, then what is passed on.
 */
static void own_properties_go_before_those_passed_on(void **state)
{
    (void)state;
    uint8_t out[64], expected[64];
    struct mqtt5_packet packet = valid_publish();
    struct mqtt5_properties *properties = &packet.as.publish.properties;
    const struct mqtt5_user_property item = {.name = m5_bytes_of("k"), .value = m5_bytes_of("v")};
    properties->user_property = (struct mqtt5_user_properties){.items = &item, .count = 1};
    properties->subscription_identifier = 200;
    properties->message_expiry_interval_s = 5;
    MQTT5_SET(properties, USER_PROPERTY);
    MQTT5_SET(properties, SUBSCRIPTION_IDENTIFIER);
    MQTT5_SET(properties, MESSAGE_EXPIRY_INTERVAL);
    properties->raw = m5_bytes("\x01\x01", 2);
    const size_t size = mqtt5_packet_size(&packet, 5);
    mqtt5_packet_write(&packet, 5, out, size);
    const struct mqtt5_bytes wanted = hex_read(
        "32 [0001't' 0001 [02 00000005 0b c801 26 0001'k' 0001'v' 01 01] 'p']", expected, 64);
    assert_true(m5_bytes_equal(m5_bytes(out, size), wanted));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(publish_that_cannot_be_encoded_has_no_size),
        cmocka_unit_test(properties_that_cannot_be_encoded_have_no_size),
        cmocka_unit_test(other_packets_that_cannot_be_encoded_have_no_size),
        cmocka_unit_test(connect_that_cannot_be_encoded_has_no_size),
        cmocka_unit_test(suback_of_3_1_1_has_one_failure),
        cmocka_unit_test(own_properties_go_before_those_passed_on),
        cmocka_unit_test(random_packets_come_back_as_they_were),
        cmocka_unit_test(random_damage_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
