/* Faults that other clients shipped, each as a test of ours, by its number in tests/security.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/client_rig.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/rng.h"
#include "support/guard_page.h"
#include "support/hex.h"
#include "support/seed.h"
#include "support/unit.h"

#include <string.h>

#define ROOM_MAX 256u
#define HEAD_MAX 5u /* bytes of a fixed header */

static struct guard_page guard;

static int set_up(void **state)
{
    (void)state;
    guard_page_init(&guard, ROOM_MAX + HEAD_MAX);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    guard_page_fini(&guard);
    return 0;
}

/* A PUBLISH at QoS 1 (id 1) and at QoS 2 (2), SUBSCRIBE (3) and UNSUBSCRIBE (4) are in flight. */
static void make_busy(struct client_rig *rig, uint8_t version)
{
    const struct mqtt5_bytes item = m5_bytes_of("a");
    const struct mqtt5_unsubscribe unsubscribe = {.count = 1, .items = &item};
    rig_init(rig);
    rig->config.version = version;
    rig_make(rig);
    assert_true(rig_connect(rig, version == MQTT5_VERSION_5 ? RIG_CONNACK : RIG_CONNACK_V3));
    assert_int_equal(rig_publish(rig, 1, "x", NULL), MQTT5_OK);
    assert_int_equal(rig_publish(rig, 2, "x", NULL), MQTT5_OK);
    rig_drop_output(rig);
    assert_int_equal(rig_subscribe(rig, "f", 1, NULL), MQTT5_OK);
    assert_int_equal(m5_client_unsubscribe(rig->client, &unsubscribe, NULL), MQTT5_OK);
    rig_drop_output(rig);
}

/* Feeds bytes that end where memory ends, and deals with all that comes of them; whether the
 * connection is over then. */
static bool ends_with(struct client_rig *rig, struct mqtt5_bytes bytes)
{
    struct m5_client_event event;
    m5_client_input(rig->client, guard_page_place(&guard, bytes));
    m5_client_check(rig->client);
    while (rig_event(rig, &event))
        ;
    return m5_client_state(rig->client) == MQTT5_CLIENT_CLOSING;
}

/* The client goes, whatever is left. */
static void finish(struct client_rig *rig)
{
    struct m5_client_event event;
    rig_drop_output(rig);
    rig_lose(rig);
    while (rig_event(rig, &event))
        ;
    rig_fini(rig);
}

/* ---- 12: packets that are too short ---- */

static const char *const answers[] = {
    "20 [00 00 [21 0010 12 0002'me']]", "31 [0003'a/b' [0b 07 26 0001'k' 0001'v'] 'hi']",
    "34 [0001't' 0005 00 'x']",         "40 [0001 10 [1f 0001'r']]",
    "50 [0002 10 [1f 0001'r']]",        "62 [0002 92 [1f 0001'r']]",
    "70 [0002 00 [1f 0001'r']]",        "90 [0003 [1f 0001'r'] 01]",
    "b0 [0004 [1f 0001'r'] 00]",        "d0 00",
    "e0 [8b [1c 0001's' 1f 0001'r']]",  "f0 [18 [15 0001'm' 16 0001'd']]",
};

/* What the decoder says of it decides what must become of the connection. */
static void feed_cut(uint8_t version, struct mqtt5_bytes packet)
{
    struct mqtt5_frame frame;
    struct mqtt5_packet decoded;
    struct mqtt5_decode_limits limits;
    struct client_rig rig;
    mqtt5_decode_limits_init(&limits);
    assert_int_equal(mqtt5_frame_read(packet, UINT32_MAX, &frame), MQTT5_OK);
    const enum mqtt5_error error = mqtt5_packet_decode(&frame, version, &limits, &decoded);
    make_busy(&rig, version);
    const bool ended = ends_with(&rig, packet);
    assert_true(ended || error == MQTT5_OK);
    finish(&rig);
}

static void case_12_packets_of_a_server_cut_at_every_length(void **state)
{
    (void)state;
    for (uint8_t version = MQTT5_VERSION_3_1_1; version <= MQTT5_VERSION_5; version++) {
        for (size_t i = 0; i < M5_COUNT_OF(answers); i++) {
            uint8_t packet[ROOM_MAX];
            const struct mqtt5_bytes whole = hex_read(answers[i], packet, sizeof packet);
            for (size_t size = 2; size <= whole.len; size++) {
                packet[1] = (uint8_t)(size - 2); /* it says so itself */
                feed_cut(version, m5_bytes(packet, size));
            }
        }
    }
}

/* The subscription of a SUBACK without a code is not granted, and nothing reads the code. */
static void case_12_a_suback_without_codes_grants_nothing(void **state)
{
    (void)state;
    static const char *const subacks[] = {"90 [0003 00]", "90 [0003]", "90 [00]", "90 00"};
    for (size_t i = 0; i < M5_COUNT_OF(subacks); i++) {
        uint8_t packet[16];
        struct client_rig rig;
        struct m5_client_event event;
        make_busy(&rig, MQTT5_VERSION_5);
        m5_client_input(rig.client, guard_page_place(&guard, hex_read(subacks[i], packet, 16)));
        while (rig_event(&rig, &event))
            if (event.type == M5_CLIENT_COMPLETED)
                assert_int_not_equal(event.result.error, MQTT5_OK);
        assert_int_equal(m5_client_state(rig.client), MQTT5_CLIENT_CLOSING);
        finish(&rig);
    }
}

/* ---- 43: lengths that lie ---- */

static size_t put_length(uint8_t *out, uint64_t length)
{
    size_t size = 0;
    do {
        out[size] = (uint8_t)(length % 128 + (length >= 128 ? 128 : 0));
        length /= 128;
        size++;
    } while (length > 0);
    return size;
}

static void case_43_lengths_are_believed_no_further_than_the_bytes(void **state)
{
    (void)state;
    static const uint64_t lengths[] = {
        0,     1,       2,       3,         4,         127,        128,         255,       16383,
        16384, 2097151, 2097152, 268435454, 268435455, 4294967295, 34359738367, 4294967297};
    struct m5_rng rng;
    m5_rng_init(&rng, test_seed(43));
    for (unsigned first = 0; first < 256; first++) {
        for (size_t i = 0; i < M5_COUNT_OF(lengths); i++) {
            uint8_t bytes[ROOM_MAX];
            struct client_rig rig;
            bytes[0] = (uint8_t)first;
            const size_t head = 1 + put_length(bytes + 1, lengths[i]);
            const size_t body = m5_rng_below(&rng, 48);
            m5_rng_fill(&rng, bytes + head, body);
            make_busy(&rig, first % 2 == 0 ? MQTT5_VERSION_5 : MQTT5_VERSION_3_1_1);
            const size_t before = rig.allocator.bytes;
            const bool ended = ends_with(&rig, m5_bytes(bytes, head + body));
            assert_in_range(rig.allocator.bytes, 0, before + 65536);
            assert_true(ended || lengths[i] <= 268435455); /* more is no length at all */
            finish(&rig);
        }
    }
}

/* A packet whose own length is right and whose fields say that they are longer than it. */
static void case_43_fields_do_not_reach_beyond_their_packet(void **state)
{
    (void)state;
    static const char *const packets[] = {
        "30 [ffff 't' 00]",
        "30 [0001't' ff ff ff 7f 26]",
        "30 [0001't' [26 ffff 'k' 0001'v']]",
        "30 [0001't' [08 8000 'r']]",
        "30 [0001't' [0b ff ff ff ff 7f]]",
        "32 [0001't' 00]",
        "40 [0001 10 ff 7f]",
        "90 [0003 ff ff ff 7f 00]",
        "90 [0003 04 1f ffff 00]",
        "b0 [0004 7f 00]",
        "e0 [8b 05 1f 0fff 'r']",
    };
    for (size_t i = 0; i < M5_COUNT_OF(packets); i++) {
        uint8_t packet[ROOM_MAX];
        struct client_rig rig;
        make_busy(&rig, MQTT5_VERSION_5);
        if (!ends_with(&rig, hex_read(packets[i], packet, ROOM_MAX)))
            fail_msg("taken: %s", packets[i]);
        finish(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_12_packets_of_a_server_cut_at_every_length),
        cmocka_unit_test(case_12_a_suback_without_codes_grants_nothing),
        cmocka_unit_test(case_43_lengths_are_believed_no_further_than_the_bytes),
        cmocka_unit_test(case_43_fields_do_not_reach_beyond_their_packet),
    };
    return cmocka_run_group_tests_name("client security", tests, set_up, tear_down);
}
