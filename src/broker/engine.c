/* The engine: its shards, their turns, their figures.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "broker/engine.h"

#include "broker/shard.h"

#define UPKEEP_MS      10000u
#define UPKEEP_SOON_MS 100u
#define POKE_MS        50u /* how long garbage of the route index may wait for sleeping shards */
#define HELD_RETRY_MS  1u
#define EXPIRE_BUDGET  1000u

/* ---- making ---- */

/* An owned copy of @p text, which may be NULL; false without memory. */
static bool copy_text(struct m5_engine *engine, const char *text, char **out)
{
    *out = NULL;
    if (text == NULL)
        return true;
    size_t size = strlen(text) + 1;
    *out = m5_alloc(engine->allocator, size);
    if (*out != NULL)
        memcpy(*out, text, size);
    return *out != NULL;
}

static void free_text(struct m5_engine *engine, char *text)
{
    if (text != NULL)
        m5_free(engine->allocator, text, strlen(text) + 1);
}

/* The rules and their filters, in one block. */
static bool copy_rules(struct m5_engine *engine, const struct mqtt5_broker_config *config)
{
    uint32_t count = config->durability_rule_count;
    engine->config.durability_rules = NULL;
    size_t size = count * sizeof *config->durability_rules;
    for (uint32_t i = 0; i < count; i++)
        size += strlen(config->durability_rules[i].filter) + 1;
    engine->rules_size = size;
    if (count == 0)
        return true;
    struct mqtt5_durability_rule *rules = m5_alloc(engine->allocator, size);
    if (rules == NULL)
        return false;
    char *text = (char *)(rules + count);
    for (uint32_t i = 0; i < count; i++) {
        rules[i] = config->durability_rules[i];
        rules[i].filter = text;
        size_t length = strlen(config->durability_rules[i].filter) + 1;
        memcpy(text, config->durability_rules[i].filter, length);
        text += length;
    }
    engine->config.durability_rules = rules;
    return true;
}

static void init_pools(struct m5_shard *shard)
{
    m5_pool_init(&shard->conn_pool, shard->allocator, sizeof(struct m5_conn), 16u * 1024u);
    m5_pool_init(&shard->session_pool, shard->allocator, sizeof(struct m5_session), 16u * 1024u);
    m5_pool_init(&shard->subscription_pool, shard->allocator, sizeof(struct m5_subscription),
                 16u * 1024u);
    m5_chunk_store_init(&shard->chunks, shard->allocator);
    m5_message_store_init(&shard->messages, shard->allocator);
    m5_map_init(&shard->sessions, shard->allocator);
    m5_map_init(&shard->subscriptions, shard->allocator);
    m5_map_init(&shard->shared, shard->allocator);
    m5_run_init(&shard->run, shard->allocator);
    m5_run_init(&shard->mail_run, shard->allocator);
}

static bool shard_init(struct m5_engine *engine, uint32_t index, const struct m5_engine_env *env)
{
    struct m5_shard *shard = &engine->shards[index];
    shard->engine = engine;
    shard->live = engine->config;
    shard->config = &shard->live;
    shard->access = env->access != NULL ? env->access : &engine->access;
    shard->index = index;
    shard->now_ms = env->now_ms;
    m5_budget_init(&shard->budget, engine->allocator,
                   engine->config.memory_max / engine->shard_count);
    shard->allocator = &shard->budget.table;
    shard->memory_soft =
        shard->budget.limit == 0 ? SIZE_MAX : shard->budget.limit - shard->budget.limit / 8;
    m5_rng_init(&shard->rng, env->seed[2] + index * 0x9E3779B97F4A7C15u);
    m5_timer_wheel_init(&shard->wheel, env->now_ms);
    m5_list_init(&shard->dirty);
    m5_list_init(&shard->open);
    m5_list_init(&shard->leaving);
    m5_list_init(&shard->resumed);
    m5_list_init(&shard->checks);
    m5_list_init(&shard->exchanges);
    m5_list_init(&shard->groups);
    m5_controls_init(&shard->controls);
    shard->journal.on = env->store;
    shard->out = &engine->channels[(size_t)index * engine->shard_count];
    m5_alarm_init(&shard->upkeep, M5_ALARM_UPKEEP);
    m5_timer_start(&shard->wheel, &shard->upkeep.timer, env->now_ms + UPKEEP_MS);
    init_pools(shard);
    shard->read_buffer = m5_alloc(engine->allocator, M5_READ_BUFFER);
    if (shard->read_buffer == NULL)
        return false;
    if (env->events) {
        shard->events = m5_alloc(engine->allocator, M5_EVENTS_MAX * sizeof *shard->events);
        if (shard->events == NULL)
            return false;
    }
    if (index == 0 && engine->config.sys_interval_s > 0)
        return m5_sys_new(shard) != NULL;
    return true;
}

static bool make_shared(struct m5_engine *engine)
{
    uint32_t count = engine->shard_count;
    struct m5_retained_limits limits = {.messages_max = engine->config.retained_messages_max,
                                        .bytes_max = engine->config.retained_bytes_max,
                                        .payload_max = engine->config.retained_message_size_max};
    engine->routes = m5_index_new(engine->allocator, count, &engine->key);
    engine->retained = m5_retained_new(engine->allocator, &engine->key, &limits, engine->wall_ms);
    engine->quotas = m5_quota_table_new(engine->allocator);
    engine->channels =
        m5_alloc_zero(engine->allocator, (size_t)count * count * sizeof *engine->channels);
    engine->shards = m5_alloc_zero(engine->allocator, count * sizeof *engine->shards);
    return engine->routes != NULL && engine->retained != NULL && engine->quotas != NULL &&
           engine->channels != NULL && engine->shards != NULL;
}

struct m5_engine *m5_engine_new(const struct mqtt5_broker_config *config,
                                const struct m5_engine_env *env)
{
    if (mqtt5_broker_config_check(config, NULL) != MQTT5_OK || env->shard_count == 0 ||
        env->shard_count > M5_SHARDS_MAX)
        return NULL;
    struct m5_engine *engine = m5_alloc_zero(env->allocator, sizeof *engine);
    if (engine == NULL)
        return NULL;
    engine->config = *config;
    engine->allocator = env->allocator;
    engine->shard_count = env->shard_count;
    engine->key = (struct m5_hash_key){env->seed[0], env->seed[1]};
    engine->id_key = (struct m5_hash_key){env->seed[2] ^ env->seed[0], env->seed[3]};
    engine->started_ms = env->now_ms;
    engine->wall_ms = env->wall_ms - env->now_ms;
    engine->placed_count = env->shard_count;
    engine->access = (struct m5_access){.allow_everything = true};
    bool made = copy_text(engine, config->response_information, &engine->response_information) &&
                copy_text(engine, env->control_topic, &engine->control_topic) &&
                copy_rules(engine, config) && make_shared(engine);
    for (uint32_t i = 0; made && i < engine->shard_count; i++)
        made = shard_init(engine, i, env);
    if (!made) {
        m5_engine_free(engine);
        return NULL;
    }
    return engine;
}

/* ---- ending ---- */

/* Nothing is published any more: wills and shared messages go down with the broker. */
static void free_sessions(struct m5_shard *shard)
{
    uint32_t cursor = 0;
    struct m5_session *session;
    while ((session = m5_map_next(&shard->sessions, &cursor)) != NULL) {
        if (session->conn != NULL) {
            session->conn->session = NULL;
            session->conn = NULL;
            m5_delivery_rewind(shard, session);
        }
        m5_session_drop_will(shard, session);
        m5_retained_cancel(shard, session);
        m5_delivery_clear(shard, session);
    }
}

static void shard_close(struct m5_shard *shard)
{
    shard->journal.on = false; /* what is stored stays */
    free_sessions(shard);
    while (!m5_list_empty(&shard->open))
        m5_conn_free(M5_CONTAINER_OF(shard->open.next, struct m5_conn, open));
    while (shard->sessions.count > 0) { /* what goes may make the walk pass others by */
        uint32_t cursor = 0;
        struct m5_session *session;
        while ((session = m5_map_next(&shard->sessions, &cursor)) != NULL)
            m5_session_bury(shard, session);
    }
    m5_share_fini(shard);
}

static void shard_fini(struct m5_engine *engine, struct m5_shard *shard)
{
    if (shard->engine == NULL)
        return;
    shard_close(shard);
    m5_lingerers_fini(shard);
    m5_sys_free(shard);
    m5_controls_fini(shard);
    m5_mail_fini(shard);
    m5_hold_fini(shard);
    m5_journal_fini(shard);
    m5_run_fini(&shard->run, shard->allocator);
    m5_run_fini(&shard->mail_run, shard->allocator);
    m5_map_fini(&shard->sessions);
    m5_map_fini(&shard->subscriptions);
    m5_map_fini(&shard->shared);
    m5_message_store_fini(&shard->messages);
    m5_chunk_store_fini(&shard->chunks);
    m5_pool_fini(&shard->subscription_pool);
    m5_pool_fini(&shard->session_pool);
    m5_pool_fini(&shard->conn_pool);
    m5_free(engine->allocator, shard->read_buffer, M5_READ_BUFFER);
    m5_free(engine->allocator, shard->events, M5_EVENTS_MAX * sizeof *shard->events);
}

void m5_engine_free(struct m5_engine *engine)
{
    if (engine == NULL)
        return;
    const struct mqtt5_allocator *allocator = engine->allocator;
    size_t count = engine->shard_count;
    for (uint32_t i = 0; engine->shards != NULL && i < count; i++)
        shard_fini(engine, &engine->shards[i]);
    m5_free(allocator, engine->shards, count * sizeof *engine->shards);
    m5_free(allocator, engine->channels, count * count * sizeof *engine->channels);
    m5_quota_table_free(engine->quotas);
    if (engine->retained != NULL)
        m5_retained_free(engine->retained);
    if (engine->routes != NULL)
        m5_index_free(engine->routes);
    m5_free(allocator, (void *)(uintptr_t)engine->config.durability_rules, engine->rules_size);
    free_text(engine, engine->response_information);
    free_text(engine, engine->control_topic);
    m5_free(allocator, engine, sizeof *engine);
}

struct m5_shard *m5_engine_shard(struct m5_engine *engine, uint32_t index)
{
    M5_ASSERT(index < engine->shard_count);
    return &engine->shards[index];
}

/* ---- turns ---- */

void m5_shard_settle(struct m5_shard *shard)
{
    while (!m5_list_empty(&shard->leaving))
        m5_conn_detach(M5_CONTAINER_OF(shard->leaving.next, struct m5_conn, leaving));
}

/* Gives free memory back; true when there is more to give. */
static bool trim(struct m5_shard *shard)
{
    bool more = m5_chunk_store_trim(&shard->chunks);
    more |= m5_message_store_trim(&shard->messages);
    more |= m5_pool_trim(&shard->conn_pool);
    more |= m5_pool_trim(&shard->session_pool);
    more |= m5_pool_trim(&shard->subscription_pool);
    m5_run_trim(&shard->run, shard->allocator);
    m5_run_trim(&shard->mail_run, shard->allocator);
    return more;
}

/* Now and then, off the hot path; soon again while a step of it has left something to do. */
static void upkeep(struct m5_shard *shard)
{
    uint64_t next_ms = trim(shard) ? UPKEEP_SOON_MS : UPKEEP_MS;
    m5_timer_start(&shard->wheel, &shard->upkeep.timer, shard->now_ms + next_ms);
    m5_persist_alive(shard);
    if (shard->index != 0)
        return;
    uint32_t expired = m5_retained_expire(shard->engine->retained, shard->now_ms, EXPIRE_BUDGET);
    M5_COUNT(shard, messages_expired, expired);
}

static void ring(struct m5_shard *shard, struct m5_timer *timer)
{
    struct m5_alarm *alarm = M5_CONTAINER_OF(timer, struct m5_alarm, timer);
    switch (alarm->kind) {
    case M5_ALARM_CONN: m5_conn_alarm(M5_CONTAINER_OF(alarm, struct m5_conn, alarm)); break;
    case M5_ALARM_SESSION:
        m5_session_alarm(shard, M5_CONTAINER_OF(alarm, struct m5_session, alarm));
        break;
    case M5_ALARM_SYS: m5_sys_alarm(shard); break;
    case M5_ALARM_UPKEEP: upkeep(shard); break;
    case M5_ALARM_EXCHANGE:
        m5_exchange_alarm(M5_CONTAINER_OF(alarm, struct m5_exchange, alarm));
        break;
    case M5_ALARM_METER:
        m5_meter_alarm(shard, M5_CONTAINER_OF(alarm, struct m5_meter, alarm));
        break;
    }
}

static void resume_input(struct m5_shard *shard)
{
    struct m5_list *node;
    while ((node = m5_list_pop_front(&shard->resumed)) != NULL)
        m5_conn_resume_input(M5_CONTAINER_OF(node, struct m5_conn, resumed));
}

void m5_shard_begin(struct m5_shard *shard, uint64_t now_ms)
{
    if (now_ms > shard->now_ms)
        shard->now_ms = now_ms;
    m5_mail_receive(shard);
    m5_timer_advance(&shard->wheel, shard->now_ms);
    struct m5_timer *timer;
    while ((timer = m5_timer_pop(&shard->wheel)) != NULL) {
        ring(shard, timer);
        m5_shard_settle(shard);
    }
    m5_shard_settle(shard);
    resume_input(shard);
}

static void note_memory(struct m5_shard *shard)
{
    atomic_store_explicit(&shard->counters.memory_used, shard->budget.used, memory_order_relaxed);
    atomic_store_explicit(&shard->counters.store_bytes, shard->journal.bytes, memory_order_relaxed);
    atomic_store_explicit(&shard->counters.memory_used_max, shard->budget.used_max_seen,
                          memory_order_relaxed);
}

/* Others may sleep: garbage is freed only when they take a turn. */
static uint64_t poke(struct m5_shard *shard)
{
    uint32_t count = shard->engine->shard_count;
    if (count == 1 || !m5_index_has_garbage(shard->engine->routes) ||
        shard->now_ms - shard->poked_ms < POKE_MS)
        return 0;
    shard->poked_ms = shard->now_ms;
    uint64_t wakes = 0;
    for (uint32_t to = 0; to < count; to++)
        if (to != shard->index &&
            !atomic_exchange_explicit(&shard->engine->shards[to].woken, true, memory_order_seq_cst))
            wakes |= (uint64_t)1 << to;
    return wakes;
}

uint64_t m5_shard_end(struct m5_shard *shard)
{
    m5_shard_settle(shard);
    uint64_t wakes = m5_mail_send(shard);
    /* Mail that is held names nodes of the index: the shard is not quiescent with it. */
    if (!m5_mail_held(shard))
        m5_index_quiescent(shard->engine->routes, shard->index);
    wakes |= poke(shard);
    note_memory(shard);
    return wakes;
}

uint64_t m5_shard_deadline(const struct m5_shard *shard)
{
    uint64_t deadline = m5_timer_next_deadline(&shard->wheel);
    if (!m5_list_empty(&shard->resumed) || shard->journal.open != NULL)
        return 0;
    if (shard->engine->shard_count == 1)
        return deadline;
    uint64_t soon = M5_NEVER;
    if (m5_mail_held(shard))
        soon = shard->now_ms + HELD_RETRY_MS;
    else if (m5_index_has_garbage(shard->engine->routes))
        soon = shard->now_ms + POKE_MS;
    return soon < deadline ? soon : deadline;
}

struct m5_conn *m5_shard_next_dirty(struct m5_shard *shard)
{
    struct m5_list *node = m5_list_pop_front(&shard->dirty);
    return node == NULL ? NULL : M5_CONTAINER_OF(node, struct m5_conn, dirty);
}

void m5_shard_shutdown(struct m5_shard *shard)
{
    shard->draining = true;
    struct m5_list *next, *at = shard->open.next;
    for (; at != &shard->open; at = next) {
        next = at->next;
        m5_conn_close(M5_CONTAINER_OF(at, struct m5_conn, open), MQTT5_REASON_SERVER_SHUTTING_DOWN,
                      NULL);
    }
}

uint64_t m5_shard_work(const struct m5_shard *shard)
{
    return m5_get(&shard->counters.packets_received) + shard->mailed;
}

uint32_t m5_shard_connections(const struct m5_shard *shard)
{
    return shard->conn_count;
}

/* ---- figures ---- */

void m5_shard_reconfigure(struct m5_shard *shard, const struct mqtt5_broker_config *config)
{
    const uint32_t sys_interval_s = shard->live.sys_interval_s;
#define X(field) shard->live.field = config->field;
    M5_CONFIG_LIVE(X)
#undef X
    if (sys_interval_s == 0 || shard->live.sys_interval_s == 0) /* $SYS stays on, or off */
        shard->live.sys_interval_s = sys_interval_s;
    m5_quota_revise(shard);
}

void m5_shard_count_refused(struct m5_shard *shard)
{
    M5_COUNT(shard, connections_refused, 1);
}

void m5_shard_count_handshake(struct m5_shard *shard, bool done)
{
    if (done)
        M5_COUNT(shard, handshakes, 1);
    else
        M5_COUNT(shard, handshakes_failed, 1);
}

void m5_engine_stats(const struct m5_engine *engine, struct m5_stats *out)
{
    *out = (struct m5_stats){0};
    for (uint32_t i = 0; i < engine->shard_count; i++) {
        const struct m5_counters *counters = &engine->shards[i].counters;
#define X(name) out->name += m5_get(&counters->name);
        M5_STATS_TABLE(X)
#undef X
    }
    out->retained_messages = m5_retained_count(engine->retained);
    out->retained_bytes = m5_retained_bytes(engine->retained);
    out->memory_used += m5_index_bytes(engine->routes) + out->retained_bytes;
}

size_t m5_engine_memory(const struct m5_engine *engine)
{
    size_t sum = m5_index_bytes(engine->routes) + m5_retained_bytes(engine->retained);
    for (uint32_t i = 0; i < engine->shard_count; i++)
        sum += m5_get(&engine->shards[i].counters.memory_used);
    return sum;
}

bool m5_engine_memory_full(const struct m5_engine *engine)
{
    return engine->config.memory_max != 0 && m5_engine_memory(engine) >= engine->config.memory_max;
}
