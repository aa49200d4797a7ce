/* WebSocket frames to an open server or client: in two parts they give what they give whole, and
 * never more than has come.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/assert.h"
#include "base/bytes.h"
#include "transport/websocket/frame.h"
#include "transport/websocket/websocket.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void *take(void *ctx, size_t size)
{
    (void)ctx;
    return malloc(size);
}

static void give(void *ctx, void *memory, size_t size)
{
    (void)ctx;
    (void)size;
    free(memory);
}

static const struct mqtt5_allocator allocator = {.alloc = take, .free = give};

struct end {
    struct m5_transport *transport;
    struct m5_outbox out;
    ptrdiff_t result;
    size_t size;
    uint8_t plain[8192];
};

static void feed(struct end *end, struct mqtt5_bytes wire, size_t step)
{
    ptrdiff_t got;
    if (end->result != M5_TRANSPORT_AGAIN)
        return;
    while ((got = m5_transport_read(end->transport, &wire, &end->out, end->plain + end->size,
                                    step)) > 0) {
        M5_ASSERT((size_t)got <= step);
        end->size += (size_t)got;
    }
    M5_ASSERT(got != M5_TRANSPORT_AGAIN || (wire.len == 0 && !end->transport->pending));
    end->result = got;
}

/* Two ends that have shaken hands; the bytes are for one of them. */
static void make(struct end *server, struct end *client, size_t limit)
{
    const struct m5_websocket_server_config config = {.message_size_max = limit};
    const struct m5_websocket_client_config asked = {.host = "h", .seed = 1};
    server->transport = m5_websocket_server_new(&config, &allocator);
    client->transport = m5_websocket_client_new(&asked, &allocator);
    server->out.allocator = client->out.allocator = &allocator;
    M5_ASSERT(server->transport != NULL && client->transport != NULL);
    feed(client, m5_bytes(NULL, 0), 100);
    feed(server, m5_bytes(client->out.data, client->out.size), 100);
    feed(client, m5_bytes(server->out.data, server->out.size), 100);
    M5_ASSERT(server->transport->open && client->transport->open);
    server->out.size = client->out.size = 0;
}

static void free_end(struct end *end)
{
    m5_transport_free(end->transport);
    m5_outbox_fini(&end->out);
}

/* What is answered are whole frames of control, with right heads. */
static void check_output(const struct end *end, bool client)
{
    struct m5_frame_head head;
    for (size_t at = 0; at < end->out.size; at += (size_t)head.size) {
        M5_ASSERT(end->out.size - at >= 2);
        M5_ASSERT(m5_frame_read_head(end->out.data + at, &head));
        M5_ASSERT(head.masked == client && head.final && head.size <= M5_FRAME_CONTROL_MAX);
        M5_ASSERT(head.opcode == M5_FRAME_PONG || head.opcode == M5_FRAME_CLOSE);
        at += m5_frame_head_size(end->out.data + at);
        M5_ASSERT(head.size <= end->out.size - at);
    }
}

/* First byte: whose, and a limit; second: where the bytes are cut; third: bytes of a read. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct end ends[4];
    if (size < 3 || size > sizeof ends[0].plain / 2)
        return 0;
    const size_t limit = data[0] / 2, whose = data[0] % 2, step = 1u + data[2];
    const struct mqtt5_bytes whole = m5_bytes(data + 3, size - 3);
    const size_t cut = data[1] * whole.len / 255;
    for (size_t i = 0; i < M5_COUNT_OF(ends); i++)
        ends[i] = (struct end){0};
    make(&ends[0], &ends[1], limit);
    make(&ends[2], &ends[3], limit);
    struct end *one = &ends[whose], *two = &ends[2 + whose];
    feed(one, whole, 256);
    feed(two, m5_bytes(whole.data, cut), step);
    feed(two, m5_bytes(whole.data + cut, whole.len - cut), step);
    M5_ASSERT(one->result == two->result && one->size == two->size && one->size <= whole.len);
    M5_ASSERT(memcmp(one->plain, two->plain, one->size) == 0);
    M5_ASSERT(one->transport->failure == two->transport->failure);
    M5_ASSERT(one->result != M5_TRANSPORT_FAILED || one->transport->failure != NULL);
    check_output(one, whose == 1);
    check_output(two, whose == 1);
    for (size_t i = 0; i < M5_COUNT_OF(ends); i++)
        free_end(&ends[i]);
    return 0;
}
