/* Every two settings at their limits, together, with a little of everything going on; security
 * case 30: a combination that divides by zero.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/engine_peer.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "support/unit.h"

#include <stdlib.h>

#define V5   MQTT5_VERSION_5
#define V311 MQTT5_VERSION_3_1_1

/* X(field, least, most): where 0 means none it is one of the two, and 1 the other. */
#define SETTINGS(X)                                \
    X(maximum_qos, 0, 2)                           \
    X(connect_timeout_ms, 1, UINT32_MAX)           \
    X(connect_packet_max, 64, 268435460)           \
    X(maximum_packet_size, 64, 268435460)          \
    X(receive_maximum, 1, UINT16_MAX)              \
    X(topic_alias_maximum, 0, UINT16_MAX)          \
    X(topic_alias_outgoing_max, 0, UINT16_MAX)     \
    X(server_keep_alive_s, 1, UINT16_MAX)          \
    X(keep_alive_max_s, 1, UINT16_MAX)             \
    X(session_expiry_max_s, 0, UINT32_MAX)         \
    X(connections_max, 0, 1)                       \
    X(sessions_max, 0, 1)                          \
    X(client_id_size_max, 23, 65535)               \
    X(subscriptions_max, 0, 1)                     \
    X(subscriptions_per_session_max, 0, 1)         \
    X(topic_levels_max, 1, 65535)                  \
    X(user_properties_max, 0, UINT32_MAX)          \
    X(inflight_max, 1, UINT16_MAX)                 \
    X(queued_messages_max, 0, UINT32_MAX)          \
    X(queued_bytes_max, 0, SIZE_MAX)               \
    X(output_bytes_max, 64, SIZE_MAX)              \
    X(retained_messages_max, 0, 1)                 \
    X(retained_bytes_max, 0, 1)                    \
    X(retained_message_size_max, 0, 1)             \
    X(memory_max, 0, 4 << 20)                      \
    X(queue_policy, 0, MQTT5_QUEUE_DROP_OLDEST)    \
    X(shared_strategy, 0, MQTT5_SHARED_STICKY)     \
    X(shared_strategy, MQTT5_SHARED_HASH_TOPIC, 5) \
    X(sys_interval_s, 1, UINT32_MAX)               \
    X(retain_available, 0, 1)                      \
    X(wildcard_subscription_available, 0, 1)       \
    X(shared_subscription_available, 0, 1)         \
    X(subscription_identifier_available, 0, 1)

enum {
#define X(field, least, most) setting_##field##_##least,
    SETTINGS(X)
#undef X
        SETTING_COUNT
};

static void set(struct mqtt5_broker_config *config, unsigned index, bool most)
{
    unsigned at = 0;
#define X(field, least, beyond)       \
    if (at++ == index) {              \
        if (most)                     \
            config->field = (beyond); \
        else                          \
            config->field = (least);  \
    }
    SETTINGS(X)
#undef X
}

static struct engine_peer *join(struct engine_rig *rig, uint8_t version, const char *id)
{
    struct engine_peer *peer = guest_open(rig, version);
    struct mqtt5_connect connect = guest_connect_packet(version, id);
    connect.clean_start = false;
    connect.keep_alive_s = 30;
    connect.has_will = true;
    connect.will = (struct mqtt5_will){.topic = m5_bytes_of("a"), .payload = m5_bytes_of("w")};
    if (version == V5) {
        MQTT5_SET(&connect.properties, SESSION_EXPIRY_INTERVAL);
        connect.properties.session_expiry_interval_s = 60;
        MQTT5_SET(&connect.properties, TOPIC_ALIAS_MAXIMUM);
        connect.properties.topic_alias_maximum = 10;
    }
    (void)!guest_say_connect(peer, &connect);
    return peer;
}

/* What may be refused at any point is not looked at here; that the engine is whole is. */
static void live(struct engine_rig *rig)
{
    struct engine_peer *peers[] = {join(rig, V5, "a"), join(rig, V5, "b"), join(rig, V311, "c")};
    static const char *const filters[] = {"a", "#", "$share/g/a", "a/+"};
    for (unsigned i = 0; i < M5_COUNT_OF(filters); i++)
        (void)!guest_subscribe(peers[i % 3], filters[i], (uint8_t)(i % 3));
    for (uint8_t qos = 0; qos < 3; qos++) {
        (void)!guest_publish(peers[qos], "a", "message", qos);
        (void)!guest_retain(peers[2 - qos], "a/b", "retained", qos);
        engine_advance(rig, 1000);
    }
    guest_lose(peers[1]);
    (void)!guest_publish(peers[0], "a", "queued", 1);
    struct engine_peer *again = join(rig, V5, "b");
    guest_drain(again);
    engine_advance(rig, 100000);
    for (unsigned i = 0; i < 3; i += 2)
        guest_lose(peers[i]);
    guest_lose(again);
    engine_advance(rig, 100000);
    assert_int_equal(engine_stats(rig).connections, 0);
}

/* Whether the pair is one that may be configured. */
static bool try_pair(struct engine_rig *rig, unsigned first, unsigned second, unsigned ends)
{
    engine_rig_init(rig, 1 + (first + second) % 2);
    set(&rig->config, first, (ends & 1) != 0);
    set(&rig->config, second, (ends & 2) != 0);
    if (mqtt5_broker_config_check(&rig->config, NULL) != MQTT5_OK)
        return false;
    engine_rig_start(rig);
    live(rig);
    engine_rig_fini(rig);
    return true;
}

static void case_30_any_two_settings_at_their_limits(void **state)
{
    (void)state;
    struct engine_rig *rig = malloc(sizeof *rig);
    unsigned tried = 0;
    assert_non_null(rig);
    for (unsigned first = 0; first < SETTING_COUNT; first++)
        for (unsigned second = first + 1; second < SETTING_COUNT; second++)
            for (unsigned ends = 0; ends < 4; ends++)
                tried += try_pair(rig, first, second, ends);
    free(rig);
    /* No setting forbids another one: all pairs were tried. */
    assert_int_equal(tried, 4 * SETTING_COUNT * (SETTING_COUNT - 1) / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(case_30_any_two_settings_at_their_limits)};
    return cmocka_run_group_tests_name("engine settings", tests, NULL, NULL);
}
