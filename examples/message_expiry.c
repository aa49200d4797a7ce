/* A reader is away for two seconds. Of the messages that wait for it one is of no use by then, and
 * does not come; the other tells how much of its time is left.
 *
 *     message_expiry [URL]     default: mqtt://localhost:1883
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <mqtt5/mqtt5.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

#define TIMEOUT_MS 10000
#define TOPIC      "news/weather"

static struct mqtt5_bytes bytes_of(const char *text)
{
    return (struct mqtt5_bytes){.data = (const uint8_t *)text, .len = strlen(text)};
}

static void print_news(void *ctx, const struct mqtt5_message *message)
{
    int *received = ctx;
    const struct mqtt5_publish *news = message->publish;
    const bool fresh = MQTT5_HAS(&news->properties, MESSAGE_EXPIRY_INTERVAL) &&
                       news->properties.message_expiry_interval_s < 3600;
    printf("%.*s%s\n", (int)news->payload.len, (const char *)news->payload.data,
           fresh ? " (for less than an hour from now)" : "");
    ++*received;
}

static enum mqtt5_error publish(struct mqtt5_client *client, const char *text, uint32_t expiry_s)
{
    struct mqtt5_publish news = {
        .topic = bytes_of(TOPIC),
        .payload = bytes_of(text),
        .qos = 1,
    };
    news.properties.message_expiry_interval_s = expiry_s;
    MQTT5_SET(&news.properties, MESSAGE_EXPIRY_INTERVAL);
    return mqtt5_client_publish(client, &news, TIMEOUT_MS, NULL);
}

/* A client without a thread of its own, whose session the server keeps while it is away. */
static struct mqtt5_client *make_client(const char *id, int *received)
{
    struct mqtt5_client *client;
    struct mqtt5_client_options options;
    mqtt5_client_options_init(&options);
    options.client_id = id;
    options.session_expiry_s = 60;
    options.own_thread = false;
    options.on_message = print_news;
    options.ctx = received;
    options.clean_start = false;
    options.session_known = true;
    return mqtt5_client_new(&options, &client) == MQTT5_OK ? client : NULL;
}

static enum mqtt5_error tell_story(const char *url, struct mqtt5_client *reader,
                                   struct mqtt5_client *station, const int *received)
{
    const struct timespec two_seconds = {.tv_sec = 2};
    enum mqtt5_error error = mqtt5_client_connect(reader, url, TIMEOUT_MS);
    if (error == MQTT5_OK)
        error = mqtt5_client_subscribe_one(reader, TOPIC, 1, NULL, NULL, TIMEOUT_MS, NULL, NULL);
    if (error == MQTT5_OK)
        error = mqtt5_client_disconnect(reader, NULL, TIMEOUT_MS);
    if (error == MQTT5_OK)
        error = mqtt5_client_connect(station, url, TIMEOUT_MS);
    if (error == MQTT5_OK)
        error = publish(station, "rain now", 1);
    if (error == MQTT5_OK)
        error = publish(station, "sun tomorrow", 3600);
    nanosleep(&two_seconds, NULL);
    if (error == MQTT5_OK)
        error = mqtt5_client_connect(reader, url, TIMEOUT_MS);
    while (error == MQTT5_OK && *received == 0)
        error = mqtt5_client_process(reader, TIMEOUT_MS);
    return error;
}

int main(int argc, char **argv)
{
    int received = 0;
    struct mqtt5_client *reader = make_client("expiry-reader", &received);
    struct mqtt5_client *station = make_client("expiry-station", &received);
    enum mqtt5_error error = MQTT5_ERR_NOMEM;
    if (reader != NULL && station != NULL)
        error =
            tell_story(argc > 1 ? argv[1] : "mqtt://localhost:1883", reader, station, &received);
    if (error != MQTT5_OK)
        fprintf(stderr, "%s\n", mqtt5_error_text(error));
    mqtt5_client_free(reader);
    mqtt5_client_free(station);
    return error == MQTT5_OK ? 0 : 1;
}
