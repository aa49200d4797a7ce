/* Requests to a WebSocket server and answers to a client: whole and in two parts they mean the
 * same, and nothing unfit is told further.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/alloc.h"
#include "base/assert.h"
#include "base/bytes.h"
#include "transport/clean.h"
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

static bool is_proxy(void *ctx, const char *address)
{
    (void)ctx;
    return memcmp(address, "10.", 3) == 0;
}

static struct m5_transport *make(bool client)
{
    static const char *const origins[] = {"https://app.example"};
    const struct m5_websocket_server_config server = {.peer_trusted = true,
                                                      .trusted = is_proxy,
                                                      .origins = origins,
                                                      .origin_count = 1,
                                                      .subprotocol_optional = true};
    const struct m5_websocket_client_config asked = {.host = "h", .seed = 1};
    struct m5_transport *transport = client ? m5_websocket_client_new(&asked, &allocator)
                                            : m5_websocket_server_new(&server, &allocator);
    M5_ASSERT(transport != NULL);
    return transport;
}

static ptrdiff_t feed(struct m5_transport *transport, struct mqtt5_bytes wire,
                      struct m5_outbox *out)
{
    uint8_t plain[512];
    ptrdiff_t got;
    do
        got = m5_transport_read(transport, &wire, out, plain, sizeof plain);
    while (got > 0);
    M5_ASSERT(got != M5_TRANSPORT_AGAIN || wire.len == 0);
    return got;
}

static void check_request(const struct m5_transport *transport)
{
    const struct m5_websocket_request *told = m5_websocket_request(transport);
    M5_ASSERT((told != NULL) == transport->open);
    if (told == NULL)
        return;
    const char *const texts[] = {told->path, told->origin, told->user_agent, told->forwarded,
                                 told->subprotocol};
    for (size_t i = 0; i < M5_COUNT_OF(texts); i++)
        M5_ASSERT(strlen(texts[i]) <= M5_WEBSOCKET_TEXT_MAX && m5_is_clean(m5_bytes_of(texts[i])));
    M5_ASSERT(strcmp(told->path, "/mqtt") == 0);
    M5_ASSERT(told->origin[0] == 0 || strcmp(told->origin, "https://app.example") == 0 ||
              strlen(told->origin) == strlen("https://app.example"));
}

/* The first byte says whose, the second where the bytes are cut in two. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const bool client = data[0] % 2 == 1;
    const struct mqtt5_bytes whole = m5_bytes(data + 2, size - 2);
    const size_t cut = whole.len > 0 ? data[1] * whole.len / 255 : 0;
    struct m5_outbox outs[2] = {{.allocator = &allocator}, {.allocator = &allocator}};
    struct m5_transport *one = make(client), *two = make(client);
    const ptrdiff_t end = feed(one, whole, &outs[0]);
    ptrdiff_t other = feed(two, m5_bytes(whole.data, cut), &outs[1]);
    if (other == M5_TRANSPORT_AGAIN)
        other = feed(two, m5_bytes(whole.data + cut, whole.len - cut), &outs[1]);
    M5_ASSERT(end == other && one->open == two->open);
    M5_ASSERT(end != M5_TRANSPORT_FAILED || one->failure != NULL);
    if (end == M5_TRANSPORT_FAILED)
        M5_ASSERT(strcmp(one->failure, two->failure) == 0 &&
                  m5_is_clean(m5_bytes_of(one->failure)));
    if (!client)
        check_request(one);
    for (size_t i = 0; i < 2; i++)
        m5_outbox_fini(&outs[i]);
    m5_transport_free(one);
    m5_transport_free(two);
    return 0;
}
