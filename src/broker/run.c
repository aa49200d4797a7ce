/* Routing and delivery of runs: the hot path.
 *
 * m5_run_begin() routes; m5_run_flush() hands the run to other shards, then delivers to this one's
 * subscribers, then acknowledges. For each subscriber one of three ways is taken:
 *   - all of it at QoS 0: the encoded run is appended in one copy (append_qos0);
 *   - QoS > 0 and room in the window for all: one copy, packet ids patched in (append_tracked);
 *   - anything else, message by message: aliases, identifiers, full windows, offline sessions.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "broker/run.h"

#include "broker/publish_frame.h"
#include "broker/record.h"
#include "broker/shard.h"

/* Up to here room for a run is taken in the output before its exact size is known. */
#define ENCODED_IN_PLACE_MAX 8192u

#define TEMPLATE_KEPT_MAX (256u * 1024u)

void m5_run_init(struct m5_run *run, const struct mqtt5_allocator *allocator)
{
    memset(run, 0, sizeof *run);
    m5_match_init(&run->match, allocator);
}

void m5_run_trim(struct m5_run *run, const struct mqtt5_allocator *allocator)
{
    M5_ASSERT(run->count == 0);
    for (uint32_t i = 0; i < M5_TEMPLATES; i++) {
        m5_free(allocator, run->templates[i].bytes, run->templates[i].capacity);
        run->templates[i].bytes = NULL;
        run->templates[i].capacity = 0;
    }
    m5_free(allocator, run->targets, run->target_capacity * sizeof *run->targets);
    m5_free(allocator, run->ids, run->id_capacity * sizeof *run->ids);
    m5_free(allocator, run->id_list, run->id_list_capacity * sizeof *run->id_list);
    run->targets = NULL;
    run->ids = NULL;
    run->id_list = NULL;
    run->target_capacity = run->id_capacity = run->id_list_capacity = 0;
    m5_match_fini(&run->match);
}

void m5_run_fini(struct m5_run *run, const struct mqtt5_allocator *allocator)
{
    m5_run_trim(run, allocator);
}

/* ---- building ---- */

static void start(struct m5_run *run, struct m5_session *publisher, struct m5_conn *conn,
                  struct mqtt5_bytes topic)
{
    M5_ASSERT(run->count == 0);
    run->publisher = publisher;
    run->conn = conn;
    run->topic = topic;
    run->wire = run->wire_end = NULL;
    run->bytes = run->largest = run->acknowledged = 0;
    run->payload_bytes = 0;
    run->retain = run->failed = run->store = false;
    run->placed = M5_PLACED_ANYWHERE;
    run->publisher_hash = publisher == NULL ? 0 : publisher->hash;
}

void m5_run_begin(struct m5_shard *shard, struct m5_session *publisher, struct m5_conn *conn,
                  struct mqtt5_bytes topic)
{
    struct m5_run *run = &shard->run;
    start(run, publisher, conn, topic);
    if (!m5_index_match(shard->engine->routes, topic, &run->match))
        run->failed = true;
}

struct m5_message *m5_run_message(struct m5_shard *shard, struct m5_run *run, uint32_t index)
{
    struct m5_run_item *item = &run->items[index];
    if (item->message == NULL)
        item->message = m5_message_new(&shard->messages, &item->view);
    return item->message;
}

/* The run is over: nothing of the input is referred to any more. */
static void finish(struct m5_shard *shard, struct m5_run *run)
{
    for (uint32_t i = 0; i < run->count; i++)
        if (run->items[i].message != NULL)
            m5_message_release(&shard->messages, run->items[i].message);
    while (run->built != 0) {
        struct m5_template *template = &run->templates[__builtin_ctz(run->built)];
        run->built &= run->built - 1;
        if (template->capacity > TEMPLATE_KEPT_MAX) {
            m5_free(shard->allocator, template->bytes, template->capacity);
            template->bytes = NULL;
            template->capacity = 0;
        }
    }
    run->count = 0;
    run->publisher = NULL;
    run->conn = NULL;
}

/* ---- templates ---- */

static bool template_reserve(struct m5_shard *shard, struct m5_template *template, uint32_t size)
{
    if (template->capacity >= size)
        return true;
    uint32_t capacity = template->capacity == 0 ? 4096 : template->capacity;
    while (capacity < size)
        capacity *= 2;
    m5_free(shard->allocator, template->bytes, template->capacity);
    template->bytes = m5_alloc(shard->allocator, capacity);
    template->capacity = template->bytes == NULL ? 0 : capacity;
    return template->bytes != NULL;
}

/* DUP is never taken over from the publisher [MQTT-3.3.1-3].
 * Encodes the run as one kind of subscriber is sent it; offsets of the packet identifiers go to
 * @p id_at (0: QoS 0). Returns one past the end. */
static uint8_t *encode(const struct m5_shard *shard, const struct m5_run *run, bool v5, bool retain,
                       uint8_t qos, uint8_t *out, uint32_t *id_at)
{
    uint8_t *at = out;
    for (uint32_t i = 0; i < run->count; i++) {
        const struct m5_message_view *view = &run->items[i].view;
        struct m5_publish_shape shape = {
            .v5 = v5, .retain = retain && view->retain, .qos = view->qos < qos ? view->qos : qos};
        uint8_t *packet_id = out;
        at = m5_publish_frame_write(view, &shape, shard->now_ms, at, &packet_id);
        id_at[i] = (uint32_t)(packet_id - out);
    }
    return at;
}

/* The run as @p qos subscribers of one kind are sent it; NULL without memory. */
static struct m5_template *template_for(struct m5_shard *shard, struct m5_run *run, bool v5,
                                        bool retain, uint8_t qos)
{
    retain = retain && run->retain;
    uint32_t kind = (v5 ? 6u : 0u) + (retain ? 3u : 0u) + qos;
    struct m5_template *template = &run->templates[kind];
    if ((run->built >> kind & 1u) != 0)
        return template;
    if (!template_reserve(shard, template, run->bytes))
        return NULL;
    uint8_t *end = encode(shard, run, v5, retain, qos, template->bytes, template->id_at);
    template->size = (uint32_t)(end - template->bytes);
    M5_ASSERT(template->size <= template->capacity);
    run->built |= 1u << kind;
    return template;
}

/* ---- one subscriber ---- */

static void count_sent(struct m5_shard *shard, const struct m5_run *run)
{
    M5_COUNT(shard, packets_sent, run->count);
    M5_COUNT(shard, publish_sent, run->count);
    M5_COUNT(shard, publish_bytes_sent, run->payload_bytes);
}

static bool output_full(const struct m5_shard *shard, const struct m5_conn *conn)
{
    return conn->output.size >= shard->config->output_bytes_max;
}

static void drop_qos0(struct m5_shard *shard, const struct m5_conn *conn, uint32_t count)
{
    M5_COUNT(shard, publish_dropped, count);
    if (conn != NULL)
        M5_COUNT(shard, limit_output, count);
}

/* Everything at QoS 0 in one copy; false when that is not possible. */
static bool append_qos0(struct m5_shard *shard, struct m5_run *run, struct m5_conn *conn,
                        bool retain)
{
    if (output_full(shard, conn)) {
        drop_qos0(shard, conn, run->count);
        return true;
    }
    bool v5 = conn->version == MQTT5_VERSION_5;
    struct mqtt5_bytes bytes;
    if (run->wire != NULL && v5) {
        bytes = m5_bytes(run->wire, (size_t)(run->wire_end - run->wire));
    } else {
        struct m5_template *template = template_for(shard, run, v5, retain, 0);
        if (template == NULL)
            return false;
        bytes = m5_bytes(template->bytes, template->size);
    }
    if (!m5_output_append(&conn->output, &shard->chunks, bytes))
        return false;
    m5_conn_touch(conn);
    count_sent(shard, run);
    return true;
}

/* Every message of QoS > 0 as an object that can be kept; false without memory. */
static bool materialise(struct m5_shard *shard, struct m5_run *run)
{
    for (uint32_t i = 0; i < run->count; i++)
        if (run->items[i].view.qos > 0 && m5_run_message(shard, run, i) == NULL)
            return false;
    return true;
}

/* The encoded run in the output, identifiers left open: encoded there when nobody else needs it,
 * else copied from the template. NULL without memory. */
static uint8_t *append_open(struct m5_shard *shard, struct m5_run *run, struct m5_conn *conn,
                            bool retain, uint8_t qos, const uint32_t **id_at)
{
    bool v5 = conn->version == MQTT5_VERSION_5;
    if (run->alone && run->bytes <= ENCODED_IN_PLACE_MAX) {
        uint8_t *at = m5_output_reserve(&conn->output, &shard->chunks, run->bytes);
        if (at == NULL)
            return NULL;
        uint8_t *end = encode(shard, run, v5, retain, qos, at, run->id_at);
        m5_output_give_back(&conn->output, run->bytes - (size_t)(end - at));
        *id_at = run->id_at;
        return at;
    }
    struct m5_template *template = template_for(shard, run, v5, retain, qos);
    if (template == NULL)
        return NULL;
    uint8_t *at = m5_output_reserve(&conn->output, &shard->chunks, template->size);
    if (at != NULL)
        memcpy(at, template->bytes, template->size);
    *id_at = template->id_at;
    return at;
}

/* Everything in one copy with packet identifiers of this session; false when not possible. */
static bool append_tracked(struct m5_shard *shard, struct m5_run *run, struct m5_session *session,
                           struct m5_conn *conn, const struct m5_target *target)
{
    /* At QoS 2 it may have to wait for the store, one by one. */
    if ((session->stored && target->qos == 2) || output_full(shard, conn) ||
        !m5_delivery_ready(shard, session, run->acknowledged) || !materialise(shard, run))
        return false;
    bool retain = (target->flags & M5_SUB_RETAIN_AS_PUBLISHED) != 0;
    const uint32_t *id_at;
    uint8_t *at = append_open(shard, run, conn, retain, target->qos, &id_at);
    if (at == NULL)
        return false;
    for (uint32_t i = 0; i < run->count; i++) {
        const struct m5_run_item *item = &run->items[i];
        if (item->view.qos == 0)
            continue;
        uint8_t qos = item->view.qos < target->qos ? item->view.qos : target->qos;
        uint16_t id = m5_delivery_record(session, item->message, qos, retain && item->view.retain);
        m5_write_u16(at + id_at[i], id);
        if (run->store && session->stored)
            m5_delivery_store(shard, session, !run->alone);
    }
    M5_COUNT(shard, messages_inflight, run->acknowledged);
    m5_conn_touch(conn);
    count_sent(shard, run);
    return true;
}

void m5_deliver_qos0(struct m5_shard *shard, struct m5_session *session,
                     const struct m5_single *single)
{
    struct m5_conn *conn = m5_session_conn(session);
    if (conn == NULL || output_full(shard, conn)) {
        if (conn != NULL)
            drop_qos0(shard, conn, 1);
        return;
    }
    if (conn->meter != NULL && !m5_meter_open(conn)) {
        m5_meter_dropped(conn);
        return;
    }
    struct m5_publish_shape shape = {.v5 = conn->version == MQTT5_VERSION_5,
                                     .retain = single->retain,
                                     .ids = single->ids,
                                     .id_count = single->id_count};
    if (m5_conn_write_message(conn, single->view, &shape) == M5_WRITE_TOO_LARGE)
        M5_COUNT(shard, publish_dropped, 1); /* [MQTT-3.1.2-25] */
}

/* Message by message: whatever the target and the state of its session. */
static void deliver_singly(struct m5_shard *shard, struct m5_run *run,
                           const struct m5_target *target, const uint32_t *ids)
{
    bool keep_retain = (target->flags & M5_SUB_RETAIN_AS_PUBLISHED) != 0;
    for (uint32_t i = 0; i < run->count; i++) {
        const struct m5_message_view *view = &run->items[i].view;
        uint8_t qos = view->qos < target->qos ? view->qos : target->qos; /* [MQTT-3.8.4-8] */
        bool retain = keep_retain && view->retain; /* [MQTT-3.3.1-12] [MQTT-3.3.1-13] */
        if (qos == 0) {
            struct m5_single single = {
                .view = view, .ids = ids, .id_count = target->id_count, .retain = retain};
            m5_deliver_qos0(shard, target->session, &single);
            continue;
        }
        struct m5_offer offer = {.message = m5_run_message(shard, run, i),
                                 .ids = ids,
                                 .id_count = target->id_count,
                                 .qos = qos,
                                 .retain = retain,
                                 .store = run->store,
                                 .shared = !run->alone};
        if (offer.message == NULL)
            M5_COUNT(shard, limit_memory, 1), M5_COUNT(shard, publish_dropped, 1);
        else
            m5_delivery_offer(shard, target->session, &offer);
    }
}

static void deliver_to(struct m5_shard *shard, struct m5_run *run, const struct m5_target *target,
                       const uint32_t *ids)
{
    struct m5_session *session = target->session;
    if (run->placed != M5_PLACED_ANYWHERE && m5_placed_on(shard, session) != run->placed)
        return;
    if (!m5_may_deliver(shard, session, run->topic, run->count))
        return;
    struct m5_conn *conn = m5_session_conn(session);
    bool tracked = target->qos > 0 && run->acknowledged > 0;
    if (conn == NULL && !tracked)
        return; /* QoS 0 is not kept for clients that are away */
    if (conn != NULL && target->id_count == 0 && conn->alias_out == NULL &&
        run->largest <= conn->packet_size_max &&
        (conn->meter == NULL || !m5_meter_limits_output(conn))) {
        bool retain = (target->flags & M5_SUB_RETAIN_AS_PUBLISHED) != 0;
        if (tracked ? append_tracked(shard, run, session, conn, target)
                    : append_qos0(shard, run, conn, retain))
            return;
    }
    deliver_singly(shard, run, target, ids);
}

/* ---- the subscribers of a run: every session with a matching subscription [MQTT-4.5.0-1] ---- */

static bool is_own(const struct m5_run *run, const struct m5_sub_entry *entry)
{
    /* A session is one client identifier, so the pointer decides [MQTT-3.8.3-3]. */
    return (entry->options.flags & M5_SUB_NO_LOCAL) != 0 && entry->session == run->publisher;
}

static void deliver_list(struct m5_shard *shard, struct m5_run *run, const struct m5_sub_list *list)
{
    for (uint32_t i = 0; i < list->count; i++) {
        const struct m5_sub_entry *entry = &list->entries[i];
        if (i + 4 < list->count)
            __builtin_prefetch(list->entries[i + 4].session);
        if (is_own(run, entry))
            continue;
        struct m5_target target = {.session = entry->session,
                                   .id_count = entry->options.id != 0,
                                   .qos = entry->options.qos,
                                   .flags = entry->options.flags};
        deliver_to(shard, run, &target, &entry->options.id);
    }
}

static bool add_id(struct m5_shard *shard, struct m5_run *run, struct m5_target *target,
                   uint32_t id)
{
    void *ids = m5_make_room(shard->allocator, run->ids, sizeof *run->ids, run->id_count + 1,
                             &run->id_capacity, 64);
    if (ids == NULL)
        return false;
    run->ids = ids;
    uint32_t at = ++run->id_count; /* 0 means none */
    run->ids[at] = (struct m5_target_id){.id = id};
    if (target->last_id != 0)
        run->ids[target->last_id].next = at;
    else
        target->first_id = at;
    target->last_id = at;
    target->id_count++;
    return true;
}

static struct m5_target *target_for(struct m5_shard *shard, struct m5_run *run,
                                    struct m5_session *session)
{
    if (session->mark == shard->mark)
        return &run->targets[session->target];
    void *targets = m5_make_room(shard->allocator, run->targets, sizeof *run->targets,
                                 run->target_count, &run->target_capacity, 64);
    if (targets == NULL)
        return NULL;
    run->targets = targets;
    session->mark = shard->mark;
    session->target = run->target_count;
    run->targets[run->target_count] = (struct m5_target){.session = session};
    return &run->targets[run->target_count++];
}

/* Merges the matching subscriptions of each session: one copy, at the highest QoS, with every
 * subscription identifier [MQTT-3.3.4-2] [MQTT-3.3.4-3] [MQTT-3.3.4-4]. */
static void gather(struct m5_shard *shard, struct m5_run *run, const struct m5_sub_list *list)
{
    for (uint32_t i = 0; i < list->count; i++) {
        const struct m5_sub_entry *entry = &list->entries[i];
        if (is_own(run, entry))
            continue;
        struct m5_target *target = target_for(shard, run, entry->session);
        if (target == NULL ||
            (entry->options.id != 0 && !add_id(shard, run, target, entry->options.id))) {
            M5_COUNT(shard, limit_memory, 1);
            continue;
        }
        if (entry->options.qos > target->qos)
            target->qos = entry->options.qos;
        target->flags |= entry->options.flags;
    }
}

/* The ids of @p target side by side, or NULL without memory. */
static const uint32_t *list_ids(struct m5_shard *shard, struct m5_run *run,
                                const struct m5_target *target)
{
    if (target->id_count > run->id_list_capacity) {
        uint32_t capacity = target->id_count * 2;
        void *list =
            m5_resize(shard->allocator, run->id_list, run->id_list_capacity * sizeof *run->id_list,
                      capacity * sizeof *run->id_list);
        if (list == NULL)
            return NULL;
        run->id_list = list;
        run->id_list_capacity = capacity;
    }
    uint32_t count = 0;
    for (uint32_t at = target->first_id; at != 0; at = run->ids[at].next)
        run->id_list[count++] = run->ids[at].id;
    return run->id_list;
}

static void deliver_targets(struct m5_shard *shard, struct m5_run *run)
{
    for (uint32_t i = 0; i < run->target_count; i++) {
        struct m5_target target = run->targets[i];
        const uint32_t *ids = NULL;
        if (target.id_count > 0 && (ids = list_ids(shard, run, &target)) == NULL)
            target.id_count = 0;
        deliver_to(shard, run, &target, ids);
    }
}

void m5_run_deliver_local(struct m5_shard *shard, struct m5_run *run,
                          struct m5_index_node *const *nodes, uint32_t node_count)
{
    const struct m5_sub_list *single = NULL;
    uint32_t lists = 0;
    for (uint32_t i = 0; i < node_count; i++) {
        const struct m5_sub_list *list = nodes[i]->lists[shard->index];
        if (list != NULL && list->count > 0)
            single = list, lists++;
    }
    run->alone = lists == 1 && single->count == 1;
    if (lists == 1) {
        deliver_list(shard, run, single);
    } else if (lists > 1) {
        shard->mark++;
        run->target_count = run->id_count = 0;
        for (uint32_t i = 0; i < node_count; i++)
            if (nodes[i]->lists[shard->index] != NULL)
                gather(shard, run, nodes[i]->lists[shard->index]);
        deliver_targets(shard, run);
    }
    for (uint32_t i = 0; i < node_count; i++)
        if (nodes[i]->lists[shard->index] != NULL && nodes[i]->lists[shard->index]->groups != NULL)
            m5_share_route(shard, run, nodes[i]->lists[shard->index]);
}

/* ---- other shards ---- */

/* What travels: in mail the nodes come first. In the store the same without nodes, times of the
 * wall clock. */
struct mail_run {
    uint32_t node_count, item_count;
    uint64_t publisher_hash;
    uint64_t mail; /* number of its record in the store, 0: none */
    uint32_t topic_size, padding;
    /* nodes, topic, then the items, each 8-aligned */
};

struct mail_item {
    uint64_t expires_at_ms;
    uint32_t properties_size, payload_size;
    uint8_t qos, retain, padding[6];
};

static size_t aligned(size_t size)
{
    return (size + 7u) & ~(size_t)7;
}

static size_t mail_size(const struct m5_run *run, uint32_t node_count)
{
    size_t size = sizeof(struct mail_run) + node_count * sizeof(struct m5_index_node *) +
                  aligned(run->topic.len);
    for (uint32_t i = 0; i < run->count; i++)
        size += sizeof(struct mail_item) +
                aligned(run->items[i].view.properties.len + run->items[i].view.payload.len);
    return size;
}

static uint8_t *write_part(uint8_t *at, struct mqtt5_bytes first, struct mqtt5_bytes second)
{
    uint8_t *end = m5_copy(m5_copy(at, first), second);
    uint8_t *next = at + aligned(first.len + second.len);
    memset(end, 0, (size_t)(next - end)); /* what is stored has no leftovers of memory in it */
    return next;
}

static void write_items(const struct m5_run *run, uint64_t wall_ms, uint8_t *at)
{
    for (uint32_t i = 0; i < run->count; i++) {
        const struct m5_message_view *view = &run->items[i].view;
        struct mail_item item = {.expires_at_ms = m5_to_wall(view->expires_at_ms, wall_ms),
                                 .properties_size = (uint32_t)view->properties.len,
                                 .payload_size = (uint32_t)view->payload.len,
                                 .qos = view->qos,
                                 .retain = view->retain};
        memcpy(at, &item, sizeof item);
        at = write_part(at + sizeof item, view->properties, view->payload);
    }
}

static void write_run(const struct m5_run *run, uint64_t wall_ms, uint8_t *at)
{
    struct mqtt5_bytes none = {0};
    write_items(run, wall_ms, write_part(at, run->topic, none));
}

/* In the store until the receiver has stored what it makes of it; false: it cannot be. */
static bool store_mail(struct m5_shard *shard, const struct m5_run *run, uint32_t to,
                       uint64_t *number)
{
    uint8_t *at = m5_persist_mail(shard, to, M5_MAIL_OF_RUN, mail_size(run, 0), number);
    if (at == NULL)
        return false;
    struct mail_run head = {.item_count = run->count,
                            .publisher_hash = run->publisher_hash,
                            .topic_size = (uint32_t)run->topic.len};
    memcpy(at, &head, sizeof head);
    write_run(run, shard->engine->wall_ms, at + sizeof head);
    return true;
}

static bool mail_to(struct m5_shard *shard, struct m5_run *run, uint32_t to)
{
    uint64_t bit = (uint64_t)1 << to;
    uint32_t node_count = 0;
    for (uint32_t i = 0; i < run->match.count; i++)
        node_count +=
            (atomic_load_explicit(&run->match.nodes[i]->shards, memory_order_relaxed) & bit) != 0;
    if (node_count == 0)
        return true;
    struct mail_run *head = m5_mail_add(shard, to, M5_MAIL_RUN, mail_size(run, node_count));
    if (head == NULL)
        return false;
    *head = (struct mail_run){.item_count = run->count,
                              .publisher_hash = run->publisher_hash,
                              .topic_size = (uint32_t)run->topic.len};
    struct m5_index_node **nodes = (void *)(head + 1);
    for (uint32_t i = 0; i < run->match.count && head->node_count < node_count; i++)
        if (atomic_load_explicit(&run->match.nodes[i]->shards, memory_order_relaxed) & bit)
            nodes[head->node_count++] = run->match.nodes[i];
    write_run(run, 0, (uint8_t *)(nodes + head->node_count));
    bool stored = run->store && (run->match.stored & bit) != 0;
    return !stored || store_mail(shard, run, to, &head->mail);
}

static void mail_run(struct m5_shard *shard, struct m5_run *run)
{
    uint64_t others = run->match.shards & ~((uint64_t)1 << shard->index);
    while (others != 0) {
        uint32_t to = (uint32_t)__builtin_ctzll(others);
        others &= others - 1;
        if (!mail_to(shard, run, to)) {
            M5_COUNT(shard, limit_memory, 1);
            M5_COUNT(shard, publish_dropped, run->count);
            run->failed = true;
        }
    }
}

/* Fills @p run, which has begun, with the items at @p at. */
static void read_items(struct m5_run *run, const struct mail_run *head, uint64_t wall_ms,
                       const uint8_t *at)
{
    for (uint32_t i = 0; i < head->item_count; i++) {
        struct mail_item item;
        memcpy(&item, at, sizeof item);
        at += sizeof item;
        struct m5_message_view view = {.topic = run->topic,
                                       .properties = m5_bytes(at, item.properties_size),
                                       .payload =
                                           m5_bytes(at + item.properties_size, item.payload_size),
                                       .expires_at_ms = m5_from_wall(item.expires_at_ms, wall_ms),
                                       .qos = item.qos,
                                       .retain = item.retain != 0};
        m5_run_add(run, &view, 0, (struct mqtt5_bytes){0});
        at += aligned(item.properties_size + item.payload_size);
    }
}

void m5_run_mail(struct m5_shard *shard, const struct m5_mail_record *record)
{
    const struct mail_run *head = (const void *)(record + 1);
    struct m5_index_node *const *nodes = (const void *)(head + 1);
    const uint8_t *at = (const uint8_t *)(nodes + head->node_count);
    struct m5_run *run = &shard->mail_run;
    start(run, NULL, NULL, m5_bytes(at, head->topic_size));
    run->publisher_hash = head->publisher_hash;
    run->store = head->mail != 0;
    read_items(run, head, 0, at + aligned(head->topic_size));
    shard->mailed += head->item_count;
    m5_run_deliver_local(shard, run, nodes, head->node_count);
    m5_persist_mail_gone(shard, head->mail);
    finish(shard, run);
}

/* True when the record is what store_mail() writes. */
static bool is_sound(struct mqtt5_bytes record, struct mail_run *head)
{
    if (record.len < sizeof *head)
        return false;
    memcpy(head, record.data, sizeof *head);
    size_t at = sizeof *head + aligned(head->topic_size);
    bool sound = head->topic_size > 0 && head->topic_size <= UINT16_MAX && head->item_count > 0 &&
                 head->item_count <= M5_RUN_MAX && at <= record.len;
    uint64_t bytes = 0; /* as m5_run_add() counts them */
    for (uint32_t i = 0; sound && i < head->item_count; i++) {
        struct mail_item item;
        sound = record.len - at >= sizeof item;
        if (!sound)
            break;
        memcpy(&item, record.data + at, sizeof item);
        at += sizeof item;
        uint64_t size = (uint64_t)item.properties_size + item.payload_size;
        sound =
            item.qos <= 2 && aligned((size_t)size) <= record.len - at && bytes < M5_RUN_BYTES_MAX;
        bytes += head->topic_size + size + 18;
        at += sound ? aligned((size_t)size) : 0;
    }
    return sound && at == record.len &&
           mqtt5_topic_check(m5_bytes(record.data + sizeof *head, head->topic_size), UINT32_MAX) ==
               MQTT5_OK;
}

bool m5_run_restore(struct m5_shard *shard, uint32_t placed, struct mqtt5_bytes record)
{
    struct mail_run head;
    if (!is_sound(record, &head))
        return false;
    struct m5_run *run = &shard->mail_run;
    const uint8_t *at = record.data + sizeof head;
    start(run, NULL, NULL, m5_bytes(at, head.topic_size));
    run->publisher_hash = head.publisher_hash;
    run->store = true;
    run->placed = placed;
    bool matched = m5_index_match(shard->engine->routes, run->topic, &run->match);
    read_items(run, &head, shard->engine->wall_ms, at + aligned(head.topic_size));
    if (matched)
        m5_run_deliver_local(shard, run, run->match.nodes, run->match.count);
    else
        M5_COUNT(shard, limit_memory, 1);
    finish(shard, run);
    return true;
}

/* ---- ends of runs ---- */

/* Four bytes each, in one piece. */
static void acknowledge_all(struct m5_run *run, uint64_t position)
{
    uint8_t *at = m5_conn_ack_room(run->conn, run->acknowledged, position);
    for (uint32_t i = 0; at != NULL && i < run->count; i++) {
        const struct m5_run_item *item = &run->items[i];
        if (item->view.qos == 0)
            continue;
        *at++ = (uint8_t)((item->view.qos == 1 ? MQTT5_PUBACK : MQTT5_PUBREC) << 4);
        *at++ = 2;
        at = m5_write_u16(at, item->packet_id);
    }
}

/* Where the journal has to be stored up to before the publisher is answered. @p before: where it
 * was when the run began. */
static uint64_t position_of(struct m5_shard *shard, struct m5_run *run, uint64_t before,
                            enum mqtt5_durability durability)
{
    struct m5_journal *journal = &shard->journal;
    if (durability == MQTT5_DURABILITY_MEMORY || run->acknowledged == 0)
        return 0;
    if (m5_lingers_here(shard, &run->match)) /* after a crash it may be there again */
        m5_journal_touch(shard);
    if (journal->position == before)
        return 0;
    if (run->publisher != NULL && run->publisher->stored && run->conn != NULL && !run->failed)
        for (uint32_t i = 0; i < run->count; i++)
            if (run->items[i].view.qos == 2)
                m5_persist_incoming(shard, run->publisher, run->items[i].packet_id);
    return m5_durability_position(durability, journal->position);
}

/* The level of the run's topic, as far as it matters. */
static enum mqtt5_durability durability_of(const struct m5_shard *shard, const struct m5_run *run)
{
    if (!shard->journal.on || (run->match.stored == 0 && !shard->retained_set))
        return MQTT5_DURABILITY_MEMORY;
    return m5_durability_of(shard->engine, run->topic);
}

/* 3.x cannot be told that its messages were not taken: it sends them again, as new ones. */
static void turn_away(struct m5_run *run, uint8_t reason)
{
    for (uint32_t i = 0; i < run->count; i++)
        if (run->items[i].view.qos == 2)
            m5_id_set_remove(&run->publisher->incoming, run->items[i].packet_id);
    m5_conn_close(run->conn, reason, NULL);
}

static void acknowledge(struct m5_run *run, uint64_t position)
{
    /* 0x10 tells a publisher that nobody has subscribed; 0x97 that we could not take it. */
    uint8_t reason = run->failed             ? MQTT5_REASON_QUOTA_EXCEEDED
                     : run->match.count == 0 ? MQTT5_REASON_NO_MATCHING_SUBSCRIBERS
                                             : MQTT5_REASON_SUCCESS;
    if (run->failed && run->conn->version != MQTT5_VERSION_5) {
        turn_away(run, reason);
        return;
    }
    if (reason == MQTT5_REASON_SUCCESS || run->conn->version != MQTT5_VERSION_5) {
        acknowledge_all(run, position);
        return;
    }
    for (uint32_t i = 0; i < run->count; i++)
        if (run->items[i].view.qos > 0)
            m5_publish_acknowledge(run->conn, run->items[i].view.qos, run->items[i].packet_id,
                                   reason, position);
}

void m5_run_flush(struct m5_shard *shard)
{
    struct m5_run *run = &shard->run;
    if (run->count == 0)
        return;
    uint64_t before = shard->journal.position;
    enum mqtt5_durability durability = durability_of(shard, run);
    run->store =
        run->acknowledged > 0 && run->match.stored != 0 && durability != MQTT5_DURABILITY_MEMORY;
    if (shard->retained_set) /* it is stored when this position is */
        m5_journal_touch(shard);
    shard->retained_set = false;
    if (run->match.count > 0) {
        mail_run(shard, run);
        if (run->match.shards >> shard->index & 1)
            m5_run_deliver_local(shard, run, run->match.nodes, run->match.count);
    }
    uint64_t position = position_of(shard, run, before, durability);
    if (run->acknowledged > 0 && run->conn != NULL)
        acknowledge(run, position);
    finish(shard, run);
}

bool m5_retain(struct m5_shard *shard, const struct m5_session *publisher,
               const struct m5_message_view *view)
{
    struct m5_retained_value value = {.topic = view->topic,
                                      .properties = view->properties,
                                      .payload = view->payload,
                                      .expires_at_ms = view->expires_at_ms,
                                      .qos = view->qos,
                                      .exempt = publisher == NULL,
                                      .stored = publisher != NULL &&
                                                m5_is_stored_topic(shard, view->topic)};
    if (publisher != NULL)
        value.publisher = publisher->principal.client_id;
    /* What is retained belongs to no shard's budget; to remove something needs no memory. */
    if (publisher != NULL && view->payload.len > 0 && m5_engine_memory_full(shard->engine)) {
        M5_COUNT(shard, limit_memory, 1);
        return false;
    }
    if (m5_retained_set(shard->engine->retained, &value) == MQTT5_OK) {
        shard->retained_set |= value.stored;
        return true;
    }
    M5_COUNT(shard, limit_retained, 1);
    return false;
}

void m5_publish(struct m5_shard *shard, struct m5_session *publisher,
                const struct m5_message_view *view)
{
    M5_ASSERT(shard->run.count == 0);
    if (view->retain)
        m5_retain(shard, publisher, view);
    m5_run_begin(shard, publisher, NULL, view->topic);
    m5_run_add(&shard->run, view, 0, (struct mqtt5_bytes){0});
    m5_run_flush(shard);
}
