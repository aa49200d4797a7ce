/* The offline queue in a file: which messages there are, and which go when there are too many.
 *
 * The index is an array in the order of identifiers, which is the order in the file. What is
 * removed stays as a hole until holes are the larger half.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/client/spool.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "host/client/spool_file.h"

#include <stdio.h>
#include <string.h>

#define WASTE_MIN     (UINT64_C(1) << 20)  /* bytes: less is not worth a rewrite */
#define CUT_MIN       (UINT64_C(64) << 10) /* bytes: an empty file larger than this is cut */
#define HOLES_MIN     64u
#define INDEX_MIN     16u
#define INDEX_TO_KEEP 1024u /* items of an empty index */

struct m5_spool {
    struct m5_spool_config config;
    struct m5_spool_file file;
    struct m5_spool_record *records; /* mark M5_SPOOL_GONE: a hole */
    uint32_t count, capacity, holes;
    uint64_t last_id;
    uint64_t live_bytes; /* of the file, in records that are there */
    uint64_t rewrite_at; /* bytes of waste */
    struct m5_spool_stats stats;
};

/* ---- the index ---- */

/* The place of the first record behind @p id. */
static uint32_t place_behind(const struct m5_spool *spool, uint64_t id)
{
    uint32_t low = 0, high = spool->count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (spool->records[middle].id <= id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct m5_spool_record *find(const struct m5_spool *spool, uint64_t id)
{
    const uint32_t behind = place_behind(spool, id);
    struct m5_spool_record *record = behind == 0 ? NULL : &spool->records[behind - 1];
    return record != NULL && record->id == id && record->mark != M5_SPOOL_GONE ? record : NULL;
}

static bool make_room(struct m5_spool *spool)
{
    struct m5_spool_record *records =
        m5_make_room(spool->config.allocator, spool->records, sizeof *records, spool->count,
                     &spool->capacity, INDEX_MIN);
    if (records == NULL)
        return false;
    spool->records = records;
    return true;
}

/* There is room. */
static void add_record(struct m5_spool *spool, const struct m5_spool_record *record)
{
    M5_ASSERT(spool->count < spool->capacity);
    M5_ASSERT(spool->count == 0 || record->id > spool->records[spool->count - 1].id);
    spool->records[spool->count++] = *record;
    spool->live_bytes += m5_spool_record_bytes(record->size);
    spool->stats.messages++;
    spool->stats.bytes += record->size;
}

static void squeeze(struct m5_spool *spool)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < spool->count; i++) {
        if (spool->records[i].mark != M5_SPOOL_GONE)
            spool->records[kept++] = spool->records[i];
    }
    spool->count = kept;
    spool->holes = 0;
    if (kept > 0 || spool->capacity <= INDEX_TO_KEEP)
        return;
    m5_free(spool->config.allocator, spool->records, spool->capacity * sizeof *spool->records);
    spool->records = NULL;
    spool->capacity = 0;
}

static void drop_record(struct m5_spool *spool, struct m5_spool_record *record)
{
    spool->live_bytes -= m5_spool_record_bytes(record->size);
    spool->stats.messages--;
    spool->stats.bytes -= record->size;
    record->mark = M5_SPOOL_GONE;
    spool->holes++;
}

/* ---- giving space back ---- */

static uint64_t waste_of(const struct m5_spool *spool)
{
    return spool->file.end - M5_SPOOL_HEADER_SIZE - spool->live_bytes;
}

/* Copies what is there; the offsets go to the index when all is well. A message that cannot be read
 * stops it: whoever wants to send that one will find out, and remove it. */
static enum mqtt5_error copy_records(struct m5_spool *spool, struct m5_spool_file *fresh)
{
    for (uint32_t i = 0; i < spool->count; i++) {
        struct m5_spool_record *record = &spool->records[i];
        struct mqtt5_bytes message;
        uint64_t offset;
        if (record->mark == M5_SPOOL_GONE)
            continue;
        enum mqtt5_error error = m5_spool_file_read(&spool->file, record, &message);
        if (error == MQTT5_OK)
            error = m5_spool_file_append(fresh, record->id, record->mark, message, &offset);
        if (error != MQTT5_OK)
            return error;
    }
    return MQTT5_OK;
}

static void move_offsets(struct m5_spool *spool)
{
    uint64_t offset = M5_SPOOL_HEADER_SIZE;
    for (uint32_t i = 0; i < spool->count; i++) {
        spool->records[i].offset = offset;
        if (spool->records[i].mark != M5_SPOOL_GONE)
            offset += m5_spool_record_bytes(spool->records[i].size);
    }
    M5_ASSERT(offset == spool->file.end);
}

static enum mqtt5_error rewrite(struct m5_spool *spool, bool keep_damaged)
{
    struct m5_spool_file fresh;
    enum mqtt5_error error = m5_spool_file_begin_new(&spool->file, &fresh);
    if (error == MQTT5_OK)
        error = copy_records(spool, &fresh);
    if (error == MQTT5_OK)
        error = m5_spool_file_replace(&spool->file, &fresh, keep_damaged);
    if (error != MQTT5_OK) {
        memcpy(spool->file.why, fresh.why, sizeof fresh.why);
        m5_spool_file_give_up(&fresh);
        return error;
    }
    move_offsets(spool);
    spool->stats.rewrites++;
    return MQTT5_OK;
}

/* After something was removed. That space cannot be given back is no failure of the caller's: it is
 * tried again when there is twice the waste. */
static void settle(struct m5_spool *spool)
{
    if (spool->stats.messages == 0 ||
        (spool->holes >= HOLES_MIN && spool->holes > spool->count / 2))
        squeeze(spool);
    if (spool->stats.messages == 0 && spool->file.end >= CUT_MIN)
        (void)m5_spool_file_cut(&spool->file, M5_SPOOL_HEADER_SIZE);
    const uint64_t waste = waste_of(spool);
    if (waste < WASTE_MIN)
        spool->rewrite_at = WASTE_MIN;
    if (waste < spool->rewrite_at || waste <= spool->live_bytes)
        return;
    spool->rewrite_at = rewrite(spool, false) == MQTT5_OK ? WASTE_MIN : 2 * waste;
}

/* ---- opening ---- */

/* Takes one record that lies at or behind *offset, and counts what was left out before it. */
static enum mqtt5_error take_record(struct m5_spool *spool, const struct m5_spool_record *record,
                                    uint64_t *offset)
{
    spool->stats.damaged_bytes += record->offset - *offset;
    *offset = record->offset + m5_spool_record_bytes(record->size);
    spool->file.end = *offset;
    spool->stats.damaged_marks += record->mark_damaged;
    if (record->id <= spool->last_id) { /* no append makes such a one */
        spool->stats.damaged_bytes += *offset - record->offset;
        return MQTT5_OK;
    }
    spool->last_id = record->id;
    if (record->mark == M5_SPOOL_GONE)
        return MQTT5_OK;
    if (!make_room(spool))
        return MQTT5_ERR_NOMEM;
    add_record(spool, record);
    return MQTT5_OK;
}

static enum mqtt5_error read_records(struct m5_spool *spool, uint64_t size)
{
    uint64_t offset = M5_SPOOL_HEADER_SIZE;
    struct m5_spool_record record;
    enum mqtt5_error error = MQTT5_OK;
    while (error == MQTT5_OK && m5_spool_file_scan(&spool->file, offset, size, &record, &error))
        error = take_record(spool, &record, &offset);
    if (error != MQTT5_OK || offset == size)
        return error;
    spool->stats.cut_bytes = size - offset;
    return m5_spool_file_cut(&spool->file, offset);
}

static enum mqtt5_error read_file(struct m5_spool *spool)
{
    enum m5_spool_found found;
    uint64_t size = 0;
    enum mqtt5_error error = m5_spool_file_open(&spool->file, &found, &size);
    if (error != MQTT5_OK)
        return error;
    if (found == M5_SPOOL_FOUND_NOTHING)
        spool->stats.cut_bytes = size;
    else if (found == M5_SPOOL_FOUND_RUINS)
        spool->stats.damaged_bytes = size;
    else
        error = read_records(spool, size);
    if (error == MQTT5_OK && spool->stats.damaged_bytes > 0)
        error = rewrite(spool, true);
    return error;
}

static void dispose(struct m5_spool *spool)
{
    if (spool == NULL)
        return;
    const struct mqtt5_allocator *allocator = spool->config.allocator;
    m5_spool_file_fini(&spool->file);
    if (spool->records != NULL)
        m5_free(allocator, spool->records, spool->capacity * sizeof *spool->records);
    m5_free(allocator, spool, sizeof *spool);
}

enum mqtt5_error m5_spool_open(const struct m5_spool_config *config, struct m5_spool **out,
                               char *why, size_t why_size)
{
    *out = NULL;
    enum mqtt5_error error = MQTT5_ERR_NOMEM;
    const bool usable = config->messages_max > 0 && config->bytes_max > 0;
    struct m5_spool *spool = m5_alloc_zero(config->allocator, sizeof *spool);
    if (spool != NULL) {
        spool->config = *config;
        spool->rewrite_at = WASTE_MIN;
        if (m5_spool_file_init(&spool->file, config->allocator, config->path))
            error = usable ? read_file(spool) : MQTT5_ERR_CONFIG;
    }
    if (error == MQTT5_OK) {
        settle(spool);
        *out = spool;
        return MQTT5_OK;
    }
    if (why != NULL && why_size > 0)
        snprintf(why, why_size, "%s",
                 spool != NULL && spool->file.why[0] != 0 ? spool->file.why
                                                          : mqtt5_error_text(error));
    dispose(spool); /* the file is left as it is, whatever was read of it */
    return error;
}

void m5_spool_close(struct m5_spool *spool)
{
    if (spool == NULL)
        return;
    if (spool->stats.messages == 0)
        (void)m5_spool_file_cut(&spool->file, M5_SPOOL_HEADER_SIZE);
    dispose(spool);
}

/* ---- the limits ---- */

static bool exceeds(const struct m5_spool *spool, uint64_t messages, uint64_t bytes)
{
    return messages > spool->config.messages_max || bytes > spool->config.bytes_max;
}

/* Tells whether there is room for @p size bytes once every message that was not marked is gone. */
static bool fits_alone(const struct m5_spool *spool, uint64_t size)
{
    uint64_t messages = 1, bytes = size;
    for (uint32_t i = 0; i < spool->count && !exceeds(spool, messages, bytes); i++) {
        const struct m5_spool_record *record = &spool->records[i];
        const bool stays = record->mark != M5_SPOOL_GONE && record->mark != M5_SPOOL_UNMARKED;
        messages += stays;
        bytes += stays ? record->size : 0;
    }
    return !exceeds(spool, messages, bytes);
}

/* For what is not the file's fault; that says it better by itself. */
static enum mqtt5_error refuse(struct m5_spool *spool, enum mqtt5_error error)
{
    snprintf(spool->file.why, sizeof spool->file.why, "%s: %s", spool->file.path,
             mqtt5_error_text(error));
    return error;
}

/* Makes holes of the oldest messages that were not marked, until the limits hold. */
static void drop_oldest(struct m5_spool *spool)
{
    for (uint32_t i = 0; exceeds(spool, spool->stats.messages, spool->stats.bytes); i++) {
        M5_ASSERT(i < spool->count);
        struct m5_spool_record *record = &spool->records[i];
        if (record->mark != M5_SPOOL_UNMARKED)
            continue;
        const uint64_t id = record->id;
        (void)m5_spool_file_mark(&spool->file, record, M5_SPOOL_GONE);
        drop_record(spool, record);
        spool->stats.dropped++;
        if (spool->config.on_drop != NULL)
            spool->config.on_drop(spool->config.ctx, id);
    }
    settle(spool);
}

/* ---- for all ---- */

enum mqtt5_error m5_spool_append(struct m5_spool *spool, struct mqtt5_bytes message, uint64_t *id)
{
    *id = 0;
    if (message.len > M5_SPOOL_MESSAGE_MAX)
        return refuse(spool, MQTT5_ERR_PACKET_TOO_LARGE);
    const bool full =
        exceeds(spool, spool->stats.messages + UINT64_C(1), spool->stats.bytes + message.len);
    if (full && spool->config.overflow == M5_SPOOL_DROP_NEWEST) {
        spool->stats.dropped++;
        return MQTT5_OK;
    }
    if (full && (spool->config.overflow == M5_SPOOL_FAIL || !fits_alone(spool, message.len)))
        return refuse(spool, MQTT5_ERR_QUEUE_FULL);
    if (!make_room(spool))
        return refuse(spool, MQTT5_ERR_NOMEM);
    struct m5_spool_record record = {.id = spool->last_id + 1, .size = (uint32_t)message.len};
    enum mqtt5_error error =
        m5_spool_file_append(&spool->file, record.id, M5_SPOOL_UNMARKED, message, &record.offset);
    if (error == MQTT5_OK && spool->config.sync) {
        error = m5_spool_file_sync(&spool->file);
        if (error != MQTT5_OK)
            (void)m5_spool_file_cut(&spool->file, record.offset);
    }
    if (error != MQTT5_OK)
        return error;
    *id = spool->last_id = record.id;
    add_record(spool, &record);
    if (full) /* only now: had the write failed, nothing would have had to go */
        drop_oldest(spool);
    return MQTT5_OK;
}

enum mqtt5_error m5_spool_sync(struct m5_spool *spool)
{
    return m5_spool_file_sync(&spool->file);
}

bool m5_spool_next(const struct m5_spool *spool, uint64_t id, struct m5_spool_item *out)
{
    for (uint32_t i = place_behind(spool, id); i < spool->count; i++) {
        const struct m5_spool_record *record = &spool->records[i];
        if (record->mark == M5_SPOOL_GONE)
            continue;
        *out = (struct m5_spool_item){
            .id = record->id,
            .size = record->size,
            .mark = record->mark,
        };
        return true;
    }
    return false;
}

enum mqtt5_error m5_spool_read(struct m5_spool *spool, uint64_t id, struct mqtt5_bytes *out)
{
    const struct m5_spool_record *record = find(spool, id);
    if (record == NULL)
        return refuse(spool, MQTT5_ERR_INVALID_ARGUMENT);
    return m5_spool_file_read(&spool->file, record, out);
}

enum mqtt5_error m5_spool_mark(struct m5_spool *spool, uint64_t id, uint32_t mark)
{
    struct m5_spool_record *record = find(spool, id);
    if (record == NULL || mark > M5_SPOOL_MARK_MAX)
        return refuse(spool, MQTT5_ERR_INVALID_ARGUMENT);
    record->mark = mark;
    return m5_spool_file_mark(&spool->file, record, mark);
}

enum mqtt5_error m5_spool_remove(struct m5_spool *spool, uint64_t id)
{
    struct m5_spool_record *record = find(spool, id);
    if (record == NULL)
        return refuse(spool, MQTT5_ERR_INVALID_ARGUMENT);
    const enum mqtt5_error error = m5_spool_file_mark(&spool->file, record, M5_SPOOL_GONE);
    drop_record(spool, record);
    settle(spool);
    return error;
}

void m5_spool_stats(const struct m5_spool *spool, struct m5_spool_stats *out)
{
    *out = spool->stats;
    out->file_bytes = spool->file.end;
}

const char *m5_spool_why(const struct m5_spool *spool)
{
    return spool->file.why;
}
