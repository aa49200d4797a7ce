/* Messages of the server whose acknowledgement is the user's to give.
 *
 * Edges of one: shown -> deferred (by the user) -> answered (by the user, or it lapsed) -> gone
 * (the acknowledgement is sent, in the order in which the messages came); shown -> answered (not
 * deferred). When the connection is lost, QoS 1 -> gone, as the message comes again as a new one;
 * QoS 2 -> not here, until the server sends the same identifier with DUP, or the session is over.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_CLIENT_DEFER_H
#define M5_CLIENT_DEFER_H

#include "base/list.h"

#include <stdint.h>

struct m5_client_deferral {
    struct m5_list node; /* in the order of arrival on this connection */
    uint64_t number;     /* > 0, the token */
    uint64_t lapses_at_ms;
    uint16_t packet_id;
    uint8_t qos;
    uint8_t reason_code; /* answered */
    bool deferred, answered;
    bool here; /* came on this connection, which waits for the answer */
};

struct m5_client_deferrals {
    struct m5_list by_qos[2]; /* QoS 1, QoS 2: each is acknowledged in its own order */
    uint32_t count;           /* here and not acknowledged: they take the receive window */
    uint64_t last_number;
    uint64_t lapse_due_ms; /* no later than the first lapse; UINT64_MAX: none */
};

#endif
