/* The broker's listeners.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/listeners.h"

#include "base/bytes.h"
#include "host/listener.h"
#include "host/log_event.h"
#include "host/worker.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_PORT 1883
#define KEY_SIZE     512 /* bytes of the text that tells listeners apart */

static const struct mqtt5_listener defaults[] = {
    {.host = "127.0.0.1", .port = DEFAULT_PORT},
    {.host = "::1", .port = DEFAULT_PORT},
};

__attribute__((format(printf, 3, 4))) static enum mqtt5_error fail(char why[M5_DOOR_WHY_SIZE],
                                                                   enum mqtt5_error error,
                                                                   const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, M5_DOOR_WHY_SIZE, format, arguments);
    va_end(arguments);
    return error;
}

void m5_listeners_init(struct m5_listeners *listeners, struct m5_crew *crew, struct m5_log *log)
{
    *listeners = (struct m5_listeners){.crew = crew, .log = log};
}

/* The listeners that @p options ask for. */
static const struct mqtt5_listener *wanted(const struct mqtt5_broker_options *options,
                                           size_t *count)
{
    *count = options->listener_count == 0 ? M5_COUNT_OF(defaults) : options->listener_count;
    return options->listener_count == 0 ? defaults : options->listeners;
}

/* ---- slots ---- */

static void make_key(const struct mqtt5_listener *listener, size_t index, char key[KEY_SIZE])
{
    const char *host = listener->host == NULL ? "" : listener->host;
    if (listener->transport == MQTT5_TRANSPORT_UNIX)
        snprintf(key, KEY_SIZE, "unix:%s", listener->path == NULL ? "" : listener->path);
    else if (listener->port == 0) /* each of them is another one */
        snprintf(key, KEY_SIZE, "%d:%s:0#%zu", (int)listener->transport, host, index);
    else
        snprintf(key, KEY_SIZE, "%d:%s:%u", (int)listener->transport, host, listener->port);
}

/* The slot for @p key, for ever the same; M5_DOORS_MAX: there are no more, or no memory. */
static uint32_t slot_of(struct m5_listeners *listeners, const char *key)
{
    for (uint32_t slot = 0; slot < listeners->slot_count; slot++)
        if (strcmp(listeners->keys[slot], key) == 0)
            return slot;
    if (listeners->slot_count == M5_DOORS_MAX)
        return M5_DOORS_MAX;
    listeners->keys[listeners->slot_count] = strdup(key);
    return listeners->keys[listeners->slot_count] == NULL ? M5_DOORS_MAX : listeners->slot_count++;
}

enum mqtt5_error m5_listeners_assign(struct m5_listeners *listeners,
                                     const struct mqtt5_broker_options *options,
                                     uint32_t slots[M5_LISTENERS_MAX], char why[M5_DOOR_WHY_SIZE])
{
    size_t count;
    const struct mqtt5_listener *all = wanted(options, &count);
    if (count > M5_LISTENERS_MAX)
        return fail(why, MQTT5_ERR_CONFIG, "more than %d listeners", M5_LISTENERS_MAX);
    for (size_t i = 0; i < count; i++) {
        char key[KEY_SIZE];
        make_key(&all[i], i, key);
        slots[i] = slot_of(listeners, key);
        if (slots[i] == M5_DOORS_MAX)
            return fail(why, MQTT5_ERR_NOMEM,
                        "too many different listeners since the start: restart the broker");
        for (size_t j = 0; j < i; j++)
            if (slots[j] == slots[i])
                return fail(why, MQTT5_ERR_CONFIG, "two listeners have the same address: %s",
                            strchr(key, ':') + 1);
    }
    return MQTT5_OK;
}

/* ---- opening ---- */

static const char *bind_advice(int error)
{
    switch (error) {
    case EADDRINUSE: return "another program listens there: stop it or choose another port";
    case EACCES: return "ports below 1024 need the right to bind them (CAP_NET_BIND_SERVICE)";
    case EADDRNOTAVAIL: return "this machine does not have that address";
    case EAFNOSUPPORT: return "this machine does not speak that protocol family";
    default: return "that is what the system says";
    }
}

static enum mqtt5_error bind_failed(const struct m5_address *address, int error,
                                    char why[M5_DOOR_WHY_SIZE])
{
    char text[M5_ADDRESS_TEXT_SIZE];
    m5_address_format(address, text);
    fail(why, MQTT5_ERR_IO, "cannot listen on %s: %s (%s)", text, strerror(error),
         bind_advice(error));
    errno = error;
    return MQTT5_ERR_IO;
}

/* Gives @p fd to worker @p index; it is closed on failure. */
static enum mqtt5_error give(struct m5_crew *crew, uint32_t index, int fd, uint32_t slot,
                             char why[M5_DOOR_WHY_SIZE])
{
    if (m5_reception_order(&crew->workers[index], fd, slot))
        return MQTT5_OK;
    close(fd);
    return fail(why, MQTT5_ERR_NOMEM, "no memory for a listener");
}

/* Opens @p address for every worker; on MQTT5_ERR_IO errno says why. */
static enum mqtt5_error listen_on(struct m5_crew *crew, struct m5_address *address, uint32_t slot,
                                  char why[M5_DOOR_WHY_SIZE])
{
    const bool shared = crew->worker_count > 1;
    if (shared && !m5_listener_probe(address))
        return bind_failed(address, errno, why);
    for (uint32_t i = 0; i < crew->worker_count; i++) {
        const int fd = m5_listener_open(address, shared);
        if (fd < 0)
            return bind_failed(address, errno, why);
        const enum mqtt5_error error = give(crew, i, fd, slot, why);
        if (error != MQTT5_OK)
            return error;
    }
    return MQTT5_OK;
}

static void log_listener(struct m5_listeners *listeners, enum m5_log_event event,
                         const struct m5_door *door, const char *address, const char *why)
{
    if (!m5_log_begin(listeners->log, event))
        return;
    m5_log_text(listeners->log, "address", m5_bytes_of(address));
    m5_log_word(listeners->log, "transport", m5_door_transport(door));
    if (door->name != NULL)
        m5_log_text(listeners->log, "listener", m5_bytes_of(door->name));
    if (why != NULL)
        m5_log_text(listeners->log, "why", m5_bytes_of(why));
    m5_log_end(listeners->log);
    m5_log_flush(listeners->log);
}

/* An address of a family that this machine has switched off, IPv6 as a rule. */
static bool family_missing(int error)
{
    return error == EAFNOSUPPORT || error == EADDRNOTAVAIL;
}

/* Opens all addresses of one listener. Of several, those of a missing family are passed over as
 * long as one is left; they then share the port that the first was given. */
static enum mqtt5_error open_addresses(struct m5_listeners *listeners,
                                       const struct mqtt5_listener *listener,
                                       const struct m5_door *door, uint16_t *port,
                                       char why[M5_DOOR_WHY_SIZE])
{
    struct m5_address addresses[M5_ADDRESSES_MAX];
    const char *unknown = "", *host = listener->host == NULL ? "" : listener->host;
    const size_t count = m5_address_resolve(host, listener->port, addresses, &unknown);
    if (count == 0) {
        errno = 0;
        return fail(why, MQTT5_ERR_IO, "cannot listen on %s: %s", host, unknown);
    }
    enum mqtt5_error error = MQTT5_OK;
    *port = 0;
    for (size_t i = 0; i < count; i++) {
        char text[M5_ADDRESS_TEXT_SIZE];
        if (*port != 0)
            m5_address_set_port(&addresses[i], *port);
        error = listen_on(listeners->crew, &addresses[i], door->index, why);
        m5_address_format(&addresses[i], text);
        if (error == MQTT5_OK) {
            *port = m5_address_port(&addresses[i]);
            log_listener(listeners, M5_LOG_LISTENER_READY, door, text, NULL);
        } else if (error == MQTT5_ERR_IO && count > 1 && family_missing(errno)) {
            log_listener(listeners, M5_LOG_LISTENER_SKIPPED, door, text, why);
        } else {
            return error;
        }
    }
    return *port == 0 ? error : MQTT5_OK;
}

/* A Unix socket is listened to by the first worker alone: connections are spread when they say who
 * they are. */
static enum mqtt5_error open_unix(struct m5_listeners *listeners,
                                  const struct mqtt5_listener *listener, const struct m5_door *door,
                                  char **path, char why[M5_DOOR_WHY_SIZE])
{
    const int fd = m5_listener_open_unix(listener, why, M5_DOOR_WHY_SIZE);
    if (fd < 0)
        return MQTT5_ERR_IO;
    if (listener->path[0] != '@') {
        *path = strdup(listener->path);
        if (*path == NULL) {
            close(fd);
            return fail(why, MQTT5_ERR_NOMEM, "no memory for a listener");
        }
    }
    const enum mqtt5_error error = give(listeners->crew, 0, fd, door->index, why);
    if (error == MQTT5_OK)
        log_listener(listeners, M5_LOG_LISTENER_READY, door, listener->path, NULL);
    return error;
}

static void set_door(struct m5_listeners *listeners, uint32_t slot, struct m5_door *door)
{
    struct m5_door *before = atomic_exchange(&listeners->crew->doors[slot], door);
    if (before == NULL)
        return;
    m5_door_shut(before);
    if (listeners->retired_count < M5_DOORS_MAX)
        listeners->retired[listeners->retired_count++] = before;
}

static void recheck(struct m5_listeners *listeners)
{
    for (uint32_t i = 0; i < listeners->crew->worker_count; i++)
        m5_reception_recheck(&listeners->crew->workers[i]);
}

static void forget(struct m5_listener_entry *entry)
{
    if (entry->path != NULL)
        (void)unlink(entry->path);
    free(entry->path);
    entry->path = NULL;
}

/* Makes *out, a door with its limits, not yet open. */
static enum mqtt5_error make_door(struct m5_listeners *listeners,
                                  const struct mqtt5_broker_options *options,
                                  const struct mqtt5_listener *listener, uint32_t slot,
                                  struct m5_door **out, char why[M5_DOOR_WHY_SIZE])
{
    const uint32_t most = listener->maximum_packet_size > 0 ? listener->maximum_packet_size
                                                            : options->config.maximum_packet_size;
    *out = m5_door_new(listener, slot, most, why);
    if (*out == NULL)
        return MQTT5_ERR_CONFIG;
    if (m5_admission_limit(listeners->crew->admission, slot, &(*out)->admission))
        return MQTT5_OK;
    m5_door_free(*out);
    return fail(why, MQTT5_ERR_NOMEM, "no memory for a listener");
}

/* Opens one listener into *entry. */
static enum mqtt5_error open_entry(struct m5_listeners *listeners,
                                   const struct mqtt5_broker_options *options,
                                   const struct mqtt5_listener *listener, uint32_t slot,
                                   struct m5_listener_entry *entry, char why[M5_DOOR_WHY_SIZE])
{
    *entry = (struct m5_listener_entry){.slot = slot};
    struct m5_door *door;
    enum mqtt5_error error = make_door(listeners, options, listener, slot, &door, why);
    if (error != MQTT5_OK)
        return error;
    set_door(listeners, slot, door);
    error = listener->transport == MQTT5_TRANSPORT_UNIX
                ? open_unix(listeners, listener, door, &entry->path, why)
                : open_addresses(listeners, listener, door, &entry->port, why);
    if (error == MQTT5_OK)
        return MQTT5_OK;
    const int number = errno;
    set_door(listeners, slot, NULL);
    forget(entry);
    recheck(listeners);
    errno = number;
    return error;
}

enum mqtt5_error m5_listeners_open(struct m5_listeners *listeners,
                                   const struct mqtt5_broker_options *options,
                                   char why[M5_DOOR_WHY_SIZE])
{
    uint32_t slots[M5_LISTENERS_MAX];
    size_t count, missing = 0;
    const struct mqtt5_listener *all = wanted(options, &count);
    enum mqtt5_error error = m5_listeners_assign(listeners, options, slots, why);
    for (size_t i = 0; i < count && error == MQTT5_OK; i++) {
        struct m5_listener_entry *entry = &listeners->entries[listeners->count];
        error = open_entry(listeners, options, &all[i], slots[i], entry, why);
        listeners->count += error == MQTT5_OK;
        /* Of the default ones, one family is enough. */
        if (options->listener_count == 0 && error == MQTT5_ERR_IO && family_missing(errno) &&
            ++missing < count) {
            *entry = (struct m5_listener_entry){.slot = slots[i]};
            listeners->count++;
            error = MQTT5_OK;
        }
    }
    return error;
}

/* ---- changing ---- */

enum mqtt5_error m5_listeners_check(struct m5_listeners *listeners,
                                    const struct mqtt5_broker_options *options,
                                    char why[M5_DOOR_WHY_SIZE])
{
    uint32_t slots[M5_LISTENERS_MAX];
    size_t count;
    const struct mqtt5_listener *all = wanted(options, &count);
    const enum mqtt5_error error = m5_listeners_assign(listeners, options, slots, why);
    if (error != MQTT5_OK)
        return error;
    for (size_t i = 0; i < count; i++) {
        struct m5_door *door = m5_door_new(&all[i], slots[i], 1, why);
        if (door == NULL)
            return MQTT5_ERR_CONFIG;
        m5_door_free(door);
    }
    return MQTT5_OK;
}

static struct m5_listener_entry *find(struct m5_listeners *listeners, uint32_t slot)
{
    for (size_t i = 0; i < listeners->count; i++)
        if (listeners->entries[i].slot == slot)
            return &listeners->entries[i];
    return NULL;
}

static void note_failure(struct m5_listeners_change *change, const char *why)
{
    if (change->failed++ == 0)
        snprintf(change->why, sizeof change->why, "%s", why);
}

/* A listener that stays: new settings for whoever comes from now on. */
static void renew(struct m5_listeners *listeners, const struct mqtt5_broker_options *options,
                  const struct mqtt5_listener *listener, uint32_t slot,
                  struct m5_listeners_change *change)
{
    char why[M5_DOOR_WHY_SIZE];
    if (listeners->retired_count == M5_DOORS_MAX) {
        note_failure(change, "listeners were changed too often: restart the broker");
        return;
    }
    struct m5_door *door;
    if (make_door(listeners, options, listener, slot, &door, why) != MQTT5_OK) {
        note_failure(change, why);
        return;
    }
    struct m5_door *before = m5_crew_door(listeners->crew, slot);
    if (before != NULL && m5_door_same(before, door)) {
        m5_door_adopt_tls(before, door);
        m5_door_free(door);
        return;
    }
    set_door(listeners, slot, door);
    change->changed++;
}

static void close_entry(struct m5_listeners *listeners, struct m5_listener_entry *entry)
{
    struct m5_door *door = m5_crew_door(listeners->crew, entry->slot);
    if (door != NULL)
        log_listener(listeners, M5_LOG_LISTENER_CLOSED, door,
                     strchr(listeners->keys[entry->slot], ':') + 1, NULL);
    set_door(listeners, entry->slot, NULL);
    forget(entry);
}

/* Drops the entries that are not kept, in order. */
static void close_rest(struct m5_listeners *listeners, struct m5_listeners_change *change)
{
    size_t kept = 0;
    for (size_t i = 0; i < listeners->count; i++) {
        struct m5_listener_entry *entry = &listeners->entries[i];
        if (entry->kept) {
            listeners->entries[kept++] = *entry;
            continue;
        }
        close_entry(listeners, entry);
        change->closed++;
    }
    listeners->count = kept;
    recheck(listeners);
}

void m5_listeners_change(struct m5_listeners *listeners, const struct mqtt5_broker_options *options,
                         struct m5_listeners_change *change)
{
    uint32_t slots[M5_LISTENERS_MAX];
    size_t count;
    const struct mqtt5_listener *all = wanted(options, &count);
    *change = (struct m5_listeners_change){0};
    if (m5_listeners_assign(listeners, options, slots, change->why) != MQTT5_OK) {
        change->failed = 1;
        return;
    }
    for (size_t i = 0; i < listeners->count; i++)
        listeners->entries[i].kept = false;
    for (size_t i = 0; i < count; i++) {
        struct m5_listener_entry *entry = find(listeners, slots[i]);
        if (entry == NULL)
            continue;
        entry->kept = true;
        renew(listeners, options, &all[i], slots[i], change);
    }
    close_rest(listeners, change);
    for (size_t i = 0; i < count; i++) {
        char why[M5_DOOR_WHY_SIZE];
        if (find(listeners, slots[i]) != NULL)
            continue;
        struct m5_listener_entry *entry = &listeners->entries[listeners->count];
        if (open_entry(listeners, options, &all[i], slots[i], entry, why) != MQTT5_OK) {
            note_failure(change, why);
            continue;
        }
        entry->kept = true;
        listeners->count++;
        change->opened++;
    }
}

uint16_t m5_listeners_port(const struct m5_listeners *listeners, size_t index)
{
    return index < listeners->count ? listeners->entries[index].port : 0;
}

void m5_listeners_fini(struct m5_listeners *listeners)
{
    for (size_t i = 0; i < listeners->count; i++)
        forget(&listeners->entries[i]);
    for (uint32_t slot = 0; slot < listeners->slot_count; slot++) {
        m5_door_free(m5_crew_door(listeners->crew, slot));
        free(listeners->keys[slot]);
    }
    for (uint32_t i = 0; i < listeners->retired_count; i++)
        m5_door_free(listeners->retired[i]);
    *listeners = (struct m5_listeners){0};
}
