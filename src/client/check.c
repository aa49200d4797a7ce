/* The invariants of a client, for debug builds, fuzzing and the simulator.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "client/state.h"

/* What the lists hold, counted. */
struct census {
    uint32_t requests, in_window, inflight;
    size_t bytes;
};

static void count(const struct m5_client *client, const struct m5_client_request *request,
                  struct census *census)
{
    census->requests++;
    census->bytes += m5_client_request_memory(request->size);
    if (request->state == M5_REQUEST_DONE)
        return;
    if (request->packet_id != 0) {
        census->in_window++;
        M5_ASSERT(m5_client_window_find(&client->window, request->packet_id) == request);
    }
    if (request->state != M5_REQUEST_WAITING && request->kind == MQTT5_PUBLISH)
        census->inflight++;
}

static void check_list(const struct m5_client *client, const struct m5_list *list,
                       enum m5_client_request_state state, struct census *census)
{
    for (struct m5_list *node = list->next; node != list; node = node->next) {
        const struct m5_client_request *request = m5_client_request_of(node);
        M5_ASSERT(node->next->prev == node);
        M5_ASSERT(request->state == state);
        M5_ASSERT(state != M5_REQUEST_SENT || request->packet_id != 0 ||
                  request->kind == MQTT5_PINGREQ);
        M5_ASSERT(state != M5_REQUEST_RELEASED || request->qos == 2);
        M5_ASSERT(!request->sent_before || request->packet_id != 0 || state == M5_REQUEST_DONE);
        count(client, request, census);
    }
}

/* Messages to be sent again stand before those that are new [MQTT-4.6.0-1]. */
static void check_order(const struct m5_client *client)
{
    bool is_new = false;
    for (struct m5_list *node = client->waiting.next; node != &client->waiting; node = node->next) {
        const struct m5_client_request *request = m5_client_request_of(node);
        M5_ASSERT(!(is_new && request->sent_before));
        M5_ASSERT(request->kind == MQTT5_PUBLISH);
        is_new = is_new || !request->sent_before;
    }
}

static void check_deferrals(const struct m5_client *client)
{
    uint32_t here = 0;
    for (int i = 0; i < 2; i++) {
        const struct m5_list *list = &client->deferrals.by_qos[i];
        for (struct m5_list *node = list->next; node != list; node = node->next) {
            const struct m5_client_deferral *deferral =
                M5_CONTAINER_OF(node, struct m5_client_deferral, node);
            M5_ASSERT(deferral->qos == i + 1);
            M5_ASSERT(deferral->here || deferral->qos == 2);
            here += deferral->here;
        }
    }
    M5_ASSERT(here == client->deferrals.count);
}

static void check_received(const struct m5_client *client)
{
    uint32_t received = 0;
    for (uint32_t i = 0; client->received_ids != NULL && i < M5_CLIENT_RECEIVED_SIZE; i++)
        received += (uint32_t)__builtin_popcount(client->received_ids[i]);
    M5_ASSERT(received == client->received_count);
    M5_ASSERT(received <= client->config.receive_maximum);
}

void m5_client_check(const struct m5_client *client)
{
    struct census census = {0};
    check_list(client, &client->waiting, M5_REQUEST_WAITING, &census);
    check_list(client, &client->control, M5_REQUEST_WAITING, &census);
    check_list(client, &client->sent, M5_REQUEST_SENT, &census);
    check_list(client, &client->released, M5_REQUEST_RELEASED, &census);
    check_list(client, &client->done, M5_REQUEST_DONE, &census);
    if (client->current != NULL) {
        M5_ASSERT(client->current->state == M5_REQUEST_DONE);
        count(client, client->current, &census);
    }
    check_list(client, &client->pings, M5_REQUEST_SENT, &census);
    if (client->reauth != NULL)
        count(client, client->reauth, &census);
    check_deferrals(client);
    M5_ASSERT(census.requests == client->info.queued_messages);
    M5_ASSERT(census.bytes == client->info.queued_bytes);
    M5_ASSERT(census.in_window == client->window.used);
    M5_ASSERT(census.inflight == client->inflight);
    M5_ASSERT(client->in.start <= client->in.end && client->in.end <= client->in.capacity);
    M5_ASSERT(client->out.start <= client->out.end && client->out.end <= client->out.capacity);
    M5_ASSERT(client->state != MQTT5_CLIENT_DISCONNECTED || m5_list_empty(&client->sent));
    check_order(client);
    check_received(client);
}
