/* Speaks TLS for a load generator that does not: tls_forward PORT TLS_PORT CA listens on
 * 127.0.0.1:PORT and forwards each connection to 127.0.0.1:TLS_PORT, a thread each.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "support/tls_rig.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER_SIZE 65536

static struct m5_tls_config *config;
static uint16_t tls_port;

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static bool write_all(int to, const uint8_t *data, size_t size)
{
    while (size > 0) {
        const ssize_t count = write(to, data, size);
        if (count <= 0)
            return false;
        data += count;
        size -= (size_t)count;
    }
    return true;
}

struct link {
    int plain, wire; /* sockets */
    struct m5_transport *transport;
    struct m5_outbox out;
};

static bool flush(struct link *link)
{
    const bool done = write_all(link->wire, link->out.data, link->out.size);
    link->out.size = 0;
    return done;
}

/* What has come by TLS (nothing, to begin with) goes to the load generator. */
static bool take(struct link *link, struct mqtt5_bytes wire)
{
    uint8_t plain[BUFFER_SIZE];
    ptrdiff_t count = 0;
    while ((count = m5_transport_read(link->transport, &wire, &link->out, plain, sizeof plain)) >
           0) {
        if (!write_all(link->plain, plain, (size_t)count))
            return false;
    }
    return count == 0 && flush(link);
}

static bool from_wire(struct link *link)
{
    uint8_t data[BUFFER_SIZE];
    const ssize_t count = read(link->wire, data, sizeof data);
    return count > 0 && take(link, m5_bytes(data, (size_t)count));
}

static bool from_plain(struct link *link)
{
    uint8_t data[BUFFER_SIZE];
    const ssize_t count = read(link->plain, data, sizeof data);
    const struct mqtt5_bytes view = m5_bytes(data, count > 0 ? (size_t)count : 0);
    return count > 0 && m5_transport_write(link->transport, &view, 1, &link->out) && flush(link);
}

static void forward(struct link *link)
{
    bool goes_on = take(link, m5_bytes(NULL, 0));
    while (goes_on) {
        struct pollfd polled[] = {
            {.fd = link->wire, .events = POLLIN},
            {.fd = link->transport->open ? link->plain : -1, .events = POLLIN}};
        if (poll(polled, 2, -1) < 0)
            return;
        if (polled[0].revents != 0)
            goes_on = from_wire(link);
        if (goes_on && polled[1].revents != 0)
            goes_on = from_plain(link);
    }
    if (link->transport->failure != NULL)
        fprintf(stderr, "tls_forward: %s\n", link->transport->failure);
}

static void *serve(void *argument)
{
    const struct m5_tls_target target = {"localhost", tls_port, M5_TLS_MQTT};
    const struct sockaddr_in to = loopback(tls_port);
    const int one = 1;
    struct link link = {.plain = (int)(intptr_t)argument,
                        .wire = socket(AF_INET, SOCK_STREAM, 0),
                        .transport = m5_tls_client_new(config, &target, NULL, &tls_rig_allocator),
                        .out = {.allocator = &tls_rig_allocator}};
    setsockopt(link.plain, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(link.wire, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (link.transport != NULL && connect(link.wire, (const struct sockaddr *)&to, sizeof to) == 0)
        forward(&link);
    m5_transport_free(link.transport);
    m5_outbox_fini(&link.out);
    close(link.wire);
    close(link.plain);
    return NULL;
}

static int listen_at(uint16_t port)
{
    const struct sockaddr_in address = loopback(port);
    const int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (const struct sockaddr *)&address, sizeof address) == 0 &&
        listen(listener, 1024) == 0)
        return listener;
    perror("tls_forward");
    exit(1);
}

int main(int argc, char **argv)
{
    struct mqtt5_tls_client_options options;
    if (argc != 4) {
        fprintf(stderr, "usage: tls_forward PORT TLS_PORT CA\n");
        return 2;
    }
    mqtt5_tls_client_options_init(&options);
    options.ca_file = argv[3];
    config = tls_client_config(&options);
    tls_port = (uint16_t)strtoul(argv[2], NULL, 10);
    const int listener = listen_at((uint16_t)strtoul(argv[1], NULL, 10));
    for (;;) {
        pthread_t thread;
        const int accepted = accept(listener, NULL, NULL);
        if (accepted >= 0 && pthread_create(&thread, NULL, serve, (void *)(intptr_t)accepted) == 0)
            pthread_detach(thread);
    }
}
