/* What joins the engine and the workers to the store.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/persistence.h"
#include "host/clock.h"

#include "base/bytes.h"

#include <signal.h>
#include <stdio.h>
#include <time.h>

/* ---- what the store calls ---- */

static void wake(void *ctx, uint32_t shard)
{
    const struct m5_persistence *persistence = (const struct m5_persistence *)ctx;
    m5_loop_wake(&persistence->crew->workers[shard].loop);
}

static struct m5_batch *retained_seal(void *ctx)
{
    const struct m5_persistence *persistence = (const struct m5_persistence *)ctx;
    return m5_retained_seal(persistence->crew->engine);
}

static void retained_stored(void *ctx, struct m5_batch *list)
{
    const struct m5_persistence *persistence = (const struct m5_persistence *)ctx;
    m5_retained_stored(persistence->crew->engine, list);
}

static void failing(void *ctx, bool begins, const char *why)
{
    struct m5_persistence *persistence = (struct m5_persistence *)ctx;
    atomic_store(&persistence->crew->store_failing, begins);
    for (uint32_t i = 0; i < persistence->crew->worker_count; i++)
        wake(ctx, i);
    pthread_mutex_lock(&persistence->mutex);
    if (begins)
        m5_log_note(&persistence->log, M5_LOG_STORE_FAILING, "why", why);
    else
        m5_log_note(&persistence->log, M5_LOG_STORE_RECOVERED, "result", "ok");
    pthread_mutex_unlock(&persistence->mutex);
}

/* ---- opening ---- */

static enum mqtt5_error restore_record(void *ctx, struct mqtt5_bytes key, struct mqtt5_bytes value)
{
    return m5_restore_record((struct m5_restore *)ctx, key, value);
}

/* Every record of the store into the engine. */
static enum mqtt5_error load(struct m5_crew *crew, struct m5_restore_report *report)
{
    struct m5_restore *restore = m5_restore_begin(crew->engine);
    if (restore == NULL)
        return MQTT5_ERR_NOMEM;
    const enum mqtt5_error error = m5_store_load(crew->store, restore_record, restore);
    const enum mqtt5_error end = m5_restore_end(restore, report);
    m5_store_load_end(crew->store);
    if (error != MQTT5_OK || end != MQTT5_OK)
        return error != MQTT5_OK ? error : end;
    for (uint32_t i = 0; i < crew->worker_count; i++) {
        struct m5_batch *batch = m5_shard_seal(m5_engine_shard(crew->engine, i));
        if (batch != NULL)
            m5_store_submit(crew->store, batch);
    }
    return MQTT5_OK;
}

static void log_damage(struct m5_log *log, const char *dir, const struct m5_store_report *store,
                       const struct m5_restore_report *restored)
{
    if (store->damage[0] == 0 && restored->damaged == 0)
        return;
    if (!m5_log_begin(log, M5_LOG_STORE_DAMAGED))
        return;
    m5_log_text(log, "dir", m5_bytes_of(dir));
    if (store->damage[0] != 0)
        m5_log_text(log, "why", m5_bytes_of(store->damage));
    if (restored->damaged > 0)
        m5_log_number(log, "records_left_out", restored->damaged);
    m5_log_end(log);
}

static void log_ready(struct m5_log *log, const char *dir, const struct m5_store_report *store,
                      const struct m5_restore_report *restored, uint64_t took_ms)
{
    if (!m5_log_begin(log, M5_LOG_STORE_READY))
        return;
    m5_log_text(log, "dir", m5_bytes_of(dir));
    m5_log_number(log, "sessions", restored->sessions);
    m5_log_number(log, "subscriptions", restored->subscriptions);
    m5_log_number(log, "messages", restored->messages);
    m5_log_number(log, "retained", restored->retained);
    m5_log_number(log, "expired", restored->expired);
    if (restored->refused > 0)
        m5_log_number(log, "refused", restored->refused);
    m5_log_number(log, "replayed", store->replayed);
    m5_log_number(log, "bytes", store->bytes_file);
    m5_log_number(log, "took_ms", took_ms);
    m5_log_end(log);
}

static enum mqtt5_error explain(enum mqtt5_error error, const char *dir, char *why)
{
    const char *text = "it cannot be read";
    if (error == MQTT5_ERR_NOMEM)
        text = "there is not enough memory for what it holds (raise --memory-max?)";
    else if (error == MQTT5_ERR_CONFIG)
        text = "a later version of this program wrote it";
    snprintf(why, M5_STORE_WHY_SIZE, "cannot take over the store in %s: %s", dir, text);
    return error;
}

enum mqtt5_error m5_persistence_open(struct m5_persistence *persistence, struct m5_crew *crew,
                                     const struct mqtt5_broker_options *options, struct m5_log *log,
                                     char *why)
{
    const uint64_t before_ms = m5_clock_ms();
    persistence->crew = crew;
    pthread_mutex_init(&persistence->mutex, NULL);
    m5_log_init(&persistence->log, crew->sink);
    const struct m5_store_options store_options = {
        .dir = options->storage_dir,
        .damaged = options->storage_damaged,
        .shards = crew->worker_count,
        .hooks = {.ctx = persistence,
                  .wake = wake,
                  .retained_seal = retained_seal,
                  .retained_stored = retained_stored,
                  .failing = failing},
    };
    struct m5_store_report report;
    struct m5_restore_report restored = {0};
    enum mqtt5_error error = m5_store_open(&store_options, &crew->store, &report);
    if (error != MQTT5_OK) {
        snprintf(why, M5_STORE_WHY_SIZE, "%s", report.why);
        return error;
    }
    error = load(crew, &restored);
    if (error != MQTT5_OK)
        return explain(error, options->storage_dir, why);
    log_damage(log, options->storage_dir, &report, &restored);
    log_ready(log, options->storage_dir, &report, &restored, m5_clock_ms() - before_ms);
    return MQTT5_OK;
}

/* ---- running and ending ---- */

bool m5_persistence_start(struct m5_persistence *persistence)
{
    if (persistence->crew == NULL)
        return true;
    sigset_t all, before; /* signals are for the threads of the program that we are part of */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    persistence->started = m5_store_start(persistence->crew->store) == MQTT5_OK;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return persistence->started;
}

/* Nobody waits any more: what was stored is freed, as what was not. */
static uint64_t take_back(struct m5_crew *crew)
{
    for (uint32_t i = 0; i < crew->worker_count; i++)
        for (struct m5_batch *batch = m5_store_take(crew->store, i), *next; batch != NULL;
             batch = next) {
            next = batch->next;
            m5_shard_unstored(crew->workers[i].shard, batch);
        }
    struct m5_batch *retained;
    uint64_t changes = 0;
    for (struct m5_batch *batch = m5_store_left(crew->store, &retained), *next; batch != NULL;
         batch = next) {
        next = batch->next;
        changes += batch->changes;
        m5_shard_unstored(crew->workers[batch->shard].shard, batch);
    }
    m5_retained_stored(crew->engine, retained);
    return changes;
}

bool m5_persistence_stop(struct m5_persistence *persistence, struct m5_log *log)
{
    struct m5_crew *crew = persistence->crew;
    if (crew == NULL || !persistence->started)
        return true;
    persistence->started = false;
    const enum mqtt5_error error = m5_store_stop(crew->store, M5_STORE_STOP_MS);
    if (error == MQTT5_ERR_TIMEOUT) {
        m5_log_note(log, M5_LOG_STORE_LEFT, "why", "the disk does not answer");
        return false;
    }
    const uint64_t left = take_back(crew);
    if (error == MQTT5_OK)
        return true;
    if (m5_log_begin(log, M5_LOG_STORE_LEFT)) {
        m5_log_text(log, "why",
                    m5_bytes_of("not everything could be stored; nothing of it was "
                                "acknowledged"));
        m5_log_number(log, "changes", left);
        m5_log_end(log);
    }
    return false;
}

void m5_persistence_close(struct m5_persistence *persistence)
{
    struct m5_crew *crew = persistence->crew;
    if (crew == NULL)
        return;
    m5_store_free(crew->store);
    crew->store = NULL;
    pthread_mutex_destroy(&persistence->mutex);
    persistence->crew = NULL;
}
