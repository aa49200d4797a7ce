/* Publishes over TLS or WebSocket: `secure_client URL [CA [CERTIFICATE KEY]]`, where URL is one of
 * mqtts://host, wss://host/path and so on. Without CA the authorities of the system decide.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <mqtt5/mqtt5.h>

#include <stdio.h>

#define TIMEOUT_MS 10000

static enum mqtt5_error publish(struct mqtt5_client *client, const char *url)
{
    static const uint8_t topic[] = "sensors/door", payload[] = "closed";
    const struct mqtt5_publish message = {
        .topic = {topic, sizeof topic - 1}, .payload = {payload, sizeof payload - 1}, .qos = 1};
    enum mqtt5_error error = mqtt5_client_connect(client, url, TIMEOUT_MS);
    if (error == MQTT5_OK)
        error = mqtt5_client_publish(client, &message, TIMEOUT_MS, NULL);
    if (error == MQTT5_OK)
        error = mqtt5_client_disconnect(client, NULL, TIMEOUT_MS);
    return error;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: secure_client URL [CA [CERTIFICATE KEY]]\n");
        return 2;
    }
    const char *url = argv[1], *ca = argc > 2 ? argv[2] : NULL;
    const char *certificate = argc > 4 ? argv[3] : NULL, *key = argc > 4 ? argv[4] : NULL;
    struct mqtt5_client *client;
    struct mqtt5_client_options options;
    static const char *const headers[] = {"X-Application: secure_client"};

    mqtt5_client_options_init(&options);
    options.tls.ca_file = ca;                              /* who may vouch for the server */
    options.tls.credential.certificate_file = certificate; /* ours, if it asks for one */
    options.tls.credential.key_file = key;
    options.websocket.headers = headers; /* of ws and wss */
    options.websocket.header_count = 1;

    if (mqtt5_client_new(&options, &client) != MQTT5_OK)
        return 1;
    const enum mqtt5_error error = publish(client, url);
    char why[400];
    mqtt5_client_why(client, why, sizeof why);
    if (error == MQTT5_OK)
        printf("told %s\n",
               options.tls.ca_file != NULL ? "the server that CA vouches for" : "the server");
    else
        fprintf(stderr, "%s (%s)\n", why, mqtt5_error_name(error));
    mqtt5_client_free(client);
    return error == MQTT5_OK ? 0 : 1;
}
