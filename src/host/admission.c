/* How many connections a listener takes.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/admission.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/map.h"
#include "broker/rate.h"
#include "host/auth/source.h"

#include <gnutls/crypto.h>
#include <pthread.h>
#include <string.h>

#define NS_A_MS  1000000u
#define START_MS 3600000u /* the clock of the buckets begins here, with all of them full */

/* Whom a connection is counted for. */
struct place {
    struct m5_source source; /* zeros: a Unix socket */
    uint32_t listener;
};

struct entry {
    struct m5_list node; /* in `idle` while nobody is connected, the latest first */
    struct place place;
    uint32_t connections;
    uint32_t ticket;  /* its index in `entries` + 1 */
    uint64_t paid_ns; /* the bucket of its connections */
};

struct listener {
    struct m5_admission_limits limits;
    uint32_t connections;
};

struct m5_admission_table {
    const struct mqtt5_allocator *allocator;
    struct m5_hash_key key;
    pthread_mutex_t lock;
    struct m5_map by_place;
    struct m5_list idle;
    uint32_t idle_count;
    struct listener *listeners;
    uint32_t listener_count;
    struct entry **entries; /* by ticket; NULL where it is free */
    uint32_t entry_count, entry_capacity;
    uint32_t *free_tickets;
    uint32_t free_count, free_capacity;
    uint64_t start_ms; /* of the first question */
    struct m5_admission_counts counts;
};

/* ---- entries ---- */

static bool is_place(const void *value, const void *key)
{
    const struct entry *entry = value;
    return memcmp(&entry->place, key, sizeof entry->place) == 0;
}

static uint32_t hash_of(const struct m5_admission_table *table, const struct place *place)
{
    return (uint32_t)m5_hash(&table->key, m5_bytes((const uint8_t *)place, sizeof *place));
}

static void drop(struct m5_admission_table *table, struct entry *entry)
{
    M5_ASSERT(entry->connections == 0);
    m5_map_remove(&table->by_place, hash_of(table, &entry->place), entry);
    m5_list_remove(&entry->node);
    table->idle_count--;
    table->entries[entry->ticket - 1] = NULL;
    table->free_tickets[table->free_count++] = entry->ticket; /* there is room: see grow() */
    m5_free(table->allocator, entry, sizeof *entry);
}

static struct entry *oldest(struct m5_admission_table *table)
{
    return M5_CONTAINER_OF(table->idle.prev, struct entry, node);
}

/* Of those that are idle, up to two whose buckets are full say nothing any more. */
static void forget_some(struct m5_admission_table *table, uint64_t now_ns)
{
    for (int i = 0; i < 2 && !m5_list_empty(&table->idle); i++) {
        struct entry *entry = oldest(table);
        if (table->idle_count < M5_ADMISSION_IDLE_MAX &&
            !m5_rate_full(entry->paid_ns, now_ns, M5_RATE_SECOND_NS))
            return;
        drop(table, entry);
    }
}

/* Room for another entry, and for its ticket among the free ones when it goes. */
static bool grow(struct m5_admission_table *table)
{
    void *entries = m5_make_room(table->allocator, table->entries, sizeof *table->entries,
                                 table->entry_count, &table->entry_capacity, 64);
    if (entries == NULL)
        return false;
    table->entries = entries;
    void *tickets = m5_make_room(table->allocator, table->free_tickets, sizeof *table->free_tickets,
                                 table->entry_count, &table->free_capacity, 64);
    if (tickets != NULL)
        table->free_tickets = tickets;
    return tickets != NULL;
}

static struct entry *add(struct m5_admission_table *table, const struct place *place)
{
    if (table->free_count == 0 && !grow(table))
        return NULL;
    struct entry *entry = m5_alloc_zero(table->allocator, sizeof *entry);
    if (entry == NULL)
        return NULL;
    entry->place = *place;
    if (!m5_map_add(&table->by_place, hash_of(table, place), entry)) {
        m5_free(table->allocator, entry, sizeof *entry);
        return NULL;
    }
    entry->ticket =
        table->free_count > 0 ? table->free_tickets[--table->free_count] : ++table->entry_count;
    table->entries[entry->ticket - 1] = entry;
    m5_list_push_front(&table->idle, &entry->node);
    table->idle_count++;
    return entry;
}

/* ---- questions ---- */

static bool has_address(const struct place *place)
{
    static const struct m5_source none;
    return memcmp(&place->source, &none, sizeof none) != 0;
}

static bool is_limited(const struct m5_admission_limits *limits)
{
    return limits->connections_max != 0 || limits->connections_per_address_max != 0 ||
           limits->connection_rate_max != 0;
}

/* Looks at all limits before anything is counted, but the rate counts whoever is too many, too: who
 * comes too often is not let in sooner for being many. */
static enum m5_admission decide(struct m5_admission_table *table, const struct listener *listener,
                                struct entry *entry, uint64_t now_ns)
{
    const struct m5_admission_limits *limits = &listener->limits;
    if (limits->connection_rate_max != 0 && has_address(&entry->place)) {
        const uint64_t cost_ns = m5_rate_cost(1, limits->connection_rate_max);
        const uint64_t paid_ns = entry->paid_ns;
        if (!m5_rate_open(paid_ns, now_ns, cost_ns)) {
            table->counts.hasty++;
            return M5_ADMISSION_HASTY;
        }
        entry->paid_ns = m5_rate_taken(paid_ns, now_ns, M5_RATE_SECOND_NS, cost_ns);
    }
    if (limits->connections_max != 0 && listener->connections >= limits->connections_max) {
        table->counts.full++;
        return M5_ADMISSION_FULL;
    }
    if (limits->connections_per_address_max != 0 && has_address(&entry->place) &&
        entry->connections >= limits->connections_per_address_max) {
        table->counts.crowded++;
        return M5_ADMISSION_CROWDED;
    }
    return M5_ADMITTED;
}

static enum m5_admission ask(struct m5_admission_table *table, const struct place *place,
                             uint64_t now_ms, uint32_t *ticket)
{
    struct listener *listener = &table->listeners[place->listener];
    if (table->start_ms == 0)
        table->start_ms = now_ms;
    const uint64_t now_ns = (now_ms - table->start_ms + START_MS) * NS_A_MS;
    forget_some(table, now_ns);
    struct entry *entry = m5_map_find(&table->by_place, hash_of(table, place), is_place, place);
    if (entry == NULL && (entry = add(table, place)) == NULL) {
        table->counts.nomem++;
        return M5_ADMISSION_NOMEM;
    }
    if (entry->connections == 0) { /* the one that was seen last */
        m5_list_remove(&entry->node);
        m5_list_push_front(&table->idle, &entry->node);
    }
    const enum m5_admission answer = decide(table, listener, entry, now_ns);
    if (answer != M5_ADMITTED)
        return answer;
    if (entry->connections++ == 0) {
        m5_list_remove(&entry->node);
        table->idle_count--;
    }
    listener->connections++;
    *ticket = entry->ticket;
    return M5_ADMITTED;
}

enum m5_admission m5_admission_ask(struct m5_admission_table *table, uint32_t listener,
                                   const struct m5_address *address, uint64_t now_ms,
                                   uint32_t *ticket)
{
    struct place place;
    enum m5_admission answer = M5_ADMITTED;
    memset(&place, 0, sizeof place); /* it is hashed */
    place.source = m5_source_counted(m5_source_of(address));
    place.listener = listener;
    *ticket = 0;
    pthread_mutex_lock(&table->lock);
    if (listener < table->listener_count && is_limited(&table->listeners[listener].limits))
        answer = ask(table, &place, now_ms, ticket);
    pthread_mutex_unlock(&table->lock);
    return answer;
}

void m5_admission_leave(struct m5_admission_table *table, uint32_t ticket)
{
    if (ticket == 0)
        return;
    pthread_mutex_lock(&table->lock);
    M5_ASSERT(ticket <= table->entry_count && table->entries[ticket - 1] != NULL);
    struct entry *entry = table->entries[ticket - 1];
    M5_ASSERT(entry->connections > 0);
    table->listeners[entry->place.listener].connections--;
    if (--entry->connections == 0) {
        m5_list_push_front(&table->idle, &entry->node);
        if (++table->idle_count > M5_ADMISSION_IDLE_MAX)
            drop(table, oldest(table));
    }
    pthread_mutex_unlock(&table->lock);
}

struct m5_admission_counts m5_admission_counts(struct m5_admission_table *table)
{
    pthread_mutex_lock(&table->lock);
    const struct m5_admission_counts counts = table->counts;
    pthread_mutex_unlock(&table->lock);
    return counts;
}

const char *m5_admission_text(enum m5_admission answer)
{
    switch (answer) {
    case M5_ADMITTED: return "";
    case M5_ADMISSION_FULL: return "connections_max";
    case M5_ADMISSION_CROWDED: return "connections_per_address_max";
    case M5_ADMISSION_HASTY: return "connection_rate_max";
    case M5_ADMISSION_NOMEM: return "memory";
    }
    return "";
}

/* ---- life ---- */

struct m5_admission_table *m5_admission_new(const struct mqtt5_allocator *allocator)
{
    struct m5_admission_table *table = m5_alloc_zero(allocator, sizeof *table);
    if (table == NULL)
        return NULL;
    if (gnutls_rnd(GNUTLS_RND_NONCE, &table->key, sizeof table->key) != 0) {
        m5_free(allocator, table, sizeof *table);
        return NULL;
    }
    table->allocator = allocator;
    pthread_mutex_init(&table->lock, NULL);
    m5_map_init(&table->by_place, allocator);
    m5_list_init(&table->idle);
    return table;
}

void m5_admission_free(struct m5_admission_table *table)
{
    if (table == NULL)
        return;
    const struct mqtt5_allocator *allocator = table->allocator;
    for (uint32_t i = 0; i < table->entry_count; i++) {
        if (table->entries[i] != NULL)
            m5_free(allocator, table->entries[i], sizeof *table->entries[i]);
    }
    m5_map_fini(&table->by_place);
    m5_free(allocator, table->entries, table->entry_capacity * sizeof *table->entries);
    m5_free(allocator, table->free_tickets, table->free_capacity * sizeof *table->free_tickets);
    m5_free(allocator, table->listeners, table->listener_count * sizeof *table->listeners);
    pthread_mutex_destroy(&table->lock);
    m5_free(allocator, table, sizeof *table);
}

static bool add_listeners(struct m5_admission_table *table, uint32_t count)
{
    struct listener *listeners =
        m5_resize(table->allocator, table->listeners,
                  table->listener_count * sizeof *table->listeners, count * sizeof *listeners);
    if (listeners == NULL)
        return false;
    memset(listeners + table->listener_count, 0,
           (count - table->listener_count) * sizeof *listeners);
    table->listeners = listeners;
    table->listener_count = count;
    return true;
}

bool m5_admission_limit(struct m5_admission_table *table, uint32_t listener,
                        const struct m5_admission_limits *limits)
{
    pthread_mutex_lock(&table->lock);
    const bool known = listener < table->listener_count || add_listeners(table, listener + 1);
    if (known)
        table->listeners[listener].limits = *limits;
    pthread_mutex_unlock(&table->lock);
    return known;
}
