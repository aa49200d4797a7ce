/* What WebSocket costs: handshakes, frames of one message and of many, and the memory of an idle
 * connection. Prints the best of several rounds, in processor time of this thread.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "transport/websocket/websocket.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ROUNDS     7
#define HANDSHAKES 20000
#define FRAMES     1000 /* that lie in one read */
#define READS      200
#define MESSAGE    64
#define BULK       (1u << 20)
#define BULKS      100

static uint8_t payload[BULK], plain[BULK];

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static size_t in_use;

static void *take(void *ctx, size_t size)
{
    (void)ctx;
    in_use += size;
    return malloc(size);
}

static void give(void *ctx, void *memory, size_t size)
{
    (void)ctx;
    in_use -= size;
    free(memory);
}

static const struct mqtt5_allocator allocator = {.alloc = take, .free = give};

struct end {
    struct m5_transport *transport;
    struct m5_outbox out;
};

static void must(bool fine)
{
    if (!fine)
        abort();
}

/* Reads all that @p from has said; returns how many plain bytes that was. */
static size_t hear(struct end *end, const struct end *from)
{
    struct mqtt5_bytes wire = m5_bytes(from->out.data, from->out.size);
    ptrdiff_t got;
    size_t size = 0;
    while ((got = m5_transport_read(end->transport, &wire, &end->out, plain, sizeof plain)) > 0)
        size += (size_t)got;
    must(got == M5_TRANSPORT_AGAIN);
    return size;
}

static void connect_ends(struct end *server, struct end *client)
{
    static const struct m5_websocket_server_config config;
    const struct m5_websocket_client_config asked = {.host = "broker.example", .seed = 1};
    *server = (struct end){.out = {.allocator = &allocator}};
    *client = (struct end){.out = {.allocator = &allocator}};
    client->transport = m5_websocket_client_new(&asked, &allocator);
    must(client->transport != NULL);
    hear(client, server);
    server->transport = m5_websocket_server_new(&config, &allocator);
    must(server->transport != NULL);
    hear(server, client);
    hear(client, server);
    must(server->transport->open && client->transport->open);
    server->out.size = client->out.size = 0;
}

static void free_end(struct end *end)
{
    m5_transport_free(end->transport);
    m5_outbox_fini(&end->out);
}

/* Both sides of it. */
static double handshake_ns(void)
{
    const double begin = now_ns();
    for (int i = 0; i < HANDSHAKES; i++) {
        struct end server, client;
        connect_ends(&server, &client);
        free_end(&server);
        free_end(&client);
    }
    return (now_ns() - begin) / HANDSHAKES;
}

struct cost {
    double write_ns, read_ns; /* of a frame */
};

static struct cost frames(struct end *from, struct end *to, size_t size, int count, int reads)
{
    const struct mqtt5_bytes view = m5_bytes(payload, size);
    struct cost cost = {0};
    for (int i = 0; i < reads; i++) {
        const double begin = now_ns();
        from->out.size = 0;
        for (int k = 0; k < count; k++)
            must(m5_transport_write(from->transport, &view, 1, &from->out));
        const double written = now_ns();
        must(hear(to, from) == size * (size_t)count);
        cost.write_ns += written - begin;
        cost.read_ns += now_ns() - written;
    }
    cost.write_ns /= (double)reads * count;
    cost.read_ns /= (double)reads * count;
    return cost;
}

static void keep_best(struct cost *best, struct cost cost)
{
    if (best->write_ns == 0 || cost.write_ns < best->write_ns)
        best->write_ns = cost.write_ns;
    if (best->read_ns == 0 || cost.read_ns < best->read_ns)
        best->read_ns = cost.read_ns;
}

int main(void)
{
    struct end server, client;
    struct cost up = {0}, down = {0}, bulk_up = {0}, bulk_down = {0};
    double handshake = 0;
    connect_ends(&server, &client);
    for (int i = 0; i < ROUNDS; i++) {
        const double one = handshake_ns();
        handshake = handshake == 0 || one < handshake ? one : handshake;
        keep_best(&up, frames(&client, &server, MESSAGE, FRAMES, READS));
        keep_best(&down, frames(&server, &client, MESSAGE, FRAMES, READS));
        keep_best(&bulk_up, frames(&client, &server, BULK, 1, BULKS));
        keep_best(&bulk_down, frames(&server, &client, BULK, 1, BULKS));
    }
    m5_outbox_fini(&server.out);
    m5_outbox_fini(&client.out);
    const size_t with_request = in_use;
    m5_websocket_forget(server.transport);
    printf("handshake, both sides            %8.0f ns\n", handshake);
    printf("64 B frame: server reads         %8.1f ns\n", up.read_ns);
    printf("64 B frame: server writes        %8.1f ns\n", down.write_ns);
    printf("64 B frame: client writes        %8.1f ns\n", up.write_ns);
    printf("64 B frame: client reads         %8.1f ns\n", down.read_ns);
    printf("1 MiB frame: server reads        %8.1f GB/s\n", BULK / bulk_up.read_ns);
    printf("1 MiB frame: server writes       %8.1f GB/s\n", BULK / bulk_down.write_ns);
    printf("1 MiB frame: client writes       %8.1f GB/s\n", BULK / bulk_up.write_ns);
    printf("idle connection, both ends       %8zu bytes (%zu with the request)\n", in_use,
           with_request);
    free_end(&server);
    free_end(&client);
    return 0;
}
