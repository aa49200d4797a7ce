/* Who may do what: the questions the engine asks, and the policy that answers them.
 *
 * A policy is a pure object inside the process: it answers at once, does no I/O and takes no time
 * worth counting. What needs time (a password hash, an HTTP call) is answered M5_ACCESS_PENDING
 * and settled by the host later. Policies are shared by all shards and must be safe to read from
 * their threads.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BROKER_ACCESS_H
#define M5_BROKER_ACCESS_H

#include <mqtt5/bytes.h>
#include <mqtt5/reason_code.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Whom a session belongs to. The views live as long as the session. */
struct m5_principal {
    struct mqtt5_bytes client_id;
    struct mqtt5_bytes username; /* empty: anonymous */
    const char *roles;           /* what its login gave it: names, each ended by a zero, one more
                                    zero behind the last; NULL: none */
    uint32_t serial;   /* of this login: on one shard no two have the same, nor before and after its
                          roles changed; 0: remember nothing that was found out for it */
    uint16_t listener; /* by which it came in last */
    bool anonymous;
    bool proved; /* that it has this name: by the transport, or by the host's verdict */
};

/* What a client shows to prove who it is. The views live until the next call on its shard. */
struct m5_credentials {
    struct mqtt5_bytes client_id;
    struct mqtt5_bytes username; /* empty: anonymous */
    struct mqtt5_bytes password; /* 0 bytes when there is none */
    struct mqtt5_bytes identity; /* the name that the transport proved; empty: none */
    struct mqtt5_bytes method;   /* of enhanced authentication (section 4.12), with has_method */
    struct mqtt5_bytes data;     /* of CONNECT or of the last AUTH, with has_data */
    uint32_t listener;
    bool anonymous, has_password, has_method, has_data;
    bool secure; /* nobody can listen: the transport is encrypted, or within this machine */
    bool going;  /* it answers an AUTH that the host had sent */
    bool again;  /* a connected client proves anew who it is */
};

/* PENDING: only of `connect`. The host checks the credentials elsewhere and settles the matter by
 * m5_conn_verified() (engine.h); nothing of the connection is read meanwhile. */
enum m5_access_answer { M5_ACCESS_ALLOW, M5_ACCESS_DENY, M5_ACCESS_PENDING };

struct m5_access {
    void *ctx;

    /* True while `publish`, `subscribe` and `deliver` would allow everything: they are not asked.
     * May change between turns. */
    atomic_bool allow_everything;

    /* May it connect? ALLOW proves nothing: its name counts for no more than it says, unless it is
     * that of the transport. On DENY, *reason says what CONNACK carries. NULL: as the configuration
     * says of anonymous clients; a client whom the transport has named may, and no method is known.
     */
    enum m5_access_answer (*connect)(void *ctx, const struct m5_credentials *credentials,
                                     enum mqtt5_reason_code *reason);

    /* May it publish to @p topic? Asked for live messages, and for wills at CONNECT and when
     * they are due. */
    enum m5_access_answer (*publish)(void *ctx, const struct m5_principal *who,
                                     struct mqtt5_bytes topic, uint8_t qos, bool retain);

    /* May it subscribe to @p filter (without "$share/name/")? */
    enum m5_access_answer (*subscribe)(void *ctx, const struct m5_principal *who,
                                       struct mqtt5_bytes filter, uint8_t qos);

    /* May it take its subscription to @p filter back? NULL: everybody may. */
    enum m5_access_answer (*unsubscribe)(void *ctx, const struct m5_principal *who,
                                         struct mqtt5_bytes filter);

    /* May it be sent a message of @p topic? Asked for each delivery: live, queued, retained,
     * shared, so that what a wildcard can match is checked as what it does match. */
    enum m5_access_answer (*deliver)(void *ctx, const struct m5_principal *who,
                                     struct mqtt5_bytes topic);
};

#endif
