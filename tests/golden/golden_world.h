/* A host for the engine in virtual time: connections are byte queues, nothing is random, and every
 * call runs all shards until nothing is left to do.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef GOLDEN_WORLD_H
#define GOLDEN_WORLD_H

#include "golden/golden_script.h"
#include "support/disk_sim.h"
#include "support/guard_page.h"
#include "support/test_allocator.h"

#include <mqtt5/broker.h>

#include "broker/engine.h"

#define GOLDEN_LINKS 26
#define GOLDEN_RULES 8

enum golden_feeding {
    GOLDEN_WHOLE, /* into the engine's own read space, as a socket would */
    GOLDEN_BYTEWISE,
    GOLDEN_SPLIT /* each sending in two pieces */
};

struct golden_mode {
    uint32_t shards;
    enum golden_feeding feeding;
    size_t split; /* bytes of the first piece */
    bool store;
};

struct golden_queue {
    uint8_t *data;
    size_t size, room;
};

/* One end of a connection: the client's. */
struct golden_link {
    struct m5_conn *conn; /* NULL when closed, or on its way to another shard */
    uint32_t shard;
    bool open, closed, moving;
    struct golden_queue sent;     /* towards the engine */
    struct golden_queue received; /* from the engine, not yet expected */
};

/* An authenticator with one method, "golden", that does what the client's data say: 'more' (the
 * server asks with 'ask'), 'allow', 'deny'. */
extern const struct m5_access golden_methods;
bool golden_methods_answer(struct m5_shard *shard);

struct golden_world {
    struct m5_engine *engine;
    struct test_allocator allocator;
    struct guard_page guard;
    struct golden_mode mode;
    struct mqtt5_broker_config config;
    struct mqtt5_durability_rule rules[GOLDEN_RULES];
    struct disk_sim disk;
    bool store_waits; /* it commits nothing for now */
    bool store_fails;
    bool has_methods; /* enhanced authentication, by golden_methods */
    uint64_t now_ms;
    uint64_t epoch_ms; /* where the engine's clock began, on ours: anew with each start */
    uint32_t opened;
    struct golden_link links[GOLDEN_LINKS];
    char error[200]; /* what the engine did that no host could live with */
};

/* False, and world->error, when a setting is unknown or the engine refuses it. */
bool golden_world_init(struct golden_world *world, const struct golden_setting *settings,
                       struct golden_mode mode);

/* Ends everything and checks that all memory has come back; false and world->error if not. */
bool golden_world_fini(struct golden_world *world);

void golden_world_open(struct golden_world *world, char name);
void golden_world_break(struct golden_world *world, char name);
void golden_world_send(struct golden_world *world, char name, struct mqtt5_bytes bytes);
void golden_world_advance(struct golden_world *world, uint64_t ms);
void golden_world_stop(struct golden_world *world);

/* The broker goes, in order or by a power cut, and comes back after @p down_ms with another number
 * of shards. All connections are gone. */
void golden_world_restart(struct golden_world *world, uint64_t down_ms);
void golden_world_crash(struct golden_world *world, uint64_t down_ms);
void golden_world_store(struct golden_world *world, enum golden_store_word word);

struct golden_link *golden_world_link(struct golden_world *world, char name);

/* The first whole packet received, or none (len 0); stays until it is taken. */
struct mqtt5_bytes golden_link_packet(const struct golden_link *link);
void golden_link_take(struct golden_link *link, size_t size);

#endif
