/* Publishes many messages without waiting for each: `publish_many [URL [COUNT]]`. The client has a
 * thread of its own; only what is not acknowledged yet is bounded.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <mqtt5/mqtt5.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define TIMEOUT_MS 5000
#define QUEUE      1000 /* messages that are not acknowledged */

struct progress {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned long done, failed;
};

/* Called by the client's thread, once for each message. */
static void count(void *ctx, const struct mqtt5_client_result *result)
{
    struct progress *progress = ctx;
    pthread_mutex_lock(&progress->lock);
    progress->done++;
    progress->failed += result->error != MQTT5_OK;
    pthread_cond_signal(&progress->changed);
    pthread_mutex_unlock(&progress->lock);
}

static void wait_until_done(struct progress *progress, unsigned long wanted)
{
    pthread_mutex_lock(&progress->lock);
    while (progress->done < wanted)
        pthread_cond_wait(&progress->changed, &progress->lock);
    pthread_mutex_unlock(&progress->lock);
}

static unsigned long publish_all(struct mqtt5_client *client, struct progress *progress,
                                 unsigned long wanted)
{
    static const char topic[] = "many/messages";
    unsigned long queued = 0;
    while (queued < wanted) {
        char payload[32];
        const int size = snprintf(payload, sizeof payload, "message %lu", queued);
        const struct mqtt5_publish publish = {
            .topic = {.data = (const uint8_t *)topic, .len = sizeof topic - 1},
            .payload = {.data = (const uint8_t *)payload, .len = (size_t)size},
            .qos = 1,
        };
        const enum mqtt5_error error =
            mqtt5_client_publish_async(client, &publish, count, progress);
        if (error == MQTT5_OK)
            queued++;
        else if (error == MQTT5_ERR_QUEUE_FULL)
            wait_until_done(progress, queued - QUEUE / 2); /* half of the queue is free again */
        else
            break;
    }
    wait_until_done(progress, queued);
    return queued;
}

int main(int argc, char **argv)
{
    const char *url = argc > 1 ? argv[1] : "mqtt://localhost:1883";
    const unsigned long wanted = argc > 2 ? strtoul(argv[2], NULL, 10) : 100000;
    struct progress progress = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0};
    struct mqtt5_client *client;
    struct mqtt5_client_options config;
    mqtt5_client_options_init(&config);
    config.queued_messages_max = QUEUE;
    if (mqtt5_client_new(&config, &client) != MQTT5_OK)
        return 1;
    if (mqtt5_client_connect(client, url, TIMEOUT_MS) != MQTT5_OK) {
        char why[256];
        mqtt5_client_why(client, why, sizeof why);
        fprintf(stderr, "cannot connect to %s\n", why);
        mqtt5_client_free(client);
        return 1;
    }
    const unsigned long queued = publish_all(client, &progress, wanted);
    const enum mqtt5_error error = mqtt5_client_disconnect(client, NULL, TIMEOUT_MS);
    printf("%lu messages acknowledged\n", queued - progress.failed);
    mqtt5_client_free(client);
    return queued == wanted && progress.failed == 0 && error == MQTT5_OK ? 0 : 1;
}
