/* One end of a WebSocket under test, and what it has said and got so far.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef TEST_WEBSOCKET_END_H
#define TEST_WEBSOCKET_END_H

#include "base/assert.h"
#include "base/bytes.h"
#include "transport/websocket/frame.h"
#include "transport/websocket/websocket.h"

#include "support/guard_page.h"
#include "support/test_allocator.h"
#include "support/unit.h"

#include <string.h>

#define KEY    "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

#define PLAIN_MAX 400000u

struct end {
    struct test_allocator allocator;
    struct m5_transport *transport;
    struct m5_outbox out;
    size_t plain_size;       /* got so far */
    size_t read_size;        /* of one m5_transport_read(); 0 = as much as there is room */
    ptrdiff_t result;        /* of the last read that was no number */
    struct guard_page guard; /* behind what is read */
    uint8_t plain[PLAIN_MAX];
};

static inline void end_init(struct end *end)
{
    memset(end, 0, offsetof(struct end, plain));
    test_allocator_init(&end->allocator);
    end->out.allocator = &end->allocator.table;
    guard_page_init(&end->guard, PLAIN_MAX);
}

static inline void end_fini(struct end *end)
{
    m5_transport_free(end->transport);
    m5_outbox_fini(&end->out);
    guard_page_fini(&end->guard);
    test_allocator_check(&end->allocator);
}

static inline void serve(struct end *end, const struct m5_websocket_server_config *config)
{
    static const struct m5_websocket_server_config plain_config;
    end_init(end);
    end->transport =
        m5_websocket_server_new(config != NULL ? config : &plain_config, &end->allocator.table);
    assert_non_null(end->transport);
}

static inline void dial(struct end *end, const struct m5_websocket_client_config *config)
{
    static const struct m5_websocket_client_config plain_config = {.host = "broker.example",
                                                                   .seed = 42};
    end_init(end);
    end->transport =
        m5_websocket_client_new(config != NULL ? config : &plain_config, &end->allocator.table);
    assert_non_null(end->transport);
}

/* Reads once; false when no more is to be read now. What is read ends at the guard, so that a byte
 * too many is seen. */
static inline bool end_read(struct end *end, struct mqtt5_bytes *wire)
{
    size_t size = PLAIN_MAX - end->plain_size;
    if (end->read_size != 0 && end->read_size < size)
        size = end->read_size;
    uint8_t *place = end->guard.end - size;
    const ptrdiff_t got = m5_transport_read(end->transport, wire, &end->out, place, size);
    if (got <= 0) {
        end->result = got;
        return false;
    }
    assert_true((size_t)got <= size);
    memcpy(end->plain + end->plain_size, place, (size_t)got);
    end->plain_size += (size_t)got;
    return true;
}

/* Hands in @p wire, which must all be taken unless the connection ends. */
static inline void end_feed(struct end *end, struct mqtt5_bytes wire)
{
    if (end->result != M5_TRANSPORT_AGAIN)
        return;
    while (end_read(end, &wire))
        ;
    if (end->result == M5_TRANSPORT_AGAIN) {
        assert_int_equal(wire.len, 0);
        assert_false(end->transport->pending);
    }
}

static inline void end_feed_text(struct end *end, const char *text)
{
    end_feed(end, m5_bytes_of(text));
}

/* Hands in @p wire in pieces of @p piece bytes. */
static inline void end_feed_pieces(struct end *end, struct mqtt5_bytes wire, size_t piece)
{
    for (size_t at = 0; at < wire.len; at += piece)
        end_feed(end, m5_bytes(wire.data + at, wire.len - at < piece ? wire.len - at : piece));
}

static inline struct mqtt5_bytes end_said(const struct end *end)
{
    return m5_bytes(end->out.data, end->out.size);
}

static inline void end_hush(struct end *end)
{
    end->out.size = 0;
}

/* Carries all that @p from has said to @p to, in pieces. */
static inline void carry(struct end *from, struct end *to, size_t piece)
{
    end_feed_pieces(to, end_said(from), piece);
    end_hush(from);
}

static const char plain_request[] = "GET /mqtt HTTP/1.1\r\n"
                                    "Host: broker.example\r\n"
                                    "Upgrade: websocket\r\n"
                                    "Connection: Upgrade\r\n"
                                    "Sec-WebSocket-Key: " KEY "\r\n"
                                    "Sec-WebSocket-Version: 13\r\n"
                                    "Sec-WebSocket-Protocol: mqtt\r\n\r\n";

/* A server that has taken a client; nothing of the handshake is left in its outbox. */
static inline void serve_open(struct end *end, const struct m5_websocket_server_config *config)
{
    serve(end, config);
    end_feed_text(end, plain_request);
    assert_true(end->transport->open);
    end_hush(end);
}

/* Both ends of one connection, open. */
static inline void connect_ends(struct end *server, struct end *client)
{
    serve(server, NULL);
    dial(client, NULL);
    end_feed(client, m5_bytes(NULL, 0));
    carry(client, server, 1000);
    carry(server, client, 1000);
    assert_true(server->transport->open);
    assert_true(client->transport->open);
}

/* Appends a frame with @p first as its first byte; masked with a mask that is not plain. */
static inline size_t put_frame(uint8_t *at, uint8_t first, bool masked, struct mqtt5_bytes payload)
{
    struct m5_frame_head head = {
        .final = (first & 0x80) != 0,
        .reserved = first & 0x70,
        .opcode = first & 0x0F,
        .masked = masked,
        .mask = {0x37, 0xFA, 0x21, 0x3D},
        .size = payload.len,
    };
    const size_t size = m5_frame_write_head(&head, at);
    for (size_t i = 0; i < payload.len; i++)
        at[size + i] = masked ? payload.data[i] ^ head.mask[i % 4] : payload.data[i];
    return size + payload.len;
}

#endif
