/* A broker in this program, and a client that watches its figures: $SYS topics.
 *
 *     broker_with_monitoring [PORT]     default: any free port, on loopback
 *
 * Prints each figure once and ends; leave out the end for a monitor that goes on.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <mqtt5/mqtt5.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MS 10000

static const char *const wanted[] = {
    "$SYS/broker/clients/connected",
    "$SYS/broker/subscriptions/count",
};
#define WANTED (sizeof wanted / sizeof *wanted)

static void *serve(void *broker)
{
    if (mqtt5_broker_run(broker) != MQTT5_OK)
        fprintf(stderr, "the broker has failed\n");
    return NULL;
}

static void print_figure(void *ctx, const struct mqtt5_message *message)
{
    bool *seen = ctx;
    const struct mqtt5_publish *figure = message->publish;
    if (figure->retain)
        return; /* from before we came */
    for (size_t i = 0; i < WANTED; i++) {
        if (seen[i] || figure->topic.len != strlen(wanted[i]) ||
            memcmp(figure->topic.data, wanted[i], figure->topic.len) != 0)
            continue;
        seen[i] = true;
        printf("%s: %.*s\n", wanted[i] + strlen("$SYS/broker/"), (int)figure->payload.len,
               (const char *)figure->payload.data);
    }
}

static enum mqtt5_error watch(struct mqtt5_client *client, const char *url)
{
    bool seen[WANTED] = {false};
    enum mqtt5_error error = mqtt5_client_connect(client, url, TIMEOUT_MS);
    if (error == MQTT5_OK)
        error = mqtt5_client_subscribe_one(client, "$SYS/#", 0, print_figure, seen, TIMEOUT_MS,
                                           NULL, NULL);
    for (size_t i = 0; i < WANTED && error == MQTT5_OK; i++) {
        while (!seen[i] && error == MQTT5_OK)
            error = mqtt5_client_process(client, TIMEOUT_MS);
    }
    return error;
}

static enum mqtt5_error monitor(struct mqtt5_broker *broker)
{
    char url[64];
    struct mqtt5_client *client;
    struct mqtt5_client_options options;
    snprintf(url, sizeof url, "mqtt://127.0.0.1:%u", mqtt5_broker_port(broker, 0));
    mqtt5_client_options_init(&options);
    options.own_thread = false;
    enum mqtt5_error error = mqtt5_client_new(&options, &client);
    if (error == MQTT5_OK)
        error = watch(client, url);
    mqtt5_client_free(client);
    return error;
}

int main(int argc, char **argv)
{
    const char *why;
    pthread_t thread;
    struct mqtt5_broker *broker;
    struct mqtt5_broker_options options;
    const struct mqtt5_listener listener = {
        .host = "127.0.0.1",
        .port = (uint16_t)(argc > 1 ? strtoul(argv[1], NULL, 10) : 0),
    };
    mqtt5_broker_options_init(&options);
    options.listeners = &listener;
    options.listener_count = 1;
    options.config.allow_anonymous = true;
    options.config.sys_interval_s = 1; /* how often the figures are published */
    options.log_level = MQTT5_LOG_WARNING;
    if (mqtt5_broker_new(&options, &broker, &why) != MQTT5_OK) {
        fprintf(stderr, "no broker: %s\n", why);
        return 1;
    }
    if (pthread_create(&thread, NULL, serve, broker) != 0)
        return 1;
    const enum mqtt5_error error = monitor(broker);
    if (error != MQTT5_OK)
        fprintf(stderr, "%s\n", mqtt5_error_text(error));
    mqtt5_broker_stop(broker);
    pthread_join(thread, NULL);
    mqtt5_broker_free(broker);
    return error == MQTT5_OK ? 0 : 1;
}
