/* A broker in twenty lines: `simple_broker [PORT]`, on loopback, until interrupted.
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
    const struct mqtt5_listener listener = {
        .host = "127.0.0.1",
        .port = (uint16_t)(argc > 1 ? strtoul(argv[1], NULL, 10) : 1883),
    };
    struct mqtt5_broker_options options;
    mqtt5_broker_options_init(&options);
    options.listeners = &listener;
    options.listener_count = 1;
    options.config.allow_anonymous = true;
    if (mqtt5_broker_new(&options, &broker, &why) != MQTT5_OK) {
        fprintf(stderr, "no broker: %s\n", why);
        return 1;
    }
    signal(SIGINT, stop);
    signal(SIGTERM, stop);
    printf("MQTT broker running on port %u\n", mqtt5_broker_port(broker, 0));
    fflush(stdout);
    const enum mqtt5_error error = mqtt5_broker_run(broker); /* until stop() */
    mqtt5_broker_free(broker);
    return error == MQTT5_OK ? 0 : 1;
}
