/* Faults of the test broker: which packet meets which, and what CONNACK says instead of the truth.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "host/testing/testing.h"

#include <stdlib.h>

static struct m5_test_rule *rule_of(struct m5_list *node)
{
    return M5_CONTAINER_OF(node, struct m5_test_rule, node);
}

static void free_rule(struct m5_test_rule *rule)
{
    m5_list_remove(&rule->node);
    free(rule->client_id);
    free(rule);
}

static bool fits(const struct m5_test_rule *rule, const struct m5_test_link *link, uint8_t type,
                 bool from_client)
{
    const struct mqtt5_test_fault *fault = &rule->fault;
    return fault->from_client == from_client &&
           (fault->packet_type == 0 || fault->packet_type == type) &&
           (rule->client_id == NULL || m5_test_link_is(link, rule->client_id));
}

bool m5_test_fault_meets(struct m5_test_link *link, uint8_t type, bool from_client,
                         struct mqtt5_test_fault *out)
{
    struct m5_list *list = &link->broker->rules, *next;
    for (struct m5_list *at = list->next; at != list; at = next) {
        struct m5_test_rule *rule = rule_of(at);
        next = at->next;
        if (!fits(rule, link, type, from_client))
            continue;
        if (rule->fault.skip > 0) {
            rule->fault.skip--;
            continue;
        }
        *out = rule->fault;
        if (rule->fault.count > 0 && --rule->fault.count == 0)
            free_rule(rule);
        return true;
    }
    return false;
}

void m5_test_faults_clear(struct mqtt5_test_broker *broker)
{
    while (!m5_list_empty(&broker->rules))
        free_rule(rule_of(broker->rules.next));
}

enum mqtt5_error mqtt5_test_broker_fault(struct mqtt5_test_broker *broker,
                                         const struct mqtt5_test_fault *fault)
{
    if (fault->packet_type > MQTT5_AUTH || fault->action > MQTT5_FAULT_CUT_BEHIND)
        return MQTT5_ERR_INVALID_ARGUMENT;
    struct m5_test_rule *rule = m5_test_alloc(sizeof *rule);
    if (rule == NULL)
        return MQTT5_ERR_NOMEM;
    rule->fault = *fault;
    rule->fault.client_id = NULL;
    if (fault->client_id != NULL && (rule->client_id = strdup(fault->client_id)) == NULL) {
        free(rule);
        return MQTT5_ERR_NOMEM;
    }
    pthread_mutex_lock(&broker->lock);
    m5_list_push_back(&broker->rules, &rule->node);
    pthread_mutex_unlock(&broker->lock);
    return MQTT5_OK;
}

/* ---- CONNACK ---- */

void mqtt5_test_limits_init(struct mqtt5_test_limits *limits)
{
    *limits = (struct mqtt5_test_limits){
        .receive_maximum = -1,
        .maximum_qos = -1,
        .retain_available = -1,
        .topic_alias_maximum = -1,
        .server_keep_alive_s = -1,
        .wildcard_subscription_available = -1,
        .shared_subscription_available = -1,
        .maximum_packet_size = -1,
        .session_expiry_s = -1,
    };
}

/* Properties of a decoded packet stand both in their fields and in `raw`: written again, each must
 * come from one of them. User properties come from raw, so the fields are all there is. */
static void take_out_of_raw(struct mqtt5_properties *properties)
{
    properties->raw = m5_bytes(NULL, 0);
    properties->present &= ~((uint64_t)1 << (unsigned)MQTT5_PROPERTY_USER_PROPERTY);
}

#define ANNOUNCE(NAME, field, value)               \
    do {                                           \
        if ((value) >= 0) {                        \
            MQTT5_SET(properties, NAME);           \
            properties->field = (uint32_t)(value); \
        }                                          \
    } while (0)

static void announce(struct mqtt5_properties *properties, const struct mqtt5_test_limits *limits)
{
    ANNOUNCE(RECEIVE_MAXIMUM, receive_maximum, limits->receive_maximum);
    ANNOUNCE(MAXIMUM_QOS, maximum_qos, limits->maximum_qos);
    ANNOUNCE(RETAIN_AVAILABLE, retain_available, limits->retain_available);
    ANNOUNCE(TOPIC_ALIAS_MAXIMUM, topic_alias_maximum, limits->topic_alias_maximum);
    ANNOUNCE(SERVER_KEEP_ALIVE, server_keep_alive_s, limits->server_keep_alive_s);
    ANNOUNCE(WILDCARD_SUBSCRIPTION_AVAILABLE, wildcard_subscription_available,
             limits->wildcard_subscription_available);
    ANNOUNCE(SHARED_SUBSCRIPTION_AVAILABLE, shared_subscription_available,
             limits->shared_subscription_available);
    ANNOUNCE(MAXIMUM_PACKET_SIZE, maximum_packet_size, limits->maximum_packet_size);
    ANNOUNCE(SESSION_EXPIRY_INTERVAL, session_expiry_interval_s, limits->session_expiry_s);
}

bool m5_test_rewrite_connack(const struct m5_test_link *link, const struct mqtt5_packet *packet,
                             struct m5_test_bytes *out)
{
    struct mqtt5_packet changed = *packet;
    struct mqtt5_properties *properties = &changed.as.connack.properties;
    const uint64_t present = properties->present;
    announce(properties, &link->broker->limits);
    if (link->version != MQTT5_VERSION_5 ||
        (properties->present == present &&
         memcmp(properties, &packet->as.connack.properties, sizeof *properties) == 0))
        return false;
    take_out_of_raw(properties);
    const size_t size = mqtt5_packet_size(&changed, link->version);
    uint8_t *bytes = size == 0 ? NULL : malloc(size);
    if (bytes == NULL)
        return false;
    mqtt5_packet_write(&changed, link->version, bytes, size);
    out->size = 0;
    const bool done = m5_test_bytes_add(out, m5_bytes(bytes, size));
    free(bytes);
    return done;
}
