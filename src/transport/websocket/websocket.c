/* MQTT in WebSocket frames (RFC 6455): the transport.
 *
 * A handshake, client's or server's, has memory of its own, given back when it is done. From then
 * on what is held is where in a frame the wire stands, and the payload of one control frame.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "transport/websocket/websocket.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/rng.h"
#include "protocol/utf8.h"
#include "transport/clean.h"
#include "transport/websocket/ask.h"
#include "transport/websocket/frame.h"
#include "transport/websocket/http.h"
#include "transport/websocket/upgrade.h"

#include <assert.h>
#include <stdio.h>

/* While so many bytes wait to be sent no Pong is added: the peer asks, but does not listen. */
#define PONG_OUTPUT_MAX 65536u

struct handshake {
    struct m5_outbox head; /* what has come of it; a client's request until that is sent */
    char failure[M5_ASK_FAILURE_SIZE];
    struct m5_websocket_server_config config; /* server */
    struct m5_ask ask;                        /* client */
    unsigned status;                          /* client */
    bool asked;                               /* client */
};

struct request {
    struct m5_websocket_request view; /* of the text */
    size_t size;                      /* bytes of all */
    char text[];
};

struct websocket {
    struct m5_transport transport;
    const struct mqtt5_allocator *allocator;
    struct handshake *handshake; /* until open */
    struct request *request;     /* server; NULL once forgotten */
    struct m5_hash_key masks;    /* client: frame n has the mask hash(n) */
    uint64_t masked;             /* frames so far */
    uint64_t left;               /* bytes of the frame's payload that are to come */
    uint64_t message_size;       /* bytes of the message so far, this frame included */
    uint64_t message_size_max;   /* 0 = any */
    ptrdiff_t end;               /* 0, or M5_TRANSPORT_CLOSED or _FAILED: what read answers */
    struct m5_frame_head frame;  /* under way while in_frame */
    bool client, in_frame, in_message;
    bool closing;  /* our Close frame is written */
    bool pong_due; /* to `control` */
    uint8_t head_size, control_size;
    uint8_t head[M5_FRAME_HEAD_MAX];
    uint8_t control[M5_FRAME_CONTROL_MAX]; /* of the last Ping or Close */
};

static_assert(sizeof(struct websocket) <= 400, "an idle connection is to stay small");

static const char no_memory[] = "no memory is left for the connection";

static struct websocket *websocket_of(const struct m5_transport *transport)
{
    return M5_CONTAINER_OF(transport, struct websocket, transport);
}

/* Ends it; @p failure may be NULL. */
static void end(struct websocket *ws, ptrdiff_t how, const char *failure)
{
    ws->end = how;
    ws->transport.failure = failure;
}

/* ---- frames out ---- */

/* Unpredictable for whoever makes the payload [RFC 6455 5.3]. */
static void choose_mask(struct websocket *ws, uint8_t mask[4])
{
    uint8_t number[8];
    m5_write_u32(m5_write_u32(number, (uint32_t)(ws->masked >> 32)), (uint32_t)ws->masked);
    ws->masked++;
    m5_write_u32(mask, (uint32_t)m5_hash_strong(&ws->masks, m5_bytes(number, sizeof number)));
}

static bool write_frame(struct websocket *ws, enum m5_frame_opcode opcode,
                        const struct mqtt5_bytes *views, size_t count, struct m5_outbox *out)
{
    struct m5_frame_head head = {.final = true, .masked = ws->client, .opcode = (uint8_t)opcode};
    for (size_t i = 0; i < count; i++)
        head.size += views[i].len;
    uint8_t *at = m5_outbox_reserve(out, M5_FRAME_HEAD_MAX + (size_t)head.size);
    if (at == NULL)
        return false;
    if (head.masked)
        choose_mask(ws, head.mask);
    at += m5_frame_write_head(&head, at);
    size_t phase = 0;
    for (size_t i = 0; i < count; i++) {
        if (head.masked)
            m5_frame_mask(at, views[i], head.mask, phase);
        else
            m5_copy(at, views[i]);
        at += views[i].len;
        phase += views[i].len;
    }
    out->size = (size_t)(at - out->data);
    return true;
}

static void write_close(struct websocket *ws, struct mqtt5_bytes payload, struct m5_outbox *out)
{
    if (!ws->closing)
        (void)write_frame(ws, M5_FRAME_CLOSE, &payload, 1, out); /* a courtesy: it may be missing */
    ws->closing = true;
}

static void fail(struct websocket *ws, uint16_t code, const char *failure, struct m5_outbox *out)
{
    uint8_t payload[2];
    m5_write_u16(payload, code);
    write_close(ws, m5_bytes(payload, sizeof payload), out);
    end(ws, M5_TRANSPORT_FAILED, failure);
}

static void answer_ping(struct websocket *ws, struct m5_outbox *out)
{
    const struct mqtt5_bytes payload = m5_bytes(ws->control, ws->control_size);
    if (!ws->pong_due || ws->closing || out->size > PONG_OUTPUT_MAX)
        return;
    if (!write_frame(ws, M5_FRAME_PONG, &payload, 1, out))
        end(ws, M5_TRANSPORT_FAILED, no_memory);
    ws->pong_due = false;
}

/* ---- frames in ---- */

struct fault {
    uint16_t code;
    const char *failure;
};

static bool is_control(const struct m5_frame_head *frame)
{
    return frame->opcode >= M5_FRAME_CLOSE;
}

static const struct fault *find_control_fault(const struct m5_frame_head *frame)
{
    static const struct fault unknown = {M5_CLOSE_PROTOCOL_ERROR,
                                         "the peer sent a WebSocket frame of an unknown kind"};
    static const struct fault split = {M5_CLOSE_PROTOCOL_ERROR,
                                       "the peer split a WebSocket control frame"};
    static const struct fault large = {M5_CLOSE_PROTOCOL_ERROR,
                                       "the peer sent a WebSocket control frame that is too large"};
    if (frame->opcode > M5_FRAME_PONG)
        return &unknown;
    if (!frame->final)
        return &split;
    return frame->size > M5_FRAME_CONTROL_MAX ? &large : NULL;
}

/* [MQTT-6.0.0-1] */
static const struct fault *find_data_fault(const struct websocket *ws,
                                           const struct m5_frame_head *frame)
{
    static const struct fault unknown = {M5_CLOSE_PROTOCOL_ERROR,
                                         "the peer sent a WebSocket frame of an unknown kind"};
    static const struct fault order = {
        M5_CLOSE_PROTOCOL_ERROR,
        "the peer sent WebSocket frames in an order that makes no message"};
    static const struct fault text = {
        M5_CLOSE_UNSUPPORTED,
        "the peer sent a WebSocket text frame, and MQTT comes in binary ones"};
    static const struct fault large = {M5_CLOSE_TOO_LARGE,
                                       "the peer sent a WebSocket message over the limit"};
    if (frame->opcode > M5_FRAME_BINARY)
        return &unknown;
    if ((frame->opcode == M5_FRAME_CONTINUATION) != ws->in_message)
        return &order;
    if (frame->opcode == M5_FRAME_TEXT)
        return &text;
    const uint64_t before = ws->in_message ? ws->message_size : 0;
    const bool over = ws->message_size_max > 0 && (before > ws->message_size_max ||
                                                   frame->size > ws->message_size_max - before);
    return over ? &large : NULL;
}

static const struct fault *find_fault(const struct websocket *ws, const struct m5_frame_head *frame)
{
    static const struct fault reserved = {
        M5_CLOSE_PROTOCOL_ERROR, "the peer used an extension of WebSocket that was not agreed on"};
    static const struct fault bare = {M5_CLOSE_PROTOCOL_ERROR,
                                      "the client sent a WebSocket frame without a mask"};
    static const struct fault masked = {M5_CLOSE_PROTOCOL_ERROR,
                                        "the server sent a WebSocket frame with a mask"};
    if (frame->reserved != 0)
        return &reserved;
    if (frame->masked == ws->client)
        return ws->client ? &masked : &bare;
    return is_control(frame) ? find_control_fault(frame) : find_data_fault(ws, frame);
}

static void begin_frame(struct websocket *ws, struct m5_outbox *out)
{
    const bool sized = m5_frame_read_head(ws->head, &ws->frame);
    const struct fault *fault = find_fault(ws, &ws->frame);
    ws->head_size = 0;
    if (fault != NULL || !sized) {
        fail(ws, fault != NULL ? fault->code : M5_CLOSE_PROTOCOL_ERROR,
             fault != NULL ? fault->failure
                           : "the peer wrote the length of a WebSocket frame in a wrong way",
             out);
        return;
    }
    ws->in_frame = true;
    ws->left = ws->frame.size;
    if (!is_control(&ws->frame)) {
        ws->message_size = (ws->in_message ? ws->message_size : 0) + ws->frame.size;
        ws->in_message = !ws->frame.final;
    } else if (ws->frame.opcode != M5_FRAME_PONG) {
        ws->pong_due = false; /* of several Pings the latest is answered */
        ws->control_size = 0;
    }
}

static struct mqtt5_bytes take(struct mqtt5_bytes *wire, uint64_t most)
{
    const size_t size = wire->len < most ? wire->len : (size_t)most;
    const struct mqtt5_bytes taken = m5_bytes(wire->data, size);
    if (size > 0)
        *wire = m5_bytes(wire->data + size, wire->len - size);
    return taken;
}

/* Bytes of the head as far as it is known: the first two say how long it is. */
static size_t head_wanted(const struct websocket *ws)
{
    return ws->head_size < 2 ? 2 : m5_frame_head_size(ws->head);
}

static void take_head(struct websocket *ws, struct mqtt5_bytes *wire, struct m5_outbox *out)
{
    while (ws->head_size < head_wanted(ws) && wire->len > 0) {
        const struct mqtt5_bytes part = take(wire, head_wanted(ws) - ws->head_size);
        m5_copy(ws->head + ws->head_size, part);
        ws->head_size = (uint8_t)(ws->head_size + part.len);
    }
    if (ws->head_size == head_wanted(ws))
        begin_frame(ws, out);
}

/* What a Close frame's code says, as a sentence part; NULL for an ordinary end. */
static const char *describe_close(uint16_t code)
{
    switch (code) {
    case M5_CLOSE_NORMAL:
    case 1001: return NULL;
    case M5_CLOSE_PROTOCOL_ERROR: return "the peer says we broke the WebSocket protocol (1002)";
    case M5_CLOSE_UNSUPPORTED: return "the peer does not take what we sent (1003)";
    case 1008: return "the peer closes for a policy of its own (1008)";
    case M5_CLOSE_TOO_LARGE: return "the peer says our message was too large (1009)";
    case 1011: return "the peer has met an error of its own (1011)";
    default: return "the peer closes the WebSocket with a code of its own";
    }
}

static void take_close(struct websocket *ws, struct m5_outbox *out)
{
    const uint16_t code = ws->control_size >= 2 ? m5_read_u16(ws->control) : M5_CLOSE_NORMAL;
    if (ws->control_size == 1 || !m5_close_code_check(code)) {
        fail(ws, M5_CLOSE_PROTOCOL_ERROR, "the peer's Close frame has no right code", out);
        return;
    }
    if (ws->control_size > 2 &&
        m5_utf8_check(m5_bytes(ws->control + 2, ws->control_size - 2u)) != MQTT5_OK) {
        fail(ws, M5_CLOSE_NOT_UTF8, "the reason in the peer's Close frame is no UTF-8", out);
        return;
    }
    write_close(ws, m5_bytes(ws->control, ws->control_size >= 2 ? 2 : 0), out);
    end(ws, M5_TRANSPORT_CLOSED, describe_close(code));
}

static void end_frame(struct websocket *ws, struct m5_outbox *out)
{
    ws->in_frame = false;
    if (ws->frame.opcode == M5_FRAME_CLOSE)
        take_close(ws, out);
    else if (ws->frame.opcode == M5_FRAME_PING)
        ws->pong_due = true;
}

/* Takes what is there of the frame under way; returns how many plain bytes that gave. */
static size_t take_payload(struct websocket *ws, struct mqtt5_bytes *wire, struct m5_outbox *out,
                           uint8_t *plain, size_t size)
{
    uint8_t *place = is_control(&ws->frame) ? ws->control + ws->control_size : plain;
    const bool dropped = ws->frame.opcode == M5_FRAME_PONG;
    const size_t phase = (size_t)(ws->frame.size - ws->left) % 4;
    const struct mqtt5_bytes part =
        take(wire, is_control(&ws->frame) || ws->left < size ? ws->left : size);
    if (!dropped && ws->frame.masked)
        m5_frame_mask(place, part, ws->frame.mask, phase);
    else if (!dropped)
        m5_copy(place, part);
    ws->left -= part.len;
    if (!dropped && is_control(&ws->frame))
        ws->control_size = (uint8_t)(ws->control_size + part.len);
    if (ws->left == 0)
        end_frame(ws, out);
    return is_control(&ws->frame) ? 0 : part.len;
}

static ptrdiff_t read_frames(struct websocket *ws, struct mqtt5_bytes *wire, struct m5_outbox *out,
                             uint8_t *plain, size_t size)
{
    size_t got = 0;
    ws->transport.pending = false;
    while (ws->end == 0 && got < size && (wire->len > 0 || (ws->in_frame && ws->left == 0))) {
        if (!ws->in_frame)
            take_head(ws, wire, out);
        else
            got += take_payload(ws, wire, out, plain + got, size - got);
    }
    answer_ping(ws, out);
    if (got == 0)
        return ws->end;
    ws->transport.pending = ws->end != 0;
    return (ptrdiff_t)got;
}

/* ---- the handshake ---- */

static void free_handshake(struct websocket *ws)
{
    if (ws->handshake == NULL)
        return;
    m5_outbox_fini(&ws->handshake->head);
    m5_free(ws->allocator, ws->handshake, sizeof *ws->handshake);
    ws->handshake = NULL;
}

static void open_frames(struct websocket *ws)
{
    free_handshake(ws);
    ws->transport.open = true;
}

/* Fails with @p sentence and what it is about, which came from the peer. */
static void fail_handshake(struct websocket *ws, const char *sentence, struct mqtt5_bytes detail)
{
    char words[M5_ASK_FAILURE_SIZE / 2];
    char *out = ws->handshake->failure;
    m5_clean(detail, words, sizeof words);
    snprintf(out, sizeof ws->handshake->failure, "%s%s%s", sentence, words[0] != 0 ? ": " : "",
             words);
    end(ws, M5_TRANSPORT_FAILED, out);
}

static void refuse(struct websocket *ws, const struct m5_refusal *refusal,
                   struct mqtt5_bytes detail, struct m5_outbox *out)
{
    (void)m5_upgrade_refuse(refusal, &ws->handshake->config, out); /* a courtesy */
    fail_handshake(ws, refusal->failure, detail);
}

/* Copies what is to be kept of a request into one block. False without memory. */
static bool keep_request(struct websocket *ws, const struct m5_upgrade *upgrade)
{
    const struct mqtt5_bytes parts[] = {upgrade->path, upgrade->origin, upgrade->user_agent,
                                        m5_bytes_of(upgrade->subprotocol),
                                        m5_bytes_of(upgrade->client.text)};
    char text[M5_COUNT_OF(parts)][M5_WEBSOCKET_TEXT_MAX + 1];
    size_t sizes[M5_COUNT_OF(parts)], size = sizeof(struct request);
    for (size_t i = 0; i < M5_COUNT_OF(parts); i++) {
        sizes[i] = m5_clean(parts[i], text[i], sizeof text[i]) + 1;
        size += sizes[i];
    }
    struct request *request = (struct request *)m5_alloc(ws->allocator, size);
    if (request == NULL)
        return false;
    const char *starts[M5_COUNT_OF(parts)];
    char *at = request->text;
    for (size_t i = 0; i < M5_COUNT_OF(parts); i++) {
        starts[i] = at;
        at = (char *)m5_copy((uint8_t *)at, m5_bytes(text[i], sizes[i]));
    }
    request->size = size;
    request->view = (struct m5_websocket_request){.path = starts[0],
                                                  .origin = starts[1],
                                                  .user_agent = starts[2],
                                                  .subprotocol = starts[3],
                                                  .forwarded = starts[4],
                                                  .forwarded_port = upgrade->client.port};
    ws->request = request;
    return true;
}

static void serve_head(struct websocket *ws, struct m5_outbox *out)
{
    const struct handshake *handshake = ws->handshake;
    struct m5_upgrade upgrade;
    m5_upgrade_read(m5_bytes(handshake->head.data, handshake->head.size), &handshake->config,
                    &upgrade);
    if (upgrade.refusal != NULL)
        refuse(ws, upgrade.refusal, upgrade.detail, out);
    else if (!keep_request(ws, &upgrade) || !m5_upgrade_accept(&upgrade, out))
        end(ws, M5_TRANSPORT_FAILED, no_memory);
    else
        open_frames(ws);
}

/* What the peer speaks, by its first byte, when that is no HTTP; else NULL. */
static const char *describe_stranger(uint8_t first)
{
    if (first == 0x10)
        return "MQTT came without WebSocket: this address is for ws:// or wss:// clients";
    if (first == 0x16)
        return "TLS came to a listener of plain WebSocket: this address is for ws:// clients";
    return m5_http_is_token_char(first) ? NULL
                                        : "what came is no HTTP, with which WebSocket begins";
}

static void serve_handshake(struct websocket *ws, struct mqtt5_bytes *wire, struct m5_outbox *out)
{
    const struct mqtt5_bytes nothing = {0};
    const char *stranger = NULL;
    if (ws->handshake->head.size == 0 && wire->len > 0)
        stranger = describe_stranger(wire->data[0]);
    if (stranger != NULL) {
        end(ws, M5_TRANSPORT_FAILED, stranger);
        return;
    }
    switch (m5_http_collect(&ws->handshake->head, wire)) {
    case M5_HTTP_MORE: break;
    case M5_HTTP_WHOLE: serve_head(ws, out); break;
    case M5_HTTP_BROKEN: refuse(ws, &m5_refusal_broken, nothing, out); break;
    case M5_HTTP_TOO_LARGE: refuse(ws, &m5_refusal_too_large, nothing, out); break;
    case M5_HTTP_NOMEM: end(ws, M5_TRANSPORT_FAILED, no_memory); break;
    }
}

/* Sends the request; from then on the answer is collected. */
static void ask(struct websocket *ws, struct m5_outbox *out)
{
    struct m5_outbox *request = &ws->handshake->head;
    if (!m5_outbox_append(out, m5_bytes(request->data, request->size)))
        end(ws, M5_TRANSPORT_FAILED, no_memory);
    m5_outbox_fini(request);
    ws->handshake->asked = true;
}

static void hear(struct websocket *ws, struct mqtt5_bytes *wire)
{
    struct handshake *handshake = ws->handshake;
    switch (m5_http_collect(&handshake->head, wire)) {
    case M5_HTTP_MORE: break;
    case M5_HTTP_WHOLE:
        if (m5_ask_judge(&handshake->ask, m5_bytes(handshake->head.data, handshake->head.size),
                         &handshake->status, handshake->failure))
            open_frames(ws);
        else
            end(ws, M5_TRANSPORT_FAILED, handshake->failure);
        break;
    case M5_HTTP_BROKEN: end(ws, M5_TRANSPORT_FAILED, "what the server answers is no HTTP"); break;
    case M5_HTTP_TOO_LARGE:
        end(ws, M5_TRANSPORT_FAILED, "the head of the server's answer is too large");
        break;
    case M5_HTTP_NOMEM: end(ws, M5_TRANSPORT_FAILED, no_memory); break;
    }
}

static void shake_hands(struct websocket *ws, struct mqtt5_bytes *wire, struct m5_outbox *out)
{
    if (!ws->client) {
        serve_handshake(ws, wire, out);
        return;
    }
    if (!ws->handshake->asked)
        ask(ws, out);
    if (ws->end == 0)
        hear(ws, wire);
}

/* ---- the interface ---- */

static ptrdiff_t read_websocket(struct m5_transport *transport, struct mqtt5_bytes *wire,
                                struct m5_outbox *out, uint8_t *plain, size_t size)
{
    struct websocket *ws = websocket_of(transport);
    M5_ASSERT(size > 0);
    if (!transport->open && ws->end == 0)
        shake_hands(ws, wire, out);
    if (!transport->open)
        return ws->end;
    return read_frames(ws, wire, out, plain, size);
}

static bool write_websocket(struct m5_transport *transport, const struct mqtt5_bytes *views,
                            size_t count, struct m5_outbox *out)
{
    struct websocket *ws = websocket_of(transport);
    M5_ASSERT(transport->open);
    if (ws->end != 0 || ws->closing)
        return false;
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += views[i].len;
    answer_ping(ws, out);
    return ws->end == 0 && (size == 0 || write_frame(ws, M5_FRAME_BINARY, views, count, out));
}

static void finish_websocket(struct m5_transport *transport, struct m5_outbox *out)
{
    struct websocket *ws = websocket_of(transport);
    uint8_t payload[2];
    m5_write_u16(payload, M5_CLOSE_NORMAL);
    if (transport->open && ws->end == 0)
        write_close(ws, m5_bytes(payload, sizeof payload), out);
}

static void free_websocket(struct m5_transport *transport)
{
    struct websocket *ws = websocket_of(transport);
    free_handshake(ws);
    m5_websocket_forget(transport);
    m5_free(ws->allocator, ws, sizeof *ws);
}

static const struct m5_transport_kind kind = {
    .name = "ws",
    .read = read_websocket,
    .write = write_websocket,
    .finish = finish_websocket,
    .free = free_websocket,
};

static struct websocket *new_websocket(const struct mqtt5_allocator *allocator)
{
    struct websocket *ws = (struct websocket *)m5_alloc_zero(allocator, sizeof *ws);
    if (ws == NULL)
        return NULL;
    ws->transport.kind = &kind;
    ws->allocator = allocator;
    ws->handshake = (struct handshake *)m5_alloc_zero(allocator, sizeof *ws->handshake);
    if (ws->handshake != NULL) {
        ws->handshake->head.allocator = allocator;
        return ws;
    }
    m5_free(allocator, ws, sizeof *ws);
    return NULL;
}

struct m5_transport *m5_websocket_server_new(const struct m5_websocket_server_config *config,
                                             const struct mqtt5_allocator *allocator)
{
    struct websocket *ws = new_websocket(allocator);
    if (ws == NULL)
        return NULL;
    ws->handshake->config = *config;
    ws->message_size_max = config->message_size_max;
    return &ws->transport;
}

struct m5_transport *m5_websocket_client_new(const struct m5_websocket_client_config *config,
                                             const struct mqtt5_allocator *allocator)
{
    struct websocket *ws = new_websocket(allocator);
    struct m5_rng rng;
    uint8_t key[16];
    if (ws == NULL)
        return NULL;
    ws->client = true;
    m5_rng_init(&rng, config->seed);
    ws->masks = (struct m5_hash_key){.k0 = m5_rng_next(&rng), .k1 = m5_rng_next(&rng)};
    const struct m5_hash_key keys = {.k0 = m5_rng_next(&rng), .k1 = m5_rng_next(&rng)};
    for (uint8_t i = 0; i < 2; i++) { /* what is shown tells nothing of the seed */
        const uint64_t half = m5_hash_strong(&keys, m5_bytes(&i, 1));
        m5_write_u32(m5_write_u32(key + 8 * i, (uint32_t)(half >> 32)), (uint32_t)half);
    }
    if (m5_ask_write(config, key, &ws->handshake->ask, &ws->handshake->head))
        return &ws->transport;
    free_websocket(&ws->transport);
    return NULL;
}

const struct m5_websocket_request *m5_websocket_request(const struct m5_transport *transport)
{
    const struct websocket *ws = websocket_of(transport);
    return transport->open && ws->request != NULL ? &ws->request->view : NULL;
}

void m5_websocket_forget(struct m5_transport *transport)
{
    struct websocket *ws = websocket_of(transport);
    if (ws->request != NULL)
        m5_free(ws->allocator, ws->request, ws->request->size);
    ws->request = NULL;
}

unsigned m5_websocket_status(const struct m5_transport *transport)
{
    const struct websocket *ws = websocket_of(transport);
    return ws->handshake == NULL ? 101 : ws->handshake->status;
}
