/* The messages of a client that survive its process.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/client/queue_file.h"

#include "base/alloc.h"
#include "base/bytes.h"
#include "host/client/spool.h"
#include "host/clock.h"

#include <stdio.h>

#define STAMP_SIZE 8u /* bytes of the time of day before the packet */

/* ---- writing ---- */

static enum mqtt5_error append(struct mqtt5_client *client, const struct mqtt5_packet *packet,
                               size_t size, struct m5_client_op *op)
{
    uint8_t *record = m5_alloc(client->allocator, STAMP_SIZE + size);
    if (record == NULL)
        return MQTT5_ERR_NOMEM;
    const uint64_t now = m5_clock_wall_ms();
    m5_write_u32(m5_write_u32(record, (uint32_t)(now >> 32)), (uint32_t)now);
    mqtt5_packet_write(packet, client->config->version, record + STAMP_SIZE, size);
    const enum mqtt5_error error =
        m5_spool_append(client->spool, m5_bytes(record, STAMP_SIZE + size), &op->spooled);
    m5_free(client->allocator, record, STAMP_SIZE + size);
    if (error != MQTT5_OK)
        snprintf(client->why, sizeof client->why, "%s", m5_spool_why(client->spool));
    return error;
}

enum mqtt5_error m5_client_queue_add(struct mqtt5_client *client,
                                     const struct mqtt5_publish *publish, struct m5_client_op *op)
{
    struct mqtt5_packet packet = {.type = MQTT5_PUBLISH, .as.publish = *publish};
    if (client->spool == NULL || publish->qos == 0)
        return MQTT5_OK;
    packet.as.publish.dup = false;
    packet.as.publish.packet_id = 1;
    /* An alias belongs to a connection, and the file outlives it. */
    packet.as.publish.properties.present &= ~((uint64_t)1 << (unsigned)MQTT5_PROPERTY_TOPIC_ALIAS);
    const size_t size = mqtt5_packet_size(&packet, client->config->version);
    return size == 0 ? MQTT5_ERR_INVALID_ARGUMENT : append(client, &packet, size, op);
}

void m5_client_queue_done(struct mqtt5_client *client, struct m5_client_op *op)
{
    if (client->spool == NULL || op->spooled == 0 || client->ending)
        return;
    (void)m5_spool_remove(client->spool,
                          op->spooled); /* a failure lets it come again: documented */
    op->spooled = 0;
}

/* ---- reading ---- */

/* Takes what has passed off the expiry interval; false when nothing is left. */
static bool age(struct mqtt5_publish *publish, uint64_t stamp_ms)
{
    const uint64_t now = m5_clock_wall_ms(), passed = now > stamp_ms ? (now - stamp_ms) / 1000 : 0;
    if (!MQTT5_HAS(&publish->properties, MESSAGE_EXPIRY_INTERVAL))
        return true;
    if (passed >= publish->properties.message_expiry_interval_s)
        return false;
    publish->properties.message_expiry_interval_s -= (uint32_t)passed;
    return true;
}

static bool decode(const struct mqtt5_client *client, struct mqtt5_bytes record,
                   struct mqtt5_publish *out, uint64_t *stamp_ms)
{
    struct mqtt5_decode_limits limits;
    struct mqtt5_frame frame;
    mqtt5_decode_limits_init(&limits);
    if (record.len <= STAMP_SIZE)
        return false;
    *stamp_ms = (uint64_t)m5_read_u32(record.data) << 32 | m5_read_u32(record.data + 4);
    const struct mqtt5_bytes packet = m5_bytes(record.data + STAMP_SIZE, record.len - STAMP_SIZE);
    return mqtt5_frame_read(packet, UINT32_MAX, &frame) == MQTT5_OK &&
           frame.type == MQTT5_PUBLISH && frame.size == packet.len &&
           mqtt5_publish_decode(&frame, client->config->version, &limits, out) == MQTT5_OK;
}

/* The user properties, and whatever else may repeat, stay as they are encoded; the expiry interval,
 * which has changed, is taken out of that and given apart. */
static enum mqtt5_error publish_again(struct mqtt5_client *client, struct mqtt5_publish *publish,
                                      struct m5_client_op *op)
{
    const uint32_t expiry = publish->properties.message_expiry_interval_s;
    const bool expires = MQTT5_HAS(&publish->properties, MESSAGE_EXPIRY_INTERVAL);
    const struct mqtt5_bytes all = publish->properties.raw;
    uint8_t *raw = all.len > 0 ? m5_alloc(client->allocator, all.len) : NULL;
    if (all.len > 0 && raw == NULL)
        return MQTT5_ERR_NOMEM;
    size_t size = 0;
    struct mqtt5_bytes rest = all;
    struct mqtt5_property property;
    while (mqtt5_property_next(&rest, &property)) {
        if (property.id == MQTT5_PROPERTY_MESSAGE_EXPIRY_INTERVAL)
            continue;
        m5_copy(raw + size, property.whole);
        size += property.whole.len;
    }
    publish->properties = (struct mqtt5_properties){.raw = m5_bytes(raw, size)};
    if (expires) {
        MQTT5_SET(&publish->properties, MESSAGE_EXPIRY_INTERVAL);
        publish->properties.message_expiry_interval_s = expiry;
    }
    const enum mqtt5_error error = m5_client_publish(client->engine, publish, op);
    m5_free(client->allocator, raw, all.len);
    return error;
}

/* Queues message @p id. One that is damaged, has expired or finds no room leaves the file: its
 * limits are those of the queue. */
static enum mqtt5_error load(struct mqtt5_client *client, uint64_t id)
{
    struct mqtt5_bytes record;
    struct mqtt5_publish publish;
    uint64_t stamp_ms;
    const enum mqtt5_error read = m5_spool_read(client->spool, id, &record);
    if (read == MQTT5_ERR_NOMEM)
        return read;
    if (read != MQTT5_OK || !decode(client, record, &publish, &stamp_ms) ||
        !age(&publish, stamp_ms)) {
        (void)m5_spool_remove(client->spool, id);
        return MQTT5_OK;
    }
    struct m5_client_op *op = m5_client_host_op_new(client, NULL, NULL, 0);
    if (op == NULL)
        return MQTT5_ERR_NOMEM;
    op->spooled = id;
    const enum mqtt5_error error = publish_again(client, &publish, op);
    if (error == MQTT5_OK)
        return MQTT5_OK;
    m5_client_host_op_free(client, op);
    return error;
}

static enum mqtt5_error load_all(struct mqtt5_client *client)
{
    struct m5_spool_item item = {0};
    while (m5_spool_next(client->spool, item.id, &item)) {
        const enum mqtt5_error error = load(client, item.id);
        if (error != MQTT5_OK) /* QUEUE_FULL: the file has more than the limits allow */
            return error;
    }
    return MQTT5_OK;
}

enum mqtt5_error m5_client_queue_open(struct mqtt5_client *client,
                                      const struct mqtt5_client_options *options)
{
    if (options->queue_file == NULL)
        return MQTT5_OK;
    if (!options->offline_queue)
        return MQTT5_ERR_CONFIG;
    const struct m5_spool_config config = {.allocator = client->allocator,
                                           .path = options->queue_file,
                                           .messages_max = UINT32_MAX,
                                           .bytes_max = UINT64_MAX / 4,
                                           .overflow = M5_SPOOL_FAIL,
                                           .sync = options->queue_file_sync};
    const enum mqtt5_error error =
        m5_spool_open(&config, &client->spool, client->why, sizeof client->why);
    return error == MQTT5_OK ? load_all(client) : error;
}

void m5_client_queue_close(struct mqtt5_client *client)
{
    m5_spool_close(client->spool);
    client->spool = NULL;
}
