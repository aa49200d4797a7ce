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

/* ---- life ---- */

static void init_lists(struct m5_client *client)
{
    m5_list_init(&client->waiting);
    m5_list_init(&client->control);
    m5_list_init(&client->sent);
    m5_list_init(&client->released);
    m5_list_init(&client->done);
    m5_list_init(&client->pings);
    m5_list_init(&client->deferrals.by_qos[0]);
    m5_list_init(&client->deferrals.by_qos[1]);
    client->deferrals.lapse_due_ms = UINT64_MAX;
    m5_client_subscriptions_init(&client->subscriptions, client->allocator);
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
    if (config->version != MQTT5_VERSION_5) /* whose servers cannot be told of it */
        client->config.receive_maximum = UINT16_MAX;
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
    client->dropped -= request->was_dropped;
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
    client->shown = 0;
    m5_client_release(client);
    m5_client_deferrals_lost(client, false);
    m5_client_subscriptions_fini(&client->subscriptions);
    if (client->reauth != NULL)
        m5_client_drop_request(client, client->reauth);
    drop_list(client, &client->pings);
    drop_list(client, &client->waiting);
    drop_list(client, &client->control);
    drop_list(client, &client->sent);
    drop_list(client, &client->released);
    drop_list(client, &client->done);
    forget_connection(client);
    m5_client_buffer_fini(&client->past, client->allocator);
    m5_client_window_fini(&client->window, client->allocator);
    m5_client_received_forget(client);
    m5_free(client->allocator, client->credentials, client->credentials_size);
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
    client->returning = false;
    m5_client_session_suspend(client);
}

void m5_client_set_returning(struct m5_client *client, bool returning)
{
    client->returning = returning;
    if (!returning && client->state == MQTT5_CLIENT_DISCONNECTED)
        m5_client_session_end_control(client);
}

bool m5_client_set_credentials(struct m5_client *client, const char *username, const char *password)
{
    uint8_t *copy = NULL;
    const struct mqtt5_bytes name = m5_bytes_of(username != NULL ? username : "");
    const struct mqtt5_bytes secret = m5_bytes_of(password != NULL ? password : "");
    const size_t size = name.len + secret.len + 1; /* never nothing */
    if (username != NULL && (copy = m5_alloc(client->allocator, size)) == NULL)
        return false;
    m5_free(client->allocator, client->credentials, client->credentials_size);
    client->credentials = copy;
    client->username_size = name.len;
    client->credentials_size = copy != NULL ? size : 0;
    client->has_url_password = password != NULL;
    if (copy != NULL)
        m5_copy(m5_copy(copy, name), secret);
    return true;
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
    client->drop_output = client->ping_outstanding = client->auth_turn = false;
    client->ping_left = 0;
    client->pings_sent = client->pings_answered = 0;
    client->ending = (struct m5_client_ending){0};
    client->opened_at_ms = client->received_at_ms = client->now_ms;
    client->sent_clean_start = client->config.clean_start &&
                               (start == M5_CLIENT_START_AS_CONFIGURED || !client->has_session);
    if (client->sent_clean_start && start == M5_CLIENT_START_AS_CONFIGURED)
        m5_client_subscriptions_clear(&client->subscriptions); /* the user begins anew */
    if (client->sent_clean_start) {
        m5_client_session_discard(client); /* [MQTT-3.1.2-4] */
        client->has_session = true; /* a new one, which both sides start with nothing in it */
    }
    client->auth_turn = client->auth_method.len > 0; /* CONNECT carries the first data */
    client->connect_due = client->auth_turn;
    if (client->connect_due || m5_client_send_connect(client, (struct mqtt5_bytes){0}))
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
    if (client->state == MQTT5_CLIENT_CONNECTED) /* never before CONNACK [MQTT-3.1.2-30] */
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
    if (client->ping_left == 0)
        return;
    client->ping_left -= size < client->ping_left ? size : client->ping_left;
    client->pinged_at_ms = client->now_ms; /* the answer's time begins when the question is out */
}

void m5_client_relax(struct m5_client *client)
{
    if (client->state != MQTT5_CLIENT_CONNECTED || client->in_consumed > 0)
        return; /* an end may have views into the input */
    if (m5_client_buffer_size(&client->in) == 0)
        m5_client_buffer_fini(&client->in, client->allocator);
    if (m5_client_buffer_size(&client->out) == 0)
        m5_client_buffer_fini(&client->out, client->allocator);
}

/* ---- looking ---- */

const struct mqtt5_client_options *m5_client_options(const struct m5_client *client)
{
    return &client->config;
}

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
