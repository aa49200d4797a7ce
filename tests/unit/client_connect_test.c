/* CONNECT and CONNACK of the client: what is asked for, what is agreed, whose session it is.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/client_rig.h"
#include "support/unit.h"

#include "base/bytes.h"

static struct mqtt5_bytes text(const char *text)
{
    return m5_bytes_of(text);
}

/* Opens and compares the CONNECT. */
static bool connects_as(struct client_rig *rig, enum m5_client_start start, const char *hex)
{
    return m5_client_open(rig->client, start, rig->now_ms) == MQTT5_OK && rig_sent(rig, hex);
}

/* [MQTT-3.1.0-1] [MQTT-3.1.3-1] [MQTT-3.1.3-3] [MQTT-2.2.2-1] */
static void connect_is_the_first_packet(void **state)
{
    (void)state;
    struct client_rig rig;
    rig_start(&rig);
    assert_true(connects_as(&rig, M5_CLIENT_START_AS_CONFIGURED,
                            "10 [0004'MQTT' 05 02 003c [21 0400 22 0000 27 01000000] 0001'c']"));
    rig_fini(&rig);
}

/* [MQTT-3.1.2-16] to [MQTT-3.1.2-19], [MQTT-3.1.3-12] */
static void user_name_and_password_go_with_their_flags(void **state)
{
    (void)state;
    struct client_rig rig;
    rig_init(&rig);
    rig.config.username = "me";
    rig.config.password = text("secret");
    rig.config.keep_alive_s = 10;
    rig.config.session_expiry_s = 5;
    rig_make(&rig);
    assert_true(connects_as(&rig, M5_CLIENT_START_AS_CONFIGURED,
                            "10 [0004'MQTT' 05 c2 000a"
                            "[11 00000005 21 0400 22 0000 27 01000000]"
                            "0001'c' 0002'me' 0006'secret']"));
    rig_fini(&rig);
}

/* [MQTT-3.1.2-9] [MQTT-3.1.2-12] [MQTT-3.1.3-11] */
static void will_goes_with_all_its_properties(void **state)
{
    (void)state;
    struct client_rig rig;
    const struct mqtt5_user_property pair = {.name = text("k"), .value = text("v")};
    struct mqtt5_will will = {
        .qos = 2, .retain = true, .topic = text("w"), .payload = text("dead")};
    MQTT5_SET(&will.properties, WILL_DELAY_INTERVAL);
    will.properties.will_delay_interval_s = 7;
    MQTT5_SET(&will.properties, USER_PROPERTY);
    will.properties.user_property = (struct mqtt5_user_properties){.items = &pair, .count = 1};
    rig_init(&rig);
    rig.config.will = &will;
    rig_make(&rig);
    will = (struct mqtt5_will){0}; /* it was copied */
    for (int i = 0; i < 2; i++) {
        assert_true(connects_as(&rig, M5_CLIENT_START_AS_CONFIGURED,
                                "10 [0004'MQTT' 05 36 003c [21 0400 22 0000 27 01000000] 0001'c'"
                                "[18 00000007 26 0001'k' 0001'v'] 0001'w' 0004'dead']"));
        rig_lose(&rig);
    }
    rig_fini(&rig);
}

static void connect_of_3_1_1_has_no_properties(void **state)
{
    (void)state;
    struct client_rig rig;
    rig_init(&rig);
    rig.config.version = MQTT5_VERSION_3_1_1;
    rig.config.clean_start = false;
    rig_make(&rig);
    assert_true(
        connects_as(&rig, M5_CLIENT_START_AS_CONFIGURED, "10 [0004'MQTT' 04 00 003c 0001'c']"));
    rig_fini(&rig);
}

struct config_case {
    const char *what;
    void (*spoil)(struct mqtt5_client_options *config);
    enum mqtt5_error error;
};

static struct mqtt5_will bad_will;

static void spoil_id(struct mqtt5_client_options *config)
{
    config->client_id = "\xff";
}
static void spoil_receive_maximum(struct mqtt5_client_options *config)
{
    config->receive_maximum = 0;
}
static void spoil_packet_size(struct mqtt5_client_options *config)
{
    config->maximum_packet_size = 0;
}
static void spoil_version(struct mqtt5_client_options *config)
{
    config->version = 6;
}
static void spoil_v3_id(struct mqtt5_client_options *config)
{
    config->version = MQTT5_VERSION_3_1_1;
    config->client_id = "";
    config->clean_start = false;
}
static void spoil_v3_properties(struct mqtt5_client_options *config)
{
    config->version = MQTT5_VERSION_3_1_1;
    MQTT5_SET(&config->properties, REQUEST_PROBLEM_INFORMATION);
}
static void spoil_will_topic(struct mqtt5_client_options *config)
{
    bad_will = (struct mqtt5_will){.topic = m5_bytes_of("a/#")};
    config->will = &bad_will;
}
static void spoil_will_qos(struct mqtt5_client_options *config)
{
    bad_will = (struct mqtt5_will){.topic = m5_bytes_of("a"), .qos = 3};
    config->will = &bad_will;
}
static void spoil_authentication(struct mqtt5_client_options *config)
{
    MQTT5_SET(&config->properties, AUTHENTICATION_METHOD);
    config->properties.authentication_method = m5_bytes_of("SCRAM-SHA-1");
}

static void configuration_that_cannot_work_is_refused(void **state)
{
    static const struct config_case cases[] = {
        {"client id is not UTF-8", spoil_id, MQTT5_ERR_UTF8},
        {"Receive Maximum 0", spoil_receive_maximum, MQTT5_ERR_CONFIG},
        {"Maximum Packet Size 0", spoil_packet_size, MQTT5_ERR_CONFIG},
        {"version 6", spoil_version, MQTT5_ERR_CONFIG},
        {"3.1.1 resuming without an id", spoil_v3_id, MQTT5_ERR_CONFIG},
        {"properties in 3.1.1", spoil_v3_properties, MQTT5_ERR_UNSUPPORTED},
        {"will to a wildcard", spoil_will_topic, MQTT5_ERR_TOPIC_WILDCARD},
        {"will of QoS 3", spoil_will_qos, MQTT5_ERR_INVALID_ARGUMENT},
        {"enhanced authentication", spoil_authentication, MQTT5_ERR_UNSUPPORTED},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client_rig rig;
        rig_init(&rig);
        cases[i].spoil(&rig.config);
        const enum mqtt5_error error =
            m5_client_new(&rig.config, &rig.allocator.table, rig.now_ms, &rig.client);
        if (error != cases[i].error)
            fail_msg("%s: %s", cases[i].what, mqtt5_error_name(error));
        assert_null(rig.client);
        rig_fini(&rig);
    }
}

/* ---- CONNACK ---- */

static void connack_is_agreed_on(void **state)
{
    (void)state;
    struct client_rig rig;
    struct mqtt5_client_info info;
    rig_start(&rig);
    assert_true(rig_connect(&rig, "20 [00 00 [11 00000064 13 0005 21 0003 22 0009 24 01 25 00"
                                  " 27 00000040]]"));
    m5_client_info(rig.client, &info);
    assert_int_equal(info.state, MQTT5_CLIENT_CONNECTED);
    assert_int_equal(info.session_expiry_s, 100);
    assert_int_equal(info.keep_alive_s, 5); /* [MQTT-3.1.2-21] [MQTT-3.2.2-21] */
    assert_int_equal(info.receive_maximum, 3);
    assert_int_equal(info.topic_alias_maximum, 9);
    assert_int_equal(info.maximum_qos, 1);
    assert_false(info.retain_available);
    assert_int_equal(info.maximum_packet_size, 64);
    rig_fini(&rig);
}

static void absent_connack_properties_have_their_meaning(void **state)
{
    (void)state;
    struct client_rig rig;
    struct mqtt5_client_info info;
    rig_start(&rig);
    assert_true(rig_connect(&rig, RIG_CONNACK));
    m5_client_info(rig.client, &info);
    assert_int_equal(info.keep_alive_s, 60);
    assert_int_equal(info.receive_maximum, 65535);
    assert_int_equal(info.topic_alias_maximum, 0); /* [MQTT-3.2.2-18] */
    assert_int_equal(info.maximum_qos, 2);
    assert_true(info.retain_available);
    assert_int_equal(info.maximum_packet_size, 268435460);
    rig_fini(&rig);
}

static void refusal_ends_the_connection_with_its_reason(void **state)
{
    (void)state;
    struct client_rig rig;
    struct m5_client_event event;
    rig_start(&rig);
    assert_false(rig_connect(&rig, "20 [00 87 [1f 0002'no']]"));
    assert_true(m5_client_wants_close(rig.client));
    rig_lose(&rig);
    assert_true(rig_event(&rig, &event));
    assert_int_equal(event.type, M5_CLIENT_DISCONNECTED);
    assert_int_equal(event.result.error, MQTT5_ERR_REFUSED);
    assert_int_equal(event.result.reason_code, MQTT5_REASON_NOT_AUTHORIZED);
    assert_true(event.by_server);
    assert_true(MQTT5_HAS(&event.result.properties, REASON_STRING));
    assert_memory_equal(event.result.properties.reason_string.data, "no", 2);
    rig_fini(&rig);
}

static void refusal_of_3_1_1_is_its_return_code(void **state)
{
    (void)state;
    struct client_rig rig;
    struct m5_client_event event;
    rig_init(&rig);
    rig.config.version = MQTT5_VERSION_3_1_1;
    rig_make(&rig);
    assert_false(rig_connect(&rig, "20 [00 05]"));
    rig_lose(&rig);
    assert_true(rig_event(&rig, &event));
    assert_int_equal(event.result.error, MQTT5_ERR_REFUSED);
    assert_int_equal(event.result.reason_code, MQTT5_V3_NOT_AUTHORIZED);
    rig_fini(&rig);
}

/* [MQTT-3.2.2-16] [MQTT-3.1.3-2] */
static void assigned_client_id_is_used_from_then_on(void **state)
{
    (void)state;
    struct client_rig rig;
    rig_init(&rig);
    rig.config.client_id = "";
    rig.config.session_expiry_s = 10;
    rig_make(&rig);
    assert_true(rig_connect(&rig, "20 [00 00 [12 0004'auto']]"));
    assert_int_equal(m5_client_id(rig.client).len, 4);
    assert_memory_equal(m5_client_id(rig.client).data, "auto", 4);
    rig_lose(&rig);
    assert_true(connects_as(&rig, M5_CLIENT_START_RESUME,
                            "10 [0004'MQTT' 05 00 003c"
                            "[11 0000000a 21 0400 22 0000 27 01000000] 0004'auto']"));
    rig_fini(&rig);
}

/* [MQTT-3.2.2-16] */
static void missing_assigned_client_id_is_a_protocol_error(void **state)
{
    (void)state;
    struct client_rig rig;
    rig_init(&rig);
    rig.config.client_id = "";
    rig_make(&rig);
    assert_false(rig_connect(&rig, RIG_CONNACK));
    assert_true(rig_ended(&rig, MQTT5_ERR_PROTOCOL, 0));
    rig_fini(&rig);
}

/* ---- session present ---- */

/* [MQTT-3.2.2-4] */
static void session_present_without_a_session_closes(void **state)
{
    (void)state;
    struct client_rig rig;
    rig_init(&rig);
    rig.config.clean_start = false;
    rig_make(&rig);
    assert_false(rig_connect(&rig, RIG_RESUMED));
    assert_true(rig_ended(&rig, MQTT5_ERR_PROTOCOL, 0));
    rig_fini(&rig);
}

static void session_of_an_earlier_process_is_welcome_when_said_so(void **state)
{
    (void)state;
    struct client_rig rig;
    rig_init(&rig);
    rig.config.clean_start = false;
    rig.config.session_known = true;
    rig_make(&rig);
    assert_true(rig_connect(&rig, RIG_RESUMED));
    rig_fini(&rig);
}

/* [MQTT-3.2.2-2] */
static void session_present_after_clean_start_closes(void **state)
{
    (void)state;
    struct client_rig rig;
    rig_init(&rig);
    rig.config.session_known = true;
    rig_make(&rig);
    assert_false(rig_connect(&rig, RIG_RESUMED));
    assert_true(rig_ended(&rig, MQTT5_ERR_PROTOCOL, 0));
    rig_fini(&rig);
}

static void session_of_a_former_connection_is_resumed(void **state)
{
    (void)state;
    struct client_rig rig;
    struct mqtt5_client_info info;
    rig_init(&rig);
    rig.config.clean_start = false;
    rig.config.session_expiry_s = 60;
    rig_make(&rig);
    assert_true(rig_connect(&rig, RIG_CONNACK));
    rig_lose(&rig);
    assert_true(rig_connect(&rig, RIG_RESUMED));
    m5_client_info(rig.client, &info);
    assert_true(info.session_present);
    rig_fini(&rig);
}

/* A session expiry of 0, also when the server says so, ends the session with the connection. */
static void session_that_expired_is_not_there_any_more(void **state)
{
    (void)state;
    struct client_rig rig;
    rig_init(&rig);
    rig.config.clean_start = false;
    rig.config.session_expiry_s = 60;
    rig_make(&rig);
    assert_true(rig_connect(&rig, "20 [00 00 [11 00000000]]"));
    rig_lose(&rig);
    assert_false(rig_connect(&rig, RIG_RESUMED));
    assert_true(rig_ended(&rig, MQTT5_ERR_PROTOCOL, 0));
    rig_fini(&rig);
}

/* ---- before and instead of CONNACK ---- */

static void connack_that_does_not_come_times_out(void **state)
{
    (void)state;
    struct client_rig rig;
    rig_start(&rig);
    assert_int_equal(m5_client_open(rig.client, M5_CLIENT_START_AS_CONFIGURED, rig.now_ms),
                     MQTT5_OK);
    rig_drop_output(&rig);
    assert_int_equal(m5_client_deadline_ms(rig.client), rig.now_ms + 30000);
    rig_pass(&rig, 29999);
    assert_false(m5_client_wants_close(rig.client));
    rig_pass(&rig, 1);
    assert_true(rig_ended(&rig, MQTT5_ERR_TIMEOUT, 0));
    assert_int_equal(m5_client_deadline_ms(rig.client), UINT64_MAX);
    rig_fini(&rig);
}

static void only_one_connection_at_a_time(void **state)
{
    (void)state;
    struct client_rig rig;
    rig_start(&rig);
    assert_true(rig_connect(&rig, RIG_CONNACK));
    assert_int_equal(m5_client_open(rig.client, M5_CLIENT_START_RESUME, rig.now_ms),
                     MQTT5_ERR_INVALID_STATE);
    rig_fini(&rig);
}

/* ---- DISCONNECT ---- */

/* [MQTT-3.14.4-1] [MQTT-3.14.4-2] */
static void nothing_is_sent_after_disconnect(void **state)
{
    (void)state;
    struct client_rig rig;
    rig_start(&rig);
    assert_true(rig_connect(&rig, RIG_CONNACK));
    assert_int_equal(rig_publish(&rig, 1, "x", NULL), MQTT5_OK);
    assert_int_equal(m5_client_disconnect(rig.client, NULL), MQTT5_OK);
    assert_int_equal(rig_publish(&rig, 0, "y", NULL), MQTT5_ERR_INVALID_STATE);
    assert_int_equal(rig_subscribe(&rig, "a", 0, NULL), MQTT5_ERR_INVALID_STATE);
    assert_int_equal(m5_client_disconnect(rig.client, NULL), MQTT5_ERR_INVALID_STATE);
    assert_false(m5_client_wants_close(rig.client));
    assert_true(rig_sent(&rig, "32 [0001't' 0001 00 'x'] e0 00"));
    assert_true(m5_client_wants_close(rig.client));
    rig_fini(&rig);
}

static void disconnect_has_reason_and_properties(void **state)
{
    (void)state;
    struct client_rig rig;
    struct mqtt5_reasoned disconnect = {.reason_code = MQTT5_REASON_DISCONNECT_WITH_WILL};
    rig_init(&rig);
    rig.config.session_expiry_s = 10;
    rig_make(&rig);
    assert_true(rig_connect(&rig, RIG_CONNACK));
    MQTT5_SET(&disconnect.properties, SESSION_EXPIRY_INTERVAL);
    disconnect.properties.session_expiry_interval_s = 99;
    assert_int_equal(m5_client_disconnect(rig.client, &disconnect), MQTT5_OK);
    assert_true(rig_sent(&rig, "e0 [04 [11 00000063]]"));
    rig_fini(&rig);
}

static void disconnect_cannot_revive_a_session_without_expiry(void **state)
{
    (void)state;
    struct client_rig rig;
    struct mqtt5_reasoned disconnect = {0};
    rig_start(&rig);
    assert_true(rig_connect(&rig, RIG_CONNACK));
    MQTT5_SET(&disconnect.properties, SESSION_EXPIRY_INTERVAL);
    disconnect.properties.session_expiry_interval_s = 1;
    assert_int_equal(m5_client_disconnect(rig.client, &disconnect), MQTT5_ERR_INVALID_ARGUMENT);
    assert_true(rig_sent(&rig, ""));
    assert_int_equal(m5_client_state(rig.client), MQTT5_CLIENT_CONNECTED);
    rig_fini(&rig);
}

static void disconnect_that_is_not_valid_is_not_sent(void **state)
{
    (void)state;
    struct client_rig rig;
    struct mqtt5_reasoned disconnect = {.reason_code = MQTT5_REASON_NO_MATCHING_SUBSCRIBERS};
    rig_start(&rig);
    assert_true(rig_connect(&rig, RIG_CONNACK));
    assert_int_equal(m5_client_disconnect(rig.client, &disconnect), MQTT5_ERR_REASON_CODE);
    assert_true(rig_sent(&rig, ""));
    assert_int_equal(m5_client_state(rig.client), MQTT5_CLIENT_CONNECTED);
    rig_fini(&rig);
}

/* What a stalled transport never takes must not keep the connection open for ever. */
static void disconnect_gives_up_on_a_transport_that_takes_nothing(void **state)
{
    (void)state;
    struct client_rig rig;
    rig_start(&rig);
    assert_true(rig_connect(&rig, RIG_CONNACK));
    assert_int_equal(m5_client_disconnect(rig.client, NULL), MQTT5_OK);
    assert_false(m5_client_wants_close(rig.client));
    rig_pass(&rig, m5_client_deadline_ms(rig.client) - rig.now_ms);
    assert_true(m5_client_wants_close(rig.client));
    rig_fini(&rig);
}

/* [MQTT-4.13.2-1] */
static void disconnect_of_the_server_is_told(void **state)
{
    (void)state;
    struct client_rig rig;
    struct m5_client_event event;
    rig_start(&rig);
    assert_true(rig_connect(&rig, RIG_CONNACK));
    rig_feed(&rig, "e0 [8b [1f 0003'bye']]");
    assert_true(rig_quiet(&rig));
    assert_true(m5_client_wants_close(rig.client));
    rig_lose(&rig);
    assert_true(rig_event(&rig, &event));
    assert_int_equal(event.type, M5_CLIENT_DISCONNECTED);
    assert_true(event.by_server);
    assert_int_equal(event.result.error, MQTT5_ERR_CLOSED);
    assert_int_equal(event.result.reason_code, MQTT5_REASON_SERVER_SHUTTING_DOWN);
    assert_memory_equal(event.result.properties.reason_string.data, "bye", 3);
    /* The words stay readable while the user connects again. */
    assert_int_equal(m5_client_open(rig.client, M5_CLIENT_START_AS_CONFIGURED, rig.now_ms),
                     MQTT5_OK);
    assert_memory_equal(event.result.properties.reason_string.data, "bye", 3);
    rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connect_is_the_first_packet),
        cmocka_unit_test(user_name_and_password_go_with_their_flags),
        cmocka_unit_test(will_goes_with_all_its_properties),
        cmocka_unit_test(connect_of_3_1_1_has_no_properties),
        cmocka_unit_test(configuration_that_cannot_work_is_refused),
        cmocka_unit_test(connack_is_agreed_on),
        cmocka_unit_test(absent_connack_properties_have_their_meaning),
        cmocka_unit_test(refusal_ends_the_connection_with_its_reason),
        cmocka_unit_test(refusal_of_3_1_1_is_its_return_code),
        cmocka_unit_test(assigned_client_id_is_used_from_then_on),
        cmocka_unit_test(missing_assigned_client_id_is_a_protocol_error),
        cmocka_unit_test(session_present_without_a_session_closes),
        cmocka_unit_test(session_of_an_earlier_process_is_welcome_when_said_so),
        cmocka_unit_test(session_present_after_clean_start_closes),
        cmocka_unit_test(session_of_a_former_connection_is_resumed),
        cmocka_unit_test(session_that_expired_is_not_there_any_more),
        cmocka_unit_test(connack_that_does_not_come_times_out),
        cmocka_unit_test(only_one_connection_at_a_time),
        cmocka_unit_test(nothing_is_sent_after_disconnect),
        cmocka_unit_test(disconnect_has_reason_and_properties),
        cmocka_unit_test(disconnect_cannot_revive_a_session_without_expiry),
        cmocka_unit_test(disconnect_that_is_not_valid_is_not_sent),
        cmocka_unit_test(disconnect_gives_up_on_a_transport_that_takes_nothing),
        cmocka_unit_test(disconnect_of_the_server_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
