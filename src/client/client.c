/* The client: life of a connection, time, bytes, operations, events.
 *
 * A connection goes DISCONNECTED -> CONNECTING (open) -> CONNECTED (CONNACK) -> CLOSING (either
 * side ends it) -> DISCONNECTED (lost). From CLOSING on nothing more is read; what is in the output
 * is sent unless `drop_output`, and then the host is asked to close.
 *
 * Packets are decoded where they lie in the input, one for each call of m5_client_next_event(), and
 * stay there until the next: an event is a view. So a host that stops asking stops the server.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/alloc.h"
#include "client/state.h"

#include <mqtt5/topic.h>

/* Keep-alive in quarters of its interval: PINGREQ goes out after three, which leaves the answer's
 * way and a late timer one; three more without a sign of the server, and it is gone. */
#define PING_QUARTERS    3u
#define MS_PER_QUARTER_S 250u

void mqtt5_client_options_init(struct mqtt5_client_options *config)
{
    *config = (struct mqtt5_client_options){
        .struct_size = sizeof *config,
        .version = MQTT5_VERSION_5,
        .client_id = "",
        .clean_start = true,
        .keep_alive_s = 60,
        .connect_timeout_ms = 30000,
        .receive_maximum = 1024,
        .maximum_packet_size = 16u << 20,
        .topic_alias_maximum = 16,
        .inflight_max = 1024,
        .queued_messages_max = 10000,
        .queued_bytes_max = (size_t)64 << 20,
        .own_thread = true,
        .reconnect = {.enabled = true,
                      .min_ms = 1000,
                      .max_ms = 60000,
                      .factor_percent = 200,
                      .jitter_percent = 50,
                      .stable_ms = 10000,
                      .redirects_max = 3},
    };
}

void mqtt5_client_config_init(struct mqtt5_client_options *options)
{
    mqtt5_client_options_init(options);
    options->reconnect.enabled = false;
}

/* ---- life ---- */

static void init_lists(struct m5_client *client)
{
    m5_list_init(&client->waiting);
    m5_list_init(&client->control);
    m5_list_init(&client->sent);
    m5_list_init(&client->released);
    m5_list_init(&client->done);
}

enum mqtt5_error m5_client_new(const struct mqtt5_client_options *config,
                               const struct mqtt5_allocator *allocator, uint64_t now_ms,
                               struct m5_client **out)
{
    *out = NULL;
    struct m5_client *client = m5_alloc_zero(allocator, sizeof *client);
    if (client == NULL)
        return MQTT5_ERR_NOMEM;
    client->allocator = allocator;
    client->config = *config;
    client->version = config->version;
    client->now_ms = now_ms;
    client->info.state = MQTT5_CLIENT_DISCONNECTED;
    client->info.maximum_qos = 2;
    client->info.retain_available = true;
    init_lists(client);
    enum mqtt5_error error = m5_client_make_connect(client, config);
    if (error == MQTT5_OK && !m5_client_window_init(&client->window, allocator))
        error = MQTT5_ERR_NOMEM;
    if (error != MQTT5_OK) {
        m5_client_free(client);
        return error;
    }
    *out = client;
    return MQTT5_OK;
}

void m5_client_drop_request(struct m5_client *client, struct m5_client_request *request)
{
    client->info.queued_messages--;
    client->info.queued_bytes -= m5_client_request_memory(request->size);
    m5_client_request_free(client->allocator, request);
}

static void drop_list(struct m5_client *client, struct m5_list *list)
{
    struct m5_list *node;
    while ((node = m5_list_pop_front(list)) != NULL)
        m5_client_drop_request(client, m5_client_request_of(node));
}

static void forget_connection(struct m5_client *client)
{
    m5_client_buffer_fini(&client->in, client->allocator);
    m5_client_buffer_fini(&client->out, client->allocator);
    m5_client_aliases_fini(&client->aliases_in, client->allocator);
    m5_client_aliases_fini(&client->aliases_out, client->allocator);
    client->in_needed = 0;
}

void m5_client_free(struct m5_client *client)
{
    if (client == NULL)
        return;
    m5_client_release(client);
    drop_list(client, &client->waiting);
    drop_list(client, &client->control);
    drop_list(client, &client->sent);
    drop_list(client, &client->released);
    drop_list(client, &client->done);
    forget_connection(client);
    m5_client_buffer_fini(&client->past, client->allocator);
    m5_client_window_fini(&client->window, client->allocator);
    m5_client_received_forget(client);
    m5_free(client->allocator, client->assigned_id, client->assigned_id_size);
    m5_free(client->allocator, client->connect_packet, client->connect_size);
    m5_free(client->allocator, client, sizeof *client);
}

void m5_client_abandon(struct m5_client *client)
{
    M5_ASSERT(client->state == MQTT5_CLIENT_DISCONNECTED);
    client->connack_seen = false;
    client->has_session = false;
    client->config.offline_queue = false;
    m5_client_session_suspend(client);
}

/* ---- the connection ---- */

enum mqtt5_error m5_client_open(struct m5_client *client, enum m5_client_start start,
                                uint64_t now_ms)
{
    if (client->state != MQTT5_CLIENT_DISCONNECTED)
        return MQTT5_ERR_INVALID_STATE;
    if (client->current != NULL)
        m5_client_drop_request(client, client->current);
    client->current = NULL;
    client->in_consumed = 0;
    /* The user may still be looking at how the last connection ended. */
    m5_client_buffer_fini(&client->past, client->allocator);
    client->past = client->in;
    client->in = (struct m5_client_buffer){0};
    forget_connection(client);
    if (now_ms > client->now_ms)
        client->now_ms = now_ms;
    client->state = MQTT5_CLIENT_CONNECTING;
    client->connack_seen = client->has_spoken = false;
    client->drop_output = client->ping_outstanding = false;
    client->ending = (struct m5_client_ending){0};
    client->opened_at_ms = client->received_at_ms = client->now_ms;
    client->sent_clean_start = start == M5_CLIENT_START_AS_CONFIGURED && client->config.clean_start;
    if (client->sent_clean_start) {
        m5_client_session_discard(client); /* [MQTT-3.1.2-4] */
        client->has_session = true; /* a new one, which both sides start with nothing in it */
    }
    if (m5_client_send_connect(client))
        return MQTT5_OK;
    client->state = MQTT5_CLIENT_DISCONNECTED;
    return MQTT5_ERR_NOMEM;
}

void m5_client_close_now(struct m5_client *client, const struct m5_client_ending *ending)
{
    if (client->state == MQTT5_CLIENT_DISCONNECTED)
        return;
    client->state = MQTT5_CLIENT_CLOSING;
    client->drop_output = true;
    if (!client->ending.known)
        client->ending = *ending;
}

/* The reason code that a client may give for closing because of @p error; 0 = it says nothing. */
static uint8_t farewell(const struct m5_client *client, enum mqtt5_error error)
{
    if (client->version != MQTT5_VERSION_5 || client->state != MQTT5_CLIENT_CONNECTED)
        return 0;
    const uint8_t reason = (uint8_t)mqtt5_error_reason(error);
    switch (reason) {
    case MQTT5_REASON_KEEP_ALIVE_TIMEOUT: return 0;                       /* nobody listens */
    case MQTT5_REASON_SERVER_BUSY: return MQTT5_REASON_UNSPECIFIED_ERROR; /* a server's word */
    default:
        return mqtt5_reason_allowed(reason, MQTT5_DISCONNECT) ? reason
                                                              : MQTT5_REASON_PROTOCOL_ERROR;
    }
}

void m5_client_close_with(struct m5_client *client, enum mqtt5_error error)
{
    const uint8_t reason = farewell(client, error);
    const struct m5_client_ending ending = {.known = true, .error = error, .reason_code = reason};
    if (reason == 0) {
        m5_client_close_now(client, &ending);
        return;
    }
    const struct mqtt5_packet packet = {.type = MQTT5_DISCONNECT,
                                        .as.disconnect = {.reason_code = reason}};
    if (!client->ending.known)
        client->ending = ending;
    if (m5_client_send_packet(client, &packet)) /* the last one [MQTT-3.14.4-1] [MQTT-3.14.4-2] */
        client->state = MQTT5_CLIENT_CLOSING;
}

void m5_client_fail(struct m5_client *client, enum mqtt5_error error)
{
    m5_client_close_now(client, &(struct m5_client_ending){.known = true, .error = error});
}

void m5_client_lost(struct m5_client *client)
{
    if (client->state == MQTT5_CLIENT_DISCONNECTED)
        return;
    if (!client->ending.known)
        client->ending = (struct m5_client_ending){.known = true, .error = MQTT5_ERR_CLOSED};
    client->state = MQTT5_CLIENT_DISCONNECTED;
    client->info.reason_code = client->ending.reason_code;
    client->disconnected_event = true;
    m5_client_buffer_fini(&client->out, client->allocator);
    m5_client_session_suspend(client);
}

enum mqtt5_client_state m5_client_state(const struct m5_client *client)
{
    return client->state;
}

bool m5_client_wants_close(const struct m5_client *client)
{
    return client->state == MQTT5_CLIENT_CLOSING &&
           (client->drop_output || m5_client_buffer_size(&client->out) == 0);
}

bool m5_client_drops_output(const struct m5_client *client)
{
    return client->state == MQTT5_CLIENT_CLOSING && client->drop_output;
}

/* ---- time ---- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t quarters_ms(const struct m5_client *client)
{
    return (uint64_t)client->info.keep_alive_s * PING_QUARTERS * MS_PER_QUARTER_S;
}

/* When PINGREQ is due: we have been silent [MQTT-3.1.2-20], or the server has and was not asked. */
static uint64_t ping_due_ms(const struct m5_client *client)
{
    const uint64_t since = client->ping_outstanding
                               ? client->sent_at_ms
                               : earlier(client->sent_at_ms, client->received_at_ms);
    return since + quarters_ms(client);
}

static uint64_t dead_at_ms(const struct m5_client *client)
{
    return client->ping_outstanding ? client->pinged_at_ms + quarters_ms(client) : UINT64_MAX;
}

uint64_t m5_client_deadline_ms(const struct m5_client *client)
{
    switch (client->state) {
    case MQTT5_CLIENT_DISCONNECTED: return UINT64_MAX;
    case MQTT5_CLIENT_CONNECTING: return client->opened_at_ms + client->config.connect_timeout_ms;
    case MQTT5_CLIENT_CONNECTED:
        if (client->info.keep_alive_s == 0)
            return UINT64_MAX;
        return earlier(ping_due_ms(client), dead_at_ms(client));
    case MQTT5_CLIENT_CLOSING: return client->progress_at_ms + M5_CLIENT_CLOSE_GRACE_MS;
    }
    M5_UNREACHABLE();
}

static void keep_alive(struct m5_client *client)
{
    if (client->now_ms >= dead_at_ms(client)) {
        m5_client_close_with(client, MQTT5_ERR_TIMEOUT);
        return;
    }
    const struct mqtt5_packet ping = {.type = MQTT5_PINGREQ};
    if (!m5_client_send_packet(client, &ping))
        return;
    if (!client->ping_outstanding)
        client->pinged_at_ms = client->now_ms;
    client->ping_outstanding = true;
}

void m5_client_tick(struct m5_client *client, uint64_t now_ms)
{
    if (now_ms > client->now_ms)
        client->now_ms = now_ms;
    if (client->now_ms < m5_client_deadline_ms(client))
        return;
    switch (client->state) {
    case MQTT5_CLIENT_DISCONNECTED: break;
    case MQTT5_CLIENT_CONNECTING: m5_client_close_with(client, MQTT5_ERR_TIMEOUT); break;
    case MQTT5_CLIENT_CONNECTED: keep_alive(client); break;
    case MQTT5_CLIENT_CLOSING: client->drop_output = true; break;
    }
}

/* ---- bytes ---- */

bool m5_client_wants_read(const struct m5_client *client)
{
    return (client->state == MQTT5_CLIENT_CONNECTING || client->state == MQTT5_CLIENT_CONNECTED) &&
           m5_client_buffer_size(&client->out) < M5_CLIENT_OUTPUT_HIGH;
}

/* How much to read at once: for a long packet what is missing, but no more than has come already,
 * so that a packet's announced length takes no memory that its sender has not paid for in bytes. */
static size_t read_size(const struct m5_client *client)
{
    const size_t have = m5_client_buffer_size(&client->in);
    const size_t missing = client->in_needed > have ? client->in_needed - have : 0;
    const size_t bounded = missing < have ? missing : have;
    return bounded > M5_CLIENT_READ_SIZE ? bounded : M5_CLIENT_READ_SIZE;
}

struct m5_client_space m5_client_read_space(struct m5_client *client)
{
    if (!m5_client_wants_read(client)) /* then the end of the connection may look at the input */
        return (struct m5_client_space){0};
    m5_client_release(client);
    uint8_t *data = m5_client_buffer_reserve(&client->in, client->allocator, read_size(client));
    if (data == NULL) {
        m5_client_close_with(client, MQTT5_ERR_NOMEM);
        return (struct m5_client_space){0};
    }
    return (struct m5_client_space){.data = data, .size = client->in.capacity - client->in.end};
}

void m5_client_received(struct m5_client *client, size_t size)
{
    M5_ASSERT(size > 0 && size <= client->in.capacity - client->in.end);
    client->in.end += size;
}

size_t m5_client_input(struct m5_client *client, struct mqtt5_bytes bytes)
{
    size_t taken = 0;
    while (taken < bytes.len) {
        const struct m5_client_space space = m5_client_read_space(client);
        const size_t left = bytes.len - taken, size = left < space.size ? left : space.size;
        if (size == 0)
            break;
        m5_copy(space.data, m5_bytes(bytes.data + taken, size));
        m5_client_received(client, size);
        taken += size;
    }
    return taken;
}

struct mqtt5_bytes m5_client_output(struct m5_client *client)
{
    if (client->state == MQTT5_CLIENT_CONNECTED)
        m5_client_transmit(client, M5_CLIENT_OUTPUT_LOW);
    if (client->state == MQTT5_CLIENT_DISCONNECTED || client->drop_output)
        return (struct mqtt5_bytes){0};
    return m5_client_buffer_view(&client->out);
}

void m5_client_sent(struct m5_client *client, size_t size)
{
    m5_client_buffer_consume(&client->out, client->allocator, size, M5_CLIENT_BUFFER_KEEP);
    client->progress_at_ms = client->now_ms;
    client->has_spoken = true;
}

/* ---- operations ---- */

static enum mqtt5_error check_room(const struct m5_client *client, size_t size)
{
    const size_t memory = m5_client_request_memory(size);
    if (client->info.queued_messages >= client->config.queued_messages_max ||
        memory > client->config.queued_bytes_max ||
        client->info.queued_bytes > client->config.queued_bytes_max - memory)
        return MQTT5_ERR_QUEUE_FULL;
    return MQTT5_OK;
}

/* Makes a request of @p packet and puts it at the end of @p list. */
static enum mqtt5_error enqueue(struct m5_client *client, const struct mqtt5_packet *packet,
                                uint16_t alias, void *ctx, struct m5_list *list)
{
    const size_t size = mqtt5_packet_size(packet, client->version);
    struct m5_client_request *request;
    enum mqtt5_error error = size == 0 ? MQTT5_ERR_INVALID_ARGUMENT : check_room(client, size);
    if (error != MQTT5_OK)
        return error;
    error = m5_client_request_new(client->allocator, packet, client->version, &request);
    if (error != MQTT5_OK)
        return error;
    request->ctx = ctx;
    request->alias = alias;
    client->info.queued_messages++;
    client->info.queued_bytes += m5_client_request_memory(request->size);
    m5_list_push_back(list, &request->node);
    return MQTT5_OK;
}

static bool is_open(const struct m5_client *client)
{
    return client->state == MQTT5_CLIENT_CONNECTING || client->state == MQTT5_CLIENT_CONNECTED;
}

/* What can be told of a message before it is encoded. */
static enum mqtt5_error check_publish(const struct m5_client *client,
                                      const struct mqtt5_publish *publish)
{
    uint8_t reason_code;
    if (publish->qos > 2)
        return MQTT5_ERR_INVALID_ARGUMENT;
    if (publish->topic.len == 0)
        return MQTT5_ERR_TOPIC_EMPTY;
    if (!is_open(client) && (publish->qos == 0 || !client->config.offline_queue))
        return MQTT5_ERR_INVALID_STATE;
    if (client->state != MQTT5_CLIENT_CONNECTED)
        return MQTT5_OK; /* what the server takes is asked again before it is sent */
    return m5_client_allowed(client, publish->qos, publish->retain, 0, &reason_code);
}

/* Takes the alias out of @p publish: it is put in again when the message is sent, as another
 * connection by then may allow others. [MQTT-3.3.2-8] [MQTT-3.3.2-9] */
static enum mqtt5_error take_alias(const struct m5_client *client, struct mqtt5_publish *publish,
                                   uint16_t *alias)
{
    struct mqtt5_properties *properties = &publish->properties;
    *alias = 0;
    if (!MQTT5_HAS(properties, TOPIC_ALIAS))
        return MQTT5_OK;
    const uint32_t wanted = properties->topic_alias;
    const bool known = client->state == MQTT5_CLIENT_CONNECTED;
    if (wanted == 0 || wanted > UINT16_MAX ||
        (known && wanted > client->info.topic_alias_maximum) || client->version != MQTT5_VERSION_5)
        return MQTT5_ERR_TOPIC_ALIAS;
    properties->present &= ~((uint64_t)1 << (unsigned)MQTT5_PROPERTY_TOPIC_ALIAS);
    *alias = (uint16_t)wanted;
    return MQTT5_OK;
}

enum mqtt5_error m5_client_publish(struct m5_client *client, const struct mqtt5_publish *publish,
                                   void *ctx)
{
    struct mqtt5_packet packet = {.type = MQTT5_PUBLISH, .as.publish = *publish};
    uint16_t alias;
    enum mqtt5_error error = check_publish(client, publish);
    if (error == MQTT5_OK)
        error = take_alias(client, &packet.as.publish, &alias);
    if (error != MQTT5_OK)
        return error;
    packet.as.publish.dup = false; /* [MQTT-3.3.1-2] [MQTT-4.3.2-2] [MQTT-4.3.3-2] */
    packet.as.publish.packet_id = publish->qos > 0 ? 1 : 0; /* the real one is put in later */
    if (client->state == MQTT5_CLIENT_CONNECTED &&
        mqtt5_packet_size(&packet, client->version) > client->info.maximum_packet_size)
        return MQTT5_ERR_PACKET_TOO_LARGE; /* [MQTT-3.2.2-15] */
    return enqueue(client, &packet, alias, ctx, &client->waiting);
}

/* What CONNACK says about subscriptions [MQTT-3.2.2-10]. */
static enum mqtt5_error check_filters(const struct m5_client *client,
                                      const struct mqtt5_subscribe *subscribe)
{
    if (client->state != MQTT5_CLIENT_CONNECTED)
        return MQTT5_OK; /* not known yet: the SUBACK will tell */
    if (!client->identifiers && MQTT5_HAS(&subscribe->properties, SUBSCRIPTION_IDENTIFIER))
        return MQTT5_ERR_UNSUPPORTED;
    for (uint32_t i = 0; i < subscribe->count; i++) {
        struct mqtt5_filter filter;
        const enum mqtt5_error error =
            mqtt5_filter_parse(subscribe->items[i].filter, UINT16_MAX, &filter);
        if (error != MQTT5_OK)
            return error;
        if ((filter.has_wildcard && !client->wildcards) ||
            (filter.share_name.len > 0 && !client->shared))
            return MQTT5_ERR_UNSUPPORTED;
    }
    return MQTT5_OK;
}

enum mqtt5_error m5_client_subscribe(struct m5_client *client,
                                     const struct mqtt5_subscribe *subscribe, void *ctx)
{
    if (!is_open(client))
        return MQTT5_ERR_INVALID_STATE;
    if (subscribe->count == 0 || subscribe->items == NULL)
        return MQTT5_ERR_EMPTY_LIST;
    const enum mqtt5_error error = check_filters(client, subscribe);
    if (error != MQTT5_OK)
        return error;
    struct mqtt5_packet packet = {.type = MQTT5_SUBSCRIBE, .as.subscribe = *subscribe};
    packet.as.subscribe.packet_id = 1;
    packet.as.subscribe.raw = (struct mqtt5_bytes){0};
    return enqueue(client, &packet, 0, ctx, &client->control);
}

enum mqtt5_error m5_client_unsubscribe(struct m5_client *client,
                                       const struct mqtt5_unsubscribe *unsubscribe, void *ctx)
{
    if (!is_open(client))
        return MQTT5_ERR_INVALID_STATE;
    if (unsubscribe->count == 0 || unsubscribe->items == NULL)
        return MQTT5_ERR_EMPTY_LIST;
    struct mqtt5_packet packet = {.type = MQTT5_UNSUBSCRIBE, .as.unsubscribe = *unsubscribe};
    packet.as.unsubscribe.packet_id = 1;
    packet.as.unsubscribe.raw = (struct mqtt5_bytes){0};
    return enqueue(client, &packet, 0, ctx, &client->control);
}

/* ---- disconnect ---- */

static enum mqtt5_error check_disconnect(const struct m5_client *client,
                                         const struct mqtt5_packet *packet)
{
    const struct mqtt5_properties *properties = &packet->as.disconnect.properties;
    if (client->version != MQTT5_VERSION_5)
        return packet->as.disconnect.reason_code == 0 && properties->present == 0 &&
                       properties->raw.len == 0
                   ? MQTT5_OK
                   : MQTT5_ERR_UNSUPPORTED;
    /* Section 3.14.2.2.2: a session that was to end with its connection cannot be kept after all.
     */
    if (MQTT5_HAS(properties, SESSION_EXPIRY_INTERVAL) &&
        properties->session_expiry_interval_s > 0 && client->config.session_expiry_s == 0)
        return MQTT5_ERR_INVALID_ARGUMENT;
    const size_t size = mqtt5_packet_size(packet, client->version);
    if (size == 0)
        return MQTT5_ERR_INVALID_ARGUMENT;
    return size > client->info.maximum_packet_size ? MQTT5_ERR_PACKET_TOO_LARGE : MQTT5_OK;
}

/* Appends @p packet; takes it back when it does not read back as it should. */
static enum mqtt5_error append_checked(struct m5_client *client, const struct mqtt5_packet *packet)
{
    struct mqtt5_frame frame;
    struct mqtt5_packet decoded;
    const size_t size = mqtt5_packet_size(packet, client->version);
    if (!m5_client_send_packet(client, packet))
        return MQTT5_ERR_NOMEM;
    const enum mqtt5_error error =
        m5_client_packet_check(m5_bytes(client->out.data + client->out.end - size, size),
                               client->version, &frame, &decoded);
    if (error != MQTT5_OK)
        client->out.end -= size;
    return error;
}

enum mqtt5_error m5_client_disconnect(struct m5_client *client,
                                      const struct mqtt5_reasoned *disconnect)
{
    struct mqtt5_packet packet = {.type = MQTT5_DISCONNECT};
    if (disconnect != NULL)
        packet.as.disconnect = *disconnect;
    if (!is_open(client))
        return MQTT5_ERR_INVALID_STATE;
    enum mqtt5_error error = check_disconnect(client, &packet);
    if (error != MQTT5_OK)
        return error;
    if (client->state == MQTT5_CLIENT_CONNECTED)
        m5_client_transmit(client, SIZE_MAX);
    error = is_open(client) ? append_checked(client, &packet) : MQTT5_ERR_NOMEM;
    if (error != MQTT5_OK)
        return error;
    if (MQTT5_HAS(&packet.as.disconnect.properties, SESSION_EXPIRY_INTERVAL))
        client->info.session_expiry_s = packet.as.disconnect.properties.session_expiry_interval_s;
    client->ending = (struct m5_client_ending){
        .known = true, .error = MQTT5_OK, .reason_code = packet.as.disconnect.reason_code};
    client->state = MQTT5_CLIENT_CLOSING; /* nothing more is sent [MQTT-3.14.4-1] */
    return MQTT5_OK;
}

/* ---- events ---- */

void m5_client_release(struct m5_client *client)
{
    if (client->current != NULL)
        m5_client_drop_request(client, client->current);
    client->current = NULL;
    if (client->in_consumed > 0)
        m5_client_buffer_consume(&client->in, client->allocator, client->in_consumed,
                                 M5_CLIENT_BUFFER_KEEP);
    client->in_consumed = 0;
}

/* Shows the next operation that ended without a packet of its own. */
static bool take_done(struct m5_client *client, struct m5_client_event *event)
{
    struct m5_list *node = m5_list_pop_front(&client->done);
    if (node == NULL)
        return false;
    struct m5_client_request *request = m5_client_request_of(node);
    client->current = request;
    *event = (struct m5_client_event){.type = M5_CLIENT_COMPLETED, .ctx = request->ctx};
    event->result.error = request->error;
    event->result.reason_code = request->reason_code;
    event->result.packet_id = request->packet_id;
    return true;
}

/* Handles packets until one of them has something to show. */
static bool take_input(struct m5_client *client, struct m5_client_event *event)
{
    while (is_open(client)) {
        struct mqtt5_frame frame;
        const enum mqtt5_error error = mqtt5_frame_read(m5_client_buffer_view(&client->in),
                                                        client->config.maximum_packet_size, &frame);
        client->in_needed = error == MQTT5_NEED_MORE ? frame.size : 0;
        if (error == MQTT5_NEED_MORE)
            return false;
        if (error != MQTT5_OK) {
            m5_client_close_with(client, error);
            return false;
        }
        client->received_at_ms = client->now_ms;
        client->ping_outstanding = false; /* any packet is a sign of life */
        client->in_consumed = frame.size;
        if (m5_client_take_packet(client, &frame, event))
            return true;
        if (is_open(client))
            m5_client_release(client); /* else `ending` may have views into the packet */
    }
    return false;
}

static bool take_disconnected(struct m5_client *client, struct m5_client_event *event)
{
    if (!client->disconnected_event)
        return false;
    client->disconnected_event = false;
    *event = (struct m5_client_event){.type = M5_CLIENT_DISCONNECTED,
                                      .by_server = client->ending.by_server};
    event->result.error = client->ending.error;
    event->result.reason_code = client->ending.reason_code;
    event->result.properties = client->ending.properties;
    return true;
}

bool m5_client_next_event(struct m5_client *client, struct m5_client_event *out)
{
    if (!is_open(client))
        client->in_consumed = 0; /* stays: `ending` may have views into it */
    m5_client_release(client);
    m5_client_buffer_fini(&client->past, client->allocator);
    return take_done(client, out) || take_input(client, out) || take_disconnected(client, out);
}

/* ---- looking ---- */

void m5_client_info(const struct m5_client *client, struct mqtt5_client_info *out)
{
    *out = client->info;
    out->state = client->state;
}

static struct mqtt5_bytes configured_id(const struct m5_client *client)
{
    struct mqtt5_frame frame;
    struct mqtt5_packet packet;
    const enum mqtt5_error error = m5_client_packet_check(
        m5_bytes(client->connect_packet, client->connect_size), client->version, &frame, &packet);
    M5_ASSERT(error == MQTT5_OK);
    return packet.as.connect.client_id;
}

struct mqtt5_bytes m5_client_id(const struct m5_client *client)
{
    return client->assigned_id != NULL ? m5_bytes(client->assigned_id, client->assigned_id_size)
                                       : configured_id(client);
}
