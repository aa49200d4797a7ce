/* The messages of a client that survive its process: the offline queue in a file.
 *
 * Every message of QoS > 0 is written to the file before it is queued, and removed when its end is
 * known; what is there at the start is queued first. The limits and the overflow policy are the
 * queue's own. A record is the time of day of the publish (8 bytes, ms), for the expiry interval,
 * and the PUBLISH packet in the client's version.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_CLIENT_QUEUE_FILE_H
#define M5_HOST_CLIENT_QUEUE_FILE_H

#include "host/client/host.h"

/* Opens options.queue_file, if there is one, and queues what it holds. */
enum mqtt5_error m5_client_queue_open(struct mqtt5_client *client,
                                      const struct mqtt5_client_options *options);
void m5_client_queue_close(struct mqtt5_client *client);

/* Writes @p publish, for which @p op stands; nothing without a file or for QoS 0. */
enum mqtt5_error m5_client_queue_add(struct mqtt5_client *client,
                                     const struct mqtt5_publish *publish, struct m5_client_op *op);

/* The end of @p op is known: its message leaves the file, unless the client itself is ending. */
void m5_client_queue_done(struct mqtt5_client *client, struct m5_client_op *op);

#endif
