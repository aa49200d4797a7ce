/* A small server for tests of the client.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/client_peer.h"

#include "base/bytes.h"

#include <stdio.h>
#include <stdlib.h>

void peer_init(struct peer *peer, uint8_t version)
{
    memset(peer, 0, sizeof *peer);
    peer->version = version;
    peer->receive_maximum = 65535;
    peer->client_receive_maximum = 65535;
    peer->last_taken = -1;
}

void peer_queue(struct peer *peer, uint8_t qos)
{
    if (peer->count == PEER_MESSAGES)
        abort();
    peer->messages[peer->count++] = (struct peer_message){.qos = qos};
}

static void send_packet(struct peer *peer, const struct mqtt5_packet *packet)
{
    const size_t size = mqtt5_packet_size(packet, peer->version);
    if (size == 0 || size > PEER_BUFFER - peer->out_size)
        abort();
    mqtt5_packet_write(packet, peer->version, peer->out + peer->out_size, size);
    peer->out_size += size;
}

static void send_ack(struct peer *peer, uint8_t type, uint16_t id)
{
    const struct mqtt5_packet packet = {.type = type, .as.ack = {.packet_id = id}};
    send_packet(peer, &packet);
}

/* ---- to the client ---- */

static uint32_t in_flight(const struct peer *peer)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < peer->count; i++)
        count += peer->messages[i].state == PEER_SENT || peer->messages[i].state == PEER_RELEASED;
    return count;
}

static void send_message(struct peer *peer, uint32_t number)
{
    struct peer_message *message = &peer->messages[number];
    const uint8_t payload[2] = {(uint8_t)(number >> 8), (uint8_t)number};
    struct mqtt5_packet packet = {.type = MQTT5_PUBLISH};
    if (message->qos > 0 && message->id == 0)
        message->id = ++peer->last_id;
    packet.as.publish = (struct mqtt5_publish){.qos = message->qos,
                                               .dup = message->sent_before,
                                               .packet_id = message->id,
                                               .topic = m5_bytes_of("p"),
                                               .payload = m5_bytes(payload, 2)};
    send_packet(peer, &packet);
    message->sent_before = message->qos > 0;
    message->state = message->qos > 0 ? PEER_SENT : PEER_DONE;
}

static void send_waiting(struct peer *peer)
{
    for (uint32_t i = 0; i < peer->count && peer->connected; i++) {
        if (peer->messages[i].state != PEER_WAITING)
            continue;
        if (peer->messages[i].qos > 0 && in_flight(peer) >= peer->client_receive_maximum)
            return;
        send_message(peer, i);
    }
}

static struct peer_message *find(struct peer *peer, uint16_t id)
{
    for (uint32_t i = 0; i < peer->count; i++) {
        if (peer->messages[i].id == id && peer->messages[i].state != PEER_DONE)
            return &peer->messages[i];
    }
    return NULL;
}

static void take_ack(struct peer *peer, uint8_t type, const struct mqtt5_ack *ack)
{
    struct peer_message *message = find(peer, ack->packet_id);
    if (message == NULL) {
        peer->protocol_errors++;
        return;
    }
    if (type == MQTT5_PUBREC && message->qos == 2) {
        message->state = PEER_RELEASED;
        send_ack(peer, MQTT5_PUBREL, ack->packet_id);
    } else if ((type == MQTT5_PUBACK && message->qos == 1) ||
               (type == MQTT5_PUBCOMP && message->state == PEER_RELEASED)) {
        message->state = PEER_DONE;
    } else {
        peer->protocol_errors++;
    }
}

/* ---- from the client ---- */

static void take_message(struct peer *peer, const struct mqtt5_publish *publish)
{
    const uint32_t number = m5_read_u16(publish->payload.data);
    if (number >= PEER_MESSAGES || publish->payload.len < 2) {
        peer->protocol_errors++;
        return;
    }
    if (peer->taken[number]++ > 0)
        return;
    /* Each new one must follow those before it [MQTT-4.6.0-1]; QoS 0 may be missing. */
    peer->order_errors += (int32_t)number < peer->last_taken;
    peer->last_taken = (int32_t)number;
}

static void take_publish(struct peer *peer, const struct mqtt5_publish *publish)
{
    const uint16_t id = publish->packet_id;
    if (publish->qos == 0) {
        take_message(peer, publish);
        return;
    }
    /* Answered at once, so only QoS 2 stays open: until PUBREL. */
    if (peer->received_count + 1 > peer->receive_maximum && !peer->received[id])
        peer->quota_errors++;
    if (publish->qos == 1) {
        take_message(peer, publish);
        send_ack(peer, MQTT5_PUBACK, id);
        return;
    }
    if (!peer->received[id]) {
        take_message(peer, publish);
        peer->received[id] = true;
        peer->received_count++;
    }
    send_ack(peer, MQTT5_PUBREC, id);
}

static void take_pubrel(struct peer *peer, uint16_t id)
{
    peer->received_count -= peer->received[id];
    peer->received[id] = false;
    send_ack(peer, MQTT5_PUBCOMP, id);
}

/* ---- the connection ---- */

static void forget_session(struct peer *peer)
{
    memset(peer->received, 0, sizeof peer->received);
    peer->received_count = 0;
    for (uint32_t i = 0; i < peer->count; i++)
        peer->messages[i].state = PEER_DONE;
}

static void resume(struct peer *peer)
{
    for (uint32_t i = 0; i < peer->count; i++) {
        if (peer->messages[i].state == PEER_RELEASED)
            send_ack(peer, MQTT5_PUBREL, peer->messages[i].id);
        else if (peer->messages[i].state == PEER_SENT)
            peer->messages[i].state = PEER_WAITING;
    }
}

static void take_connect(struct peer *peer, const struct mqtt5_connect *connect)
{
    struct mqtt5_packet packet = {.type = MQTT5_CONNACK};
    if (connect->clean_start && peer->has_session)
        forget_session(peer);
    packet.as.connack.session_present = peer->has_session && !connect->clean_start;
    if (peer->version == MQTT5_VERSION_5) {
        MQTT5_SET(&packet.as.connack.properties, RECEIVE_MAXIMUM);
        packet.as.connack.properties.receive_maximum = peer->receive_maximum;
    }
    if (MQTT5_HAS(&connect->properties, RECEIVE_MAXIMUM))
        peer->client_receive_maximum = (uint16_t)connect->properties.receive_maximum;
    peer->has_session = peer->connected = true;
    send_packet(peer, &packet);
    resume(peer);
}

static void take_packet(struct peer *peer, const struct mqtt5_packet *packet)
{
    switch (packet->type) {
    case MQTT5_CONNECT: take_connect(peer, &packet->as.connect); break;
    case MQTT5_PUBLISH: take_publish(peer, &packet->as.publish); break;
    case MQTT5_PUBREL: take_pubrel(peer, packet->as.ack.packet_id); break;
    case MQTT5_PUBACK:
    case MQTT5_PUBREC:
    case MQTT5_PUBCOMP: take_ack(peer, packet->type, &packet->as.ack); break;
    case MQTT5_DISCONNECT: break;
    default: peer->protocol_errors++;
    }
}

void peer_feed(struct peer *peer, struct mqtt5_bytes bytes)
{
    struct mqtt5_decode_limits limits;
    struct mqtt5_frame frame;
    struct mqtt5_packet packet;
    size_t used = 0;
    mqtt5_decode_limits_init(&limits);
    if (bytes.len > PEER_BUFFER - peer->in_size)
        abort();
    m5_copy(peer->in + peer->in_size, bytes);
    peer->in_size += bytes.len;
    while (mqtt5_frame_read(m5_bytes(peer->in + used, peer->in_size - used), UINT32_MAX, &frame) ==
           MQTT5_OK) {
        const enum mqtt5_error error = mqtt5_packet_decode(&frame, peer->version, &limits, &packet);
        if (error != MQTT5_OK) {
            fprintf(stderr, "peer: %s from the client\n", mqtt5_error_name(error));
            peer->protocol_errors++;
        } else {
            take_packet(peer, &packet);
        }
        used += frame.size;
    }
    memmove(peer->in, peer->in + used, peer->in_size - used);
    peer->in_size -= used;
    send_waiting(peer);
}

void peer_lose(struct peer *peer)
{
    peer->connected = false;
    peer->in_size = peer->out_size = 0;
}

void peer_taken(struct peer *peer, size_t size)
{
    memmove(peer->out, peer->out + size, peer->out_size - size);
    peer->out_size -= size;
}

bool peer_is_done(const struct peer *peer)
{
    for (uint32_t i = 0; i < peer->count; i++) {
        if (peer->messages[i].state != PEER_DONE)
            return false;
    }
    return true;
}
