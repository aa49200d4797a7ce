/* The broker's listeners: opening their sockets, and changing them while it runs.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_LISTENERS_H
#define M5_HOST_LISTENERS_H

#include "host/door.h"
#include "host/log.h"

#include <mqtt5/broker.h>

#define M5_LISTENERS_MAX 64  /* at a time */
#define M5_DOORS_MAX     512 /* different addresses in the life of a broker */

struct m5_crew;

/* One listener that is open. */
struct m5_listener_entry {
    uint32_t slot; /* of its door */
    uint16_t port; /* 0: a Unix socket */
    char *path;    /* of a Unix socket's file, to be removed at the end; NULL */
    bool kept;     /* while they are being changed */
};

struct m5_listeners {
    struct m5_crew *crew;
    struct m5_log *log;
    struct m5_listener_entry entries[M5_LISTENERS_MAX];
    size_t count;
    char *keys[M5_DOORS_MAX]; /* by slot: which listener it is for, for ever */
    uint32_t slot_count;
    struct m5_door *retired[M5_DOORS_MAX]; /* replaced; connections may still be theirs */
    uint32_t retired_count;
};

/* What became of the listeners. */
struct m5_listeners_change {
    uint32_t opened, closed, changed, failed;
    char why[M5_DOOR_WHY_SIZE]; /* of the first failure */
};

void m5_listeners_init(struct m5_listeners *listeners, struct m5_crew *crew, struct m5_log *log);

/* Opens @p options' listeners, all or none, before the broker runs.
 * @return MQTT5_OK, or with a sentence in @p why MQTT5_ERR_CONFIG, MQTT5_ERR_IO (and errno),
 * MQTT5_ERR_NOMEM. */
enum mqtt5_error m5_listeners_open(struct m5_listeners *listeners,
                                   const struct mqtt5_broker_options *options,
                                   char why[M5_DOOR_WHY_SIZE]);

/* Whether m5_listeners_change() could take @p options over, as far as they and the files they name
 * tell. MQTT5_OK, or as above. */
enum mqtt5_error m5_listeners_check(struct m5_listeners *listeners,
                                    const struct mqtt5_broker_options *options,
                                    char why[M5_DOOR_WHY_SIZE]);

/* Makes the listeners those of @p options: closes those that are not there any more, opens new
 * ones, changes the settings of the others; who is connected stays. What cannot be done is left as
 * it is, and counted. One thread at a time. */
void m5_listeners_change(struct m5_listeners *listeners, const struct mqtt5_broker_options *options,
                         struct m5_listeners_change *change);

/* Gives each listener of @p options its slot: by transport and address the same one for ever, so
 * that what a slot was allowed never becomes somebody else's. */
enum mqtt5_error m5_listeners_assign(struct m5_listeners *listeners,
                                     const struct mqtt5_broker_options *options,
                                     uint32_t slots[M5_LISTENERS_MAX], char why[M5_DOOR_WHY_SIZE]);

/* The port of listener @p index of the options it was opened with; 0: none. */
uint16_t m5_listeners_port(const struct m5_listeners *listeners, size_t index);

/* No worker runs any more. */
void m5_listeners_fini(struct m5_listeners *listeners);

#endif
