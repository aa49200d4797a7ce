/* A broker for TLS, and for WebSocket over it: `broker_with_tls CERTIFICATE KEY [PORT]`, on
 * loopback, until interrupted. WebSocket is at the next port, path /mqtt.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <mqtt5/mqtt5.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static struct mqtt5_broker *broker;

static void stop(int number)
{
    (void)number;
    mqtt5_broker_stop(broker);
}

int main(int argc, char **argv)
{
    const char *why;
    if (argc < 3) {
        fprintf(stderr, "usage: broker_with_tls CERTIFICATE KEY [PORT]\n");
        return 2;
    }
    const unsigned long port = argc > 3 ? strtoul(argv[3], NULL, 10) : 8883;
    const struct mqtt5_tls_credential credential = {.certificate_file = argv[1],
                                                    .key_file = argv[2]};
    struct mqtt5_tls_server_options tls;
    mqtt5_tls_server_options_init(&tls);
    tls.credentials = &credential;
    tls.credential_count = 1;
    const struct mqtt5_listener listeners[] = {
        {.host = "127.0.0.1",
         .port = (uint16_t)port,
         .transport = MQTT5_TRANSPORT_TLS,
         .tls = &tls},
        {.host = "127.0.0.1",
         .port = (uint16_t)(port == 0 ? 0 : port + 1),
         .transport = MQTT5_TRANSPORT_WSS,
         .tls = &tls},
    };
    struct mqtt5_broker_options options;
    mqtt5_broker_options_init(&options);
    options.listeners = listeners;
    options.listener_count = 2;
    options.config.allow_anonymous = true;
    if (mqtt5_broker_new(&options, &broker, &why) != MQTT5_OK) {
        fprintf(stderr, "no broker: %s\n", why);
        return 1;
    }
    signal(SIGINT, stop);
    signal(SIGTERM, stop);
    printf("mqtts://localhost:%u wss://localhost:%u/mqtt\n", mqtt5_broker_port(broker, 0),
           mqtt5_broker_port(broker, 1));
    fflush(stdout);
    const enum mqtt5_error error = mqtt5_broker_run(broker); /* until stop() */
    mqtt5_broker_free(broker);
    return error == MQTT5_OK ? 0 : 1;
}
