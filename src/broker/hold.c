/* A queue by journal position, and what leaves it.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "broker/hold.h"

#include "broker/shard.h"

#define RING_MIN  64u
#define RING_KEPT 1024u /* entries; a larger ring is given back when it is empty */

static struct m5_hold_entry *entry_at(const struct m5_holds *holds, uint64_t number)
{
    return &holds->entries[number & (holds->capacity - 1)];
}

static bool grow(struct m5_shard *shard, struct m5_holds *holds)
{
    uint32_t capacity = holds->capacity == 0 ? RING_MIN : holds->capacity * 2;
    struct m5_hold_entry *entries = m5_alloc(shard->allocator, capacity * sizeof *entries);
    if (entries == NULL)
        return false;
    for (uint64_t at = holds->head; at != holds->tail; at++)
        entries[at & (capacity - 1)] = *entry_at(holds, at);
    m5_free(shard->allocator, holds->entries, holds->capacity * sizeof *entries);
    holds->entries = entries;
    holds->capacity = capacity;
    return true;
}

/* The last entry if @p held can add to it: nothing is let go between two changes of one batch. */
static struct m5_hold_entry *last_of(const struct m5_shard *shard, const struct m5_holds *holds,
                                     const struct m5_held *held, enum m5_hold_kind kind)
{
    if (holds->head == holds->tail)
        return NULL;
    struct m5_hold_entry *last = entry_at(holds, holds->tail - 1);
    bool same = last->held == held && last->kind == kind && last->position > shard->journal.sealed;
    return same ? last : NULL;
}

/* What waits until it is written does so in a queue of its own, unless something of the same
 * connection is ahead of it that waits longer. */
static struct m5_holds *queue_for(struct m5_shard *shard, const struct m5_held *held,
                                  uint64_t position)
{
    bool written = (position & M5_WHEN_WRITTEN) != 0 && held->strict == 0;
    return written ? &shard->relaxed_holds : &shard->holds;
}

/* An entry at the end of its queue, whose position is never before that of the one ahead of it. */
static bool add(struct m5_shard *shard, struct m5_held *held, enum m5_hold_kind kind,
                uint64_t amount, uint64_t position)
{
    struct m5_holds *holds = queue_for(shard, held, position);
    bool strict = holds == &shard->holds;
    position &= ~M5_WHEN_WRITTEN;
    if (strict && position < held->written)
        position = held->written; /* not before what is ahead of it in the other queue */
    if (holds->tail != holds->head) {
        uint64_t before = entry_at(holds, holds->tail - 1)->position;
        position = position < before ? before : position;
    }
    if (!strict)
        held->written = position;
    if (position > shard->journal.sealed)
        m5_journal_urge(shard, !strict);
    struct m5_hold_entry *last = last_of(shard, holds, held, kind);
    if (last != NULL && position > shard->journal.sealed) {
        if (kind == M5_HOLD_ANSWERS)
            last->amount += amount;
        else if (last->amount < amount)
            last->amount = amount;
        last->position = position;
        return true;
    }
    if (holds->tail - holds->head == holds->capacity && !grow(shard, holds))
        return false;
    *entry_at(holds, holds->tail++) =
        (struct m5_hold_entry){.held = held, .position = position, .amount = amount, .kind = kind};
    held->entries++;
    held->strict += strict;
    M5_COUNT(shard, store_waiting, 1);
    return true;
}

bool m5_hold_reached(const struct m5_shard *shard, uint64_t position)
{
    if ((position & M5_WHEN_WRITTEN) != 0)
        return (position & ~M5_WHEN_WRITTEN) <= shard->journal.written;
    return position <= shard->journal.stored;
}

static struct m5_held *held_of(struct m5_shard *shard, struct m5_held **held)
{
    if (*held == NULL)
        *held = m5_alloc_zero(shard->allocator, sizeof **held);
    return *held;
}

/* Frees what has no entry any more. */
static void settle(struct m5_shard *shard, struct m5_held *held)
{
    if (held->entries > 0)
        return;
    M5_ASSERT(held->conn == NULL || held->answers.size == 0);
    if (held->conn != NULL)
        held->conn->held = NULL;
    if (held->session != NULL)
        held->session->held = NULL;
    m5_output_clear(&held->answers, &shard->chunks);
    m5_free(shard->allocator, held, sizeof *held);
}

uint8_t *m5_hold_answer(struct m5_conn *conn, size_t size, uint64_t position)
{
    struct m5_shard *shard = conn->shard;
    struct m5_held *held = held_of(shard, &conn->held);
    if (held == NULL)
        return NULL;
    held->conn = conn;
    uint8_t *at = m5_output_reserve(&held->answers, &shard->chunks, size);
    if (at != NULL && !add(shard, held, M5_HOLD_ANSWERS, size, position)) {
        m5_output_give_back(&held->answers, size);
        at = NULL;
    }
    if (at == NULL)
        settle(shard, held);
    return at;
}

bool m5_hold_conn(struct m5_conn *conn, uint64_t position)
{
    struct m5_shard *shard = conn->shard;
    struct m5_held *held = held_of(shard, &conn->held);
    if (held == NULL)
        return false;
    held->conn = conn;
    conn->corked = add(shard, held, M5_HOLD_CONN, 0, position);
    bool held_now = conn->corked;
    settle(shard, held);
    return held_now;
}

bool m5_hold_deliveries(struct m5_session *session, struct m5_shard *shard, uint64_t sequence,
                        uint64_t position)
{
    struct m5_held *held = held_of(shard, &session->held);
    if (held == NULL)
        return false;
    held->session = session;
    bool added = add(shard, held, M5_HOLD_DELIVERIES, sequence, position);
    settle(shard, held);
    return added;
}

/* ---- letting go ---- */

static void let_answers_go(struct m5_shard *shard, struct m5_held *held, uint64_t size)
{
    struct m5_conn *conn = held->conn;
    while (size > 0) {
        struct mqtt5_bytes view;
        M5_ASSERT(m5_output_views(&held->answers, &view, 1) == 1);
        size_t part = view.len < size ? view.len : (size_t)size;
        if (conn != NULL &&
            !m5_output_append(&conn->output, &shard->chunks, m5_bytes(view.data, part))) {
            m5_conn_abort(conn);
            conn = NULL;
        }
        m5_output_sent(&held->answers, &shard->chunks, part);
        size -= part;
    }
    if (conn != NULL)
        m5_conn_touch(conn);
}

static void let_go(struct m5_shard *shard, const struct m5_hold_entry *entry)
{
    struct m5_held *held = entry->held;
    struct m5_session *session = held->session;
    switch (entry->kind) {
    case M5_HOLD_ANSWERS: let_answers_go(shard, held, entry->amount); break;
    case M5_HOLD_CONN:
        if (held->conn != NULL) {
            held->conn->corked = false;
            held->conn->last_packet_ms = shard->now_ms; /* it has waited for the CONNACK */
            m5_conn_touch(held->conn);
        }
        break;
    case M5_HOLD_DELIVERIES:
        if (session != NULL) {
            if (session->settled < entry->amount)
                session->settled = entry->amount;
            m5_delivery_pump(shard, session);
        }
        break;
    }
}

static void free_ring(struct m5_shard *shard, struct m5_holds *holds)
{
    m5_free(shard->allocator, holds->entries, holds->capacity * sizeof *holds->entries);
    *holds = (struct m5_holds){0};
}

void m5_hold_release(struct m5_shard *shard, struct m5_holds *holds, uint64_t stored)
{
    while (holds->head != holds->tail && entry_at(holds, holds->head)->position <= stored) {
        struct m5_hold_entry entry = *entry_at(holds, holds->head++);
        struct m5_conn *conn = entry.held->conn;
        M5_UNCOUNT(shard, store_waiting, 1);
        let_go(shard, &entry);
        entry.held->entries--;
        entry.held->strict -= holds == &shard->holds;
        settle(shard, entry.held);
        if (conn != NULL && conn->held == NULL && conn->session != NULL &&
            conn->session->retained != NULL)
            m5_retained_continue(shard, conn->session);
    }
    if (holds->head == holds->tail && holds->capacity > RING_KEPT)
        free_ring(shard, holds);
}

static void resume(struct m5_shard *shard, const struct m5_holds *holds)
{
    for (uint64_t at = holds->head; at != holds->tail; at++) {
        struct m5_conn *conn = entry_at(holds, at)->held->conn;
        if (conn == NULL || m5_list_linked(&conn->resumed))
            continue;
        m5_list_push_back(&shard->resumed, &conn->resumed);
        m5_conn_touch(conn);
    }
}

void m5_hold_resume(struct m5_shard *shard)
{
    resume(shard, &shard->holds);
    resume(shard, &shard->relaxed_holds);
}

void m5_hold_forget(struct m5_shard *shard, struct m5_held **held)
{
    struct m5_held *gone = *held;
    if (gone == NULL)
        return;
    *held = NULL;
    gone->conn = NULL;
    gone->session = NULL;
    /* Its entries still count its bytes off: they leave with them. */
    settle(shard, gone);
}

static void drop_queue(struct m5_shard *shard, struct m5_holds *holds)
{
    m5_hold_release(shard, holds, UINT64_MAX);
    free_ring(shard, holds);
}

void m5_hold_fini(struct m5_shard *shard)
{
    drop_queue(shard, &shard->relaxed_holds);
    drop_queue(shard, &shard->holds);
}
