/* Quotas of clients, users and addresses.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "broker/quota.h"

#include "broker/rate.h"
#include "broker/shard.h"
#include "broker/spin.h"

#define NS_A_MS   1000000u
#define START_MS  3600000u /* the clock of the buckets begins here: with all of them full */
#define GATHER_MS 20u      /* of tokens, before reading goes on: reading costs more than a look */
#define REPORT_MS 10000u   /* a connection is named in the log no more often */

enum bucket { IN_MESSAGES, IN_BYTES, OUT_MESSAGES, OUT_BYTES, BUCKETS };

struct key {
    uint64_t hash[2]; /* of kind and name, with a secret key */
};

struct m5_quota {
    struct m5_list idle; /* in the table's list while nobody uses it, the latest first */
    struct key key;
    uint32_t connections, subscriptions; /* of the quota, under the lock */
    _Atomic uint64_t paid_ns[BUCKETS];
};

struct m5_quota_table {
    const struct mqtt5_allocator *allocator;
    struct m5_spin lock;
    struct m5_map quotas;
    struct m5_list idle;
    uint32_t idle_count;
};

/* ---- limits ---- */

static uint32_t rate_of(const struct m5_shard *shard, enum m5_quota_kind kind, enum bucket bucket)
{
    const struct mqtt5_broker_config *config = shard->config;
    const struct mqtt5_rate_limits *limits = kind == M5_QUOTA_CLIENT ? &config->rate_per_client
                                             : kind == M5_QUOTA_USER ? &config->rate_per_user
                                                                     : &config->rate_per_address;
    switch (bucket) {
    case IN_MESSAGES: return limits->messages_in;
    case IN_BYTES: return limits->bytes_in;
    case OUT_MESSAGES: return limits->messages_out;
    default: return limits->bytes_out;
    }
}

static uint32_t connections_max(const struct m5_shard *shard, enum m5_quota_kind kind)
{
    switch (kind) {
    case M5_QUOTA_USER: return shard->config->connections_per_user_max;
    case M5_QUOTA_ADDRESS: return shard->config->connections_per_address_max;
    default: return 0;
    }
}

static bool is_limited(const struct m5_shard *shard, enum m5_quota_kind kind)
{
    uint32_t any = connections_max(shard, kind);
    for (enum bucket bucket = 0; bucket < BUCKETS; bucket++)
        any |= rate_of(shard, kind, bucket);
    return any != 0;
}

static uint64_t clock_ns(const struct m5_shard *shard)
{
    return (shard->now_ms - shard->engine->started_ms + START_MS) * NS_A_MS;
}

static uint64_t burst_ns(const struct m5_shard *shard)
{
    return (uint64_t)shard->config->rate_burst_ms * NS_A_MS;
}

/* How far a bucket must have been paid to be open: see rate.h. */
static uint64_t need_ns(const struct m5_shard *shard, enum bucket bucket, uint32_t rate)
{
    uint64_t cost_ns = m5_rate_cost(1, rate), burst = burst_ns(shard);
    if (bucket == IN_BYTES || bucket == OUT_BYTES)
        return 1;
    return cost_ns < burst ? cost_ns : burst;
}

/* ---- names ---- */

/* The groups of an IPv6 address up to its fourth, as its text has them; false: it has none. */
static bool read_network(struct mqtt5_bytes text, uint8_t out[8])
{
    uint16_t groups[8] = {0};
    size_t count = 0, gap = SIZE_MAX, digits = 0;
    for (size_t i = 0; i < text.len && text.data[i] != ']' && text.data[i] != '%'; i++) {
        uint8_t c = text.data[i], lower = c | 0x20;
        if (c == ':') {
            if (digits > 0 && ++count == 8)
                return false;
            if (digits == 0 && i > 0 && text.data[i - 1] == ':')
                gap = count;
            digits = 0;
        } else if ((c >= '0' && c <= '9') || (lower >= 'a' && lower <= 'f')) {
            unsigned value = c <= '9' ? c - (unsigned)'0' : lower - (unsigned)'a' + 10u;
            groups[count] = (uint16_t)((unsigned)groups[count] << 4 | value);
            digits++;
        } else {
            return false;
        }
    }
    count += digits > 0;
    for (size_t i = 0; i < 4; i++) {
        size_t from = gap == SIZE_MAX || i < gap ? i
                      : i + count < 8 + gap      ? SIZE_MAX
                                                 : i + count - 8;
        uint16_t group = from == SIZE_MAX ? 0 : groups[from];
        out[2 * i] = (uint8_t)(group >> 8);
        out[2 * i + 1] = (uint8_t)group;
    }
    return gap != SIZE_MAX || count == 8;
}

/* What an address is counted by, out of "1.2.3.4:5" or "[1:2::3]:4"; empty: by nothing. */
static struct mqtt5_bytes address_of(const struct m5_conn *conn, uint8_t network[8])
{
    struct mqtt5_bytes peer = m5_conn_peer(conn);
    if (peer.len > 0 && peer.data[0] == '[') {
        if (read_network(m5_bytes(peer.data + 1, peer.len - 1), network))
            return m5_bytes(network, 8);
        while (peer.len > 0 && peer.data[0] != '.') /* "[::ffff:1.2.3.4]:5" is 1.2.3.4 */
            peer = m5_bytes(peer.data + 1, peer.len - 1);
        while (peer.len > 0 && peer.data[-1] != ':')
            peer = m5_bytes(peer.data - 1, peer.len + 1);
    }
    size_t size = 0;
    while (size < peer.len &&
           (peer.data[size] == '.' || (peer.data[size] >= '0' && peer.data[size] <= '9')))
        size++;
    return m5_bytes(peer.data,
                    size < peer.len && peer.data[size] != ':' && peer.data[size] != ']' ? 0 : size);
}

/* What the quota of this kind goes by; empty: there is none for this client. */
static struct mqtt5_bytes name_of(const struct m5_conn *conn, const struct m5_principal *who,
                                  enum m5_quota_kind kind, uint8_t network[8])
{
    switch (kind) {
    case M5_QUOTA_CLIENT: return who->client_id;
    case M5_QUOTA_USER: return who->anonymous ? m5_bytes(NULL, 0) : who->username;
    default: return address_of(conn, network);
    }
}

static struct key key_of(const struct m5_shard *shard, enum m5_quota_kind kind,
                         struct mqtt5_bytes name)
{
    const struct m5_hash_key *key = &shard->engine->key;
    struct m5_hash_key other = {key->k0 ^ (0x51u + kind), key->k1 + 0x71756F7461u};
    return (struct key){{m5_hash_strong(&other, name), m5_hash_strong(key, name)}};
}

/* ---- the table ---- */

static bool is_key(const void *value, const void *key)
{
    const struct m5_quota *quota = value;
    return memcmp(&quota->key, key, sizeof quota->key) == 0;
}

static bool is_used(const struct m5_quota *quota)
{
    return quota->connections > 0 || quota->subscriptions > 0;
}

static void drop(struct m5_quota_table *table, struct m5_quota *quota)
{
    m5_map_remove(&table->quotas, (uint32_t)quota->key.hash[0], quota);
    m5_list_remove(&quota->idle);
    table->idle_count--;
    m5_free(table->allocator, quota, sizeof *quota);
}

static bool is_full(const struct m5_shard *shard, const struct m5_quota *quota)
{
    for (enum bucket bucket = 0; bucket < BUCKETS; bucket++)
        if (!m5_rate_full(m5_get(&quota->paid_ns[bucket]), clock_ns(shard), burst_ns(shard)))
            return false;
    return true;
}

/* Two that say nothing any more: so they go faster than they come. */
static void forget_some(struct m5_shard *shard, struct m5_quota_table *table)
{
    for (int i = 0; i < 2 && !m5_list_empty(&table->idle); i++) {
        struct m5_quota *oldest = M5_CONTAINER_OF(table->idle.prev, struct m5_quota, idle);
        if (table->idle_count <= M5_QUOTA_IDLE_MAX && !is_full(shard, oldest))
            return;
        drop(table, oldest);
    }
}

static struct m5_quota *find(const struct m5_quota_table *table, const struct key *key)
{
    return m5_map_find(&table->quotas, (uint32_t)key->hash[0], is_key, key);
}

/* The quota of this name, which may be new and then is idle. NULL without memory. */
static struct m5_quota *obtain(struct m5_shard *shard, const struct key *key)
{
    struct m5_quota_table *table = shard->engine->quotas;
    struct m5_quota *quota = find(table, key);
    if (quota != NULL)
        return quota;
    forget_some(shard, table);
    quota = m5_alloc_zero(table->allocator, sizeof *quota);
    if (quota == NULL)
        return NULL;
    quota->key = *key;
    if (!m5_map_add(&table->quotas, (uint32_t)key->hash[0], quota)) {
        m5_free(table->allocator, quota, sizeof *quota);
        return NULL;
    }
    m5_list_push_front(&table->idle, &quota->idle);
    table->idle_count++;
    return quota;
}

/* Counts something of a quota, or that it has gone. */
static void use(struct m5_quota_table *table, struct m5_quota *quota, uint32_t *what, bool more)
{
    bool before = is_used(quota);
    M5_ASSERT(more || *what > 0);
    *what += more ? 1u : UINT32_MAX;
    if (!before) {
        m5_list_remove(&quota->idle);
        table->idle_count--;
    } else if (!is_used(quota)) {
        m5_list_push_front(&table->idle, &quota->idle);
        table->idle_count++;
    }
}

struct m5_quota_table *m5_quota_table_new(const struct mqtt5_allocator *allocator)
{
    struct m5_quota_table *table = m5_alloc_zero(allocator, sizeof *table);
    if (table == NULL)
        return NULL;
    table->allocator = allocator;
    m5_spin_init(&table->lock);
    m5_map_init(&table->quotas, allocator);
    m5_list_init(&table->idle);
    return table;
}

void m5_quota_table_free(struct m5_quota_table *table)
{
    if (table == NULL)
        return;
    const struct mqtt5_allocator *allocator = table->allocator;
    while (!m5_list_empty(&table->idle))
        drop(table, M5_CONTAINER_OF(table->idle.prev, struct m5_quota, idle));
    M5_ASSERT(table->quotas.count == 0);
    m5_map_fini(&table->quotas);
    m5_free(allocator, table, sizeof *table);
}

/* ---- connections ---- */

static void count_refused(struct m5_conn *conn, enum m5_quota_kind kind)
{
    if (kind == M5_QUOTA_USER)
        M5_COUNT(conn->shard, limit_user_clients, 1);
    else
        M5_COUNT(conn->shard, limit_address_clients, 1);
    m5_event_limit(conn->shard, conn,
                   kind == M5_QUOTA_USER ? "connections_per_user_max"
                                         : "connections_per_address_max");
}

/* Takes hold of the quotas that it has not got; under the lock. *@p full: the one that is, if one
 * is; NULL: none is too full for who is there already. */
static bool take_quotas(struct m5_meter *meter, const struct m5_principal *who,
                        const struct m5_meter *old, enum m5_quota_kind *full)
{
    struct m5_shard *shard = meter->conn->shard;
    struct m5_quota_table *table = shard->engine->quotas;
    for (enum m5_quota_kind kind = 0; kind < M5_QUOTA_KINDS; kind++) {
        uint8_t network[8];
        if (!is_limited(shard, kind) || meter->quotas[kind] != NULL)
            continue;
        struct mqtt5_bytes name = name_of(meter->conn, who, kind, network);
        if (name.len == 0)
            continue;
        struct key key = key_of(shard, kind, name);
        struct m5_quota *quota = obtain(shard, &key);
        if (quota == NULL)
            return false;
        uint32_t max = connections_max(shard, kind);
        uint32_t others = quota->connections - (old != NULL && old->quotas[kind] == quota);
        if (full != NULL && max != 0 && others >= max) {
            *full = kind;
            return false;
        }
        use(table, quota, &quota->connections, true);
        meter->quotas[kind] = quota;
    }
    return true;
}

static void give_back(struct m5_meter *meter)
{
    struct m5_shard *shard = meter->conn->shard;
    struct m5_quota_table *table = shard->engine->quotas;
    m5_spin_lock(&table->lock);
    for (enum m5_quota_kind kind = 0; kind < M5_QUOTA_KINDS; kind++)
        if (meter->quotas[kind] != NULL)
            use(table, meter->quotas[kind], &meter->quotas[kind]->connections, false);
    m5_spin_unlock(&table->lock);
    m5_timer_stop(&shard->wheel, &meter->alarm.timer);
    m5_free(shard->allocator, meter, sizeof *meter);
}

static bool limits_anything(const struct m5_shard *shard)
{
    bool limited = false;
    for (enum m5_quota_kind kind = 0; kind < M5_QUOTA_KINDS; kind++)
        limited |= is_limited(shard, kind);
    return limited;
}

static struct m5_meter *meter_new(struct m5_conn *conn)
{
    struct m5_meter *meter = m5_alloc_zero(conn->shard->allocator, sizeof *meter);
    if (meter == NULL)
        return NULL;
    *meter = (struct m5_meter){
        .conn = conn, .read_ms = M5_NEVER, .write_ms = M5_NEVER, .reported_ms = M5_NEVER};
    m5_alarm_init(&meter->alarm, M5_ALARM_METER);
    return meter;
}

bool m5_quota_attach(struct m5_conn *conn, const struct m5_principal *who, uint8_t *reason)
{
    struct m5_shard *shard = conn->shard;
    if (!limits_anything(shard))
        return true;
    const struct m5_session *session = m5_session_find(shard, who->client_id);
    const struct m5_conn *old = session != NULL ? session->conn : NULL;
    struct m5_meter *meter = meter_new(conn);
    enum m5_quota_kind full = M5_QUOTA_KINDS;
    bool taken = false;
    if (meter != NULL) {
        m5_spin_lock(&shard->engine->quotas->lock);
        taken = take_quotas(meter, who, old != NULL ? old->meter : NULL, &full);
        m5_spin_unlock(&shard->engine->quotas->lock);
    }
    if (taken) {
        conn->meter = meter;
        return true;
    }
    if (meter != NULL)
        give_back(meter);
    *reason = MQTT5_REASON_QUOTA_EXCEEDED;
    if (full != M5_QUOTA_KINDS) {
        count_refused(conn, full);
        return false;
    }
    M5_COUNT(shard, limit_memory, 1);
    *reason = MQTT5_REASON_SERVER_BUSY;
    return false;
}

void m5_quota_revise(struct m5_shard *shard)
{
    if (!limits_anything(shard))
        return;
    for (struct m5_list *at = shard->open.next; at != &shard->open; at = at->next) {
        struct m5_conn *conn = M5_CONTAINER_OF(at, struct m5_conn, open);
        if (conn->state != M5_CONN_OPEN)
            continue;
        if (conn->meter == NULL)
            conn->meter = meter_new(conn);
        if (conn->meter == NULL)
            return; /* no memory: as before, until they connect anew */
        m5_spin_lock(&shard->engine->quotas->lock);
        take_quotas(conn->meter, &conn->session->principal, NULL, NULL);
        m5_spin_unlock(&shard->engine->quotas->lock);
    }
}

void m5_quota_detach(struct m5_conn *conn)
{
    if (conn->meter != NULL)
        give_back(conn->meter);
    conn->meter = NULL;
}

/* ---- subscriptions ---- */

/* The quota of a user's subscriptions, which are counted; false: they are not. */
static bool counts_subscriptions(const struct m5_shard *shard, const struct m5_principal *who,
                                 struct key *key)
{
    if (shard->config->subscriptions_per_user_max == 0 || who->anonymous || who->username.len == 0)
        return false;
    *key = key_of(shard, M5_QUOTA_USER, who->username);
    return true;
}

bool m5_quota_subscriptions_full(struct m5_shard *shard, const struct m5_principal *who)
{
    struct m5_quota_table *table = shard->engine->quotas;
    struct key key;
    if (!counts_subscriptions(shard, who, &key))
        return false;
    m5_spin_lock(&table->lock);
    const struct m5_quota *quota = find(table, &key);
    bool full = quota != NULL && quota->subscriptions >= shard->config->subscriptions_per_user_max;
    m5_spin_unlock(&table->lock);
    return full;
}

bool m5_quota_subscribed(struct m5_shard *shard, const struct m5_principal *who)
{
    struct m5_quota_table *table = shard->engine->quotas;
    struct key key;
    if (!counts_subscriptions(shard, who, &key))
        return true;
    m5_spin_lock(&table->lock);
    struct m5_quota *quota = obtain(shard, &key);
    if (quota != NULL)
        use(table, quota, &quota->subscriptions, true);
    m5_spin_unlock(&table->lock);
    return quota != NULL;
}

void m5_quota_unsubscribed(struct m5_shard *shard, const struct m5_principal *who)
{
    struct m5_quota_table *table = shard->engine->quotas;
    struct key key;
    if (!counts_subscriptions(shard, who, &key))
        return;
    m5_spin_lock(&table->lock);
    struct m5_quota *quota = find(table, &key);
    if (quota != NULL && quota->subscriptions > 0)
        use(table, quota, &quota->subscriptions, false);
    m5_spin_unlock(&table->lock);
}

/* ---- buckets ---- */

/* Takes from a bucket that several shards may have. */
static void take(struct m5_shard *shard, _Atomic uint64_t *bucket, uint64_t cost_ns)
{
    uint64_t now_ns = clock_ns(shard), burst = burst_ns(shard);
    uint64_t paid_ns = m5_get(bucket);
    while (!atomic_compare_exchange_weak_explicit(bucket, &paid_ns,
                                                  m5_rate_taken(paid_ns, now_ns, burst, cost_ns),
                                                  memory_order_relaxed, memory_order_relaxed))
        continue;
}

static void take_all(const struct m5_meter *meter, enum bucket messages, uint64_t count,
                     uint64_t bytes)
{
    struct m5_shard *shard = meter->conn->shard;
    for (enum m5_quota_kind kind = 0; kind < M5_QUOTA_KINDS; kind++) {
        struct m5_quota *quota = meter->quotas[kind];
        if (quota == NULL)
            continue;
        uint32_t rate = rate_of(shard, kind, messages);
        if (rate != 0)
            take(shard, &quota->paid_ns[messages], m5_rate_cost(count, rate));
        rate = rate_of(shard, kind, messages + 1);
        if (rate != 0)
            take(shard, &quota->paid_ns[messages + 1], m5_rate_cost(bytes, rate));
    }
}

/* When all buckets of a direction are open, on the shard's clock: in the past if they are. */
static uint64_t open_ms(const struct m5_meter *meter, enum bucket messages)
{
    const struct m5_shard *shard = meter->conn->shard;
    uint64_t latest_ms = 0;
    for (enum m5_quota_kind kind = 0; kind < M5_QUOTA_KINDS; kind++) {
        for (enum bucket bucket = messages; bucket <= messages + 1; bucket++) {
            const struct m5_quota *quota = meter->quotas[kind];
            uint32_t rate = rate_of(shard, kind, bucket);
            if (quota == NULL || rate == 0)
                continue;
            uint64_t ms =
                m5_rate_open_ms(m5_get(&quota->paid_ns[bucket]), need_ns(shard, bucket, rate));
            latest_ms = ms > latest_ms ? ms : latest_ms;
        }
    }
    /* A bucket that nobody took from was paid before this clock began. */
    return latest_ms <= START_MS ? shard->engine->started_ms
                                 : latest_ms - START_MS + shard->engine->started_ms;
}

static bool is_open(const struct m5_meter *meter, enum bucket messages)
{
    return open_ms(meter, messages) <= meter->conn->shard->now_ms;
}

/* ---- meters ---- */

static void report(struct m5_meter *meter, const char *name)
{
    struct m5_shard *shard = meter->conn->shard;
    if (meter->reported_ms != M5_NEVER && shard->now_ms - meter->reported_ms < REPORT_MS)
        return;
    meter->reported_ms = shard->now_ms;
    m5_event_limit(shard, meter->conn, name);
}

static void start_alarm(struct m5_meter *meter)
{
    struct m5_timer_wheel *wheel = &meter->conn->shard->wheel;
    uint64_t due_ms = meter->read_ms < meter->write_ms ? meter->read_ms : meter->write_ms;
    if (due_ms == M5_NEVER)
        m5_timer_stop(wheel, &meter->alarm.timer);
    else
        m5_timer_start(wheel, &meter->alarm.timer, due_ms);
}

bool m5_meter_admits(const struct m5_conn *conn)
{
    return conn->shard->config->rate_action == MQTT5_RATE_WAIT || is_open(conn->meter, IN_MESSAGES);
}

void m5_meter_took(struct m5_conn *conn, uint64_t messages, uint64_t bytes, bool waits)
{
    struct m5_meter *meter = conn->meter;
    struct m5_shard *shard = conn->shard;
    take_all(meter, IN_MESSAGES, messages, bytes);
    uint64_t ms = open_ms(meter, IN_MESSAGES);
    if (!waits || ms <= shard->now_ms)
        return;
    uint64_t gather_ms = shard->config->rate_burst_ms / 2;
    meter->read_ms = ms + (gather_ms < GATHER_MS ? gather_ms : GATHER_MS);
    start_alarm(meter);
    M5_COUNT(shard, limit_message_rate, 1);
    report(meter, "message_rate");
}

void m5_meter_refused(struct m5_conn *conn)
{
    M5_COUNT(conn->shard, limit_message_rate, 1);
    report(conn->meter, "message_rate");
}

bool m5_meter_limits_output(const struct m5_conn *conn)
{
    uint32_t any = 0;
    for (enum m5_quota_kind kind = 0; kind < M5_QUOTA_KINDS; kind++)
        any |= rate_of(conn->shard, kind, OUT_MESSAGES) | rate_of(conn->shard, kind, OUT_BYTES);
    return any != 0;
}

bool m5_meter_open(const struct m5_conn *conn)
{
    return is_open(conn->meter, OUT_MESSAGES);
}

bool m5_meter_wait_open(struct m5_conn *conn)
{
    struct m5_meter *meter = conn->meter;
    uint64_t ms = open_ms(meter, OUT_MESSAGES);
    if (ms <= conn->shard->now_ms)
        return true;
    if (meter->write_ms == M5_NEVER) {
        M5_COUNT(conn->shard, limit_outbound_rate, 1);
        report(meter, "outbound_rate");
    }
    meter->write_ms = ms;
    start_alarm(meter);
    return false;
}

void m5_meter_sent(struct m5_conn *conn, uint64_t bytes)
{
    take_all(conn->meter, OUT_MESSAGES, 1, bytes);
}

void m5_meter_dropped(struct m5_conn *conn)
{
    M5_COUNT(conn->shard, publish_dropped, 1);
    M5_COUNT(conn->shard, limit_outbound_rate, 1);
    report(conn->meter, "outbound_rate");
}

static void read_again(struct m5_conn *conn)
{
    struct m5_shard *shard = conn->shard;
    conn->last_packet_ms = shard->now_ms; /* that it was not heard is not its fault */
    if (!m5_list_linked(&conn->resumed))
        m5_list_push_back(&shard->resumed, &conn->resumed);
    m5_conn_touch(conn);
}

void m5_meter_alarm(struct m5_shard *shard, struct m5_meter *meter)
{
    struct m5_conn *conn = meter->conn;
    bool reads = meter->read_ms <= shard->now_ms, writes = meter->write_ms <= shard->now_ms;
    if (reads)
        meter->read_ms = M5_NEVER;
    if (writes)
        meter->write_ms = M5_NEVER;
    start_alarm(meter);
    if (reads)
        read_again(conn);
    struct m5_session *session = conn->session;
    if (!writes || conn->state != M5_CONN_OPEN)
        return;
    if (session->waiting > 0)
        m5_delivery_pump(shard, session);
    if (session->retained != NULL && conn->state == M5_CONN_OPEN)
        m5_retained_continue(shard, session);
}
