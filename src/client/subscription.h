/* What the server has granted, so that it can be asked for again when it has lost the session.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_CLIENT_SUBSCRIPTION_H
#define M5_CLIENT_SUBSCRIPTION_H

#include "base/list.h"
#include "base/map.h"

#include <mqtt5/packet.h>

struct m5_client_subscription {
    struct m5_list node; /* in the order of their first grant */
    uint32_t identifier; /* Subscription Identifier; 0 = none */
    uint32_t hash, size; /* of the filter */
    uint8_t qos;         /* asked for */
    uint8_t retain_handling;
    bool no_local, retain_as_published;
    uint8_t filter[];
};

struct m5_client_subscriptions {
    struct m5_list list;
    struct m5_map map; /* by filter */
};

void m5_client_subscriptions_init(struct m5_client_subscriptions *subscriptions,
                                  const struct mqtt5_allocator *allocator);

/* Forgets everything. */
void m5_client_subscriptions_clear(struct m5_client_subscriptions *subscriptions);
void m5_client_subscriptions_fini(struct m5_client_subscriptions *subscriptions);

/* Adds or replaces; false without memory. */
bool m5_client_subscriptions_put(struct m5_client_subscriptions *subscriptions,
                                 const struct mqtt5_subscription_request *request,
                                 uint32_t identifier);
void m5_client_subscriptions_remove(struct m5_client_subscriptions *subscriptions,
                                    struct mqtt5_bytes filter);

#endif
