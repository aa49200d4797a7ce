/* The server in memory behind a mock client, and what it notes.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_CLIENT_MOCK_H
#define M5_HOST_CLIENT_MOCK_H

#include "host/client/link.h"

#include <mqtt5/mock.h>

struct m5_client_mock;

uint64_t m5_client_mock_now(const struct m5_client_mock *mock);

/* Lets time pass: until something is due, at most @p wait_ms (-1: no limit). */
void m5_client_mock_sleep(struct m5_client_mock *mock, int wait_ms);

void m5_client_mock_free(struct m5_client_mock *mock);

/* Gives @p link its stream; false: the network refuses, as scripted. */
bool m5_client_mock_open(struct m5_client_mock *mock, struct m5_link *link);

/* Notes a call of the program, with @p url or @p topic; nothing for a real client. */
void m5_client_mock_note(struct mqtt5_client *client, enum mqtt5_mock_operation operation,
                         const char *url, const struct mqtt5_bytes *topic, uint8_t qos);

/* The same for a publish; the error that the call is to fail with. */
enum mqtt5_error m5_client_mock_note_publish(struct mqtt5_client *client,
                                             const struct mqtt5_publish *publish);

#endif
