/* Asks a service for something and prints the answer; the service is in this program as well.
 *
 *     request_answer [URL]     default: mqtt://localhost:1883
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <mqtt5/mqtt5.h>

#include <stdio.h>
#include <string.h>

#define TIMEOUT_MS 10000

static struct mqtt5_bytes bytes_of(const char *text)
{
    return (struct mqtt5_bytes){.data = (const uint8_t *)text, .len = strlen(text)};
}

/* The service: answers where the request wants it. */
static void serve(void *ctx, const struct mqtt5_message *message)
{
    (void)ctx;
    const struct mqtt5_publish answer = {.payload = bytes_of("21.5 °C"), .qos = 1};
    if (mqtt5_client_answer_async(message->client, message->publish, &answer, NULL, NULL) !=
        MQTT5_OK)
        fprintf(stderr, "a request without a response topic\n");
}

static void print_answer(void *ctx, enum mqtt5_error error, const struct mqtt5_publish *answer)
{
    int *done = ctx;
    if (error == MQTT5_OK)
        printf("%.*s\n", (int)answer->payload.len, (const char *)answer->payload.data);
    else
        printf("%s\n", mqtt5_error_text(error));
    *done = 1;
}

static enum mqtt5_error ask(struct mqtt5_client *client)
{
    int done = 0;
    const struct mqtt5_publish request = {.topic = bytes_of("services/temperature"), .qos = 1};
    enum mqtt5_error error = mqtt5_client_subscribe_one(client, "services/temperature", 1, serve,
                                                        NULL, TIMEOUT_MS, NULL, NULL);
    if (error == MQTT5_OK)
        error = mqtt5_client_request_async(client, &request, TIMEOUT_MS, print_answer, &done);
    while (error == MQTT5_OK && !done)
        error = mqtt5_client_process(client, TIMEOUT_MS);
    return error;
}

int main(int argc, char **argv)
{
    struct mqtt5_client *client;
    struct mqtt5_client_options options;
    mqtt5_client_options_init(&options);
    options.own_thread = false;
    enum mqtt5_error error = mqtt5_client_new(&options, &client);
    if (error == MQTT5_OK)
        error =
            mqtt5_client_connect(client, argc > 1 ? argv[1] : "mqtt://localhost:1883", TIMEOUT_MS);
    if (error == MQTT5_OK)
        error = ask(client);
    if (error != MQTT5_OK)
        fprintf(stderr, "%s\n", mqtt5_error_text(error));
    mqtt5_client_free(client);
    return error == MQTT5_OK ? 0 : 1;
}
