/* The hostile world: a client of ours against a broker that sends what it likes.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "simclient/simclient.h"

#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

#define STEPS 400u
#define OPS   256u

/* As in the engine's world, but what comes here is worse. */
#define CHECK_PERCENT 20u
#define PACKET_MAX    (64u << 10) /* bytes that the client takes */
#define QUEUE_MAX     (32u << 10) /* bytes that it queues */

/* Twice a packet for the buffer that doubles, and once more while it moves; the output up to its
 * high mark, the same way; the queue; and what stands still. */
#define MEMORY_BOUND ((size_t)4 * PACKET_MAX + 3 * (256u << 10) + 2 * QUEUE_MAX + (64u << 10))

struct op {
    uint32_t ended;
    uint8_t unused; /* an address of its own */
};

struct hostile {
    struct sc_run *run;
    struct test_allocator memory;
    struct m5_budget budget;
    struct m5_client *client;
    uint8_t version;
    bool linked;
    struct sc_tap heard;
    uint16_t ids[16]; /* packet identifiers that the client has used */
    uint32_t id_count;
    struct op ops[OPS];
    uint32_t op_count;
    struct sc_bytes out; /* for the client */
};

/* ---- what is sent ---- */

static uint16_t any_id(struct hostile *world)
{
    if (world->id_count > 0 && sc_chance(world->run, 70))
        return world->ids[sc_below(world->run, world->id_count < 16 ? world->id_count : 16)];
    return (uint16_t)(1 + sc_below(world->run, sc_chance(world->run, 80) ? 20 : 65535));
}

static void put_packet(struct hostile *world, const struct mqtt5_packet *packet)
{
    static uint8_t bytes[1u << 17];
    const size_t size = mqtt5_packet_size(packet, world->version);
    if (size == 0 || size > sizeof bytes)
        return;
    mqtt5_packet_write(packet, world->version, bytes, size);
    sc_bytes_add(&world->out, m5_bytes(bytes, size));
}

static void put_connack(struct hostile *world)
{
    struct sc_run *run = world->run;
    struct mqtt5_packet packet = {.type = MQTT5_CONNACK};
    struct mqtt5_properties *properties = &packet.as.connack.properties;
    packet.as.connack.session_present = sc_chance(run, 40);
    packet.as.connack.reason_code = sc_chance(run, 95) ? 0 : (uint8_t)sc_below(run, 256);
    if (sc_chance(run, 50)) {
        MQTT5_SET(properties, RECEIVE_MAXIMUM);
        properties->receive_maximum = (uint32_t)sc_below(run, 4);
    }
    if (sc_chance(run, 30)) {
        MQTT5_SET(properties, TOPIC_ALIAS_MAXIMUM);
        properties->topic_alias_maximum = (uint32_t)sc_below(run, 65536);
    }
    if (sc_chance(run, 30)) {
        MQTT5_SET(properties, MAXIMUM_PACKET_SIZE);
        properties->maximum_packet_size = (uint32_t)sc_below(run, 200);
    }
    if (sc_chance(run, 20)) {
        MQTT5_SET(properties, MAXIMUM_QOS);
        properties->maximum_qos = (uint32_t)sc_below(run, 3);
    }
    if (sc_chance(run, 20)) {
        MQTT5_SET(properties, ASSIGNED_CLIENT_IDENTIFIER);
        properties->assigned_client_identifier = m5_bytes_of("somebody else");
    }
    put_packet(world, &packet);
}

static void put_publish(struct hostile *world)
{
    static uint8_t payload[PACKET_MAX + 1000];
    struct sc_run *run = world->run;
    struct mqtt5_packet packet = {.type = MQTT5_PUBLISH};
    struct mqtt5_publish *publish = &packet.as.publish;
    publish->qos = (uint8_t)sc_below(run, 3);
    publish->dup = publish->qos > 0 && sc_chance(run, 30);
    publish->packet_id = publish->qos > 0 ? any_id(world) : 0;
    publish->retain = sc_chance(run, 20);
    publish->topic = m5_bytes_of(sc_chance(run, 90) ? "some/topic" : "some/#");
    publish->payload =
        m5_bytes(payload, (size_t)sc_below(run, sc_chance(run, 97) ? 500 : sizeof payload));
    if (sc_chance(run, 30)) {
        MQTT5_SET(&publish->properties, TOPIC_ALIAS);
        publish->properties.topic_alias = (uint32_t)sc_below(run, sc_chance(run, 90) ? 6 : 65536);
        if (sc_chance(run, 50))
            publish->topic = m5_bytes(NULL, 0);
    }
    if (sc_chance(run, 10)) {
        MQTT5_SET(&publish->properties, SUBSCRIPTION_IDENTIFIER);
        publish->properties.subscription_identifier = (uint32_t)sc_below(run, 1000);
    }
    put_packet(world, &packet);
}

static void put_answer(struct hostile *world)
{
    static const uint8_t types[] = {MQTT5_PUBACK,  MQTT5_PUBREC, MQTT5_PUBREL,
                                    MQTT5_PUBCOMP, MQTT5_SUBACK, MQTT5_UNSUBACK};
    static const uint8_t codes[] = {0, 0x80, 2, 0x97};
    struct sc_run *run = world->run;
    struct mqtt5_packet packet = {.type = types[sc_below(run, sizeof types)]};
    if (packet.type == MQTT5_SUBACK || packet.type == MQTT5_UNSUBACK) {
        packet.as.suback.packet_id = any_id(world);
        packet.as.suback.reason_codes = m5_bytes(codes, 1 + (size_t)sc_below(run, sizeof codes));
    } else {
        packet.as.ack.packet_id = any_id(world);
        packet.as.ack.reason_code = sc_chance(run, 85) ? 0 : (uint8_t)sc_below(run, 256);
    }
    put_packet(world, &packet);
}

static void put_noise(struct hostile *world)
{
    uint8_t noise[64];
    struct sc_run *run = world->run;
    const size_t size = 1 + (size_t)sc_below(run, sizeof noise);
    m5_rng_fill(&run->rng, noise, size);
    if (sc_chance(run, 50))
        noise[0] = (uint8_t)(noise[0] & 0xF0); /* a type with flags that are right, as a rule */
    sc_bytes_add(&world->out, m5_bytes(noise, size));
}

/* Heads of packets that never end, or that no server sends. */
static void put_forbidden(struct hostile *world)
{
    static const struct {
        const char *bytes;
        size_t size;
    } heads[] = {
        {"\x30\xFF\xFF\xFF\x7F", 5},
        {"\x30\xFF\xFF\xFF\xFF", 5},
        {"\x20\x80\x80\x80\x01", 5},
        {"\x10\x00", 2},
        {"\xC0\x00", 2},
        {"\x82\x06\x00\x01\x00\x00\x01x", 8},
        {"\xE0\x00", 2},
        {"\xE0\x01\x9C", 3},
        {"\xF0\x02\x18\x00", 4},
        {"\x00\x00", 2},
        {"\xD0\x01\x00", 3},
        {"\x36\x06\x00\x01t\x00\x01\x00", 8},
    };
    const uint64_t i = sc_below(world->run, sizeof heads / sizeof *heads);
    sc_bytes_add(&world->out, m5_bytes(heads[i].bytes, heads[i].size));
}

static void spoil(struct hostile *world, size_t begin)
{
    struct sc_run *run = world->run;
    if (world->out.size == begin)
        return;
    const size_t at = begin + (size_t)sc_below(run, world->out.size - begin);
    if (sc_chance(run, 70))
        world->out.data[at] ^= (uint8_t)(1u << sc_below(run, 8));
    else
        world->out.size = at;
}

static void put_something(struct hostile *world)
{
    struct sc_run *run = world->run;
    const size_t begin = world->out.size;
    const uint64_t dice = sc_below(run, 100);
    static const uint8_t pong[] = {0xD0, 0};
    if (dice < 45)
        put_publish(world);
    else if (dice < 80)
        put_answer(world);
    else if (dice < 85)
        sc_bytes_add(&world->out, m5_bytes(pong, sizeof pong));
    else if (dice < 88)
        put_connack(world);
    else if (dice < 92)
        put_noise(world);
    else
        put_forbidden(world);
    if (sc_chance(run, 4))
        spoil(world, begin);
    run->packets++;
}

/* ---- the client ---- */

static struct op *next_op(struct hostile *world)
{
    return world->op_count < OPS ? &world->ops[world->op_count] : NULL;
}

static void act(struct hostile *world)
{
    struct sc_run *run = world->run;
    static uint8_t payload[300];
    struct op *op = next_op(world);
    if (op == NULL)
        return;
    enum mqtt5_error error;
    const struct mqtt5_bytes filter = m5_bytes_of("some/#");
    if (sc_chance(run, 80)) {
        const struct mqtt5_publish publish = {
            .topic = m5_bytes_of("mine"),
            .payload = m5_bytes(payload, (size_t)sc_below(run, sizeof payload)),
            .qos = (uint8_t)sc_below(run, 3),
        };
        error = m5_client_publish(world->client, &publish, op);
    } else if (sc_chance(run, 60)) {
        const struct mqtt5_subscription_request item = {.filter = filter, .qos = 2};
        const struct mqtt5_subscribe subscribe = {.count = 1, .items = &item};
        error = m5_client_subscribe(world->client, &subscribe, op);
    } else if (sc_chance(run, 50)) {
        const struct mqtt5_unsubscribe unsubscribe = {.count = 1, .items = &filter};
        error = m5_client_unsubscribe(world->client, &unsubscribe, op);
    } else {
        error = m5_client_ping(world->client, op);
    }
    world->op_count += error == MQTT5_OK;
}

static void show(struct hostile *world)
{
    struct m5_client_event event;
    while (m5_client_next_event(world->client, &event)) {
        world->run->deliveries += event.type == M5_CLIENT_MESSAGE;
        if (event.type == M5_CLIENT_COMPLETED && event.ctx != NULL)
            ((struct op *)event.ctx)->ended++;
    }
}

static void hear(struct hostile *world, struct mqtt5_bytes bytes)
{
    struct mqtt5_packet packet;
    sc_tap_add(&world->heard, bytes);
    while (sc_tap_next(&world->heard, world->version, &packet)) {
        uint16_t id = 0;
        if (packet.type == MQTT5_PUBLISH)
            id = packet.as.publish.packet_id;
        else if (packet.type == MQTT5_SUBSCRIBE)
            id = packet.as.subscribe.packet_id;
        else if (packet.type == MQTT5_UNSUBSCRIBE)
            id = packet.as.unsubscribe.packet_id;
        if (id != 0)
            world->ids[world->id_count++ % 16] = id;
    }
    if (world->heard.blind)
        sc_fail(world->run, "the client has sent what is no packet");
}

static void let_go(struct hostile *world)
{
    m5_client_lost(world->client);
    world->linked = false;
    world->out.size = 0;
    world->run->breaks++;
    show(world);
}

static void exchange(struct hostile *world)
{
    struct sc_run *run = world->run;
    while (world->out.size > 0 && m5_client_wants_read(world->client)) {
        const size_t piece =
            sc_chance(run, 60) ? world->out.size : 1 + (size_t)sc_below(run, world->out.size);
        const size_t taken = m5_client_input(world->client, m5_bytes(world->out.data, piece));
        sc_bytes_cut(&world->out, taken);
        show(world);
        if (taken == 0)
            break;
    }
    const struct mqtt5_bytes output = m5_client_output(world->client);
    if (output.len > 0 && sc_chance(run, 70)) { /* it does not always read, either */
        hear(world, output);
        m5_client_sent(world->client, output.len);
    }
    if (m5_client_wants_close(world->client) || sc_chance(run, 1))
        let_go(world);
}

static void step(struct hostile *world)
{
    struct sc_run *run = world->run;
    run->now_ms += sc_below(run, sc_chance(run, 97) ? 50 : 40000);
    m5_client_tick(world->client, run->now_ms);
    show(world);
    if (!world->linked) {
        sc_tap_reset(&world->heard);
        if (m5_client_open(world->client, M5_CLIENT_START_AS_CONFIGURED, run->now_ms) != MQTT5_OK)
            sc_fail(run, "the hostile world: no connection can be opened");
        world->linked = true;
        if (sc_chance(run, 90))
            put_connack(world);
    }
    for (uint64_t i = sc_below(run, 3); i > 0; i--)
        act(world);
    for (uint64_t i = sc_below(run, 4); i > 0; i--)
        put_something(world);
    exchange(world);
    if (sc_chance(run, CHECK_PERCENT))
        m5_client_check(world->client);
}

/* ---- beginning and end ---- */

static void make_client(struct hostile *world)
{
    struct sc_run *run = world->run;
    struct mqtt5_client_options options;
    world->version = sc_chance(run, 75) ? MQTT5_VERSION_5 : MQTT5_VERSION_3_1_1;
    mqtt5_client_options_init(&options);
    options.version = world->version;
    options.client_id = "victim";
    options.clean_start = false;
    options.session_known = sc_chance(run, 50);
    options.session_expiry_s = (uint32_t)(sc_chance(run, 70) ? 1000 : 0);
    options.keep_alive_s = (uint16_t)sc_below(run, 30);
    options.receive_maximum = (uint16_t)(1 + sc_below(run, 20));
    options.topic_alias_maximum = (uint16_t)sc_below(run, 8);
    options.auto_aliases_max = (uint16_t)sc_below(run, 4);
    options.maximum_packet_size = PACKET_MAX;
    options.queued_bytes_max = QUEUE_MAX;
    options.queued_messages_max = 100;
    options.offline_queue = sc_chance(run, 50);
    test_allocator_init(&world->memory);
    m5_budget_init(&world->budget, &world->memory.table, 0);
    if (m5_client_new(&options, &world->budget.table, run->now_ms, &world->client) != MQTT5_OK)
        abort();
    m5_client_set_returning(world->client, sc_chance(run, 50));
}

static void check_ops(struct hostile *world)
{
    for (uint32_t i = 0; i < world->op_count; i++) {
        if (world->ops[i].ended != 1)
            sc_fail(world->run, "the hostile world: operation %u has ended %u times", (unsigned)i,
                    (unsigned)world->ops[i].ended);
    }
}

static void check_budget(struct hostile *world)
{
    size_t most = world->budget.used_max_seen;
    if (sc_lies(world->run, SC_LIE_HUGE))
        most += MEMORY_BOUND;
    if (most > MEMORY_BOUND)
        sc_fail(world->run,
                "the hostile world: the client has taken %zu bytes, more than its "
                "bound of %zu",
                most, MEMORY_BOUND);
}

void sc_run_hostile(struct sc_run *run)
{
    struct hostile *world = calloc(1, sizeof *world);
    if (world == NULL)
        abort();
    world->run = run;
    make_client(world);
    for (uint32_t i = 0; i < STEPS && !run->failed; i++)
        step(world);
    if (world->linked)
        let_go(world);
    m5_client_set_returning(world->client, false);
    m5_client_abandon(world->client);
    show(world);
    check_ops(world);
    run->lie_countdown = 0;
    check_budget(world);
    m5_client_free(world->client);
    if (world->memory.bytes > 0)
        sc_fail(run, "the hostile world: %zu bytes are not given back", world->memory.bytes);
    sc_bytes_fini(&world->out);
    sc_tap_reset(&world->heard);
    free(world);
}
