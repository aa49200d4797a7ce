/* What the program that holds a broker may ask of it beside the public API.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_BROKER_H
#define M5_HOST_BROKER_H

#include <mqtt5/broker.h>

#include <stdbool.h>

/* Lets the first worker's loop watch @p fd, which stays the caller's: @p ready is called on that
 * worker's thread whenever it is readable, also while the broker drains. Once, before
 * mqtt5_broker_run(). So a program with one worker has one thread, and system calls on a
 * process of one thread are cheaper. False when the event loop refuses. */
bool m5_broker_watch(struct mqtt5_broker *broker, int fd, void (*ready)(void *ctx), void *ctx);

#endif
