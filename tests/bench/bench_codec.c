/* Nanoseconds per packet of the codec and of what the hot path takes from base. Not a test.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/alloc.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/pool.h"
#include "base/rng.h"
#include "base/timer.h"

#include <mqtt5/packet.h>
#include <mqtt5/topic.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ROUNDS     200u
#define ITERATIONS 20000u

/* Keeps a result alive and its computation inside the loop. */
#define USE(value) __asm__ volatile("" : : "r"(value) : "memory")

typedef void bench_fn(const void *input, unsigned iterations);

static uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* The best of a few rounds: the one that the rest of the machine disturbed least. */
static void measure(const char *what, bench_fn *run, const void *input)
{
    double best = 1e9;
    for (unsigned round = 0; round < ROUNDS; round++) {
        const uint64_t start = now_ns();
        run(input, ITERATIONS);
        const double ns = (double)(now_ns() - start) / ITERATIONS;
        best = ns < best ? ns : best;
    }
    printf("%-58s %7.1f ns\n", what, best);
}

struct wire {
    uint8_t version;
    struct mqtt5_packet packet;
    uint8_t bytes[512];
    size_t size;
};

static void wire_init(struct wire *wire, uint8_t version, const struct mqtt5_packet *packet)
{
    wire->version = version;
    wire->packet = *packet;
    wire->size = mqtt5_packet_size(packet, version);
    if (wire->size == 0 || wire->size > sizeof wire->bytes)
        abort();
    mqtt5_packet_write(packet, version, wire->bytes, wire->size);
}

static void run_frame(const void *input, unsigned iterations)
{
    const struct wire *wire = input;
    for (unsigned i = 0; i < iterations; i++) {
        struct mqtt5_frame frame;
        USE(mqtt5_frame_read(m5_bytes(wire->bytes, wire->size), 1u << 24, &frame));
        USE(&frame);
    }
}

static void run_publish_decode(const void *input, unsigned iterations)
{
    const struct wire *wire = input;
    const struct mqtt5_decode_limits limits = {.user_properties_max = 100, .topic_levels_max = 200};
    struct mqtt5_publish publish;
    for (unsigned i = 0; i < iterations; i++) {
        struct mqtt5_frame frame;
        USE(mqtt5_frame_read(m5_bytes(wire->bytes, wire->size), 1u << 24, &frame));
        USE(mqtt5_publish_decode(&frame, wire->version, &limits, &publish));
        USE(&publish);
    }
}

static void run_decode(const void *input, unsigned iterations)
{
    const struct wire *wire = input;
    const struct mqtt5_decode_limits limits = {.user_properties_max = 100, .topic_levels_max = 200};
    struct mqtt5_packet packet;
    for (unsigned i = 0; i < iterations; i++) {
        struct mqtt5_frame frame;
        USE(mqtt5_frame_read(m5_bytes(wire->bytes, wire->size), 1u << 24, &frame));
        USE(mqtt5_packet_decode(&frame, wire->version, &limits, &packet));
        USE(&packet);
    }
}

static void run_encode(const void *input, unsigned iterations)
{
    const struct wire *wire = input;
    uint8_t out[512];
    for (unsigned i = 0; i < iterations; i++) {
        const size_t size = mqtt5_packet_size(&wire->packet, wire->version);
        USE(mqtt5_packet_write(&wire->packet, wire->version, out, size));
        USE(out);
    }
}

static void run_topic_check(const void *input, unsigned iterations)
{
    for (unsigned i = 0; i < iterations; i++)
        USE(mqtt5_topic_check(*(const struct mqtt5_bytes *)input, 200));
}

static void run_hash(const void *input, unsigned iterations)
{
    const struct m5_hash_key key = {.k0 = 1, .k1 = 2};
    for (unsigned i = 0; i < iterations; i++)
        USE(m5_hash(&key, *(const struct mqtt5_bytes *)input));
}

static void *system_alloc(void *ctx, size_t size)
{
    (void)ctx;
    return malloc(size);
}

static void system_free(void *ctx, void *memory, size_t size)
{
    (void)ctx;
    (void)size;
    free(memory);
}

static const struct mqtt5_allocator system_memory = {.alloc = system_alloc, .free = system_free};

static bool same_key(const void *value, const void *key)
{
    return *(const uint32_t *)value == *(const uint32_t *)key;
}

struct map_input {
    struct m5_map map;
    uint32_t count;
    uint32_t *keys;
};

static void run_map_find(const void *input, unsigned iterations)
{
    const struct map_input *in = input;
    for (uint32_t i = 0, key = 0; i < iterations; i++) {
        key = (key * 1664525u + 1013904223u) % in->count;
        USE(m5_map_find(&in->map, key * 2654435761u, same_key, &key));
    }
}

static void measure_map(uint32_t count, const char *what)
{
    struct map_input input = {.count = count, .keys = malloc(count * sizeof *input.keys)};
    m5_map_init(&input.map, &system_memory);
    for (uint32_t i = 0; i < count; i++) {
        if (input.keys == NULL || !m5_map_add(&input.map, i * 2654435761u, &input.keys[i]))
            abort();
        input.keys[i] = i;
    }
    measure(what, run_map_find, &input);
    m5_map_fini(&input.map);
    free(input.keys);
}

static void run_pool(const void *input, unsigned iterations)
{
    (void)input;
    struct m5_pool pool;
    m5_pool_init(&pool, &system_memory, 64, 65536);
    for (unsigned i = 0; i < iterations; i++) {
        void *object = m5_pool_take(&pool);
        USE(object);
        m5_pool_give(&pool, object);
    }
    m5_pool_fini(&pool);
}

static void run_timer_restart(const void *input, unsigned iterations)
{
    (void)input;
    static struct m5_timer_wheel wheel;
    static struct m5_timer timers[1024];
    m5_timer_wheel_init(&wheel, 0);
    for (unsigned i = 0; i < 1024; i++)
        m5_timer_init(&timers[i]);
    for (unsigned i = 0; i < iterations; i++) {
        m5_timer_start(&wheel, &timers[i % 1024], i / 64 + 90000);
        if (i % 64 == 0)
            m5_timer_advance(&wheel, i / 64);
    }
}

static struct mqtt5_packet publish(uint8_t qos)
{
    static const uint8_t payload[64];
    struct mqtt5_packet packet = {.type = MQTT5_PUBLISH};
    packet.as.publish = (struct mqtt5_publish){
        .qos = qos,
        .packet_id = qos,
        .topic = m5_bytes_of("sensors/building-7/temperature"),
        .payload = m5_bytes(payload, sizeof payload),
    };
    return packet;
}

static void measure_publish(void)
{
    static struct wire wire;
    struct mqtt5_packet packet = publish(0);
    wire_init(&wire, 5, &packet);
    measure("frame_read", run_frame, &wire);
    measure("PUBLISH QoS 0, v5, no properties: frame + decode", run_publish_decode, &wire);
    measure("PUBLISH QoS 0, v5, no properties: size + write", run_encode, &wire);
    wire_init(&wire, 4, &packet);
    measure("PUBLISH QoS 0, v3.1.1: frame + decode", run_publish_decode, &wire);
    packet = publish(1);
    packet.as.publish.properties.topic_alias = 3;
    MQTT5_SET(&packet.as.publish.properties, TOPIC_ALIAS);
    wire_init(&wire, 5, &packet);
    measure("PUBLISH QoS 1, alias: frame + decode", run_publish_decode, &wire);
    measure("PUBLISH QoS 1, alias: size + write", run_encode, &wire);
    const struct mqtt5_user_property items[] = {{m5_bytes_of("trace"), m5_bytes_of("0af7651916cd")},
                                                {m5_bytes_of("unit"), m5_bytes_of("celsius")}};
    packet.as.publish.properties.user_property.items = items;
    packet.as.publish.properties.user_property.count = 2;
    packet.as.publish.properties.message_expiry_interval_s = 60;
    MQTT5_SET(&packet.as.publish.properties, USER_PROPERTY);
    MQTT5_SET(&packet.as.publish.properties, MESSAGE_EXPIRY_INTERVAL);
    wire_init(&wire, 5, &packet);
    measure("PUBLISH QoS 1, alias, expiry, 2 user: frame + decode", run_publish_decode, &wire);
    measure("PUBLISH QoS 1, alias, expiry, 2 user: size + write", run_encode, &wire);
}

static void measure_others(void)
{
    static struct wire wire;
    struct mqtt5_packet packet = {.type = MQTT5_PUBACK, .as.ack.packet_id = 7};
    wire_init(&wire, 5, &packet);
    measure("PUBACK: frame + decode", run_decode, &wire);
    measure("PUBACK: size + write", run_encode, &wire);
    packet = (struct mqtt5_packet){.type = MQTT5_CONNECT, .as.connect.version = 5};
    packet.as.connect.client_id = m5_bytes_of("client-0001");
    wire_init(&wire, 5, &packet);
    measure("CONNECT: frame + decode", run_decode, &wire);
    const struct mqtt5_subscription_request request = {.filter = m5_bytes_of("sensors/+/temp")};
    packet = (struct mqtt5_packet){.type = MQTT5_SUBSCRIBE};
    packet.as.subscribe = (struct mqtt5_subscribe){.packet_id = 1, .count = 1, .items = &request};
    wire_init(&wire, 5, &packet);
    measure("SUBSCRIBE of one filter: frame + decode", run_decode, &wire);
}

int main(void)
{
    measure_publish();
    measure_others();
    const struct mqtt5_bytes topic = m5_bytes_of("sensors/building-7/temperature");
    measure("topic check, 30 bytes of ASCII", run_topic_check, &topic);
    const struct mqtt5_bytes other = m5_bytes_of("\xd0\xb4\xd0\xbe\xd0\xbc/\xd0\xba\xd0\xbe\xd1\x82"
                                                 "\xd0\xb5\xd0\xbb/\xd1\x82\xd0\xb5\xd0\xbc");
    measure("topic check, 26 bytes of Cyrillic", run_topic_check, &other);
    const struct mqtt5_bytes id = m5_bytes_of("client-0001");
    measure("hash of 11 bytes", run_hash, &id);
    measure("hash of 30 bytes", run_hash, &topic);
    measure_map(1000, "map find, 1,000 values");
    measure_map(1000000, "map find, 1,000,000 values");
    measure("pool take and give", run_pool, NULL);
    measure("timer restart (keep-alive)", run_timer_restart, NULL);
    return 0;
}
