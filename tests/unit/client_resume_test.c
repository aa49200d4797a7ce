/* Sessions across connections: what is sent again, what ends, what counts as delivered; then a
 * client and a small server whose link breaks at any byte.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "base/rng.h"
#include "support/client_peer.h"
#include "support/client_rig.h"
#include "support/seed.h"
#include "support/unit.h"

#include <stdlib.h>

static int mark[8];

/* A client with a session that lasts, connected for the first time. */
static void session(struct client_rig *rig)
{
    rig_init(rig);
    rig->config.clean_start = false;
    rig->config.session_expiry_s = 60;
    rig_make(rig);
    assert_true(rig_connect(rig, RIG_CONNACK));
}

/* The link breaks; what is shown must be just that. */
static void break_link(struct client_rig *rig)
{
    struct m5_client_event event;
    rig_lose(rig);
    assert_true(rig_event(rig, &event));
    assert_int_equal(event.type, M5_CLIENT_DISCONNECTED);
    assert_int_equal(event.result.error, MQTT5_ERR_CLOSED);
    assert_false(event.by_server);
    assert_true(rig_quiet(rig));
}

/* [MQTT-4.4.0-1] [MQTT-3.3.1-1] [MQTT-4.6.0-1] [MQTT-3.1.2-23] */
static void messages_are_sent_again_in_order_with_dup(void **state)
{
    (void)state;
    struct client_rig rig;
    session(&rig);
    for (int i = 0; i < 4; i++)
        assert_int_equal(rig_publish(&rig, (uint8_t)(1 + i % 2), "x", NULL), MQTT5_OK);
    rig_drop_output(&rig);
    rig_feed(&rig, "40 [0003]");
    assert_int_equal(rig_completed(&rig, NULL), MQTT5_OK);
    break_link(&rig);
    assert_true(rig_connect(&rig, RIG_RESUMED));
    assert_int_equal(rig_publish(&rig, 1, "y", NULL), MQTT5_OK);
    assert_true(rig_sent(&rig, "3a [0001't' 0001 00 'x'] 3c [0001't' 0002 00 'x']"
                               "3c [0001't' 0004 00 'x'] 32 [0001't' 0005 00 'y']"));
    rig_fini(&rig);
}

/* [MQTT-4.4.0-1] [MQTT-4.3.3-6] [MQTT-4.6.0-4] */
static void released_messages_get_pubrel_again(void **state)
{
    (void)state;
    struct client_rig rig;
    session(&rig);
    for (int i = 0; i < 3; i++)
        assert_int_equal(rig_publish(&rig, 2, "x", NULL), MQTT5_OK);
    rig_drop_output(&rig);
    rig_feed(&rig, "50 [0003] 50 [0001]");
    assert_true(rig_quiet(&rig));
    break_link(&rig);
    assert_true(rig_connect(&rig, RIG_RESUMED));
    assert_true(rig_sent(&rig, "62 [0003] 62 [0001] 3c [0001't' 0002 00 'x']"));
    rig_feed(&rig, "70 [0003] 70 [0001] 50 [0002] 70 [0002]");
    for (int i = 0; i < 3; i++)
        assert_int_equal(rig_completed(&rig, NULL), MQTT5_OK);
    rig_fini(&rig);
}

/* Breaking again before all was sent again keeps the order; [MQTT-3.3.4-7] holds for repetitions.
 */
static void second_break_keeps_the_order(void **state)
{
    (void)state;
    struct client_rig rig;
    session(&rig);
    for (int i = 0; i < 4; i++)
        assert_int_equal(rig_publish(&rig, 1, "x", NULL), MQTT5_OK);
    rig_drop_output(&rig);
    break_link(&rig);
    assert_true(rig_connect(&rig, "20 [01 00 [21 0002]]"));
    assert_true(rig_sent(&rig, "3a [0001't' 0001 00 'x'] 3a [0001't' 0002 00 'x']"));
    break_link(&rig);
    assert_true(rig_connect(&rig, RIG_RESUMED));
    assert_true(rig_sent(&rig, "3a [0001't' 0001 00 'x'] 3a [0001't' 0002 00 'x']"
                               "3a [0001't' 0003 00 'x'] 3a [0001't' 0004 00 'x']"));
    rig_fini(&rig);
}

/* A server may still answer what an earlier connection brought, before it is sent again. */
static void late_answer_counts(void **state)
{
    (void)state;
    struct client_rig rig;
    session(&rig);
    assert_int_equal(rig_publish(&rig, 1, "x", NULL), MQTT5_OK);
    assert_int_equal(rig_publish(&rig, 2, "x", NULL), MQTT5_OK);
    rig_drop_output(&rig);
    break_link(&rig);
    assert_true(rig_connect(&rig, RIG_RESUMED));
    rig_feed(&rig, "40 [0001] 50 [0002]");
    assert_int_equal(rig_completed(&rig, NULL), MQTT5_OK);
    assert_true(rig_quiet(&rig));
    assert_true(rig_sent(&rig, "62 [0002]"));
    rig_fini(&rig);
}

static void subscriptions_end_with_the_connection(void **state)
{
    (void)state;
    struct client_rig rig;
    void *ctx;
    session(&rig);
    assert_int_equal(rig_subscribe(&rig, "a", 0, &mark[0]), MQTT5_OK);
    rig_drop_output(&rig);
    assert_int_equal(rig_subscribe(&rig, "b", 0, &mark[1]), MQTT5_OK);
    assert_int_equal(rig_publish(&rig, 0, "x", &mark[2]), MQTT5_OK);
    rig_lose(&rig);
    assert_int_equal(rig_completed(&rig, &ctx), MQTT5_ERR_CLOSED);
    assert_ptr_equal(ctx, &mark[2]);
    assert_int_equal(rig_completed(&rig, &ctx), MQTT5_ERR_CLOSED);
    assert_ptr_equal(ctx, &mark[0]);
    assert_int_equal(rig_completed(&rig, &ctx), MQTT5_ERR_CLOSED);
    assert_ptr_equal(ctx, &mark[1]);
    rig_fini(&rig);
}

/* [MQTT-3.2.2-5]: QoS 1 starts anew, without DUP; QoS 2 cannot be kept exactly once; what was
 * released had arrived. */
static void session_the_server_lost_is_discarded(void **state)
{
    (void)state;
    struct client_rig rig;
    void *ctx;
    session(&rig);
    assert_int_equal(rig_publish(&rig, 1, "a", &mark[0]), MQTT5_OK);
    assert_int_equal(rig_publish(&rig, 2, "b", &mark[1]), MQTT5_OK);
    assert_int_equal(rig_publish(&rig, 2, "c", &mark[2]), MQTT5_OK);
    rig_drop_output(&rig);
    rig_feed(&rig, "50 [0003 10] 34 [0001'q' 0007 00]");
    struct m5_client_event event;
    assert_true(rig_event(&rig, &event));
    break_link(&rig);
    assert_true(rig_connect(&rig, RIG_CONNACK));
    assert_int_equal(rig_completed(&rig, &ctx), MQTT5_ERR_CLOSED);
    assert_ptr_equal(ctx, &mark[1]);
    assert_int_equal(rig_completed(&rig, &ctx), MQTT5_OK);
    assert_ptr_equal(ctx, &mark[2]);
    assert_true(rig_sent(&rig, "32 [0001't' 0004 00 'a']"));
    rig_feed(&rig, "34 [0001'q' 0007 00]"); /* a new message, as the identifiers are forgotten */
    assert_true(rig_event(&rig, &event));
    assert_int_equal(event.type, M5_CLIENT_MESSAGE);
    rig_fini(&rig);
}

/* [MQTT-3.1.2-4] */
static void clean_start_discards_the_session(void **state)
{
    (void)state;
    struct client_rig rig;
    rig_init(&rig);
    rig.config.session_expiry_s = 60;
    rig_make(&rig);
    assert_true(rig_connect(&rig, RIG_CONNACK));
    assert_int_equal(rig_publish(&rig, 1, "a", &mark[0]), MQTT5_OK);
    assert_int_equal(rig_publish(&rig, 2, "b", &mark[1]), MQTT5_OK);
    rig_drop_output(&rig);
    break_link(&rig);
    assert_int_equal(m5_client_open(rig.client, M5_CLIENT_START_AS_CONFIGURED, rig.now_ms),
                     MQTT5_OK);
    void *ctx;
    assert_int_equal(rig_completed(&rig, &ctx), MQTT5_ERR_CLOSED);
    assert_ptr_equal(ctx, &mark[1]);
    rig_drop_output(&rig);
    rig_feed(&rig, RIG_CONNACK);
    struct m5_client_event event;
    assert_true(rig_event(&rig, &event));
    assert_int_equal(event.type, M5_CLIENT_CONNECTED);
    assert_true(rig_sent(&rig, "32 [0001't' 0003 00 'a']"));
    rig_fini(&rig);
}

struct end_case {
    const char *what;
    uint8_t version;
    bool clean_start;
    uint32_t expiry_s;
    const char *connack;
    bool kept;
};

/* Whether what is unacknowledged survives the connection. */
static void session_is_kept_where_the_protocol_says_so(void **state)
{
    static const struct end_case cases[] = {
        {"no expiry", 5, false, 0, RIG_CONNACK, false},
        {"expiry", 5, false, 60, RIG_CONNACK, true},
        {"expiry after clean start", 5, true, 60, RIG_CONNACK, true},
        {"never expires", 5, true, UINT32_MAX, RIG_CONNACK, true},
        {"the server says 0", 5, false, 60, "20 [00 00 [11 00000000]]", false},
        {"the server says 9", 5, false, 0, "20 [00 00 [11 00000009]]", true},
        {"3.1.1 clean", 4, true, 0, RIG_CONNACK_V3, false},
        {"3.1.1 not clean", 4, false, 0, RIG_CONNACK_V3, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client_rig rig;
        rig_init(&rig);
        rig.config.version = cases[i].version;
        rig.config.clean_start = cases[i].clean_start;
        rig.config.session_expiry_s = cases[i].expiry_s;
        rig_make(&rig);
        assert_true(rig_connect(&rig, cases[i].connack));
        assert_int_equal(rig_publish(&rig, 1, "x", NULL), MQTT5_OK);
        rig_drop_output(&rig);
        rig_lose(&rig);
        const bool ended = rig_completed(&rig, NULL) == MQTT5_ERR_CLOSED;
        if (ended == cases[i].kept)
            fail_msg("%s", cases[i].what);
        rig_fini(&rig);
    }
}

/* A connection that never came about changes nothing. */
static void refused_connection_leaves_the_session_alone(void **state)
{
    (void)state;
    struct client_rig rig;
    struct m5_client_event event;
    session(&rig);
    assert_int_equal(rig_publish(&rig, 1, "x", NULL), MQTT5_OK);
    rig_drop_output(&rig);
    break_link(&rig);
    assert_false(rig_connect(&rig, "20 [00 88 00]"));
    rig_lose(&rig);
    assert_true(rig_event(&rig, &event));
    assert_int_equal(event.type, M5_CLIENT_DISCONNECTED);
    assert_true(rig_connect(&rig, RIG_RESUMED));
    assert_true(rig_sent(&rig, "3a [0001't' 0001 00 'x']"));
    rig_fini(&rig);
}

/* The CONNACK that told of the new session got lost; the server has it all the same. */
static void session_whose_connack_was_lost_is_ours(void **state)
{
    (void)state;
    struct client_rig rig;
    rig_init(&rig);
    rig.config.clean_start = false;
    rig.config.session_expiry_s = 60;
    rig_make(&rig);
    assert_int_equal(m5_client_open(rig.client, M5_CLIENT_START_AS_CONFIGURED, rig.now_ms),
                     MQTT5_OK);
    rig_drop_output(&rig);
    break_link(&rig);
    assert_true(rig_connect(&rig, RIG_RESUMED));
    rig_fini(&rig);
}

/* Session expiry 0 in DISCONNECT ends the session there. */
static void disconnect_can_end_the_session(void **state)
{
    (void)state;
    struct client_rig rig;
    struct mqtt5_reasoned disconnect = {0};
    session(&rig);
    assert_int_equal(rig_publish(&rig, 1, "x", &mark[0]), MQTT5_OK);
    rig_drop_output(&rig);
    MQTT5_SET(&disconnect.properties, SESSION_EXPIRY_INTERVAL);
    assert_int_equal(m5_client_disconnect(rig.client, &disconnect), MQTT5_OK);
    rig_drop_output(&rig);
    rig_lose(&rig);
    assert_int_equal(rig_completed(&rig, NULL), MQTT5_ERR_CLOSED);
    rig_fini(&rig);
}

static void abandoning_ends_everything(void **state)
{
    (void)state;
    struct client_rig rig;
    session(&rig);
    for (int i = 0; i < 3; i++)
        assert_int_equal(rig_publish(&rig, 2, "x", &mark[i]), MQTT5_OK);
    rig_drop_output(&rig);
    rig_feed(&rig, "50 [0002]");
    assert_true(rig_quiet(&rig));
    break_link(&rig);
    m5_client_abandon(rig.client);
    assert_int_equal(rig_completed(&rig, NULL), MQTT5_ERR_CLOSED);
    assert_int_equal(rig_completed(&rig, NULL), MQTT5_ERR_CLOSED);
    assert_int_equal(rig_completed(&rig, NULL), MQTT5_OK); /* PUBREC had come */
    assert_true(rig_quiet(&rig));
    rig_fini(&rig);
}

/* ---- a link that breaks at any byte ---- */

/* Both ends and the bytes between them. */
struct world {
    struct m5_rng rng;
    struct client_rig rig;
    struct peer *peer;
    uint8_t wire[PEER_BUFFER]; /* from the client, accepted by the transport, not yet arrived */
    size_t wire_size;
    uint32_t sent, shown[PEER_MESSAGES], completed[PEER_MESSAGES];
    int32_t last_shown;
    uint8_t qos[PEER_MESSAGES]; /* of the client's messages */
    int breaks;
};

#define MESSAGES 120u

static size_t part_of(struct world *world, size_t size)
{
    return size == 0 ? 0 : 1 + m5_rng_below(&world->rng, size);
}

static void see_events(struct world *world)
{
    struct m5_client_event event;
    while (rig_event(&world->rig, &event)) {
        if (event.type == M5_CLIENT_MESSAGE) {
            const uint32_t number = m5_read_u16(event.publish.payload.data);
            if (world->shown[number]++ == 0) {
                assert_true((int32_t)number > world->last_shown);
                world->last_shown = (int32_t)number;
            }
        } else if (event.type == M5_CLIENT_COMPLETED) {
            const uint32_t number = (uint32_t)((uint8_t *)event.ctx - world->qos);
            assert_true(world->qos[number] == 0 || event.result.error == MQTT5_OK);
            world->completed[number]++;
        }
    }
}

static void publish_next(struct world *world)
{
    if (world->sent == MESSAGES || m5_client_state(world->rig.client) != MQTT5_CLIENT_CONNECTED)
        return;
    const uint32_t number = world->sent++;
    const uint8_t payload[2] = {(uint8_t)(number >> 8), (uint8_t)number};
    const struct mqtt5_publish publish = {
        .qos = world->qos[number], .topic = m5_bytes_of("c"), .payload = m5_bytes(payload, 2)};
    assert_int_equal(m5_client_publish(world->rig.client, &publish, &world->qos[number]), MQTT5_OK);
}

/* The client's transport accepts some bytes. */
static void client_writes(struct world *world)
{
    const struct mqtt5_bytes out = m5_client_output(world->rig.client);
    size_t size = part_of(world, out.len);
    if (size > sizeof world->wire - world->wire_size)
        size = sizeof world->wire - world->wire_size;
    m5_copy(world->wire + world->wire_size, m5_bytes(out.data, size));
    world->wire_size += size;
    m5_client_sent(world->rig.client, size);
}

static void peer_reads(struct world *world)
{
    const size_t size = part_of(world, world->wire_size);
    peer_feed(world->peer, m5_bytes(world->wire, size));
    memmove(world->wire, world->wire + size, world->wire_size - size);
    world->wire_size -= size;
}

static void client_reads(struct world *world)
{
    const size_t size = part_of(world, world->peer->out_size);
    peer_taken(world->peer, m5_client_input(world->rig.client, m5_bytes(world->peer->out, size)));
    see_events(world);
}

/* Some of the bytes under way arrive, the rest never does, in both directions. */
static void break_now(struct world *world)
{
    if (m5_rng_below(&world->rng, 2) != 0)
        peer_reads(world);
    if (m5_rng_below(&world->rng, 2) != 0)
        client_reads(world);
    world->wire_size = 0;
    peer_lose(world->peer);
    m5_client_lost(world->rig.client);
    see_events(world);
    world->breaks++;
}

static void step(struct world *world)
{
    if (m5_client_state(world->rig.client) == MQTT5_CLIENT_DISCONNECTED)
        assert_int_equal(
            m5_client_open(world->rig.client, M5_CLIENT_START_AS_CONFIGURED, world->rig.now_ms),
            MQTT5_OK);
    switch (m5_rng_below(&world->rng, 8)) {
    case 0:
    case 1: publish_next(world); break;
    case 2:
    case 3: client_writes(world); break;
    case 4:
    case 5: peer_reads(world); break;
    default: client_reads(world); break;
    }
    if (world->breaks < 60 && m5_rng_below(&world->rng, 40) == 0)
        break_now(world);
}

static bool is_done(const struct world *world)
{
    struct mqtt5_client_info info;
    m5_client_info(world->rig.client, &info);
    return world->sent == MESSAGES && info.queued_messages == 0 && peer_is_done(world->peer);
}

static void make_world(struct world *world, uint64_t seed)
{
    memset(world, 0, sizeof *world);
    m5_rng_init(&world->rng, seed);
    world->peer = malloc(sizeof *world->peer);
    world->last_shown = -1;
    const uint8_t version =
        m5_rng_below(&world->rng, 4) == 0 ? MQTT5_VERSION_3_1_1 : MQTT5_VERSION_5;
    peer_init(world->peer, version);
    rig_init(&world->rig);
    world->rig.config.version = version;
    world->rig.config.clean_start = false;
    if (version == MQTT5_VERSION_5) {
        world->rig.config.session_expiry_s = 60;
        world->rig.config.receive_maximum = (uint16_t)(1 + m5_rng_below(&world->rng, 9));
        world->peer->receive_maximum = (uint16_t)(1 + m5_rng_below(&world->rng, 9));
    }
    rig_make(&world->rig);
    for (uint32_t i = 0; i < MESSAGES; i++) {
        world->qos[i] = (uint8_t)m5_rng_below(&world->rng, 3);
        peer_queue(world->peer, (uint8_t)m5_rng_below(&world->rng, 3));
    }
}

/* At most once, at least once, exactly once, in both directions; every operation ends once. */
static void check_counts(const struct world *world)
{
    for (uint32_t i = 0; i < MESSAGES; i++) {
        const uint8_t up = world->qos[i], down = world->peer->messages[i].qos;
        assert_int_equal(world->completed[i], 1);
        assert_true(up == 1 || world->peer->taken[i] <= 1);
        assert_true(up == 0 || world->peer->taken[i] >= 1);
        assert_true(down == 1 || world->shown[i] <= 1);
        assert_true(down == 0 || world->shown[i] >= 1);
    }
    assert_int_equal(world->peer->order_errors, 0);
    assert_int_equal(world->peer->protocol_errors, 0);
    assert_int_equal(world->peer->quota_errors, 0); /* [MQTT-3.3.4-7] */
}

static void delivery_promises_hold_when_the_link_breaks_at_any_byte(void **state)
{
    (void)state;
    const uint64_t first = test_seed(1);
    int breaks = 0;
    for (uint64_t seed = first; seed < first + 60; seed++) {
        struct world *world = malloc(sizeof *world);
        int steps = 0;
        make_world(world, seed);
        for (; !is_done(world) && steps < 200000; steps++)
            step(world);
        if (!is_done(world))
            fail_msg("seed %llu does not end", (unsigned long long)seed);
        while (rig_event(&world->rig, &(struct m5_client_event){0}))
            ;
        check_counts(world);
        breaks += world->breaks;
        rig_fini(&world->rig);
        free(world->peer);
        free(world);
    }
    assert_true(breaks > 600); /* the test does what it says */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_are_sent_again_in_order_with_dup),
        cmocka_unit_test(released_messages_get_pubrel_again),
        cmocka_unit_test(second_break_keeps_the_order),
        cmocka_unit_test(late_answer_counts),
        cmocka_unit_test(subscriptions_end_with_the_connection),
        cmocka_unit_test(session_the_server_lost_is_discarded),
        cmocka_unit_test(clean_start_discards_the_session),
        cmocka_unit_test(session_is_kept_where_the_protocol_says_so),
        cmocka_unit_test(refused_connection_leaves_the_session_alone),
        cmocka_unit_test(session_whose_connack_was_lost_is_ours),
        cmocka_unit_test(disconnect_can_end_the_session),
        cmocka_unit_test(abandoning_ends_everything),
        cmocka_unit_test(delivery_promises_hold_when_the_link_breaks_at_any_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
