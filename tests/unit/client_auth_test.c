/* Exchanges of AUTH packets (section 4.12) as the client takes part in them.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "support/client_rig.h"
#include "support/unit.h"

static int mark;

static enum mqtt5_error no_handler(void *ctx, enum mqtt5_auth_step step, struct mqtt5_bytes data,
                                   struct mqtt5_bytes *reply)
{
    (void)ctx;
    (void)step;
    (void)data;
    (void)reply;
    return MQTT5_OK; /* the host's to call: never here */
}

static void make(struct client_rig *rig)
{
    rig_init(rig);
    rig->config.auth_method = "M";
    rig->config.auth = no_handler;
    rig_make(rig);
    assert_int_equal(m5_client_open(rig->client, M5_CLIENT_START_AS_CONFIGURED, rig->now_ms),
                     MQTT5_OK);
    assert_true(m5_client_wants_auth(rig->client));
    assert_true(rig_sent(rig, "")); /* CONNECT waits for its data */
    assert_int_equal(m5_client_auth(rig->client, m5_bytes_of("one")), MQTT5_OK);
    assert_false(m5_client_wants_auth(rig->client));
    assert_true(rig_sent(rig, "10 [0004'MQTT' 05 02 003c"
                              "[16 0003'one' 15 0001'M' 21 0400 22 0000 27 01000000] 0001'c']"));
}

/* [MQTT-4.12.0-2] [MQTT-4.12.0-3] [MQTT-4.12.0-5] */
static void exchange_goes_to_connack(void **state)
{
    (void)state;
    struct client_rig rig;
    struct m5_client_event event;
    make(&rig);
    for (int i = 0; i < 2; i++) {
        rig_feed(&rig, "f0 [18 [15 0001'M' 16 0003'two']]");
        assert_true(rig_event(&rig, &event));
        assert_int_equal(event.type, M5_CLIENT_AUTH);
        assert_int_equal(event.result.reason_code, 0x18);
        assert_int_equal(event.result.properties.authentication_data.len, 3);
        assert_int_equal(m5_client_auth(rig.client, m5_bytes_of("three")), MQTT5_OK);
        assert_int_equal(m5_client_auth(rig.client, m5_bytes_of("four")),
                         MQTT5_ERR_INVALID_STATE); /* it is the server's turn */
        assert_true(rig_sent(&rig, "f0 [18 [15 0001'M' 16 0005'three']]"));
    }
    rig_feed(&rig, "20 [00 00 [15 0001'M']]");
    assert_true(rig_event(&rig, &event));
    assert_int_equal(event.type, M5_CLIENT_CONNECTED);
    rig_fini(&rig);
}

/* [MQTT-3.1.2-30] */
static void nothing_else_is_sent_before_connack(void **state)
{
    (void)state;
    struct client_rig rig;
    struct m5_client_event event;
    make(&rig);
    assert_int_equal(rig_publish(&rig, 1, "x", NULL), MQTT5_OK);
    assert_int_equal(rig_subscribe(&rig, "a", 0, &mark), MQTT5_OK);
    assert_int_equal(m5_client_ping(rig.client, &mark), MQTT5_ERR_INVALID_STATE);
    assert_true(rig_sent(&rig, ""));
    rig_feed(&rig, "f0 [18 [15 0001'M']]");
    assert_true(rig_event(&rig, &event));
    assert_int_equal(m5_client_auth(rig.client, (struct mqtt5_bytes){0}), MQTT5_OK);
    assert_true(rig_sent(&rig, "f0 [18 [15 0001'M']]"));
    rig_feed(&rig, "20 [00 00 [15 0001'M']]");
    assert_true(rig_event(&rig, &event));
    assert_true(rig_sent(&rig, "82 [0001 00 0001'a' 00] 32 [0001't' 0002 00 'x']"));
    rig_fini(&rig);
}

static void wrong_answers_close(void **state)
{
    static const char *const cases[] = {
        "20 [00 00 00]",                             /* no method in CONNACK [MQTT-4.12.0-5] */
        "20 [00 00 [15 0001'N']]",                   /* another one */
        "f0 [18 [15 0001'N']]",                      /* another one in AUTH */
        "f0 [00 [15 0001'M']]",                      /* success is CONNACK's to say */
        "f0 [19 [15 0001'M']]",                      /* a client's word */
        "f0 [18 [15 0001'M']] f0 [18 [15 0001'M']]", /* twice, without an answer */
        "f0 [18 [15 0001'M']] 20 [00 00 [15 0001'M']]",
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client_rig rig;
        make(&rig);
        rig_feed(&rig, cases[i]);
        assert_true(rig_ended(&rig, MQTT5_ERR_PROTOCOL, 0));
        rig_fini(&rig);
    }
}

/* [MQTT-4.12.0-6] */
static void nobody_asked_for_an_exchange(void **state)
{
    (void)state;
    struct client_rig rig;
    rig_start(&rig);
    assert_true(rig_connect(&rig, RIG_CONNACK));
    assert_int_equal(m5_client_reauthenticate(rig.client, m5_bytes_of("x"), &mark),
                     MQTT5_ERR_INVALID_STATE);
    rig_feed(&rig, "f0 [18 [15 0001'M']]");
    assert_true(rig_ended(&rig, MQTT5_ERR_PROTOCOL, 0x82));
    rig_fini(&rig);
}

static void connected(struct client_rig *rig)
{
    struct m5_client_event event;
    make(rig);
    rig_feed(rig, "20 [00 00 [15 0001'M']]");
    assert_true(rig_event(rig, &event));
    assert_int_equal(event.type, M5_CLIENT_CONNECTED);
}

/* [MQTT-4.12.1-1] */
static void reauthentication_goes_on_beside_messages(void **state)
{
    (void)state;
    struct client_rig rig;
    struct m5_client_event event;
    void *ctx;
    connected(&rig);
    assert_int_equal(m5_client_reauthenticate(rig.client, m5_bytes_of("x"), &mark), MQTT5_OK);
    assert_int_equal(m5_client_reauthenticate(rig.client, m5_bytes_of("x"), &mark),
                     MQTT5_ERR_INVALID_STATE);
    assert_int_equal(rig_publish(&rig, 0, "x", NULL), MQTT5_OK);
    assert_true(rig_sent(&rig, "f0 [19 [15 0001'M' 16 0001'x']] 30 [0001't' 00 'x']"));
    rig_feed(&rig, "f0 [18 [15 0001'M']]");
    assert_true(rig_event(&rig, &event));
    assert_int_equal(m5_client_auth(rig.client, (struct mqtt5_bytes){0}), MQTT5_OK);
    assert_true(rig_sent(&rig, "f0 [18 [15 0001'M']]"));
    rig_feed(&rig, "f0 [00 [15 0001'M' 16 0002'ok']]");
    assert_true(rig_event(&rig, &event));
    assert_int_equal(event.type, M5_CLIENT_AUTH);
    assert_int_equal(event.result.reason_code, 0);
    m5_client_auth_done(rig.client, MQTT5_OK); /* the host has looked at the server's data */
    assert_int_equal(rig_completed(&rig, &ctx), MQTT5_OK);
    assert_ptr_equal(ctx, &mark);
    rig_feed(&rig, "f0 [18 [15 0001'M']]"); /* the server may not begin one */
    assert_true(rig_ended(&rig, MQTT5_ERR_PROTOCOL, 0x82));
    rig_fini(&rig);
}

static void lost_connection_ends_the_exchange(void **state)
{
    (void)state;
    struct client_rig rig;
    void *ctx;
    connected(&rig);
    assert_int_equal(m5_client_reauthenticate(rig.client, m5_bytes_of("x"), &mark), MQTT5_OK);
    rig_lose(&rig);
    assert_int_equal(rig_completed(&rig, &ctx), MQTT5_ERR_CLOSED);
    assert_ptr_equal(ctx, &mark);
    rig_fini(&rig);
}

static void method_needs_a_handler_and_version_5(void **state)
{
    (void)state;
    struct client_rig rig;
    struct m5_client *client;
    rig_init(&rig);
    rig.config.auth_method = "M";
    assert_int_equal(m5_client_new(&rig.config, &rig.allocator.table, 0, &client),
                     MQTT5_ERR_CONFIG);
    rig.config.auth = no_handler;
    rig.config.version = MQTT5_VERSION_3_1_1;
    assert_int_equal(m5_client_new(&rig.config, &rig.allocator.table, 0, &client),
                     MQTT5_ERR_UNSUPPORTED);
    test_allocator_check(&rig.allocator);
}

/* ---- pings of the user, which stand in the same row as those of the keep-alive ---- */

static void pings_are_answered_in_order(void **state)
{
    (void)state;
    struct client_rig rig;
    void *ctx;
    int other = 0;
    rig_start(&rig);
    assert_int_equal(m5_client_ping(rig.client, &mark), MQTT5_ERR_INVALID_STATE);
    assert_true(rig_connect(&rig, RIG_CONNACK));
    rig_pass(&rig, 45000); /* the keep-alive's own comes first */
    assert_int_equal(m5_client_ping(rig.client, &mark), MQTT5_OK);
    assert_int_equal(m5_client_ping(rig.client, &other), MQTT5_OK);
    assert_true(rig_sent(&rig, "c000 c000 c000"));
    rig_feed(&rig, "d000");
    assert_true(rig_quiet(&rig));
    rig_feed(&rig, "d000");
    assert_int_equal(rig_completed(&rig, &ctx), MQTT5_OK);
    assert_ptr_equal(ctx, &mark);
    rig_lose(&rig);
    assert_int_equal(rig_completed(&rig, &ctx), MQTT5_ERR_CLOSED);
    assert_ptr_equal(ctx, &other);
    rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exchange_goes_to_connack),
        cmocka_unit_test(nothing_else_is_sent_before_connack),
        cmocka_unit_test(wrong_answers_close),
        cmocka_unit_test(nobody_asked_for_an_exchange),
        cmocka_unit_test(reauthentication_goes_on_beside_messages),
        cmocka_unit_test(lost_connection_ends_the_exchange),
        cmocka_unit_test(method_needs_a_handler_and_version_5),
        cmocka_unit_test(pings_are_answered_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
