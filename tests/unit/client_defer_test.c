/* Deferred acknowledgement: order, rejection, lapses, the receive window, lost connections.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "support/client_rig.h"
#include "support/unit.h"

static void make(struct client_rig *rig, uint8_t version)
{
    rig_init(rig);
    rig->config.version = version;
    rig->config.clean_start = false;
    rig->config.session_expiry_s = version == MQTT5_VERSION_5 ? 60 : 0;
    rig->config.deferred_acks = true;
    rig->config.receive_maximum = 3;
    rig->config.ack_lapse_ms = 1000;
    rig_make(rig);
    assert_true(rig_connect(rig, version == MQTT5_VERSION_5 ? RIG_CONNACK : RIG_CONNACK_V3));
}

/* A message arrives and is deferred; gives its number. */
static uint64_t deferred(struct client_rig *rig, const char *hex)
{
    struct m5_client_event event;
    rig_feed(rig, hex);
    assert_true(rig_event(rig, &event));
    assert_int_equal(event.type, M5_CLIENT_MESSAGE);
    assert_int_equal(m5_client_defer(rig->client, event.number), MQTT5_OK);
    return event.number;
}

static void lose_and_resume(struct client_rig *rig, const char *connack)
{
    struct m5_client_event event;
    rig_lose(rig);
    assert_true(rig_event(rig, &event));
    assert_int_equal(event.type, M5_CLIENT_DISCONNECTED);
    assert_true(rig_connect(rig, connack));
}

static void what_is_not_deferred_is_acknowledged_when_seen(void **state)
{
    (void)state;
    struct client_rig rig;
    struct m5_client_event event;
    make(&rig, 5);
    rig_feed(&rig, "32 [0001't' 0001 00] 34 [0001't' 0002 00]");
    assert_true(rig_event(&rig, &event));
    assert_true(rig_sent(&rig, "")); /* not while it is being looked at [MQTT-4.5.0-2] */
    assert_true(rig_event(&rig, &event));
    assert_true(rig_sent(&rig, "40 [0001]"));
    assert_true(rig_quiet(&rig));
    assert_true(rig_sent(&rig, "50 [0002]"));
    assert_int_equal(m5_client_acknowledge(rig.client, event.number, 0), MQTT5_ERR_CLOSED);
    rig_fini(&rig);
}

/* [MQTT-4.6.0-2] [MQTT-4.6.0-3] */
static void acknowledgements_go_in_the_order_of_the_messages(void **state)
{
    (void)state;
    struct client_rig rig;
    make(&rig, 5);
    const uint64_t a = deferred(&rig, "32 [0001't' 0001 00]");
    const uint64_t b = deferred(&rig, "32 [0001't' 0002 00]");
    const uint64_t c = deferred(&rig, "34 [0001't' 0003 00]");
    assert_true(rig_quiet(&rig));
    assert_int_equal(m5_client_acknowledge(rig.client, b, 0), MQTT5_OK);
    assert_true(rig_sent(&rig, "")); /* behind a */
    assert_int_equal(m5_client_acknowledge(rig.client, b, 0), MQTT5_ERR_INVALID_STATE);
    assert_int_equal(m5_client_acknowledge(rig.client, c, 0), MQTT5_OK);
    assert_true(rig_sent(&rig, "50 [0003]")); /* QoS 2 has an order of its own */
    assert_int_equal(m5_client_acknowledge(rig.client, a, 0x97), MQTT5_OK);
    assert_true(rig_sent(&rig, "40 [0001 97] 40 [0002]"));
    assert_int_equal(m5_client_acknowledge(rig.client, a, 0), MQTT5_ERR_CLOSED);
    rig_fini(&rig);
}

static void reason_codes_are_those_of_puback(void **state)
{
    (void)state;
    struct client_rig rig;
    make(&rig, 5);
    const uint64_t a = deferred(&rig, "34 [0001't' 0001 00]");
    assert_int_equal(m5_client_acknowledge(rig.client, a, 0x10), MQTT5_ERR_REASON_CODE);
    assert_int_equal(m5_client_acknowledge(rig.client, a, 0x82), MQTT5_ERR_REASON_CODE);
    assert_int_equal(m5_client_acknowledge(rig.client, a, 0x83), MQTT5_OK);
    assert_true(rig_sent(&rig, "50 [0001 83]"));
    rig_feed(&rig, "62 [0001]"); /* a PUBREL all the same: it was not taken [MQTT-4.3.3-9] */
    assert_true(rig_quiet(&rig));
    assert_true(rig_sent(&rig, "70 [0001 92]"));
    rig_fini(&rig);
}

static void version_3_1_1_can_only_accept(void **state)
{
    (void)state;
    struct client_rig rig;
    make(&rig, 4);
    const uint64_t a = deferred(&rig, "32 [0001't' 0001]");
    assert_int_equal(m5_client_acknowledge(rig.client, a, 0x83), MQTT5_OK);
    assert_true(rig_sent(&rig, "40 [0001]"));
    rig_fini(&rig);
}

/* End-to-end back-pressure: a server that sends more than it may is cut off [MQTT-3.3.4-9]. */
static void deferred_messages_take_the_receive_window(void **state)
{
    (void)state;
    struct client_rig rig;
    make(&rig, 5);
    const uint64_t a = deferred(&rig, "32 [0001't' 0001 00]");
    (void)deferred(&rig, "32 [0001't' 0002 00]");
    (void)deferred(&rig, "34 [0001't' 0003 00]");
    assert_true(rig_quiet(&rig));
    assert_int_equal(m5_client_acknowledge(rig.client, a, 0), MQTT5_OK);
    (void)deferred(&rig, "32 [0001't' 0004 00]");
    assert_true(rig_quiet(&rig));
    rig_drop_output(&rig);
    rig_feed(&rig, "32 [0001't' 0005 00]");
    assert_true(rig_ended(&rig, MQTT5_ERR_RECEIVE_MAXIMUM, 0x93));
    rig_fini(&rig);
}

static void unanswered_messages_lapse(void **state)
{
    (void)state;
    struct client_rig rig;
    make(&rig, 5);
    const uint64_t a = deferred(&rig, "32 [0001't' 0001 00]");
    rig_pass(&rig, 500);
    const uint64_t b = deferred(&rig, "34 [0001't' 0002 00]");
    assert_true(rig_quiet(&rig));
    assert_int_equal(m5_client_deadline_ms(rig.client), rig.now_ms + 500);
    rig_pass(&rig, 499);
    assert_true(rig_sent(&rig, ""));
    rig_pass(&rig, 1);
    assert_true(rig_sent(&rig, "40 [0001 80]"));
    assert_int_equal(m5_client_acknowledge(rig.client, a, 0), MQTT5_ERR_CLOSED);
    rig_pass(&rig, 500);
    assert_true(rig_sent(&rig, "50 [0002 80]"));
    assert_int_equal(m5_client_acknowledge(rig.client, b, 0), MQTT5_ERR_CLOSED);
    rig_fini(&rig);
}

/* QoS 1 comes again as another message: the old token is of no use. */
static void lost_connection_ends_tokens_of_qos_1(void **state)
{
    (void)state;
    struct client_rig rig;
    make(&rig, 5);
    const uint64_t a = deferred(&rig, "32 [0001't' 0001 00]");
    assert_true(rig_quiet(&rig));
    lose_and_resume(&rig, RIG_RESUMED);
    assert_int_equal(m5_client_acknowledge(rig.client, a, 0), MQTT5_ERR_CLOSED);
    const uint64_t again = deferred(&rig, "3a [0001't' 0001 00]");
    assert_true(again != a);
    assert_int_equal(m5_client_acknowledge(rig.client, again, 0), MQTT5_OK);
    assert_true(rig_sent(&rig, "40 [0001]"));
    rig_fini(&rig);
}

/* QoS 2 is shown once [MQTT-4.3.3-10]: the token lives as long as the session. */
static void tokens_of_qos_2_outlive_their_connection(void **state)
{
    (void)state;
    struct client_rig rig;
    make(&rig, 5);
    const uint64_t a = deferred(&rig, "34 [0001't' 0001 00]");
    const uint64_t b = deferred(&rig, "34 [0001't' 0002 00]");
    assert_true(rig_quiet(&rig));
    rig_lose(&rig);
    assert_int_equal(m5_client_acknowledge(rig.client, b, 0), MQTT5_OK); /* while there is none */
    struct m5_client_event event;
    assert_true(rig_event(&rig, &event));
    assert_true(rig_connect(&rig, RIG_RESUMED));
    assert_true(rig_sent(&rig, ""));
    rig_feed(&rig, "3c [0001't' 0001 00] 3c [0001't' 0002 00]");
    assert_true(rig_quiet(&rig));    /* not shown again */
    assert_true(rig_sent(&rig, "")); /* b is behind a */
    assert_int_equal(m5_client_acknowledge(rig.client, a, 0), MQTT5_OK);
    assert_true(rig_sent(&rig, "50 [0001] 50 [0002]"));
    rig_feed(&rig, "62 [0001] 62 [0002]");
    assert_true(rig_quiet(&rig));
    assert_true(rig_sent(&rig, "70 [0001] 70 [0002]"));
    rig_fini(&rig);
}

static void lost_session_ends_all_tokens(void **state)
{
    (void)state;
    struct client_rig rig;
    make(&rig, 5);
    const uint64_t a = deferred(&rig, "34 [0001't' 0001 00]");
    assert_true(rig_quiet(&rig));
    lose_and_resume(&rig, RIG_CONNACK);
    assert_int_equal(m5_client_acknowledge(rig.client, a, 0), MQTT5_ERR_CLOSED);
    (void)deferred(&rig, "34 [0001't' 0001 00]"); /* another message of a new session */
    rig_fini(&rig);
}

/* The identifier without DUP is another message: the server has forgotten the first. */
static void same_identifier_without_dup_is_new(void **state)
{
    (void)state;
    struct client_rig rig;
    make(&rig, 5);
    const uint64_t a = deferred(&rig, "34 [0001't' 0001 00]");
    assert_true(rig_quiet(&rig));
    lose_and_resume(&rig, RIG_RESUMED);
    const uint64_t b = deferred(&rig, "34 [0001'u' 0001 00]");
    assert_int_equal(m5_client_acknowledge(rig.client, a, 0), MQTT5_ERR_CLOSED);
    assert_int_equal(m5_client_acknowledge(rig.client, b, 0), MQTT5_OK);
    assert_true(rig_sent(&rig, "50 [0001]"));
    rig_fini(&rig);
}

static void only_the_message_that_is_shown_can_be_deferred(void **state)
{
    (void)state;
    struct client_rig rig;
    struct m5_client_event event;
    make(&rig, 5);
    rig_feed(&rig, "30 [0001't' 00] 32 [0001't' 0001 00]");
    assert_true(rig_event(&rig, &event));
    assert_int_equal(m5_client_defer(rig.client, event.number), MQTT5_ERR_INVALID_STATE);
    assert_true(rig_event(&rig, &event));
    assert_int_equal(m5_client_defer(rig.client, event.number), MQTT5_OK);
    assert_int_equal(m5_client_defer(rig.client, event.number), MQTT5_OK); /* by two callbacks */
    assert_true(rig_quiet(&rig));
    assert_int_equal(m5_client_defer(rig.client, event.number), MQTT5_ERR_INVALID_STATE);
    rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_deferred_is_acknowledged_when_seen),
        cmocka_unit_test(acknowledgements_go_in_the_order_of_the_messages),
        cmocka_unit_test(reason_codes_are_those_of_puback),
        cmocka_unit_test(version_3_1_1_can_only_accept),
        cmocka_unit_test(deferred_messages_take_the_receive_window),
        cmocka_unit_test(unanswered_messages_lapse),
        cmocka_unit_test(lost_connection_ends_tokens_of_qos_1),
        cmocka_unit_test(tokens_of_qos_2_outlive_their_connection),
        cmocka_unit_test(lost_session_ends_all_tokens),
        cmocka_unit_test(same_identifier_without_dup_is_new),
        cmocka_unit_test(only_the_message_that_is_shown_can_be_deferred),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
