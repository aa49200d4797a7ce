/* A client on a bench: virtual time, an allocator that watches, bytes by hand. After every step the
 * invariants of the client are checked.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef TEST_CLIENT_RIG_H
#define TEST_CLIENT_RIG_H

#include "client/client.h"
#include "support/test_allocator.h"

struct client_rig {
    struct test_allocator allocator;
    struct mqtt5_client_options config; /* change it between init and make */
    struct m5_client *client;
    uint64_t now_ms;
};

/* A CONNACK without anything, in 5.0 and in 3.1.1. */
#define RIG_CONNACK    "20 [00 00 00]"
#define RIG_RESUMED    "20 [01 00 00]"
#define RIG_CONNACK_V3 "20 [00 00]"
#define RIG_RESUMED_V3 "20 [01 00]"

/* Configuration: client id "c", no aliases inbound, the rest as usual. */
void rig_init(struct client_rig *rig);

/* Makes the client; ends the program when that fails. */
void rig_make(struct client_rig *rig);

/* rig_init() and rig_make(). */
void rig_start(struct client_rig *rig);

/* Frees the client and ends the program unless all memory came back. */
void rig_fini(struct client_rig *rig);

/* Opens a connection, drops the CONNECT, feeds @p connack. False unless CONNECTED comes of it. */
bool rig_connect(struct client_rig *rig, const char *connack);

/* What is fed must be taken. @p hex as hex_read() has it. */
void rig_feed(struct client_rig *rig, const char *hex);
void rig_feed_bytes(struct client_rig *rig, struct mqtt5_bytes bytes);

/* Moves the clock and ticks. */
void rig_pass(struct client_rig *rig, uint64_t ms);

/* The next event; false when there is none. */
bool rig_event(struct client_rig *rig, struct m5_client_event *event);

/* The next event must not be there. */
bool rig_quiet(struct client_rig *rig);

/* Takes all output as sent and compares: "" = nothing. Prints both when they differ. */
bool rig_sent(struct client_rig *rig, const char *hex);

/* Takes all output as sent. */
void rig_drop_output(struct client_rig *rig);

/* The transport ends; events are left to be seen. */
void rig_lose(struct client_rig *rig);

/* Publishes @p payload to "t". */
enum mqtt5_error rig_publish(struct client_rig *rig, uint8_t qos, const char *payload, void *ctx);

/* Subscribes to one filter at @p qos. */
enum mqtt5_error rig_subscribe(struct client_rig *rig, const char *filter, uint8_t qos, void *ctx);

/* The next event must be COMPLETED; gives its error, or MQTT5_ERROR_COUNT. */
enum mqtt5_error rig_completed(struct client_rig *rig, void **ctx);

/* Tells whether a connection ends as @p error and, when @p reason is not 0, with a DISCONNECT that
 * says it: drains events and output, closes, looks at the DISCONNECTED event. */
bool rig_ended(struct client_rig *rig, enum mqtt5_error error, uint8_t reason);

#endif
