/* What few connections have: a name that the transport proved, an exchange of AUTH packets (section
 * 4.12), the verdict on it until CONNECT is answered.
 *
 * A first exchange stands between CONNECT and CONNACK: once the host answers CONTINUE, CONNECT is
 * kept here, the client's AUTHs are read, and the verdict has CONNECT handled as if it came then. A
 * later one (re-authentication) goes on beside the client's traffic.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BROKER_EXCHANGE_H
#define M5_BROKER_EXCHANGE_H

#include "base/list.h"
#include "broker/alarm.h"
#include "broker/engine.h"

#include <mqtt5/packet.h>

struct m5_exchange {
    struct m5_conn *conn;
    struct m5_list node;   /* in shard->exchanges: connected, the host is to be asked */
    struct m5_alarm alarm; /* connected: until when it must be over */
    /* Owned copies; empty when there is none. */
    struct mqtt5_bytes identity;
    struct mqtt5_bytes method;  /* stays as long as the connection */
    struct mqtt5_bytes connect; /* the whole packet, from CONTINUE to the verdict */
    struct mqtt5_bytes data;    /* the client's, for the host; then the host's, for CONNACK */
    struct mqtt5_bytes username;
    struct mqtt5_bytes roles; /* as struct m5_principal has them */
    bool has_data;
    bool named; /* `username` counts */
    bool going; /* the client has been sent an AUTH that it is to answer */
};

/* True while CONNECT waits for AUTHs. */
bool m5_exchange_waits(const struct m5_conn *conn);

/* CONNECT has a method: it is kept. False without memory. */
bool m5_exchange_begin(struct m5_conn *conn, struct mqtt5_bytes method);

/* Who a CONNECT comes from, by what was proved, else by what it says. */
struct m5_principal m5_exchange_principal(const struct m5_conn *conn,
                                          const struct mqtt5_connect *connect,
                                          struct mqtt5_bytes client_id);

/* What CONNECT shows, in its first packet. */
struct m5_credentials m5_exchange_credentials(const struct m5_conn *conn,
                                              const struct mqtt5_connect *connect);

/* Puts method and data into CONNACK [MQTT-4.12.0-5]; neither without a method [MQTT-4.12.0-6]. */
void m5_exchange_announce(const struct m5_conn *conn, struct mqtt5_properties *out);

/* CONNECT is answered: only the method is still needed. */
void m5_exchange_settle(struct m5_conn *conn);

/* The verdict is there: handles the CONNECT that was kept, if one was. */
void m5_exchange_resume(struct m5_conn *conn);

/* What the verdict gave, as m5_session_logged_in() takes it. */
struct mqtt5_bytes m5_exchange_roles(const struct m5_conn *conn);

void m5_handle_auth(struct m5_conn *conn, const struct mqtt5_frame *frame);

/* What comes while CONNECT waits for AUTHs: one, as a rule. */
void m5_handle_instead(struct m5_conn *conn, const struct mqtt5_frame *frame);

void m5_exchange_alarm(struct m5_exchange *exchange);
void m5_exchange_free(struct m5_conn *conn);

#endif
