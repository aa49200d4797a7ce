/* Where a client connects to: URLs of servers.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_CLIENT_URL_H
#define M5_HOST_CLIENT_URL_H

#include "host/address.h"

#include <mqtt5/error.h>

/* Reads "mqtt://host:port", "tcp://host:port" or a bare "host:port"; the port may be left out.
 * MQTT5_ERR_UNSUPPORTED for a transport this build lacks, MQTT5_ERR_INVALID_ARGUMENT for the rest,
 * with a sentence part in @p why of @p why_size bytes. */
enum mqtt5_error m5_url_parse(const char *url, struct m5_endpoint *out, char *why, size_t why_size);

#endif
