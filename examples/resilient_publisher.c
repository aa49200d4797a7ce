/* Publishes readings that arrive, whatever the network does.
 *
 *     resilient_publisher [URL [COUNT]]     default: mqtt://localhost:1883, for ever
 *
 * The client connects again by itself, keeps what it cannot send, in memory or (with MQTT5_QUEUE
 * set) in a file, and asks the server to keep the session meanwhile.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <mqtt5/mqtt5.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define TIMEOUT_MS 10000

static void on_change(void *ctx, const struct mqtt5_client_change *change)
{
    (void)ctx;
    if (change->state == MQTT5_CLIENT_CONNECTED)
        fprintf(stderr, "connected\n");
    else if (change->state == MQTT5_CLIENT_WAITING)
        fprintf(stderr, "lost (%s), attempt %u in %u ms\n", mqtt5_error_text(change->result.error),
                (unsigned)change->attempt, (unsigned)change->retry_ms);
    else
        fprintf(stderr, "disconnected\n");
}

static enum mqtt5_error publish_reading(struct mqtt5_client *client, unsigned long number)
{
    char text[64];
    const int size = snprintf(text, sizeof text, "reading %lu", number);
    static const char topic[] = "sensors/kitchen/temperature";
    struct mqtt5_publish reading = {
        .topic = {(const uint8_t *)topic, sizeof topic - 1},
        .payload = {(const uint8_t *)text, (size_t)size},
        .qos = 1,
    };
    reading.properties.message_expiry_interval_s = 3600; /* older readings are of no use */
    MQTT5_SET(&reading.properties, MESSAGE_EXPIRY_INTERVAL);
    return mqtt5_client_publish_async(client, &reading, NULL, NULL);
}

static enum mqtt5_error publish_all(struct mqtt5_client *client, unsigned long count)
{
    enum mqtt5_error error = MQTT5_OK;
    for (unsigned long i = 0; error == MQTT5_OK && i < count; i++) {
        error = publish_reading(client, i);
        if (count == ULONG_MAX)
            nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    }
    struct mqtt5_client_info info;
    do { /* what is under way is acknowledged before the end */
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        mqtt5_client_get_info(client, &info);
    } while (error == MQTT5_OK && info.queued_messages > 0);
    return error;
}

int main(int argc, char **argv)
{
    struct mqtt5_client *client;
    struct mqtt5_client_options options;
    mqtt5_client_options_init(&options);
    options.client_id = "kitchen-sensor";
    options.clean_start = false;      /* go on with the session ... */
    options.session_known = true;     /* ... also when this program starts anew */
    options.session_expiry_s = 86400; /* the server keeps it for a day */
    options.offline_queue = true;     /* publish also while there is no connection */
    options.overflow = MQTT5_OVERFLOW_DROP_OLDEST;
    options.queue_file = getenv("MQTT5_QUEUE"); /* NULL: in memory */
    options.reconnect.first = true;             /* the server may come up after us */
    options.on_change = on_change;
    enum mqtt5_error error = mqtt5_client_new(&options, &client);
    if (error != MQTT5_OK) {
        fprintf(stderr, "no client: %s\n", mqtt5_error_text(error));
        return 1;
    }
    error = mqtt5_client_connect_async(client, argc > 1 ? argv[1] : "mqtt://localhost:1883", NULL,
                                       NULL);
    if (error == MQTT5_OK)
        error = publish_all(client, argc > 2 ? strtoul(argv[2], NULL, 10) : ULONG_MAX);
    if (error == MQTT5_OK)
        error = mqtt5_client_disconnect(client, NULL, TIMEOUT_MS);
    if (error == MQTT5_OK)
        printf("all readings arrived\n");
    else
        fprintf(stderr, "%s\n", mqtt5_error_text(error));
    mqtt5_client_free(client);
    return error == MQTT5_OK ? 0 : 1;
}
