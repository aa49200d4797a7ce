/* An engine in virtual time and clients of it: bytes and packets go in, all shards take turns until
 * nothing is left to do, packets come out.
 *
 * What is wrong with the engine as a host sees it fails the test at once; what is right is for the
 * test to say.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ENGINE_PEER_H
#define ENGINE_PEER_H

#include "broker/access.h"
#include "broker/engine.h"
#include "support/disk_sim.h"
#include "support/test_allocator.h"

#include <mqtt5/broker.h>
#include <mqtt5/packet.h>

#define ENGINE_PEERS_MAX 300u
#define ENGINE_ID_SIZE   16u
#define GUEST_OPEN       0x100u /* guest_end(): the connection is still there */

struct engine_bytes {
    uint8_t *data;
    size_t size, room;
};

/* One client's end of a connection. Its place is used again after guest_lose(). */
struct engine_peer {
    struct engine_rig *rig;
    struct m5_conn *conn; /* NULL: closed, or on its way to another shard */
    uint32_t shard;
    uint8_t version;
    bool used, closed, moving;
    bool stuck;           /* does not read: the engine's output stays with the engine */
    bool session_present; /* as the last CONNACK said */
    uint16_t packet_id;   /* last one used for SUBSCRIBE and PUBLISH */
    struct engine_bytes input, output;
    struct engine_bytes carried; /* what the engine had not used when the connection moved */
    struct engine_bytes taken;   /* the packet that guest_take() gave last */
};

struct engine_rig {
    struct test_allocator memory;
    struct mqtt5_broker_config config; /* to be changed before engine_rig_start() */
    struct m5_access access;
    bool has_access;
    const char *control_topic; /* the host's own; NULL: none */
    struct m5_engine *engine;
    struct disk_sim *disk; /* a store, from engine_rig_start() on; NULL: none */
    uint64_t last_commit;  /* its number; later ones do not happen. 0: all do */
    uint32_t shards;
    uint64_t now_ms;
    uint64_t asleep; /* mask of shards that take no turns */
    /* What the host knows of connections, on every shard that they come to. */
    uint32_t listener;
    struct m5_conn_limits limits;
    const char *identity; /* NULL: none */
    bool secure;
    /* Asked at the end of each turn about every connection that has something to prove; NULL: the
     * test asks by itself. */
    void (*on_check)(struct m5_conn *conn, const struct m5_credentials *shown);
    uint64_t wakes; /* asked for by m5_shard_end() since somebody cleared it */
    uint32_t opened;
    struct engine_peer peers[ENGINE_PEERS_MAX];
};

/* Sets the defaults, with anonymous clients allowed and without $SYS. */
void engine_rig_init(struct engine_rig *rig, uint32_t shards);
void engine_rig_start(struct engine_rig *rig);
/* The power goes: what was not committed is lost, and all connections. Then the engine starts
 * again, with rig->shards, which may have been changed. */
void engine_rig_crash(struct engine_rig *rig);
/* Frees the engine, connections and all, and checks that every byte has come back. */
void engine_rig_fini(struct engine_rig *rig);

/* All shards that are awake take turns until they rest. */
void engine_pump(struct engine_rig *rig);
/* One turn of one shard, asleep or not; true when it had something to do. */
bool engine_turn(struct engine_rig *rig, uint32_t shard);
/* Time passes, from one deadline of the engine to the next. */
void engine_advance(struct engine_rig *rig, uint64_t ms);
struct m5_stats engine_stats(const struct engine_rig *rig);

/* The shard that sessions of client id @p text, and groups of filter @p text, belong to. */
uint32_t engine_home(const struct engine_rig *rig, const char *text);
/* The @p nth text "prefix<number>" (0 = the first) whose home is @p shard. */
void engine_text_on(const struct engine_rig *rig, const char *prefix, uint32_t shard, unsigned nth,
                    char out[ENGINE_ID_SIZE]);

/* ---- connections ---- */

/* The address of connections from now on, as a host writes it; at first "test", which is none. */
void guests_come_from(const char *text);

/* Without a word said; shards take their turns to accept. */
struct engine_peer *guest_open(struct engine_rig *rig, uint8_t version);
struct engine_peer *guest_open_on(struct engine_rig *rig, uint8_t version, uint32_t shard);

struct mqtt5_connect guest_connect_packet(uint8_t version, const char *client_id);
/* Sends CONNECT and takes the CONNACK; its reason or return code, or GUEST_OPEN when none came. */
unsigned guest_say_connect(struct engine_peer *peer, const struct mqtt5_connect *connect);

/* A client that is connected, with a clean start and a session that ends with the connection. */
struct engine_peer *guest_connect(struct engine_rig *rig, uint8_t version, const char *client_id);
/* One whose session stays (for 1,000 s in v5) and is resumed. */
struct engine_peer *guest_resume(struct engine_rig *rig, uint8_t version, const char *client_id);

/* The connection breaks; the peer is gone. */
void guest_lose(struct engine_peer *peer);
/* DISCONNECT with @p reason (none in 3.1.1), then the peer is gone. */
void guest_disconnect(struct engine_peer *peer, uint8_t reason);

/* The reason code of the DISCONNECT that came, 0 when the connection was closed without one, or
 * GUEST_OPEN. */
unsigned guest_end(struct engine_peer *peer);

/* ---- packets ---- */

void guest_send(struct engine_peer *peer, struct mqtt5_bytes bytes);
void guest_send_hex(struct engine_peer *peer, const char *hex);
void guest_send_packet(struct engine_peer *peer, const struct mqtt5_packet *packet);
void guest_send_ack(struct engine_peer *peer, uint8_t type, uint16_t packet_id, uint8_t reason);

/* The next packet that came, or the next one of @p type, the others staying; false: there is none.
 * Its views live until the next call for this peer. */
bool guest_take(struct engine_peer *peer, struct mqtt5_packet *out);
bool guest_take_type(struct engine_peer *peer, uint8_t type, struct mqtt5_packet *out);

/* The reason code of the answer, or GUEST_OPEN when there was none. QoS 2 goes on to PUBCOMP unless
 * the message was refused. At QoS 0 there is no answer. */
unsigned guest_subscribe(struct engine_peer *peer, const char *filter, uint8_t qos);
unsigned guest_unsubscribe(struct engine_peer *peer, const char *filter);
unsigned guest_publish(struct engine_peer *peer, const char *topic, const char *payload,
                       uint8_t qos);
unsigned guest_retain(struct engine_peer *peer, const char *topic, const char *payload,
                      uint8_t qos);
unsigned guest_say_publish(struct engine_peer *peer, const struct mqtt5_publish *publish);

/* Takes and acknowledges all that comes until nothing does; returns how many were PUBLISH. */
unsigned guest_drain(struct engine_peer *peer);
/* The same for all peers by turns; the number for each goes to @p counts (may be NULL). */
unsigned guests_drain(struct engine_peer *const *peers, uint32_t count, unsigned *counts);

/* Asserts that the next packet is this PUBLISH; at QoS 1 and 2 it is acknowledged to its end. */
#define assert_message(peer, topic, payload, qos) \
    guest_assert_message(peer, topic, payload, qos, __FILE__, __LINE__)
void guest_assert_message(struct engine_peer *peer, const char *topic, const char *payload,
                          uint8_t qos, const char *file, int line);
/* The same without an acknowledgement; returns the packet identifier. */
#define assert_message_held(peer, topic, payload, qos) \
    guest_assert_held(peer, topic, payload, qos, __FILE__, __LINE__)
uint16_t guest_assert_held(struct engine_peer *peer, const char *topic, const char *payload,
                           uint8_t qos, const char *file, int line);
/* Asserts that nothing has come and the connection is there. */
#define assert_quiet(peer) guest_assert_quiet(peer, __FILE__, __LINE__)
void guest_assert_quiet(struct engine_peer *peer, const char *file, int line);

/* An entry of cmocka's list, twice: the state points at a number of shards, then at another, which
 * the second name tells. The file has set_up() and tear_down(). */
/* clang-format off */
#define ENGINE_TEST(test, few, many, told)                                                       \
    cmocka_unit_test_prestate_setup_teardown(test, set_up, tear_down, (void *)(uintptr_t)(few)), \
    {#test told, test, set_up, tear_down, (void *)(uintptr_t)(many)}
/* clang-format on */

#endif
