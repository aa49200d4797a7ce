/* A user of the embedded broker: binds one to a free port and lets it go.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <mqtt5/broker.h>

#include <stdio.h>

int main(void)
{
    struct mqtt5_broker_options options;
    const struct mqtt5_listener listener = {.host = "127.0.0.1", .port = 0};
    struct mqtt5_broker *broker = NULL;
    const char *why = "";

    mqtt5_broker_options_init(&options);
    options.listeners = &listener;
    options.listener_count = 1;
    options.workers = 1;
    options.config.allow_anonymous = true;
    if (mqtt5_broker_new(&options, &broker, &why) != MQTT5_OK) {
        fprintf(stderr, "mqtt5_broker_new: %s\n", why);
        return 1;
    }
    int status = mqtt5_broker_port(broker, 0) > 0 ? 0 : 1;
    mqtt5_broker_free(broker);
    return status;
}
