/* How a program that uses a client is tested without a server: report_all() below is the program,
 * main() its test.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <mqtt5/mock.h>

#include <stdio.h>
#include <string.h>

/* ---- the program: takes any client ---- */

static enum mqtt5_error report(struct mqtt5_client *client, const char *text)
{
    static const char topic[] = "reports";
    const struct mqtt5_publish message = {
        .topic = {(const uint8_t *)topic, sizeof topic - 1},
        .payload = {(const uint8_t *)text, strlen(text)},
        .qos = 1,
    };
    return mqtt5_client_publish(client, &message, 5000, NULL);
}

/* Tries once more when the server is busy. */
static enum mqtt5_error report_all(struct mqtt5_client *client)
{
    enum mqtt5_error error = mqtt5_client_connect(client, "mqtt://reports.example.org", 5000);
    if (error == MQTT5_OK)
        error = report(client, "all is well");
    if (error == MQTT5_ERR_REFUSED)
        error = report(client, "all is well");
    return error;
}

/* ---- its test ---- */

static int expect(int condition, const char *what)
{
    if (!condition)
        fprintf(stderr, "not so: %s\n", what);
    return condition ? 0 : 1;
}

int main(void)
{
    struct mqtt5_client *client;
    struct mqtt5_mock_called call;
    const struct mqtt5_mock_step busy = {
        .operation = MQTT5_MOCK_PUBLISH,
        .reason_code = MQTT5_REASON_QUOTA_EXCEEDED,
        .delay_ms = 200, /* virtual: the test does not wait */
        .times = 1,
    };
    if (mqtt5_client_mock_new(NULL, &client) != MQTT5_OK)
        return 1;
    mqtt5_mock_script(client, &busy);
    int wrong = expect(report_all(client) == MQTT5_OK, "the report arrives");
    wrong += expect(mqtt5_mock_call_count(client) == 3, "connect and two publishes");
    wrong += expect(mqtt5_mock_call(client, 2, &call) == MQTT5_OK && call.qos == 1, "QoS 1");
    mqtt5_client_free(client);
    if (wrong == 0)
        printf("tested\n");
    return wrong;
}
