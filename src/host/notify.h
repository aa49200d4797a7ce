/* Telling the service manager how we are: the datagram protocol of sd_notify(3), by hand.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_NOTIFY_H
#define M5_HOST_NOTIFY_H

#include <stdbool.h>

/* Sends @p state ("READY=1") to the socket that NOTIFY_SOCKET names. True when it was sent, or when
 * nobody asked for it. */
bool m5_notify(const char *state);

#endif
