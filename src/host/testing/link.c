/* A link of the test broker: one client's connection, packet by packet, with its faults.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "host/testing/testing.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_SIZE    65536u
#define INPUT_HIGH   (1u << 20)   /* bytes: more is not read while it cannot be used */
#define WIRE_HIGH    (256u << 10) /* bytes: more is left with the engine */
#define OUTPUT_VIEWS 16

/* ---- the client's identity ---- */

bool m5_test_link_is(const struct m5_test_link *link, const char *client_id)
{
    return m5_bytes_equal(m5_test_bytes_view(&link->client_id), m5_bytes_of(client_id));
}

static void set_client_id(struct m5_test_link *link, struct mqtt5_bytes id)
{
    link->client_id.size = 0;
    (void)m5_test_bytes_add(&link->client_id, id);
}

static void note_connect(struct m5_test_link *link, const struct mqtt5_connect *connect)
{
    link->version = connect->version;
    set_client_id(link, connect->client_id);
    link->ends_session = connect->version == MQTT5_VERSION_5
                             ? !MQTT5_HAS(&connect->properties, SESSION_EXPIRY_INTERVAL) ||
                                   connect->properties.session_expiry_interval_s == 0
                             : connect->clean_start;
}

static void set_connected(struct m5_test_link *link, bool connected)
{
    if (link->fd < 0 || link->connected == connected)
        return;
    link->connected = connected;
    if (connected)
        link->broker->connected++;
    else
        link->broker->connected--;
    if (!connected && link->ends_session)
        m5_test_forget_session(link->broker, m5_test_bytes_view(&link->client_id));
}

static void note_connack(struct m5_test_link *link, const struct mqtt5_connack *connack)
{
    if (MQTT5_HAS(&connack->properties, ASSIGNED_CLIENT_IDENTIFIER))
        set_client_id(link, connack->properties.assigned_client_identifier);
    if (connack->reason_code != 0)
        return;
    if (!connack->session_present)
        m5_test_forget_session(link->broker, m5_test_bytes_view(&link->client_id));
    set_connected(link, true);
}

/* ---- bytes for the client ---- */

/* Without memory there is nothing to say but good-bye. */
static void send_bytes(struct m5_test_link *link, struct mqtt5_bytes bytes)
{
    if (!m5_test_bytes_add(&link->wire, bytes))
        link->cut = true;
}

static void send_later(struct m5_test_link *link, struct mqtt5_bytes bytes, uint64_t due_ms)
{
    struct m5_test_delayed *delayed = m5_test_alloc(sizeof *delayed);
    if (delayed == NULL) {
        link->cut = true;
        return;
    }
    delayed->due_ms = due_ms;
    m5_list_push_back(&link->delayed, &delayed->node);
    if (!m5_test_bytes_add(&delayed->bytes, bytes))
        link->cut = true;
}

static struct m5_test_delayed *delayed_of(struct m5_list *node)
{
    return M5_CONTAINER_OF(node, struct m5_test_delayed, node);
}

static void free_delayed(struct m5_test_delayed *delayed)
{
    m5_list_remove(&delayed->node);
    m5_test_bytes_fini(&delayed->bytes);
    free(delayed);
}

static void send_what_is_due(struct m5_test_link *link)
{
    const uint64_t now_ms = m5_test_now_ms(link->broker);
    struct m5_list *next;
    for (struct m5_list *at = link->delayed.next; at != &link->delayed; at = next) {
        next = at->next;
        if (delayed_of(at)->due_ms > now_ms)
            continue;
        send_bytes(link, m5_test_bytes_view(&delayed_of(at)->bytes));
        free_delayed(delayed_of(at));
    }
}

/* ---- faults ---- */

static void corrupt(const struct mqtt5_test_fault *fault, struct m5_test_bytes *bytes)
{
    if (bytes->size > 0)
        bytes->data[fault->offset % bytes->size] ^= fault->mask == 0 ? 0xFF : fault->mask;
}

/* Passes @p raw on as @p fault (NULL: none) has it, in one direction. */
static void pass(struct m5_test_link *link, struct mqtt5_bytes raw, bool from_client,
                 const struct mqtt5_test_fault *fault)
{
    struct m5_test_bytes bytes = {0};
    const enum mqtt5_fault_action action = fault == NULL ? MQTT5_FAULT_CUT_BEHIND : fault->action;
    if (!m5_test_bytes_add(&bytes, raw))
        link->cut = true;
    if (action == MQTT5_FAULT_CORRUPT)
        corrupt(fault, &bytes);
    if (action == MQTT5_FAULT_REPEAT && !m5_test_bytes_add(&bytes, raw))
        link->cut = true;
    const bool lost = action == MQTT5_FAULT_SWALLOW || action == MQTT5_FAULT_CUT;
    const struct mqtt5_bytes view = m5_test_bytes_view(&bytes);
    if (!from_client && action == MQTT5_FAULT_DELAY)
        send_later(link, view, m5_test_now_ms(link->broker) + fault->delay_ms);
    else if (!from_client && !lost)
        send_bytes(link, view);
    else if (!lost && link->conn != NULL)
        m5_conn_feed(link->conn, view);
    if (fault != NULL && (action == MQTT5_FAULT_CUT || action == MQTT5_FAULT_CUT_BEHIND))
        link->cut = true;
    m5_test_bytes_fini(&bytes);
}

/* ---- from the client ---- */

/* Refuses a CONNECT in the engine's place. */
static void refuse(struct m5_test_link *link)
{
    struct mqtt5_test_broker *broker = link->broker;
    struct mqtt5_packet packet = {.type = MQTT5_CONNACK};
    uint8_t bytes[M5_TEST_REFERENCE_MAX + 64];
    packet.as.connack.reason_code = broker->refuse_reason;
    if (broker->refuse_reference[0] != 0) {
        MQTT5_SET(&packet.as.connack.properties, SERVER_REFERENCE);
        packet.as.connack.properties.server_reference = m5_bytes_of(broker->refuse_reference);
    }
    if (broker->refuse_count != UINT32_MAX)
        broker->refuse_count--;
    const size_t size = mqtt5_packet_size(&packet, link->version);
    M5_ASSERT(size > 0 && size <= sizeof bytes);
    mqtt5_packet_write(&packet, link->version, bytes, size);
    struct mqtt5_frame frame;
    if (mqtt5_frame_read(m5_bytes(bytes, size), (uint32_t)size, &frame) == MQTT5_OK)
        m5_test_record(link, false, false, &frame, m5_bytes(bytes, size), &packet);
    send_bytes(link, m5_bytes(bytes, size));
    m5_conn_lost(link->conn);
    link->conn = NULL;
}

/* What a packet from the client tells about it. */
static void note_from_client(struct m5_test_link *link, const struct mqtt5_packet *packet)
{
    switch (packet->type) {
    case MQTT5_CONNECT: note_connect(link, &packet->as.connect); break;
    case MQTT5_SUBSCRIBE:
        m5_test_note_question(link, packet->type, packet->as.subscribe.packet_id,
                              packet->as.subscribe.raw);
        break;
    case MQTT5_UNSUBSCRIBE:
        m5_test_note_question(link, packet->type, packet->as.unsubscribe.packet_id,
                              packet->as.unsubscribe.raw);
        break;
    case MQTT5_DISCONNECT:
        if (MQTT5_HAS(&packet->as.disconnect.properties, SESSION_EXPIRY_INTERVAL))
            link->ends_session = packet->as.disconnect.properties.session_expiry_interval_s == 0;
        break;
    default: break;
    }
}

/* NULL: it cannot be decoded. */
static const struct mqtt5_packet *decode(const struct m5_test_link *link,
                                         const struct mqtt5_frame *frame,
                                         struct mqtt5_packet *packet)
{
    struct mqtt5_decode_limits limits;
    mqtt5_decode_limits_init(&limits);
    const uint8_t version = link->version == 0 ? (uint8_t)MQTT5_VERSION_5 : link->version;
    return mqtt5_packet_decode(frame, version, &limits, packet) == MQTT5_OK ? packet : NULL;
}

static void frame_from_client(struct m5_test_link *link, const struct mqtt5_frame *frame,
                              struct mqtt5_bytes raw)
{
    struct mqtt5_packet memory;
    const struct mqtt5_packet *packet = decode(link, frame, &memory);
    const bool connects = packet != NULL && packet->type == MQTT5_CONNECT && link->version == 0;
    struct mqtt5_test_fault fault;
    if (packet != NULL && (packet->type != MQTT5_CONNECT || connects))
        note_from_client(link, packet);
    const bool faulty = link->fd >= 0 && m5_test_fault_meets(link, frame->type, true, &fault);
    const bool lost =
        faulty && (fault.action == MQTT5_FAULT_SWALLOW || fault.action == MQTT5_FAULT_CUT);
    if (link->fd >= 0)
        m5_test_record(link, true, lost, frame, raw, packet);
    if (faulty && fault.action == MQTT5_FAULT_DELAY) {
        link->hold_until_ms = m5_test_now_ms(link->broker) + fault.delay_ms;
        if (!m5_test_bytes_add(&link->held, raw))
            link->cut = true;
        return;
    }
    if (connects && !lost && link->fd >= 0 && link->broker->refuse_count > 0)
        refuse(link);
    else
        pass(link, raw, true, faulty ? &fault : NULL);
}

/* Tells whether the engine may be shown something now; what was held passes first. */
static bool may_pass(struct m5_test_link *link)
{
    if (link->conn == NULL || link->cut || !m5_conn_reading(link->conn))
        return false;
    if (link->held.size > 0 && m5_test_now_ms(link->broker) >= link->hold_until_ms) {
        m5_conn_feed(link->conn, m5_test_bytes_view(&link->held));
        link->held.size = 0;
    }
    return link->held.size == 0 && m5_conn_reading(link->conn);
}

/* Takes one packet off `in`; false: there is none, or it has to wait. */
static bool take_packet(struct m5_test_link *link)
{
    struct mqtt5_frame frame;
    if (!may_pass(link) || link->in.size == 0)
        return false;
    const struct mqtt5_bytes in = m5_test_bytes_view(&link->in);
    const enum mqtt5_error error =
        link->plain_in ? MQTT5_ERR_PROTOCOL
                       : mqtt5_frame_read(in, link->broker->packet_size_max, &frame);
    if (error == MQTT5_NEED_MORE)
        return false;
    if (error != MQTT5_OK) { /* for the engine to judge, from here on */
        link->plain_in = true;
        m5_conn_feed(link->conn, in);
        link->in.size = 0;
        return false;
    }
    struct m5_test_bytes raw = {0};
    if (!m5_test_bytes_add(&raw, m5_bytes(in.data, frame.size))) {
        link->cut = true;
        return false;
    }
    m5_test_bytes_cut(&link->in, frame.size);
    frame.body.data = raw.data + frame.header_size;
    frame_from_client(link, &frame, m5_test_bytes_view(&raw));
    m5_test_bytes_fini(&raw);
    return true;
}

bool m5_test_link_reads(const struct m5_test_link *link)
{
    return link->fd >= 0 && !link->ended && !link->broker->stop_reading &&
           link->in.size < INPUT_HIGH;
}

static void receive(struct m5_test_link *link)
{
    uint8_t bytes[READ_SIZE];
    if (!m5_test_link_reads(link))
        return;
    const ssize_t n = recv(link->fd, bytes, sizeof bytes, 0);
    if (n > 0 && !m5_test_bytes_add(&link->in, m5_bytes(bytes, (size_t)n)))
        link->cut = true;
    link->broker->busy |= n == (ssize_t)sizeof bytes;
    link->ended = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

void m5_test_link_input(struct m5_test_link *link)
{
    if (link->fresh) {
        link->fresh = false;
        link->conn = m5_conn_open(link->broker->shard, link,
                                  &(struct m5_conn_origin){.peer = m5_bytes_of("test")});
    }
    receive(link);
    while (take_packet(link))
        continue;
    if (link->conn != NULL && (link->cut || (link->ended && link->held.size == 0))) {
        m5_conn_lost(link->conn);
        link->conn = NULL;
    }
    if (link->conn == NULL)
        set_connected(link, false);
}

/* ---- from the engine ---- */

/* The broker's own publisher has to release its messages of QoS 2. */
static void answer_as_publisher(struct m5_test_link *link, const struct mqtt5_packet *packet)
{
    uint8_t bytes[8];
    if (packet == NULL || packet->type != MQTT5_PUBREC || packet->as.ack.reason_code >= 0x80)
        return;
    const struct mqtt5_packet answer = {
        .type = MQTT5_PUBREL,
        .as.ack.packet_id = packet->as.ack.packet_id,
    };
    const size_t size = mqtt5_packet_size(&answer, link->version);
    M5_ASSERT(size > 0 && size <= sizeof bytes);
    mqtt5_packet_write(&answer, link->version, bytes, size);
    if (!m5_test_bytes_add(&link->in, m5_bytes(bytes, size)))
        link->cut = true;
    link->broker->busy = true;
}

static void note_from_engine(struct m5_test_link *link, const struct mqtt5_packet *packet)
{
    if (packet->type == MQTT5_CONNACK)
        note_connack(link, &packet->as.connack);
    else if (packet->type == MQTT5_SUBACK || packet->type == MQTT5_UNSUBACK)
        m5_test_note_answer(link, packet);
}

static void frame_from_engine(struct m5_test_link *link, const struct mqtt5_frame *frame,
                              struct mqtt5_bytes raw)
{
    struct mqtt5_packet memory;
    const struct mqtt5_packet *packet = decode(link, frame, &memory);
    struct mqtt5_test_fault fault;
    struct m5_test_bytes changed = {0};
    if (link->fd < 0) {
        answer_as_publisher(link, packet);
        return;
    }
    if (packet != NULL)
        note_from_engine(link, packet);
    if (packet != NULL && packet->type == MQTT5_CONNACK &&
        m5_test_rewrite_connack(link, packet, &changed))
        raw = m5_test_bytes_view(&changed);
    const bool faulty = m5_test_fault_meets(link, frame->type, false, &fault);
    const bool lost =
        faulty && (fault.action == MQTT5_FAULT_SWALLOW || fault.action == MQTT5_FAULT_CUT);
    m5_test_record(link, false, lost, frame, raw, packet);
    pass(link, raw, false, faulty ? &fault : NULL);
    m5_test_bytes_fini(&changed);
}

static void frames_from_engine(struct m5_test_link *link)
{
    while (link->out.size > 0 && !link->cut) {
        struct mqtt5_frame frame;
        const struct mqtt5_bytes out = m5_test_bytes_view(&link->out);
        if (mqtt5_frame_read(out, MQTT5_REMAINING_LENGTH_MAX, &frame) != MQTT5_OK)
            return;
        frame_from_engine(link, &frame, m5_bytes(out.data, frame.size));
        m5_test_bytes_cut(&link->out, frame.size);
    }
}

static void take_views(struct m5_test_link *link)
{
    struct mqtt5_bytes views[OUTPUT_VIEWS];
    const size_t count = m5_conn_output(link->conn, views, OUTPUT_VIEWS);
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        if (!m5_test_bytes_add(&link->out, views[i]))
            link->cut = true;
        size += views[i].len;
    }
    m5_conn_sent(link->conn, size);
}

void m5_test_link_output(struct m5_test_link *link)
{
    while (link->conn != NULL && !link->cut && link->wire.size < WIRE_HIGH) {
        const enum m5_want want = m5_conn_want(link->conn);
        if (want == M5_WANT_FLUSH) {
            take_views(link);
            frames_from_engine(link);
        } else if (want == M5_WANT_CLOSE) {
            m5_conn_free(link->conn);
            link->conn = NULL;
            set_connected(link, false);
        } else {
            break;
        }
    }
    link->broker->busy |= link->cut && link->conn != NULL;
}

/* ---- to the client ---- */

bool m5_test_link_send_raw(struct m5_test_link *link, struct mqtt5_bytes bytes)
{
    struct mqtt5_frame frame;
    struct mqtt5_packet packet;
    if (link->cut || !m5_test_bytes_add(&link->wire, bytes))
        return false;
    if (mqtt5_frame_read(bytes, MQTT5_REMAINING_LENGTH_MAX, &frame) == MQTT5_OK &&
        frame.size == bytes.len)
        m5_test_record(link, false, false, &frame, bytes, decode(link, &frame, &packet));
    return true;
}

static void write_wire(struct m5_test_link *link)
{
    while (link->wire.size > 0) {
        const ssize_t n = send(link->fd, link->wire.data, link->wire.size, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            if (errno != EAGAIN)
                link->wire.size = 0; /* the other end is gone: reading will tell */
            return;
        }
        m5_test_bytes_cut(&link->wire, (size_t)n);
    }
}

bool m5_test_link_flush(struct m5_test_link *link)
{
    if (link->fd < 0)
        return false;
    send_what_is_due(link);
    write_wire(link);
    m5_test_link_output(link); /* what was left with the engine, if there is room now */
    write_wire(link);
    const bool silent = link->wire.size == 0 && m5_list_empty(&link->delayed);
    if (link->fresh || link->conn != NULL || (!silent && !link->cut && !link->ended))
        return false;
    m5_test_link_free(link);
    return true;
}

uint64_t m5_test_link_due_ms(const struct m5_test_link *link)
{
    uint64_t due_ms = link->held.size > 0 ? link->hold_until_ms : UINT64_MAX;
    for (struct m5_list *at = link->delayed.next; at != &link->delayed; at = at->next) {
        const uint64_t one = delayed_of(at)->due_ms;
        due_ms = one < due_ms ? one : due_ms;
    }
    return due_ms;
}

/* ---- its life ---- */

struct m5_test_link *m5_test_link_new(struct mqtt5_test_broker *broker, int fd)
{
    struct m5_test_link *link = m5_test_alloc(sizeof *link);
    if (link == NULL)
        return NULL;
    link->broker = broker;
    link->fd = fd;
    link->fresh = true;
    m5_list_init(&link->delayed);
    m5_list_init(&link->questions);
    m5_list_init(&link->aliases);
    m5_list_push_back(&broker->links, &link->node);
    return link;
}

static void free_lists(struct m5_test_link *link)
{
    struct m5_list *node;
    while (!m5_list_empty(&link->delayed))
        free_delayed(delayed_of(link->delayed.next));
    while ((node = m5_list_pop_front(&link->questions)) != NULL) {
        struct m5_test_question *question = M5_CONTAINER_OF(node, struct m5_test_question, node);
        m5_test_bytes_fini(&question->raw);
        free(question);
    }
    while ((node = m5_list_pop_front(&link->aliases)) != NULL) {
        struct m5_test_alias *alias = M5_CONTAINER_OF(node, struct m5_test_alias, node);
        m5_test_bytes_fini(&alias->topic);
        free(alias);
    }
}

void m5_test_link_free(struct m5_test_link *link)
{
    M5_ASSERT(link->conn == NULL);
    set_connected(link, false);
    m5_list_remove(&link->node);
    free_lists(link);
    m5_test_bytes_fini(&link->client_id);
    m5_test_bytes_fini(&link->held);
    m5_test_bytes_fini(&link->in);
    m5_test_bytes_fini(&link->out);
    m5_test_bytes_fini(&link->wire);
    if (link->fd >= 0)
        close(link->fd);
    free(link);
}
