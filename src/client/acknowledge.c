/* Messages of the server whose acknowledgement is the user's to give: see client/defer.h.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/alloc.h"
#include "client/state.h"

static struct m5_client_deferral *deferral_of(struct m5_list *node)
{
    return M5_CONTAINER_OF(node, struct m5_client_deferral, node);
}

static struct m5_list *list_of(struct m5_client *client, uint8_t qos)
{
    M5_ASSERT(qos == 1 || qos == 2);
    return &client->deferrals.by_qos[qos - 1];
}

static struct m5_client_deferral *find(struct m5_client *client, uint64_t number)
{
    for (uint8_t qos = 1; qos <= 2; qos++) {
        struct m5_list *list = list_of(client, qos);
        for (struct m5_list *node = list->next; node != list; node = node->next) {
            if (deferral_of(node)->number == number)
                return deferral_of(node);
        }
    }
    return NULL;
}

static void drop(struct m5_client *client, struct m5_client_deferral *deferral)
{
    client->deferrals.count -= deferral->here;
    m5_list_remove(&deferral->node);
    m5_free(client->allocator, deferral, sizeof *deferral);
}

/* Sends one acknowledgement; false when the connection cannot take it. */
static bool send_one(struct m5_client *client, const struct m5_client_deferral *deferral)
{
    if (client->state != MQTT5_CLIENT_CONNECTED)
        return false;
    const bool accepted = deferral->reason_code < 0x80 || client->version != MQTT5_VERSION_5;
    if (deferral->qos == 2 && accepted && !m5_client_received_add(client, deferral->packet_id)) {
        m5_client_close_with(client, MQTT5_ERR_NOMEM);
        return false;
    }
    m5_client_send_ack(client, deferral->qos == 1 ? MQTT5_PUBACK : MQTT5_PUBREC,
                       deferral->packet_id, deferral->reason_code);
    return true;
}

/* Sends what is answered, in the order of the messages [MQTT-4.6.0-2] [MQTT-4.6.0-3]. */
static void flush(struct m5_client *client, uint8_t qos)
{
    struct m5_list *list = list_of(client, qos), *node = list->next, *next;
    for (; node != list; node = next) {
        struct m5_client_deferral *deferral = deferral_of(node);
        next = node->next;
        if (!deferral->here)
            continue; /* comes again, and only then is it its turn */
        if (!deferral->answered || !send_one(client, deferral))
            return;
        drop(client, deferral);
    }
}

bool m5_client_deferrals_add(struct m5_client *client, const struct mqtt5_publish *publish,
                             struct m5_client_event *event)
{
    struct m5_client_deferral *deferral = m5_alloc(client->allocator, sizeof *deferral);
    if (deferral == NULL)
        return false;
    *deferral = (struct m5_client_deferral){.number = ++client->deferrals.last_number,
                                            .lapses_at_ms = UINT64_MAX,
                                            .packet_id = publish->packet_id,
                                            .qos = publish->qos,
                                            .here = true};
    m5_list_push_back(list_of(client, publish->qos), &deferral->node);
    client->deferrals.count++;
    event->number = client->shown = deferral->number;
    return true;
}

void m5_client_deferrals_seen(struct m5_client *client, uint64_t number)
{
    struct m5_client_deferral *deferral = find(client, number);
    if (deferral == NULL || deferral->deferred)
        return;
    deferral->answered = true;
    flush(client, deferral->qos);
}

bool m5_client_deferrals_again(struct m5_client *client, const struct mqtt5_publish *publish)
{
    struct m5_list *list = list_of(client, 2);
    for (struct m5_list *node = list->next; node != list; node = node->next) {
        struct m5_client_deferral *deferral = deferral_of(node);
        if (deferral->packet_id != publish->packet_id)
            continue;
        if (deferral->here)
            return true;     /* its answer is on its way */
        if (!publish->dup) { /* another message: the server has forgotten the first */
            drop(client, deferral);
            return false;
        }
        deferral->here = true;
        client->deferrals.count++;
        m5_list_remove(&deferral->node);
        m5_list_push_back(list, &deferral->node);
        flush(client, 2);
        return true;
    }
    return false;
}

void m5_client_deferrals_lost(struct m5_client *client, bool kept)
{
    for (uint8_t qos = 1; qos <= 2; qos++) {
        struct m5_list *list = list_of(client, qos), *node = list->next, *next;
        for (; node != list; node = next) {
            struct m5_client_deferral *deferral = deferral_of(node);
            next = node->next;
            if (qos == 1 || !kept) {
                drop(client, deferral);
                continue;
            }
            client->deferrals.count -= deferral->here;
            deferral->here = false;
        }
    }
}

/* ---- the user's answer ---- */

enum mqtt5_error m5_client_defer(struct m5_client *client, uint64_t number)
{
    if (number == 0 || number != client->shown)
        return MQTT5_ERR_INVALID_STATE;
    struct m5_client_deferral *deferral = find(client, number);
    if (deferral == NULL)
        return MQTT5_ERR_CLOSED;
    if (!deferral->deferred && client->config.ack_lapse_ms > 0) {
        deferral->lapses_at_ms = client->now_ms + client->config.ack_lapse_ms;
        if (deferral->lapses_at_ms < client->deferrals.lapse_due_ms)
            client->deferrals.lapse_due_ms = deferral->lapses_at_ms;
    }
    deferral->deferred = true;
    return MQTT5_OK;
}

static void answer(struct m5_client *client, struct m5_client_deferral *deferral,
                   uint8_t reason_code)
{
    deferral->answered = true;
    deferral->reason_code = client->version == MQTT5_VERSION_5 ? reason_code : 0;
    flush(client, deferral->qos);
}

enum mqtt5_error m5_client_acknowledge(struct m5_client *client, uint64_t number,
                                       uint8_t reason_code)
{
    struct m5_client_deferral *deferral = find(client, number);
    if (reason_code != 0 &&
        (reason_code < 0x80 || !mqtt5_reason_allowed(reason_code, MQTT5_PUBACK)))
        return MQTT5_ERR_REASON_CODE;
    if (deferral == NULL)
        return MQTT5_ERR_CLOSED;
    if (deferral->answered || !deferral->deferred)
        return MQTT5_ERR_INVALID_STATE;
    answer(client, deferral, reason_code);
    return MQTT5_OK;
}

void m5_client_deferrals_lapse(struct m5_client *client)
{
    uint64_t due = UINT64_MAX;
    for (uint8_t qos = 1; qos <= 2; qos++) {
        struct m5_list *list = list_of(client, qos);
        for (struct m5_list *node = list->next; node != list; node = node->next) {
            struct m5_client_deferral *deferral = deferral_of(node);
            if (deferral->answered)
                continue;
            if (client->now_ms < deferral->lapses_at_ms) {
                due = deferral->lapses_at_ms < due ? deferral->lapses_at_ms : due;
                continue;
            }
            deferral->answered = true;
            deferral->reason_code =
                client->version == MQTT5_VERSION_5 ? client->config.ack_lapse_reason : 0;
        }
    }
    client->deferrals.lapse_due_ms = due;
    flush(client, 1);
    flush(client, 2);
}
