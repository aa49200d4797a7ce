/* Connects, subscribes, publishes, prints what comes back: `simple_client [URL]`.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <mqtt5/mqtt5.h>

#include <stdio.h>
#include <string.h>

#define TIMEOUT_MS 5000

static struct mqtt5_bytes text(const char *text)
{
    return (struct mqtt5_bytes){.data = (const uint8_t *)text, .len = strlen(text)};
}

/* Called by mqtt5_client_process(), or by the client's own thread if it has one. */
static void print_message(void *ctx, const struct mqtt5_message *message)
{
    int *received = ctx;
    const struct mqtt5_publish *publish = message->publish;
    printf("%.*s: %.*s\n", (int)publish->topic.len, (const char *)publish->topic.data,
           (int)publish->payload.len, (const char *)publish->payload.data);
    ++*received;
}

static enum mqtt5_error talk(struct mqtt5_client *client)
{
    int received = 0;
    const struct mqtt5_subscription_request filter = {.filter = text("sensors/+/data"), .qos = 1};
    const struct mqtt5_subscribe subscribe = {.count = 1, .items = &filter};
    const struct mqtt5_publish publish = {
        .topic = text("sensors/temp/data"), .payload = text("25.5 °C"), .qos = 1};

    enum mqtt5_error error =
        mqtt5_client_subscribe(client, &subscribe, print_message, &received, TIMEOUT_MS, NULL);
    if (error == MQTT5_OK)
        error = mqtt5_client_publish(client, &publish, TIMEOUT_MS, NULL);
    while (error == MQTT5_OK && received == 0)
        error = mqtt5_client_process(client, TIMEOUT_MS);
    return error;
}

int main(int argc, char **argv)
{
    struct mqtt5_client *client;
    struct mqtt5_client_options config;
    mqtt5_client_options_init(&config);
    config.client_id = "my-device-001";
    config.own_thread = false; /* this program has nothing else to do */
    enum mqtt5_error error = mqtt5_client_new(&config, &client);
    if (error != MQTT5_OK) {
        fprintf(stderr, "no client: %s\n", mqtt5_error_text(error));
        return 1;
    }

    error = mqtt5_client_connect(client, argc > 1 ? argv[1] : "mqtt://localhost:1883", TIMEOUT_MS);
    if (error == MQTT5_OK)
        error = talk(client);
    if (error == MQTT5_OK)
        error = mqtt5_client_disconnect(client, NULL, TIMEOUT_MS);
    if (error != MQTT5_OK) {
        char why[256];
        mqtt5_client_why(client, why, sizeof why);
        fprintf(stderr, "%s (%s)\n", mqtt5_error_text(error), why);
    }
    mqtt5_client_free(client);
    return error == MQTT5_OK ? 0 : 1;
}
