/* Starting from a store: records become sessions again.
 *
 * Keys come in order, so messages are known before the deliveries that refer to them, and a
 * session before all that belongs to it. Nothing runs yet: this thread may touch every shard. What
 * was on its way between shards when the last broker ended is delivered at the end, when all
 * subscriptions are there.
 *
 * Who was connected when the broker crashed is taken to have gone when it was last known to live.
 * What may have been sent to it is sent again with DUP.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "broker/shard.h"
#include "protocol/reader.h"

#define ALIVE_SLACK_MS (M5_ALIVE_MS + 15000u)

/* A message with a record of its own; there may be one object on each shard that needs it. */
struct stored_message {
    uint64_t id;
    uint32_t shard; /* M5_PLACED_ANYWHERE: the record itself */
    struct m5_message_view view;
    struct m5_message *message;
};

struct mail {
    struct mqtt5_bytes key, value;
};

struct m5_restore {
    struct m5_engine *engine;
    struct m5_shard *shard;     /* of the session that was read last */
    struct m5_session *session; /* NULL: it made no sense */
    uint64_t session_serial;
    bool session_connected;
    uint64_t session_given;
    uint64_t serial_max; /* seen in any record */
    uint64_t alive_ms;   /* when the last broker was last known to live, our clock; 0: unknown */
    bool has_meta;
    struct m5_map messages; /* struct stored_message */
    struct mail *mails;
    uint32_t mail_count, mail_capacity;
    struct m5_restore_report report;
};

struct m5_restore *m5_restore_begin(struct m5_engine *engine)
{
    M5_ASSERT(engine->shards[0].journal.on);
    struct m5_restore *restore = m5_alloc_zero(engine->allocator, sizeof *restore);
    if (restore == NULL)
        return NULL;
    restore->engine = engine;
    for (uint32_t i = 0; i < engine->shard_count; i++)
        engine->shards[i].journal.restoring = true;
    m5_map_init(&restore->messages, engine->allocator);
    return restore;
}

/* ---- parts ---- */

/* A record that nobody will miss. */
static void strike(struct m5_restore *restore, struct mqtt5_bytes key)
{
    if (key.len > 0 && key.len <= M5_STORE_KEY_MAX)
        m5_journal_put(&restore->engine->shards[0], M5_STORE_DELETE, key, 0);
}

static void note_serial(struct m5_restore *restore, uint64_t serial)
{
    if (serial > restore->serial_max)
        restore->serial_max = serial;
}

static enum mqtt5_error read_meta(struct m5_restore *restore, struct mqtt5_bytes value)
{
    struct m5_engine *engine = restore->engine;
    struct m5_meta_record meta;
    if (!m5_meta_record_read(value, &meta)) {
        restore->report.damaged++;
        return MQTT5_OK;
    }
    if (meta.version > M5_RECORD_VERSION)
        return MQTT5_ERR_CONFIG;
    /* Nothing has been hashed yet: from now on places are what they were. */
    engine->key = (struct m5_hash_key){meta.key[0], meta.key[1]};
    engine->placed_count = meta.shard_count;
    restore->has_meta = true;
    return MQTT5_OK;
}

struct message_key {
    uint64_t id;
    uint32_t shard;
};

static bool is_message(const void *value, const void *key)
{
    const struct stored_message *stored = value;
    const struct message_key *wanted = key;
    return stored->id == wanted->id && stored->shard == wanted->shard;
}

static uint32_t message_hash(uint64_t id, uint32_t shard)
{
    uint64_t hash = (id ^ (uint64_t)shard << 48) * 0x9E3779B97F4A7C15u;
    return (uint32_t)(hash >> 32);
}

static struct stored_message *find_message(const struct m5_restore *restore, uint64_t id,
                                           uint32_t shard)
{
    struct message_key key = {.id = id, .shard = shard};
    return m5_map_find(&restore->messages, message_hash(id, shard), is_message, &key);
}

static struct stored_message *add_message(struct m5_restore *restore, uint64_t id, uint32_t shard)
{
    struct stored_message *stored = m5_alloc_zero(restore->engine->allocator, sizeof *stored);
    if (stored == NULL)
        return NULL;
    stored->id = id;
    stored->shard = shard;
    if (m5_map_add(&restore->messages, message_hash(id, shard), stored))
        return stored;
    m5_free(restore->engine->allocator, stored, sizeof *stored);
    return NULL;
}

static enum mqtt5_error read_message(struct m5_restore *restore, uint64_t id,
                                     struct mqtt5_bytes value, bool *sound)
{
    struct m5_message_view view;
    *sound = m5_message_record_read(value, &view);
    if (!*sound)
        return MQTT5_OK;
    struct stored_message *stored = add_message(restore, id, M5_PLACED_ANYWHERE);
    if (stored == NULL)
        return MQTT5_ERR_NOMEM;
    view.expires_at_ms = m5_from_wall(view.expires_at_ms, restore->engine->wall_ms);
    stored->view = view;
    return MQTT5_OK;
}

static enum mqtt5_error keep_mail(struct m5_restore *restore, struct mqtt5_bytes key,
                                  struct mqtt5_bytes value)
{
    void *mails = m5_make_room(restore->engine->allocator, restore->mails, sizeof *restore->mails,
                               restore->mail_count, &restore->mail_capacity, 64);
    if (mails == NULL)
        return MQTT5_ERR_NOMEM;
    restore->mails = mails;
    restore->mails[restore->mail_count++] = (struct mail){.key = key, .value = value};
    return MQTT5_OK;
}

static enum mqtt5_error read_retained(struct m5_restore *restore, uint64_t number,
                                      struct mqtt5_bytes key, struct mqtt5_bytes value, bool *sound)
{
    struct m5_retained_record record;
    *sound = m5_retained_record_read(value, &record);
    if (!*sound)
        return MQTT5_OK;
    const struct m5_engine *engine = restore->engine;
    struct m5_retained_value retained = {
        .topic = record.view.topic,
        .properties = record.view.properties,
        .payload = record.view.payload,
        .publisher = record.publisher,
        .expires_at_ms = m5_from_wall(record.view.expires_at_ms, engine->wall_ms),
        .stored = true,
        .number = number,
        .qos = record.view.qos};
    if (retained.expires_at_ms <= engine->shards[0].now_ms) {
        strike(restore, key);
        return MQTT5_OK;
    }
    uint64_t superseded;
    enum mqtt5_error error = m5_retained_restore(engine->retained, &retained, &superseded);
    if (superseded != 0) {
        struct m5_record_key old = m5_key_of(M5_RECORD_RETAINED, superseded, 0);
        strike(restore, m5_key_bytes(&old));
    }
    restore->report.retained += error == MQTT5_OK && superseded == 0;
    restore->report.refused += error == MQTT5_ERR_QUOTA;
    return error == MQTT5_ERR_QUOTA ? MQTT5_OK : error;
}

/* ---- sessions ---- */

/* When a connection that nobody closed ended, as far as one can know. */
static uint64_t ended_ms(const struct m5_restore *restore, uint64_t now_ms)
{
    uint64_t latest = restore->alive_ms + ALIVE_SLACK_MS;
    return restore->alive_ms != 0 && latest < now_ms ? latest : now_ms;
}

static void set_times(const struct m5_restore *restore, struct m5_session *session,
                      const struct m5_session_record *record)
{
    const struct m5_engine *engine = restore->engine;
    uint64_t now_ms = engine->shards[0].now_ms;
    session->expires_at_ms = m5_from_wall(record->expires_wall_ms, engine->wall_ms);
    session->will_at_ms = m5_from_wall(record->will_wall_ms, engine->wall_ms);
    if (!record->connected)
        return;
    session->will_at_ms = M5_NEVER; /* until the will is read */
    session->expires_at_ms = M5_NEVER;
    if (record->expiry_s != M5_EXPIRY_NEVER)
        session->expires_at_ms = ended_ms(restore, now_ms) + record->expiry_s * (uint64_t)1000;
}

static enum mqtt5_error read_session(struct m5_restore *restore, uint64_t serial,
                                     struct mqtt5_bytes value, bool *sound)
{
    struct m5_session_record record;
    restore->session = NULL;
    restore->session_serial = serial;
    *sound = m5_session_record_read(value, &record);
    if (!*sound)
        return MQTT5_OK;
    struct m5_engine *engine = restore->engine;
    uint32_t place = m5_place_of(&engine->shards[0], record.client_id, engine->shard_count);
    restore->shard = &engine->shards[place];
    *sound = m5_session_find(restore->shard, record.client_id) == NULL;
    if (!*sound)
        return MQTT5_OK; /* a second one: no broker wrote that */
    struct m5_session *session = m5_session_new(restore->shard, record.client_id,
                                                record.anonymous ? NULL : &record.username);
    if (session == NULL)
        return MQTT5_ERR_NOMEM;
    session->serial = serial;
    session->principal.proved = record.proved;
    session->stored = true;
    restore->shard->stored_sessions++;
    session->expiry_s = record.expiry_s;
    session->head = session->sent = session->tail = session->given = record.given;
    session->target = record.connected; /* until wake_session() */
    set_times(restore, session, &record);
    restore->session = session;
    restore->session_connected = record.connected;
    restore->session_given = record.given;
    restore->report.sessions++;
    return MQTT5_OK;
}

static enum mqtt5_error read_subscription(struct m5_restore *restore, uint64_t serial,
                                          struct mqtt5_bytes value, bool *sound)
{
    struct m5_shard *shard = restore->shard;
    struct m5_subscription_record record;
    struct mqtt5_filter filter;
    *sound = m5_subscription_record_read(value, &record) &&
             mqtt5_filter_parse(record.filter, UINT32_MAX, &filter) == MQTT5_OK &&
             filter.share_name.len == 0 && m5_shared_find(shard, serial) == NULL;
    if (!*sound)
        return MQTT5_OK;
    filter.share_name = record.share_name;
    *sound = m5_subscription_find(shard, restore->session, &filter) == NULL;
    if (!*sound)
        return MQTT5_OK;
    struct m5_sub_options options = {.id = record.id, .qos = record.qos, .flags = record.flags};
    struct m5_subscription *subscription =
        m5_subscription_add(shard, restore->session, &filter, options, serial);
    if (subscription == NULL)
        return MQTT5_ERR_NOMEM;
    if (subscription->shared != NULL && !m5_share_restore(shard, subscription)) {
        m5_subscription_remove(shard, subscription);
        return MQTT5_ERR_NOMEM;
    }
    restore->report.subscriptions++;
    return MQTT5_OK;
}

/* The object of a stored message on this shard; a second shard that needs it stores it anew. NULL:
 * no memory, or *@p sound is false: there is no such message. */
static struct m5_message *message_here(struct m5_restore *restore, uint64_t id, bool *sound)
{
    struct m5_shard *shard = restore->shard;
    struct stored_message *record = find_message(restore, id, M5_PLACED_ANYWHERE);
    *sound = record != NULL;
    if (!*sound)
        return NULL;
    struct stored_message *here = find_message(restore, id, shard->index);
    if (here != NULL)
        return here->message;
    here = add_message(restore, id, shard->index);
    if (here == NULL)
        return NULL;
    here->message = m5_message_new(&shard->messages, &record->view);
    if (here->message != NULL && record->message == NULL) {
        record->message = here->message; /* the first one takes the record over */
        here->message->stored_id = id;
    }
    return here->message;
}

/* The message of a delivery, with a reference for it. */
static struct m5_message *message_of(struct m5_restore *restore, struct m5_delivery_record *record,
                                     bool *sound)
{
    struct m5_message *message;
    if (record->body == M5_STORED_WITHIN) {
        struct m5_message_view *view = &record->view;
        view->expires_at_ms = m5_from_wall(view->expires_at_ms, restore->engine->wall_ms);
        return m5_message_new(&restore->shard->messages, view);
    }
    message = message_here(restore, record->message, sound);
    return message == NULL ? NULL : m5_message_hold(message);
}

static enum mqtt5_error read_delivery(struct m5_restore *restore, uint64_t sequence,
                                      struct mqtt5_bytes value, bool *sound)
{
    struct m5_delivery_record record;
    *sound = m5_delivery_record_read(value, &record);
    if (!*sound)
        return MQTT5_OK;
    struct m5_delivery_restored restored = {.sequence = sequence,
                                            .record = &record,
                                            .sent = restore->session_connected ||
                                                    sequence < restore->session_given};
    if (!record.released) {
        restored.message = message_of(restore, &record, sound);
        if (!*sound)
            return MQTT5_OK;
        if (restored.message == NULL)
            return MQTT5_ERR_NOMEM;
    }
    note_serial(restore, record.ticket);
    bool added = m5_delivery_restore(restore->shard, restore->session, &restored, sound);
    if (restored.message != NULL)
        m5_message_release(&restore->shard->messages, restored.message);
    restore->report.messages += added;
    return added || !*sound ? MQTT5_OK : MQTT5_ERR_NOMEM;
}

static enum mqtt5_error read_incoming(struct m5_restore *restore, uint64_t packet_id, bool *sound)
{
    struct m5_session *session = restore->session;
    *sound = packet_id != 0;
    if (!*sound)
        return MQTT5_OK;
    session->incoming_stored++;
    return m5_id_set_add(&session->incoming, restore->shard->allocator, (uint16_t)packet_id)
               ? MQTT5_OK
               : MQTT5_ERR_NOMEM;
}

static enum mqtt5_error read_will(struct m5_restore *restore, struct mqtt5_bytes value, bool *sound)
{
    struct m5_will_record record;
    struct m5_session *session = restore->session;
    *sound = m5_will_record_read(value, &record);
    if (!*sound)
        return MQTT5_OK;
    session->will = (struct m5_will){
        .message = m5_message_new(&restore->shard->messages, &record.view),
        .delay_s = record.delay_s,
        .expiry_s = record.expiry_s,
        .expires = record.expires,
    };
    if (session->will.message == NULL)
        return MQTT5_ERR_NOMEM;
    if (restore->session_connected)
        session->will_at_ms =
            ended_ms(restore, restore->engine->shards[0].now_ms) + record.delay_s * (uint64_t)1000;
    return MQTT5_OK;
}

static enum mqtt5_error read_part(struct m5_restore *restore, enum m5_record_kind kind,
                                  uint64_t second, struct mqtt5_bytes value, bool *sound)
{
    switch (kind) {
    case M5_RECORD_SUBSCRIPTION: return read_subscription(restore, second, value, sound);
    case M5_RECORD_DELIVERY: return read_delivery(restore, second, value, sound);
    case M5_RECORD_INCOMING: return read_incoming(restore, second, sound);
    default: return read_will(restore, value, sound);
    }
}

/* ---- entry ---- */

static enum mqtt5_error read_alive(struct m5_restore *restore, struct mqtt5_bytes value,
                                   bool *sound)
{
    *sound = value.len == M5_ALIVE_RECORD_SIZE;
    if (*sound)
        restore->alive_ms = m5_from_wall(m5_read_u64(value.data), restore->engine->wall_ms);
    return MQTT5_OK;
}

enum mqtt5_error m5_restore_record(struct m5_restore *restore, struct mqtt5_bytes key,
                                   struct mqtt5_bytes value)
{
    uint64_t first, second;
    bool sound = true;
    enum mqtt5_error error = MQTT5_OK;
    enum m5_record_kind kind = m5_record_kind(key, &first, &second);
    if (kind != M5_RECORD_RETAINED && kind != M5_RECORD_MAIL)
        note_serial(restore, first);
    if (kind == M5_RECORD_SUBSCRIPTION || kind == M5_RECORD_MAIL)
        note_serial(restore, second);
    switch (kind) {
    case M5_RECORD_META: return read_meta(restore, value);
    case M5_RECORD_ALIVE: error = read_alive(restore, value, &sound); break;
    case M5_RECORD_MESSAGE: error = read_message(restore, first, value, &sound); break;
    case M5_RECORD_MAIL: return keep_mail(restore, key, value);
    case M5_RECORD_RETAINED: error = read_retained(restore, first, key, value, &sound); break;
    case M5_RECORD_SESSION: error = read_session(restore, first, value, &sound); break;
    case M5_RECORD_UNKNOWN: sound = false; break;
    default:
        sound = restore->session != NULL && restore->session_serial == first;
        if (sound)
            error = read_part(restore, kind, second, value, &sound);
    }
    if (!sound) {
        restore->report.damaged++;
        strike(restore, key);
    }
    return error;
}

/* ---- the end ---- */

/* On the shard that the mail was on its way to; of another number of shards, on every one. */
static bool deliver_mail(struct m5_restore *restore, const struct mail *mail)
{
    struct m5_engine *engine = restore->engine;
    uint32_t placed = mail->key.data[1];
    if (mail->value.len == 0 || placed >= engine->placed_count)
        return false;
    struct mqtt5_bytes record = m5_bytes(mail->value.data + 1, mail->value.len - 1);
    if (mail->value.data[0] == M5_MAIL_OF_SHARE)
        return m5_share_restore_mail(&engine->shards[0], record);
    bool sound = mail->value.data[0] == M5_MAIL_OF_RUN;
    for (uint32_t i = 0; sound && i < engine->shard_count; i++)
        sound = m5_run_restore(&engine->shards[i], placed, record);
    return sound;
}

static void deliver_mails(struct m5_restore *restore)
{
    for (uint32_t i = 0; i < restore->mail_count; i++) {
        if (!deliver_mail(restore, &restore->mails[i]))
            restore->report.damaged++;
        strike(restore, restore->mails[i].key);
    }
}

static void wake_session(struct m5_restore *restore, struct m5_shard *shard,
                         struct m5_session *session)
{
    bool changed = session->target != 0;
    session->target = 0;
    restore->report.expired += session->expires_at_ms <= shard->now_ms;
    if (session->will.message == NULL)
        session->will_at_ms = M5_NEVER;
    m5_delivery_restored(shard, session, changed);
    m5_session_wake(shard, session);
    if (changed)
        m5_persist_session(shard, session);
}

/* Numbers go on behind those that were given. */
static void set_serials(struct m5_restore *restore)
{
    uint64_t next = restore->serial_max / M5_SHARDS_MAX + 1;
    for (uint32_t i = 0; i < restore->engine->shard_count; i++)
        if (restore->engine->shards[i].serial < next)
            restore->engine->shards[i].serial = next;
}

static void wake_all(struct m5_restore *restore)
{
    for (uint32_t i = 0; i < restore->engine->shard_count; i++) {
        struct m5_shard *shard = &restore->engine->shards[i];
        uint32_t cursor = 0;
        struct m5_session *session;
        while ((session = m5_map_next(&shard->sessions, &cursor)) != NULL)
            wake_session(restore, shard, session);
    }
}

static void write_meta(struct m5_engine *engine)
{
    struct m5_meta_record meta = {.version = M5_RECORD_VERSION,
                                  .key = {engine->key.k0, engine->key.k1},
                                  .shard_count = engine->shard_count};
    struct m5_record_key key = m5_key_of(M5_RECORD_META, 0, 0);
    uint8_t *at =
        m5_journal_put(&engine->shards[0], M5_STORE_PUT, m5_key_bytes(&key), M5_META_RECORD_SIZE);
    if (at != NULL)
        m5_meta_record_write(&meta, at);
    engine->placed_count = engine->shard_count;
}

/* Messages that no delivery refers to are struck out; the map's own references go. */
static void settle_messages(struct m5_restore *restore)
{
    uint32_t cursor = 0;
    struct stored_message *stored;
    while ((stored = m5_map_next(&restore->messages, &cursor)) != NULL) {
        if (stored->shard == M5_PLACED_ANYWHERE) {
            struct m5_record_key key = m5_key_of(M5_RECORD_MESSAGE, stored->id, 0);
            if (stored->message == NULL || stored->message->stored_references == 0)
                strike(restore, m5_key_bytes(&key));
        }
    }
    cursor = 0;
    while ((stored = m5_map_next(&restore->messages, &cursor)) != NULL) {
        if (stored->shard != M5_PLACED_ANYWHERE && stored->message != NULL)
            m5_message_release(&restore->engine->shards[stored->shard].messages, stored->message);
        m5_free(restore->engine->allocator, stored, sizeof *stored);
    }
}

enum mqtt5_error m5_restore_end(struct m5_restore *restore, struct m5_restore_report *report)
{
    struct m5_engine *engine = restore->engine;
    set_serials(restore);
    settle_messages(restore);
    wake_all(restore);
    deliver_mails(restore);
    if (!restore->has_meta || engine->placed_count != engine->shard_count)
        write_meta(engine);
    enum mqtt5_error error = MQTT5_OK;
    for (uint32_t i = 0; i < engine->shard_count; i++)
        if (engine->shards[i].journal.ended || m5_get(&engine->shards[i].counters.limit_memory) > 0)
            error = MQTT5_ERR_NOMEM; /* something of what was stored has been left out */
    m5_journal_gather(engine);
    if (report != NULL)
        *report = restore->report;
    m5_map_fini(&restore->messages);
    m5_free(engine->allocator, restore->mails, restore->mail_capacity * sizeof *restore->mails);
    m5_free(engine->allocator, restore, sizeof *restore);
    return error;
}

/* ---- for the store ---- */

struct m5_batch *m5_retained_seal(struct m5_engine *engine)
{
    return m5_retained_take(engine->retained);
}

void m5_retained_stored(struct m5_engine *engine, struct m5_batch *list)
{
    for (struct m5_batch *batch = list, *next; batch != NULL; batch = next) {
        next = batch->next;
        m5_batch_free(engine->allocator, batch);
    }
}
