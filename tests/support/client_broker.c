/* A broker of ours in the test's process.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/client_broker.h"

#include <mqtt5/broker.h>

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>

static struct mqtt5_broker *broker;
static pthread_t thread;

static void no_log(void *ctx, enum mqtt5_log_level level, const char *event, const char *line)
{
    (void)ctx;
    (void)level;
    (void)event;
    (void)line;
}

static void *run(void *unused)
{
    (void)unused;
    return (void *)(uintptr_t)mqtt5_broker_run(broker);
}

int client_broker_start(void **state)
{
    const struct mqtt5_listener listener = {.host = "127.0.0.1", .port = 0};
    struct mqtt5_broker_options options;
    const char *why = "";
    (void)state;
    mqtt5_broker_options_init(&options);
    options.listeners = &listener;
    options.listener_count = 1;
    options.workers = 1;
    options.log = no_log;
    options.config.allow_anonymous = true;
    if (mqtt5_broker_new(&options, &broker, &why) != MQTT5_OK) {
        fprintf(stderr, "no broker: %s\n", why);
        return 1;
    }
    return pthread_create(&thread, NULL, run, NULL);
}

int client_broker_stop(void **state)
{
    (void)state;
    mqtt5_broker_stop(broker);
    pthread_join(thread, NULL);
    mqtt5_broker_free(broker);
    return 0;
}

void client_broker_url(const char *host, char *out, size_t size)
{
    snprintf(out, size, "mqtt://%s:%u", host, mqtt5_broker_port(broker, 0));
}
