/* Connections with transports, a PROXY header or a place in the counts of admission.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/channel.h"

#include "base/alloc.h"
#include "base/bytes.h"
#include "host/clock.h"
#include "host/door.h"
#include "host/worker.h"
#include "transport/proxy/proxy.h"
#include "transport/tls/tls.h"
#include "transport/websocket/websocket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define VIEWS_MAX     64
#define WRITE_AT_ONCE 65536u /* bytes of output that go into the transports by one call */

/* ---- life ---- */

struct m5_channel *m5_channel_new(struct m5_worker *worker, struct m5_door *door,
                                  const struct m5_address *peer)
{
    const struct mqtt5_allocator *allocator = worker->crew->allocator;
    struct m5_channel *channel = (struct m5_channel *)m5_alloc_zero(allocator, sizeof *channel);
    if (channel == NULL)
        return NULL;
    channel->door = door;
    channel->peer = *peer;
    channel->socket.watch.flags = M5_WATCH_CHANNEL;
    m5_pipe_init(&channel->pipe);
    if (door->proxy != MQTT5_PROXY_OFF)
        channel->socket.watch.flags |= M5_WATCH_PREFACE;
    if (door->tls != NULL) {
        struct m5_transport *tls = m5_door_tls(door, allocator);
        if (tls == NULL)
            goto fail;
        m5_pipe_push(&channel->pipe, tls);
    }
    if (door->transport == MQTT5_TRANSPORT_WS || door->transport == MQTT5_TRANSPORT_WSS) {
        struct m5_transport *websocket = m5_door_websocket(door, peer, allocator);
        if (websocket == NULL)
            goto fail;
        m5_pipe_push(&channel->pipe, websocket);
    }
    if (channel->pipe.layer_count > 0)
        channel->socket.watch.flags |= M5_WATCH_PIPED | M5_WATCH_SHAKES;
    return channel;
fail:
    m5_channel_free(worker, channel);
    return NULL;
}

static void set_identity(struct m5_channel *channel, const char *identity)
{
    free(channel->identity);
    channel->identity = identity[0] != 0 ? strdup(identity) : NULL;
}

void m5_channel_leave(struct m5_worker *worker, struct m5_channel *channel)
{
    m5_admission_leave(worker->crew->admission, channel->ticket);
    channel->ticket = 0;
}

void m5_channel_free(struct m5_worker *worker, struct m5_channel *channel)
{
    m5_channel_leave(worker, channel);
    m5_pipe_fini(&channel->pipe, &worker->room);
    free(channel->identity);
    m5_free(worker->crew->allocator, channel, sizeof *channel);
}

bool m5_channel_identify(struct m5_channel *channel)
{
    const struct mqtt5_bytes identity =
        channel->identity == NULL ? (struct mqtt5_bytes){0} : m5_bytes_of(channel->identity);
    return m5_conn_identify(channel->socket.conn, identity, m5_door_secure(channel->door));
}

/* ---- who is there ---- */

static struct mqtt5_bytes name_of(const struct m5_channel *channel, char *text)
{
    return m5_bytes(text, m5_address_format(&channel->peer, text));
}

/* Counts the client at its address; why it may not come in, or NULL. */
static const char *admit(struct m5_worker *worker, struct m5_channel *channel)
{
    if (!channel->door->counted || channel->ticket != 0)
        return NULL;
    const enum m5_admission answer =
        m5_admission_ask(worker->crew->admission, channel->door->index, &channel->peer,
                         worker->now_ms, &channel->ticket);
    return answer == M5_ADMITTED ? NULL : m5_admission_text(answer);
}

const char *m5_channel_admit(struct m5_worker *worker, struct m5_channel *channel)
{
    const struct m5_door *door = channel->door;
    const struct m5_source source = m5_source_of(&channel->peer);
    if (door->proxy == MQTT5_PROXY_OFF)
        return door->forwarders != NULL && m5_bans_contain(door->forwarders, source)
                   ? NULL /* once it is known whom it speaks for */
                   : admit(worker, channel);
    if (channel->peer.storage.ss_family == AF_UNIX ||
        (door->proxies != NULL && m5_bans_contain(door->proxies, source)))
        return NULL;
    return "this address may not speak the PROXY protocol (proxy_trusted)";
}

/* The client is somebody else than the peer of the socket; why it may not come in, or NULL. */
static const char *readdress(struct m5_worker *worker, struct m5_channel *channel,
                             const struct m5_address *address)
{
    char text[M5_ADDRESS_TEXT_SIZE];
    if (address != NULL) {
        channel->peer = *address;
        m5_conn_readdress(channel->socket.conn, name_of(channel, text));
    }
    if (worker->crew->policy != NULL && m5_policy_bans(worker->crew->policy, &channel->peer))
        return "the address is banned";
    return admit(worker, channel);
}

/* The handshakes are done: why the client may not come in all the same, or NULL. */
static const char *opened(struct m5_worker *worker, struct m5_channel *channel)
{
    const struct m5_door *door = channel->door;
    struct m5_transport *top = channel->pipe.layers[channel->pipe.layer_count - 1];
    channel->socket.watch.flags &= ~M5_WATCH_SHAKES;
    m5_shard_count_handshake(worker->shard, true);
    if (door->tls != NULL) {
        struct m5_tls_peer peer;
        if (!m5_tls_peer(channel->pipe.layers[0], &peer))
            return "no memory";
        if (peer.identity[0] != 0) {
            set_identity(channel, peer.identity);
            if (channel->identity == NULL)
                return "no memory";
        }
    }
    if (!m5_channel_identify(channel))
        return "its certificate names no user that MQTT could have";
    if (door->transport != MQTT5_TRANSPORT_WS && door->transport != MQTT5_TRANSPORT_WSS)
        return NULL;
    const struct m5_websocket_request *request = m5_websocket_request(top);
    struct m5_address address;
    const bool told = request != NULL && request->forwarded[0] != 0 &&
                      m5_address_read(request->forwarded, request->forwarded_port, &address);
    m5_websocket_forget(top);
    return readdress(worker, channel, told ? &address : NULL);
}

/* ---- the PROXY header ---- */

static void address_of(const struct m5_proxy_header *header, struct m5_address *out)
{
    *out = (struct m5_address){0};
    if (header->family == M5_PROXY_IPV4) {
        struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(header->source.port)};
        memcpy(&v4.sin_addr, header->source.address, 4);
        memcpy(&out->storage, &v4, sizeof v4);
        out->size = sizeof v4;
    } else if (header->family == M5_PROXY_IPV6) {
        struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(header->source.port)};
        memcpy(&v6.sin6_addr, header->source.address, 16);
        memcpy(&out->storage, &v6, sizeof v6);
        out->size = sizeof v6;
    }
}

static void refuse(struct m5_worker *worker, struct m5_channel *channel, const char *why)
{
    char text[M5_ADDRESS_TEXT_SIZE];
    m5_socket_refused(worker, channel->door, name_of(channel, text), why);
}

/* The header is whole; why the client may not come in, or NULL. */
static const char *take_header(struct m5_worker *worker, struct m5_channel *channel,
                               const struct m5_proxy_header *header)
{
    struct m5_address address;
    channel->socket.watch.flags &= ~M5_WATCH_PREFACE;
    address_of(header, &address);
    if (channel->door->proxy_identity && header->common_name[0] != 0) {
        set_identity(channel, header->common_name);
        if (channel->identity == NULL)
            return "no memory";
        if (!m5_channel_identify(channel))
            return "the proxy names no user that MQTT could have";
    }
    return readdress(worker, channel, address.size > 0 ? &address : NULL);
}

/* Looks for the header in @p all, everything that has come so far; false when the channel is
 * gone. */
static bool read_header(struct m5_worker *worker, struct m5_channel *channel,
                        struct mqtt5_bytes all)
{
    struct m5_proxy_header header;
    const char *why = NULL;
    switch (m5_proxy_parse(all, channel->door->proxy, &header)) {
    case M5_PROXY_MORE:
        m5_pipe_replace(&channel->pipe, all);
        if (m5_pipe_leave(&channel->pipe, &worker->room))
            return true;
        why = "no memory";
        break;
    case M5_PROXY_MALFORMED: why = header.wrong; break;
    case M5_PROXY_DONE: why = take_header(worker, channel, &header);
    }
    if (why != NULL) {
        refuse(worker, channel, why);
        m5_socket_lose(worker, &channel->socket);
        return false;
    }
    const struct mqtt5_bytes rest = m5_bytes(all.data + header.size, all.len - header.size);
    m5_pipe_replace(&channel->pipe, rest);
    if (channel->pipe.layer_count > 0)
        return m5_channel_drain(worker, channel);
    m5_pipe_replace(&channel->pipe, (struct mqtt5_bytes){0});
    if (rest.len > 0)
        m5_conn_feed(channel->socket.conn, rest);
    m5_pipe_leave(&channel->pipe, &worker->room);
    return true;
}

/* ---- input ---- */

static uint8_t *wire_of(struct m5_worker *worker)
{
    if (worker->wire == NULL)
        worker->wire = (uint8_t *)m5_alloc(worker->crew->allocator, M5_WIRE_SIZE);
    return worker->wire;
}

/* m5_pipe_read() while handshakes go on: their time is counted. */
static ptrdiff_t shake(struct m5_worker *worker, struct m5_channel *channel, struct m5_span space,
                       const char **why)
{
    const uint64_t before = m5_clock_ns();
    const ptrdiff_t got = m5_pipe_read(&channel->pipe, &worker->room, space.data, space.size);
    if (m5_pipe_open(&channel->pipe))
        *why = opened(worker, channel);
    worker->handshakes_ns += m5_clock_ns() - before;
    return got;
}

/* Ends the channel, for the result of a read that is neither bytes nor AGAIN. */
static void end(struct m5_worker *worker, struct m5_channel *channel, ptrdiff_t result,
                const char *why)
{
    if (why != NULL || result == M5_TRANSPORT_FAILED)
        refuse(worker, channel, why != NULL ? why : m5_pipe_failure(&channel->pipe));
    if ((channel->socket.watch.flags & M5_WATCH_SHAKES) != 0)
        m5_shard_count_handshake(worker->shard, false);
    m5_socket_part(worker, &channel->socket);
}

bool m5_channel_drain(struct m5_worker *worker, struct m5_channel *channel)
{
    struct m5_conn *conn = channel->socket.conn;
    ptrdiff_t got = M5_TRANSPORT_AGAIN;
    const char *why = NULL;
    while (m5_conn_reading(conn)) {
        const struct m5_span space = m5_conn_read_space(conn);
        got = (channel->socket.watch.flags & M5_WATCH_SHAKES) != 0
                  ? shake(worker, channel, space, &why)
                  : m5_pipe_read(&channel->pipe, &worker->room, space.data, space.size);
        if (got <= 0 || why != NULL)
            break;
        m5_conn_received(conn, (size_t)got);
    }
    if (!m5_pipe_leave(&channel->pipe, &worker->room))
        got = M5_TRANSPORT_FAILED;
    if (got < 0 || why != NULL) {
        end(worker, channel, got, why);
        return false;
    }
    m5_channel_push(worker, channel);
    return true;
}

bool m5_channel_read(struct m5_worker *worker, struct m5_channel *channel)
{
    const bool preface = (channel->socket.watch.flags & M5_WATCH_PREFACE) != 0;
    if ((channel->socket.watch.flags & M5_WATCH_SHAKES) != 0 &&
        worker->handshakes_ns > M5_HANDSHAKES_NS)
        return true; /* it stays readable */
    if (!preface && m5_pipe_holds(&channel->pipe))
        return m5_channel_drain(worker, channel);
    uint8_t *wire = wire_of(worker);
    if (wire == NULL) {
        m5_socket_lose(worker, &channel->socket);
        return false;
    }
    /* What is held of a PROXY header stands before what comes. */
    const struct mqtt5_bytes held = preface ? channel->pipe.wire : (struct mqtt5_bytes){0};
    m5_copy(wire, held);
    const ssize_t got = recv(channel->socket.watch.fd, wire + held.len, M5_WIRE_SIZE - held.len, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (got <= 0) {
        m5_socket_lose(worker, &channel->socket);
        return false;
    }
    const struct mqtt5_bytes all = m5_bytes(wire, held.len + (size_t)got);
    if (preface)
        return read_header(worker, channel, all);
    m5_pipe_receive(&channel->pipe, all);
    return m5_channel_drain(worker, channel);
}

/* ---- output ---- */

bool m5_channel_push(struct m5_worker *worker, struct m5_channel *channel)
{
    struct m5_watch *watch = &channel->socket.watch;
    struct mqtt5_bytes view;
    while ((view = m5_pipe_output(&channel->pipe)).len > 0) {
        ssize_t sent = (ssize_t)view.len;
        if ((watch->flags & M5_WATCH_BROKEN) == 0)
            sent = send(watch->fd, view.data, view.len, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EINTR && errno != ENOBUFS && errno != ENOMEM) {
            watch->flags |= M5_WATCH_BROKEN;
            sent = (ssize_t)view.len;
        }
        if (sent < 0) {
            m5_socket_flag(worker, watch, watch->flags | M5_WATCH_UNWRITTEN);
            return false;
        }
        m5_pipe_sent(&channel->pipe, &worker->room, (size_t)sent);
    }
    return true;
}

/* Up to WRITE_AT_ONCE bytes of the engine's output; their number. */
static size_t take_output(const struct m5_conn *conn, struct mqtt5_bytes *views, size_t *count)
{
    const size_t all = m5_conn_output(conn, views, VIEWS_MAX);
    size_t size = 0;
    for (*count = 0; *count < all && size < WRITE_AT_ONCE; ++*count) {
        struct mqtt5_bytes *view = &views[*count];
        if (view->len > WRITE_AT_ONCE - size)
            view->len = WRITE_AT_ONCE - size;
        size += view->len;
    }
    return size;
}

bool m5_channel_flush(struct m5_worker *worker, struct m5_channel *channel)
{
    struct mqtt5_bytes views[VIEWS_MAX];
    size_t count;
    if (!m5_channel_push(worker, channel))
        return false;
    const size_t size = take_output(channel->socket.conn, views, &count);
    if ((channel->socket.watch.flags & M5_WATCH_BROKEN) == 0 &&
        (!m5_pipe_open(&channel->pipe) ||
         !m5_pipe_write(&channel->pipe, &worker->room, views, count))) {
        /* Nothing can be said to it any more: its end is read from the socket. */
        channel->socket.watch.flags |= M5_WATCH_BROKEN;
        shutdown(channel->socket.watch.fd, SHUT_RDWR);
    }
    m5_conn_sent(channel->socket.conn, size);
    return m5_channel_push(worker, channel);
}
