/* The engine's world: what it consists of, and what is remembered about it.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef TESTS_SIMCLIENT_WORLD_H
#define TESTS_SIMCLIENT_WORLD_H

#include "simclient/simclient.h"

struct world;

/* A message, from m5_client_publish() to whoever got it. Its number is its payload. */
struct message {
    uint8_t qos, topic;
    uint32_t publisher;
    bool may_fail;  /* before there was a session or a queue that could keep it */
    uint32_t ended; /* COMPLETED events */
    enum mqtt5_error error;
    uint32_t accepted;              /* by the broker, as the witness has it */
    uint32_t delivered[SC_CLIENTS]; /* to each client */
};

/* A client with its link. */
struct actor {
    struct world *world;
    uint32_t index;
    uint8_t version;
    struct test_allocator memory;
    struct m5_client *client;
    struct mqtt5_client_options options;
    char id[24];

    /* the link */
    bool linked;
    struct m5_conn *conn; /* NULL while linked: the engine has closed */
    struct sc_pipe up, down;
    uint64_t reopen_ms;

    /* what is seen on it */
    struct sc_tap sent, received;
    uint16_t server_receive_maximum;
    uint16_t flying[SC_MESSAGES]; /* packet identifiers that count against it */
    uint32_t flying_count;
    bool server_spoke; /* CONNACK */
    bool has_session;  /* since its first CONNACK */

    /* subscriptions: granted QoS, or SC_NOTHING; and the first message that they surely cover */
    uint32_t granted[SC_TOPICS], since[SC_TOPICS];
    uint32_t asked, subscribe_ended;
    uint32_t last_seen[SC_CLIENTS][SC_TOPICS][3]; /* message + 1, by publisher, topic, QoS */
};

struct world {
    struct sc_run *run;
    struct test_allocator memory;
    struct m5_engine *engine;
    struct m5_shard *shard;
    struct mqtt5_broker_config config;
    uint32_t actor_count;
    struct actor actors[SC_CLIENTS];
    struct m5_conn *witness;
    struct sc_tap witnessed;
    struct message messages[SC_MESSAGES];
    uint32_t message_count;
    bool calm; /* nothing new is published, nothing breaks any more */
};

/* ---- judge.c ---- */

void judge_sent(struct actor *actor, struct mqtt5_bytes bytes);
void judge_received(struct actor *actor, struct mqtt5_bytes bytes);
void judge_connected(struct actor *actor); /* a new link */
void judge_event(struct actor *actor, const struct m5_client_event *event);
void judge_accepted(struct world *world, const struct mqtt5_publish *publish);

/* True when nothing is left to be done. */
bool judge_is_settled(const struct world *world);
void judge_end(struct world *world);

#endif
