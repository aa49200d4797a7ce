/* Shared subscription groups: joining, choosing, handing back.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "broker/share.h"

#include "broker/shard.h"
#include "protocol/reader.h"

/* What travels between a member's shard and the home; the parts follow in this order. */
struct share_mail {
    uint64_t serial; /* of the member's subscription */
    uint64_t mail;   /* number of its record in the store, 0: none */
    uint64_t expires_at_ms;
    uint32_t name_size, filter_size;
    uint32_t topic_size, properties_size, payload_size;
    uint8_t qos, retain, flag, stored;
};

/* ---- groups ---- */

uint32_t m5_share_home(const struct m5_shard *shard, struct mqtt5_bytes filter)
{
    return m5_place_of(shard, filter, shard->engine->shard_count);
}

static struct m5_share_group *group_find(struct m5_shard *shard, struct mqtt5_bytes filter,
                                         struct mqtt5_bytes name)
{
    struct m5_index_node *node = m5_index_find(shard->engine->routes, filter);
    if (node == NULL || node->lists[shard->index] == NULL)
        return NULL;
    struct m5_share_group *group = node->lists[shard->index]->groups;
    while (group != NULL && !m5_bytes_equal(group->name, name))
        group = group->next;
    return group;
}

static struct m5_share_group *group_new(struct m5_shard *shard, struct mqtt5_bytes filter,
                                        struct mqtt5_bytes name)
{
    struct mqtt5_filter parsed;
    if (mqtt5_filter_parse(filter, shard->config->topic_levels_max, &parsed) != MQTT5_OK)
        M5_UNREACHABLE(); /* it was parsed when the SUBSCRIBE came */
    struct m5_index_node *node;
    struct m5_sub_list *list = m5_sub_list_pin(shard, &parsed, &node);
    if (list == NULL)
        return NULL;
    struct m5_share_group *group = m5_alloc(shard->allocator, sizeof *group + name.len);
    if (group == NULL) {
        m5_sub_list_settle(shard, node);
        return NULL;
    }
    *group = (struct m5_share_group){.next = list->groups, .node = node};
    m5_copy((uint8_t *)(group + 1), name);
    group->name = m5_bytes(group + 1, name.len);
    m5_list_push_back(&shard->groups, &group->in_shard);
    list->groups = group;
    return group;
}

/* Frees a group that has no members any more. */
static void group_settle(struct m5_shard *shard, struct m5_share_group *group)
{
    if (group->count > 0)
        return;
    struct m5_share_group **link = &group->node->lists[shard->index]->groups;
    while (*link != group)
        link = &(*link)->next;
    *link = group->next;
    m5_list_remove(&group->in_shard);
    struct m5_index_node *node = group->node;
    m5_free(shard->allocator, group->members, group->capacity * sizeof *group->members);
    m5_free(shard->allocator, group, sizeof *group + group->name.len);
    m5_sub_list_settle(shard, node);
}

void m5_share_fini(struct m5_shard *shard)
{
    while (!m5_list_empty(&shard->groups)) {
        struct m5_share_group *group =
            M5_CONTAINER_OF(shard->groups.next, struct m5_share_group, in_shard);
        group->count = 0;
        group_settle(shard, group);
    }
}

static struct m5_share_member *member_find(struct m5_share_group *group, uint32_t shard,
                                           uint64_t serial)
{
    for (uint32_t i = 0; group != NULL && i < group->count; i++)
        if (group->members[i].serial == serial && group->members[i].shard == shard)
            return &group->members[i];
    return NULL;
}

static bool member_add(struct m5_shard *shard, struct m5_share_group *group,
                       const struct m5_share_member *member)
{
    void *members = m5_make_room(shard->allocator, group->members, sizeof *group->members,
                                 group->count, &group->capacity, 4);
    if (members == NULL)
        return false;
    group->members = members;
    group->members[group->count++] = *member;
    if (member->stored)
        m5_sub_list_stored(shard, group->node, 1);
    return true;
}

/* ---- choosing ---- */

/* The @p nth member that may get the message, counted from the cursor; NULL when there are none. */
static struct m5_share_member *nth(struct m5_share_group *group, bool online,
                                   const struct m5_share_member *except, uint32_t n)
{
    for (uint32_t i = 0; i < group->count; i++) {
        struct m5_share_member *member = &group->members[(group->cursor + i) % group->count];
        if (member->online == online && member != except && n-- == 0)
            return member;
    }
    return NULL;
}

static uint32_t candidates(const struct m5_share_group *group, bool online,
                           const struct m5_share_member *except)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < group->count; i++)
        count += group->members[i].online == online && &group->members[i] != except;
    return count;
}

static struct m5_share_member *least_loaded(struct m5_share_group *group, bool online,
                                            const struct m5_share_member *except)
{
    struct m5_share_member *best = nth(group, online, except, 0);
    for (uint32_t i = 0; best != NULL && i < group->count; i++) {
        struct m5_share_member *member = &group->members[(group->cursor + i) % group->count];
        if (member->online == online && member != except && member->inflight < best->inflight)
            best = member;
    }
    return best;
}

/* Fixed places, whatever the cursor: the same key finds the same member while members stay. */
static struct m5_share_member *by_hash(struct m5_share_group *group, bool online,
                                       const struct m5_share_member *except, uint64_t hash)
{
    uint32_t count = candidates(group, online, except);
    if (count == 0)
        return NULL;
    uint32_t cursor = group->cursor;
    group->cursor = 0;
    struct m5_share_member *member = nth(group, online, except, (uint32_t)(hash % count));
    group->cursor = cursor;
    return member;
}

static struct m5_share_member *sticky(struct m5_share_group *group, bool online,
                                      const struct m5_share_member *except)
{
    for (uint32_t i = 0; i < group->count; i++) {
        struct m5_share_member *member = &group->members[i];
        if (member->serial == group->sticky && member->online == online && member != except)
            return member;
    }
    struct m5_share_member *member = nth(group, online, except, 0);
    if (member != NULL)
        group->sticky = member->serial;
    return member;
}

static struct m5_share_member *choose(struct m5_shard *shard, struct m5_share_group *group,
                                      bool online, const struct m5_share_member *except,
                                      struct mqtt5_bytes topic, uint64_t publisher)
{
    struct m5_share_member *member = NULL;
    uint32_t count;
    switch (shard->config->shared_strategy) {
    case MQTT5_SHARED_ROUND_ROBIN: member = nth(group, online, except, 0); break;
    case MQTT5_SHARED_RANDOM:
        count = candidates(group, online, except);
        if (count > 0)
            member = nth(group, online, except, (uint32_t)m5_rng_below(&shard->rng, count));
        break;
    case MQTT5_SHARED_STICKY: member = sticky(group, online, except); break;
    case MQTT5_SHARED_LEAST_INFLIGHT: member = least_loaded(group, online, except); break;
    case MQTT5_SHARED_HASH_TOPIC:
        member = by_hash(group, online, except, m5_shard_hash(shard, topic));
        break;
    case MQTT5_SHARED_HASH_CLIENTID: member = by_hash(group, online, except, publisher); break;
    }
    if (member != NULL)
        group->cursor = (uint32_t)(member - group->members + 1) % group->count;
    return member;
}

/* ---- mail ---- */

/* In the store until the receiver has stored what it makes of it: name, filter, message. */
static uint64_t store_mail(struct m5_shard *shard, uint32_t to, struct mqtt5_bytes name,
                           struct mqtt5_bytes filter, const struct m5_message_view *view)
{
    uint64_t number;
    size_t size = 4 + name.len + filter.len + m5_message_record_size(view);
    uint8_t *at = m5_persist_mail(shard, to, M5_MAIL_OF_SHARE, size, &number);
    if (at == NULL)
        return 0;
    at = m5_copy(m5_write_u16(at, (uint16_t)name.len), name);
    at = m5_copy(m5_write_u16(at, (uint16_t)filter.len), filter);
    m5_message_record_write(view, shard->engine->wall_ms, at);
    return number;
}

/* @p mail->stored: a message that has to survive a crash on its way. */
static bool post(struct m5_shard *shard, uint32_t to, enum m5_mail_type type,
                 const struct share_mail *mail, struct mqtt5_bytes name, struct mqtt5_bytes filter,
                 const struct m5_message_view *view)
{
    size_t size = sizeof *mail + name.len + filter.len;
    if (view != NULL)
        size += view->topic.len + view->properties.len + view->payload.len;
    struct share_mail *out = m5_mail_add(shard, to, type, size);
    if (out == NULL) {
        M5_COUNT(shard, limit_memory, 1);
        return false;
    }
    *out = *mail;
    out->name_size = (uint32_t)name.len;
    out->filter_size = (uint32_t)filter.len;
    uint8_t *end = m5_copy(m5_copy((uint8_t *)(out + 1), name), filter);
    if (view != NULL) {
        out->topic_size = (uint32_t)view->topic.len;
        out->properties_size = (uint32_t)view->properties.len;
        out->payload_size = (uint32_t)view->payload.len;
        out->expires_at_ms = view->expires_at_ms;
        out->qos = view->qos;
        out->retain = view->retain;
        m5_copy(m5_copy(m5_copy(end, view->topic), view->properties), view->payload);
        out->mail = mail->stored ? store_mail(shard, to, name, filter, view) : 0;
    }
    return true;
}

static struct mqtt5_bytes mail_name(const struct share_mail *mail)
{
    return m5_bytes(mail + 1, mail->name_size);
}

static struct mqtt5_bytes mail_filter(const struct share_mail *mail)
{
    return m5_bytes((const uint8_t *)(mail + 1) + mail->name_size, mail->filter_size);
}

static struct m5_message_view mail_view(const struct share_mail *mail)
{
    const uint8_t *at = (const uint8_t *)(mail + 1) + mail->name_size + mail->filter_size;
    return (struct m5_message_view){
        .topic = m5_bytes(at, mail->topic_size),
        .properties = m5_bytes(at + mail->topic_size, mail->properties_size),
        .payload = m5_bytes(at + mail->topic_size + mail->properties_size, mail->payload_size),
        .expires_at_ms = mail->expires_at_ms,
        .qos = mail->qos,
        .retain = mail->retain != 0};
}

/* Tells the home about one of our subscriptions; @p stored: of JOIN, and of a message. */
static bool tell_home(struct m5_shard *shard, const struct m5_subscription *subscription,
                      enum m5_mail_type type, bool flag, bool stored,
                      const struct m5_message_view *view)
{
    struct share_mail mail = {.serial = subscription->serial, .flag = flag, .stored = stored};
    const struct m5_shared *shared = subscription->shared;
    return post(shard, shared->home, type, &mail, shared->name, shared->filter, view);
}

/* ---- delivering ---- */

/* On the member's shard. False: nothing is left to be acknowledged, the home need not count it. */
static bool deliver_to_member(struct m5_shard *shard, struct m5_subscription *subscription,
                              const struct m5_message_view *view, struct m5_message *message)
{
    struct m5_session *session = subscription->session;
    struct m5_sub_options options = subscription->options;
    uint8_t qos = view->qos < options.qos ? view->qos : options.qos; /* [MQTT-4.8.2-3] */
    bool retain = (options.flags & M5_SUB_RETAIN_AS_PUBLISHED) != 0 && view->retain;
    if (!m5_may_deliver(shard, session, view->topic, 1))
        return false;
    if (qos == 0) {
        struct m5_single single = {
            .view = view, .ids = &options.id, .id_count = options.id != 0, .retain = retain};
        m5_deliver_qos0(shard, session, &single);
        return false;
    }
    struct m5_message *own = message == NULL ? m5_message_new(&shard->messages, view) : NULL;
    if (message == NULL && own == NULL) {
        M5_COUNT(shard, limit_memory, 1);
        M5_COUNT(shard, publish_dropped, 1);
        return false;
    }
    struct m5_offer offer = {.message = message != NULL ? message : own,
                             .ids = &options.id,
                             .id_count = options.id != 0,
                             .ticket = subscription->serial,
                             .qos = qos,
                             .retain = retain,
                             .store = m5_is_stored_topic(shard, view->topic)};
    bool taken = m5_delivery_offer(shard, session, &offer);
    if (own != NULL)
        m5_message_release(&shard->messages, own);
    return taken;
}

static void deliver(struct m5_shard *shard, struct m5_subscription *subscription,
                    const struct m5_message_view *view, struct m5_message *message)
{
    uint64_t serial = subscription->serial;
    if (!deliver_to_member(shard, subscription, view, message) && view->qos > 0)
        m5_share_done(shard, serial);
}

/* Whoever is online before those who are not. */
static struct m5_share_member *choose_any(struct m5_shard *shard, struct m5_share_group *group,
                                          const struct m5_share_member *except,
                                          const struct m5_message_view *view, uint64_t publisher)
{
    struct m5_share_member *member = choose(shard, group, true, except, view->topic, publisher);
    if (member == NULL && view->qos > 0)
        member = choose(shard, group, false, except, view->topic, publisher);
    return member;
}

/* At home: gives one message to one member; offline ones only when nobody is online. Who handed it
 * back gets it again when all others have gone since it was recalled. */
static void route_one(struct m5_shard *shard, struct m5_share_group *group,
                      const struct m5_message_view *view, struct m5_message *message,
                      uint64_t publisher, const struct m5_share_member *except)
{
    struct m5_share_member *member = choose_any(shard, group, except, view, publisher);
    if (member == NULL && except != NULL)
        member = choose_any(shard, group, NULL, view, publisher);
    if (member == NULL) {
        M5_COUNT(shard, publish_dropped, 1);
        return;
    }
    member->inflight += view->qos > 0;
    if (member->shard == shard->index) {
        struct m5_subscription *subscription = m5_shared_find(shard, member->serial);
        M5_ASSERT(subscription != NULL); /* a local member leaves before it goes */
        deliver(shard, subscription, view, message);
        return;
    }
    /* Name and filter go along: should the member have gone, the message finds its way back. */
    struct share_mail mail = {.serial = member->serial,
                              .stored = member->stored && view->qos > 0 &&
                                        m5_is_stored_topic(shard, view->topic)};
    struct mqtt5_bytes filter = group->node->filter;
    if (!post(shard, member->shard, M5_MAIL_SHARE_DELIVER, &mail, group->name, filter, view))
        M5_COUNT(shard, publish_dropped, 1);
}

/* After a restart: was the group kept by the shard that the run was on its way to? */
static bool is_placed(const struct m5_shard *shard, const struct m5_run *run,
                      const struct m5_share_group *group)
{
    return run->placed == M5_PLACED_ANYWHERE ||
           m5_place_of(shard, group->node->filter, shard->engine->placed_count) == run->placed;
}

void m5_share_route(struct m5_shard *shard, struct m5_run *run, struct m5_sub_list *list)
{
    for (struct m5_share_group *group = list->groups; group != NULL; group = group->next)
        for (uint32_t i = 0; i < run->count && is_placed(shard, run, group); i++) {
            const struct m5_message_view *view = &run->items[i].view;
            struct m5_message *message = view->qos > 0 ? m5_run_message(shard, run, i) : NULL;
            route_one(shard, group, view, message, run->publisher_hash, NULL);
        }
}

/* ---- members come and go ---- */

static bool join_here(struct m5_shard *shard, const struct m5_share_member *member,
                      struct mqtt5_bytes name, struct mqtt5_bytes filter)
{
    struct m5_share_group *group = group_find(shard, filter, name);
    if (group == NULL)
        group = group_new(shard, filter, name);
    if (group == NULL)
        return false;
    if (member_add(shard, group, member))
        return true;
    group_settle(shard, group);
    return false;
}

enum m5_share_joined m5_share_join(struct m5_shard *shard, struct m5_subscription *subscription)
{
    const struct m5_shared *shared = subscription->shared;
    if (shared->home != shard->index)
        return tell_home(shard, subscription, M5_MAIL_SHARE_JOIN, true,
                         subscription->session->stored, NULL)
                   ? M5_SHARE_AWAITED
                   : M5_SHARE_FAILED;
    struct m5_share_member member = {.serial = subscription->serial,
                                     .shard = shard->index,
                                     .online = true,
                                     .stored = subscription->session->stored};
    return join_here(shard, &member, shared->name, shared->filter) ? M5_SHARE_JOINED
                                                                   : M5_SHARE_FAILED;
}

static void leave_here(struct m5_shard *shard, struct m5_share_group *group,
                       struct m5_share_member *member)
{
    if (member == NULL)
        return;
    if (member->stored)
        m5_sub_list_stored(shard, group->node, -1);
    uint32_t index = (uint32_t)(member - group->members);
    group->count--;
    memmove(member, member + 1, (group->count - index) * sizeof *member);
    if (group->cursor > index)
        group->cursor--;
    if (group->count > 0)
        group->cursor %= group->count;
}

void m5_share_leave(struct m5_shard *shard, struct m5_subscription *subscription)
{
    const struct m5_shared *shared = subscription->shared;
    if (shared->home != shard->index) {
        /* Without memory the home keeps a name that no longer fits: its messages come back. */
        tell_home(shard, subscription, M5_MAIL_SHARE_LEAVE, false, false, NULL);
        return;
    }
    struct m5_share_group *group = group_find(shard, shared->filter, shared->name);
    leave_here(shard, group, member_find(group, shard->index, subscription->serial));
    if (group != NULL)
        group_settle(shard, group);
}

/* On the member's shard: its group has others who are online. */
static void recall(struct m5_shard *shard, struct m5_subscription *subscription)
{
    if (subscription != NULL && subscription->session->conn == NULL)
        m5_delivery_hand_back(shard, subscription->session, subscription->serial);
}

static void status_here(struct m5_shard *shard, struct m5_share_group *group,
                        struct m5_share_member *member, bool online)
{
    if (member == NULL)
        return;
    member->online = online;
    if (online || candidates(group, true, member) == 0)
        return;
    struct share_mail mail = {.serial = member->serial};
    struct mqtt5_bytes none = {0};
    if (member->shard == shard->index)
        recall(shard, m5_shared_find(shard, member->serial));
    else
        post(shard, member->shard, M5_MAIL_SHARE_RECALL, &mail, group->name, none, NULL);
}

void m5_share_status(struct m5_shard *shard, struct m5_session *session, bool online)
{
    if (session->share_count == 0)
        return;
    struct m5_list *at = session->subscriptions.next;
    for (; at != &session->subscriptions; at = at->next) {
        struct m5_subscription *subscription =
            M5_CONTAINER_OF(at, struct m5_subscription, in_session);
        const struct m5_shared *shared = subscription->shared;
        if (shared == NULL)
            continue;
        if (shared->home != shard->index) {
            tell_home(shard, subscription, M5_MAIL_SHARE_STATUS, online, false, NULL);
            continue;
        }
        struct m5_share_group *group = group_find(shard, shared->filter, shared->name);
        status_here(shard, group, member_find(group, shard->index, subscription->serial), online);
    }
}

void m5_share_done(struct m5_shard *shard, uint64_t ticket)
{
    if (shard->config->shared_strategy != MQTT5_SHARED_LEAST_INFLIGHT)
        return;
    const struct m5_subscription *subscription = m5_shared_find(shard, ticket);
    if (subscription == NULL)
        return;
    const struct m5_shared *shared = subscription->shared;
    if (shared->home != shard->index) {
        tell_home(shard, subscription, M5_MAIL_SHARE_DONE, false, false, NULL);
        return;
    }
    struct m5_share_group *group = group_find(shard, shared->filter, shared->name);
    struct m5_share_member *member = member_find(group, shard->index, ticket);
    if (member != NULL && member->inflight > 0)
        member->inflight--;
}

static void return_here(struct m5_shard *shard, struct m5_share_group *group, uint32_t from,
                        uint64_t serial, const struct m5_message_view *view)
{
    if (group == NULL) {
        M5_COUNT(shard, publish_dropped, 1);
        return;
    }
    struct m5_share_member *member = member_find(group, from, serial);
    route_one(shard, group, view, NULL, 0, member);
}

void m5_share_return(struct m5_shard *shard, struct m5_subscription *subscription,
                     const struct m5_message_view *view, bool stored)
{
    const struct m5_shared *shared = subscription->shared;
    if (shared->home != shard->index) {
        if (!tell_home(shard, subscription, M5_MAIL_SHARE_RETURN, false, stored, view))
            M5_COUNT(shard, publish_dropped, 1);
        return;
    }
    struct m5_share_group *group = group_find(shard, shared->filter, shared->name);
    return_here(shard, group, shard->index, subscription->serial, view);
}

/* ---- mail taken in ---- */

static void answer_join(struct m5_shard *shard, uint32_t from, const struct share_mail *mail)
{
    struct m5_share_member member = {.serial = mail->serial,
                                     .shard = from,
                                     .online = mail->flag != 0,
                                     .stored = mail->stored != 0};
    struct share_mail answer = {.serial = mail->serial};
    answer.flag = join_here(shard, &member, mail_name(mail), mail_filter(mail));
    struct mqtt5_bytes none = {0};
    post(shard, from, M5_MAIL_SHARE_JOINED, &answer, none, none, NULL);
}

static void home_mail(struct m5_shard *shard, uint32_t from, uint32_t type,
                      const struct share_mail *mail)
{
    struct m5_share_group *group = group_find(shard, mail_filter(mail), mail_name(mail));
    struct m5_share_member *member = member_find(group, from, mail->serial);
    struct m5_message_view view;
    switch (type) {
    case M5_MAIL_SHARE_LEAVE:
        leave_here(shard, group, member);
        if (group != NULL)
            group_settle(shard, group);
        break;
    case M5_MAIL_SHARE_STATUS: status_here(shard, group, member, mail->flag != 0); break;
    case M5_MAIL_SHARE_RETURN:
        view = mail_view(mail);
        return_here(shard, group, from, mail->serial, &view);
        m5_persist_mail_gone(shard, mail->mail);
        break;
    case M5_MAIL_SHARE_DONE:
        if (member != NULL && member->inflight > 0)
            member->inflight--;
        break;
    default: M5_UNREACHABLE();
    }
}

/* On the member's shard; the subscription may have gone meanwhile. */
static void member_mail(struct m5_shard *shard, uint32_t from, uint32_t type,
                        const struct share_mail *mail)
{
    if (type == M5_MAIL_SHARE_JOINED) {
        m5_suback_joined(shard, mail->serial, mail->flag != 0);
        return;
    }
    struct m5_subscription *subscription = m5_shared_find(shard, mail->serial);
    if (type == M5_MAIL_SHARE_RECALL) {
        recall(shard, subscription);
        return;
    }
    struct m5_message_view view = mail_view(mail);
    if (subscription != NULL)
        deliver(shard, subscription, &view, NULL);
    else if (!post(shard, from, M5_MAIL_SHARE_RETURN, mail, mail_name(mail), mail_filter(mail),
                   &view))
        M5_COUNT(shard, publish_dropped, 1);
    m5_persist_mail_gone(shard, mail->mail);
}

void m5_share_mail(struct m5_shard *shard, uint32_t from, const struct m5_mail_record *record)
{
    const struct share_mail *mail = (const void *)(record + 1);
    switch (record->type) {
    case M5_MAIL_SHARE_JOIN: answer_join(shard, from, mail); break;
    case M5_MAIL_SHARE_JOINED:
    case M5_MAIL_SHARE_DELIVER:
    case M5_MAIL_SHARE_RECALL: member_mail(shard, from, record->type, mail); break;
    default: home_mail(shard, from, record->type, mail);
    }
}

/* ---- after a restart ---- */

bool m5_share_restore(struct m5_shard *shard, struct m5_subscription *subscription)
{
    const struct m5_shared *shared = subscription->shared;
    struct m5_share_member member = {
        .serial = subscription->serial, .shard = shard->index, .stored = true};
    return join_here(&shard->engine->shards[shared->home], &member, shared->name, shared->filter);
}

bool m5_share_restore_mail(struct m5_shard *shard, struct mqtt5_bytes record)
{
    struct m5_reader reader = m5_reader_of(record);
    struct mqtt5_bytes name = m5_take_binary(&reader);
    struct mqtt5_bytes filter = m5_take_binary(&reader);
    struct mqtt5_filter parsed;
    struct m5_message_view view;
    if (!m5_message_record_read(m5_take_bytes(&reader, m5_reader_left(&reader)), &view) ||
        mqtt5_filter_parse(filter, UINT32_MAX, &parsed) != MQTT5_OK)
        return false;
    view.expires_at_ms = m5_from_wall(view.expires_at_ms, shard->engine->wall_ms);
    struct m5_shard *home = &shard->engine->shards[m5_share_home(shard, filter)];
    struct m5_share_group *group = group_find(home, filter, name);
    if (group == NULL)
        M5_COUNT(home, publish_dropped, 1);
    else
        route_one(home, group, &view, NULL, 0, NULL);
    return true;
}
