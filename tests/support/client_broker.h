/* A broker of ours in the test's process, on a port of loopback, for tests of the client.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef TEST_CLIENT_BROKER_H
#define TEST_CLIENT_BROKER_H

#include <stddef.h>

/* Group fixtures of cmocka. */
int client_broker_start(void **state);
int client_broker_stop(void **state);

/* Writes "mqtt://HOST:port", where HOST is 127.0.0.1 or a name for it. */
void client_broker_url(const char *host, char *out, size_t size);

#endif
