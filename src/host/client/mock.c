/* The mock client: a small server in memory, scripted, with a clock of its own.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/client/mock.h"

#include "base/alloc.h"
#include "base/bytes.h"
#include "host/client/host.h"

#include <errno.h>
#include <stdlib.h>

#define OPERATIONS 7u

/* Bytes for the client, or the break of its connection, at their time. */
struct mail {
    struct m5_list node;
    uint64_t due_ms;
    bool cut;
    size_t size, taken;
    uint8_t bytes[];
};

struct step {
    struct m5_list node;
    struct mqtt5_mock_step step;
};

struct m5_client_mock {
    uint64_t now_ms;
    uint8_t version;
    bool connected, cut;
    struct m5_stream stream;
    struct m5_list mail;                      /* by due_ms */
    struct m5_list steps[OPERATIONS];         /* those that still count */
    struct mqtt5_mock_step usual[OPERATIONS]; /* when there are none */
    uint8_t *input;                           /* of the client, not a whole packet yet */
    size_t input_size, input_capacity;
    struct mqtt5_mock_called *calls;
    uint32_t call_count, call_capacity;
    uint16_t last_id;
    size_t acknowledged;
};

/* A test without memory has nothing to say: the mock's own memory is malloc's. */
static void *must(void *memory)
{
    if (memory == NULL)
        abort();
    return memory;
}

uint64_t m5_client_mock_now(const struct m5_client_mock *mock)
{
    return mock->now_ms;
}

/* ---- steps ---- */

static struct mqtt5_mock_step next_step(struct m5_client_mock *mock,
                                        enum mqtt5_mock_operation operation)
{
    struct m5_list *list = &mock->steps[operation];
    if (m5_list_empty(list))
        return mock->usual[operation];
    struct step *step = M5_CONTAINER_OF(list->next, struct step, node);
    const struct mqtt5_mock_step result = step->step;
    if (--step->step.times == 0) {
        m5_list_remove(&step->node);
        free(step);
    }
    return result;
}

/* What the next operation of the kind will meet, without using it up. */
static struct mqtt5_mock_step peek_step(const struct m5_client_mock *mock,
                                        enum mqtt5_mock_operation operation)
{
    const struct m5_list *list = &mock->steps[operation];
    return m5_list_empty(list) ? mock->usual[operation]
                               : M5_CONTAINER_OF(list->next, struct step, node)->step;
}

/* ---- mail ---- */

static struct mail *post(struct m5_client_mock *mock, uint32_t delay_ms, size_t size)
{
    struct mail *mail = must(calloc(1, sizeof *mail + size));
    mail->due_ms = mock->now_ms + delay_ms;
    mail->size = size;
    struct m5_list *behind = mock->mail.prev;
    while (behind != &mock->mail &&
           M5_CONTAINER_OF(behind, struct mail, node)->due_ms > mail->due_ms)
        behind = behind->prev;
    m5_list_push_front(behind, &mail->node);
    return mail;
}

static void drop_mail(struct m5_client_mock *mock)
{
    struct m5_list *node;
    while ((node = m5_list_pop_front(&mock->mail)) != NULL)
        free(M5_CONTAINER_OF(node, struct mail, node));
}

static void post_packet(struct m5_client_mock *mock, const struct mqtt5_packet *packet,
                        uint32_t delay_ms)
{
    const size_t size = mqtt5_packet_size(packet, mock->version);
    struct mail *mail = post(mock, delay_ms, size);
    mqtt5_packet_write(packet, mock->version, mail->bytes, size);
}

/* Answers as @p step says. */
static void answer(struct m5_client_mock *mock, const struct mqtt5_mock_step *step,
                   const struct mqtt5_packet *packet)
{
    if (step->fault == MQTT5_MOCK_CUT)
        post(mock, step->delay_ms, 0)->cut = true;
    else if (step->fault == MQTT5_MOCK_ANSWER)
        post_packet(mock, packet, step->delay_ms);
}

/* ---- the server ---- */

static void take_publish(struct m5_client_mock *mock, const struct mqtt5_publish *publish)
{
    const struct mqtt5_mock_step step = next_step(mock, MQTT5_MOCK_PUBLISH);
    struct mqtt5_packet packet = {.type = publish->qos == 1 ? MQTT5_PUBACK : MQTT5_PUBREC,
                                  .as.ack = {.packet_id = publish->packet_id}};
    if (mock->version == MQTT5_VERSION_5)
        packet.as.ack.reason_code = step.reason_code;
    if (publish->qos > 0 || step.fault == MQTT5_MOCK_CUT)
        answer(mock, &step, &packet);
}

static void take_subscribe(struct m5_client_mock *mock, const struct mqtt5_packet *packet)
{
    const bool adds = packet->type == MQTT5_SUBSCRIBE;
    const struct mqtt5_mock_step step =
        next_step(mock, adds ? MQTT5_MOCK_SUBSCRIBE : MQTT5_MOCK_UNSUBSCRIBE);
    const uint32_t count = adds ? packet->as.subscribe.count : packet->as.unsubscribe.count;
    uint8_t *codes = must(calloc(count, 1));
    struct mqtt5_bytes rest = packet->as.subscribe.raw;
    struct mqtt5_subscription_request request;
    for (uint32_t i = 0; i < count; i++) {
        codes[i] = step.reason_code;
        if (adds && step.reason_code < 0x80 && mqtt5_subscribe_next(&rest, mock->version, &request))
            codes[i] = request.qos;
    }
    struct mqtt5_packet result = {.type = adds ? MQTT5_SUBACK : MQTT5_UNSUBACK};
    result.as.suback.packet_id =
        adds ? packet->as.subscribe.packet_id : packet->as.unsubscribe.packet_id;
    if (adds || mock->version == MQTT5_VERSION_5)
        result.as.suback.reason_codes = m5_bytes(codes, count);
    answer(mock, &step, &result);
    free(codes);
}

static void take_ack(struct m5_client_mock *mock, uint8_t type, const struct mqtt5_ack *ack)
{
    struct mqtt5_packet packet = {.as.ack = {.packet_id = ack->packet_id}};
    if (type == MQTT5_PUBACK || type == MQTT5_PUBREC)
        mock->acknowledged++;
    packet.type = type == MQTT5_PUBREL ? MQTT5_PUBCOMP : MQTT5_PUBREL;
    if (type == MQTT5_PUBREL || (type == MQTT5_PUBREC && ack->reason_code < 0x80))
        post_packet(mock, &packet, 0);
}

static void take_connect(struct m5_client_mock *mock, const struct mqtt5_connect *connect)
{
    const struct mqtt5_mock_step step = next_step(mock, MQTT5_MOCK_CONNECT);
    struct mqtt5_packet packet = {
        .type = MQTT5_CONNACK,
        .as.connack = {.session_present = step.session_present, .reason_code = step.reason_code}};
    if (mock->version == MQTT5_VERSION_5 && connect->client_id.len == 0) {
        MQTT5_SET(&packet.as.connack.properties, ASSIGNED_CLIENT_IDENTIFIER);
        packet.as.connack.properties.assigned_client_identifier = m5_bytes_of("mock");
    }
    if (step.server_reference != NULL && mock->version == MQTT5_VERSION_5) {
        MQTT5_SET(&packet.as.connack.properties, SERVER_REFERENCE);
        packet.as.connack.properties.server_reference = m5_bytes_of(step.server_reference);
    }
    answer(mock, &step, &packet);
}

static void take_packet(struct m5_client_mock *mock, const struct mqtt5_packet *packet)
{
    const struct mqtt5_packet pong = {.type = MQTT5_PINGRESP};
    struct mqtt5_mock_step step;
    switch ((enum mqtt5_packet_type)packet->type) {
    case MQTT5_CONNECT: take_connect(mock, &packet->as.connect); break;
    case MQTT5_PUBLISH: take_publish(mock, &packet->as.publish); break;
    case MQTT5_SUBSCRIBE:
    case MQTT5_UNSUBSCRIBE: take_subscribe(mock, packet); break;
    case MQTT5_PUBACK:
    case MQTT5_PUBREC:
    case MQTT5_PUBREL: take_ack(mock, packet->type, &packet->as.ack); break;
    case MQTT5_PINGREQ:
        step = next_step(mock, MQTT5_MOCK_PING);
        answer(mock, &step, &pong);
        break;
    case MQTT5_DISCONNECT: post(mock, 0, 0)->cut = true; break;
    default: break;
    }
}

/* ---- the stream ---- */

static ssize_t stream_send(void *ctx, const void *bytes, size_t size)
{
    struct m5_client_mock *mock = ctx;
    struct mqtt5_frame frame;
    struct mqtt5_packet packet;
    struct mqtt5_decode_limits limits;
    mqtt5_decode_limits_init(&limits);
    if (mock->input_size + size > mock->input_capacity) {
        mock->input_capacity = (mock->input_size + size) * 2;
        mock->input = must(realloc(mock->input, mock->input_capacity));
    }
    m5_copy(mock->input + mock->input_size, m5_bytes(bytes, size));
    mock->input_size += size;
    size_t at = 0;
    while (mqtt5_frame_read(m5_bytes(mock->input + at, mock->input_size - at), UINT32_MAX,
                            &frame) == MQTT5_OK) {
        if (mqtt5_packet_decode(&frame, mock->version, &limits, &packet) == MQTT5_OK)
            take_packet(mock, &packet);
        at += frame.size;
    }
    memmove(mock->input, mock->input + at, mock->input_size - at);
    mock->input_size -= at;
    return (ssize_t)size;
}

static ssize_t stream_receive(void *ctx, void *out, size_t size)
{
    struct m5_client_mock *mock = ctx;
    struct m5_list *node = mock->mail.next;
    struct mail *mail = M5_CONTAINER_OF(node, struct mail, node);
    if (node == &mock->mail || mail->due_ms > mock->now_ms) {
        errno = EAGAIN;
        return -1;
    }
    if (mail->cut)
        return 0;
    const size_t left = mail->size - mail->taken, part = left < size ? left : size;
    memcpy(out, mail->bytes + mail->taken, part);
    mail->taken += part;
    if (mail->taken == mail->size) {
        m5_list_remove(&mail->node);
        free(mail);
    }
    return (ssize_t)part;
}

static void stream_close(void *ctx)
{
    struct m5_client_mock *mock = ctx;
    drop_mail(mock);
    mock->input_size = 0;
    mock->connected = false;
}

bool m5_client_mock_open(struct m5_client_mock *mock, struct m5_link *link)
{
    const struct mqtt5_mock_step step = peek_step(mock, MQTT5_MOCK_CONNECT);
    if (step.fault == MQTT5_MOCK_CUT && step.delay_ms == 0) {
        (void)next_step(mock, MQTT5_MOCK_CONNECT);
        return false;
    }
    mock->connected = true;
    m5_link_adopt(link, -1, &mock->stream);
    return true;
}

void m5_client_mock_sleep(struct m5_client_mock *mock, int wait_ms)
{
    const struct m5_list *node = mock->mail.next;
    uint64_t until = wait_ms >= 0 ? mock->now_ms + (uint64_t)wait_ms : UINT64_MAX;
    if (node != &mock->mail && M5_CONTAINER_OF(node, struct mail, node)->due_ms < until)
        until = M5_CONTAINER_OF(node, struct mail, node)->due_ms;
    if (until != UINT64_MAX && until > mock->now_ms)
        mock->now_ms = until;
}

/* ---- calls ---- */

static struct mqtt5_bytes keep(struct mqtt5_bytes bytes)
{
    uint8_t *copy = must(malloc(bytes.len + 1));
    m5_copy(copy, bytes);
    return m5_bytes(copy, bytes.len);
}

static void note(struct m5_client_mock *mock, const struct mqtt5_mock_called *call)
{
    if (mock->call_count == mock->call_capacity) {
        mock->call_capacity = mock->call_capacity == 0 ? 16 : mock->call_capacity * 2;
        mock->calls = must(realloc(mock->calls, mock->call_capacity * sizeof *mock->calls));
    }
    struct mqtt5_mock_called *kept = &mock->calls[mock->call_count++];
    *kept = *call;
    kept->at_ms = mock->now_ms;
    kept->topic = keep(call->topic);
    kept->payload = keep(call->payload);
}

void m5_client_mock_note(struct mqtt5_client *client, enum mqtt5_mock_operation operation,
                         const char *url, const struct mqtt5_bytes *topic, uint8_t qos)
{
    if (client->mock == NULL)
        return;
    struct mqtt5_mock_called call = {.operation = operation, .qos = qos};
    if (topic != NULL)
        call.topic = *topic;
    else if (url != NULL)
        call.topic = m5_bytes_of(url);
    note(client->mock, &call);
}

enum mqtt5_error m5_client_mock_note_publish(struct mqtt5_client *client,
                                             const struct mqtt5_publish *publish)
{
    if (client->mock == NULL)
        return MQTT5_OK;
    const struct mqtt5_mock_called call = {.operation = MQTT5_MOCK_PUBLISH,
                                           .topic = publish->topic,
                                           .payload = publish->payload,
                                           .qos = publish->qos,
                                           .retain = publish->retain};
    note(client->mock, &call);
    const struct mqtt5_mock_step step = peek_step(client->mock, MQTT5_MOCK_PUBLISH);
    if (step.error != MQTT5_OK)
        (void)next_step(client->mock, MQTT5_MOCK_PUBLISH);
    return step.error;
}

static void forget(struct m5_client_mock *mock)
{
    for (uint32_t i = 0; i < mock->call_count; i++) {
        free((void *)(uintptr_t)mock->calls[i].topic.data);
        free((void *)(uintptr_t)mock->calls[i].payload.data);
    }
    mock->call_count = 0;
}

void m5_client_mock_free(struct m5_client_mock *mock)
{
    for (uint32_t i = 0; i < OPERATIONS; i++) {
        struct m5_list *node;
        while ((node = m5_list_pop_front(&mock->steps[i])) != NULL)
            free(M5_CONTAINER_OF(node, struct step, node));
    }
    drop_mail(mock);
    forget(mock);
    free(mock->calls);
    free(mock->input);
    free(mock);
}

/* ---- the public functions ---- */

enum mqtt5_error mqtt5_client_mock_new(const struct mqtt5_client_options *options,
                                       struct mqtt5_client **out)
{
    struct mqtt5_client_options changed;
    *out = NULL;
    if (options == NULL)
        mqtt5_client_options_init(&changed);
    else if (options->struct_size == sizeof changed)
        changed = *options;
    else
        return MQTT5_ERR_CONFIG;
    changed.own_thread = false;
    changed.loop = NULL;
    changed.dial = NULL;
    struct m5_client_mock *mock = calloc(1, sizeof *mock);
    if (mock == NULL)
        return MQTT5_ERR_NOMEM;
    mock->now_ms = 1000;
    mock->version = changed.version;
    mock->stream = (struct m5_stream){
        .receive = stream_receive, .send = stream_send, .close = stream_close, .ctx = mock};
    m5_list_init(&mock->mail);
    for (uint32_t i = 0; i < OPERATIONS; i++)
        m5_list_init(&mock->steps[i]);
    const enum mqtt5_error error = m5_client_host_new(&changed, mock, out);
    if (error != MQTT5_OK)
        m5_client_mock_free(mock);
    return error;
}

enum mqtt5_error mqtt5_mock_script(struct mqtt5_client *client, const struct mqtt5_mock_step *step)
{
    if (client->mock == NULL || (uint32_t)step->operation >= OPERATIONS)
        return MQTT5_ERR_INVALID_ARGUMENT;
    if (step->times == 0) {
        client->mock->usual[step->operation] = *step;
        return MQTT5_OK;
    }
    struct step *copy = malloc(sizeof *copy);
    if (copy == NULL)
        return MQTT5_ERR_NOMEM;
    copy->step = *step;
    m5_list_push_back(&client->mock->steps[step->operation], &copy->node);
    return MQTT5_OK;
}

/* Mail that may be read now. */
static bool has_mail(const struct m5_client_mock *mock)
{
    const struct m5_list *node = mock->mail.next;
    return node != &mock->mail && M5_CONTAINER_OF(node, struct mail, node)->due_ms <= mock->now_ms;
}

/* Turns of the client until nothing is due at the present time: an idle one shows nothing, and
 * leaves no mail that it would read. */
static void settle(struct mqtt5_client *client)
{
    for (int idle = 0; idle < 3;) {
        const size_t calls = client->mock->call_count;
        (void)!mqtt5_client_process(client, 0);
        idle = has_mail(client->mock) || client->mock->call_count != calls ? 0 : idle + 1;
    }
}

enum mqtt5_error mqtt5_mock_run(struct mqtt5_client *client)
{
    if (client->mock == NULL)
        return MQTT5_ERR_INVALID_ARGUMENT;
    settle(client);
    return MQTT5_OK;
}

enum mqtt5_error mqtt5_mock_advance(struct mqtt5_client *client, uint64_t ms)
{
    if (client->mock == NULL)
        return MQTT5_ERR_INVALID_ARGUMENT;
    const uint64_t until = client->mock->now_ms + ms;
    settle(client);
    while (client->mock->now_ms < until) {
        const uint64_t left = until - client->mock->now_ms;
        (void)!mqtt5_client_process(client, left < 1000000 ? (uint32_t)left : 1000000);
        settle(client);
    }
    return MQTT5_OK;
}

enum mqtt5_error mqtt5_mock_deliver(struct mqtt5_client *client,
                                    const struct mqtt5_publish *publish)
{
    if (client->mock == NULL)
        return MQTT5_ERR_INVALID_ARGUMENT;
    struct m5_client_mock *mock = client->mock;
    struct mqtt5_packet packet = {.type = MQTT5_PUBLISH, .as.publish = *publish};
    packet.as.publish.dup = false;
    packet.as.publish.packet_id = 0;
    if (publish->qos > 0) {
        mock->last_id = mock->last_id == UINT16_MAX ? 1 : (uint16_t)(mock->last_id + 1);
        packet.as.publish.packet_id = mock->last_id;
    }
    settle(client);
    if (!mock->connected)
        return MQTT5_ERR_INVALID_STATE;
    if (mqtt5_packet_size(&packet, mock->version) == 0)
        return MQTT5_ERR_INVALID_ARGUMENT;
    post_packet(mock, &packet, 0);
    settle(client);
    return MQTT5_OK;
}

enum mqtt5_error mqtt5_mock_cut(struct mqtt5_client *client)
{
    if (client->mock == NULL)
        return MQTT5_ERR_INVALID_ARGUMENT;
    settle(client);
    if (!client->mock->connected)
        return MQTT5_ERR_INVALID_STATE;
    post(client->mock, 0, 0)->cut = true;
    settle(client);
    return MQTT5_OK;
}

enum mqtt5_error mqtt5_mock_end(struct mqtt5_client *client, uint8_t reason_code)
{
    const struct mqtt5_packet packet = {.type = MQTT5_DISCONNECT,
                                        .as.disconnect = {.reason_code = reason_code}};
    if (client->mock == NULL)
        return MQTT5_ERR_INVALID_ARGUMENT;
    settle(client);
    if (!client->mock->connected)
        return MQTT5_ERR_INVALID_STATE;
    post_packet(client->mock, &packet, 0);
    settle(client);
    return MQTT5_OK;
}

size_t mqtt5_mock_call_count(struct mqtt5_client *client)
{
    return client->mock != NULL ? client->mock->call_count : 0;
}

enum mqtt5_error mqtt5_mock_call(struct mqtt5_client *client, size_t index,
                                 struct mqtt5_mock_called *out)
{
    if (client->mock == NULL || index >= client->mock->call_count)
        return MQTT5_ERR_INVALID_ARGUMENT;
    *out = client->mock->calls[index];
    return MQTT5_OK;
}

void mqtt5_mock_forget_calls(struct mqtt5_client *client)
{
    if (client->mock != NULL)
        forget(client->mock);
}

size_t mqtt5_mock_acknowledged(struct mqtt5_client *client)
{
    return client->mock != NULL ? client->mock->acknowledged : 0;
}
