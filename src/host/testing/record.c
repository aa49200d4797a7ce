/* What the test broker has seen: packets, and the subscriptions that came of them.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "host/testing/testing.h"

#include <stdlib.h>

#define HISTORY_LEAST 64u

/* ---- bytes ---- */

bool m5_test_bytes_add(struct m5_test_bytes *bytes, struct mqtt5_bytes more)
{
    if (bytes->room - bytes->size < more.len) {
        const size_t wanted = bytes->size + more.len;
        const size_t room = wanted > 2 * bytes->room ? wanted : 2 * bytes->room;
        uint8_t *data = realloc(bytes->data, room);
        if (data == NULL)
            return false;
        bytes->data = data;
        bytes->room = room;
    }
    if (more.len > 0)
        memcpy(bytes->data + bytes->size, more.data, more.len);
    bytes->size += more.len;
    return true;
}

void m5_test_bytes_cut(struct m5_test_bytes *bytes, size_t size)
{
    if (size < bytes->size)
        memmove(bytes->data, bytes->data + size, bytes->size - size);
    bytes->size -= size;
}

void m5_test_bytes_fini(struct m5_test_bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct m5_test_bytes){0};
}

struct mqtt5_bytes m5_test_bytes_view(const struct m5_test_bytes *bytes)
{
    return m5_bytes(bytes->data, bytes->size);
}

/* ---- aliases ---- */

static struct m5_test_alias *find_alias(const struct m5_test_link *link, bool from_client,
                                        uint32_t number)
{
    for (struct m5_list *at = link->aliases.next; at != &link->aliases; at = at->next) {
        struct m5_test_alias *alias = M5_CONTAINER_OF(at, struct m5_test_alias, node);
        if (alias->from_client == from_client && alias->number == number)
            return alias;
    }
    return NULL;
}

static void set_alias(struct m5_test_link *link, bool from_client, uint32_t number,
                      struct mqtt5_bytes topic)
{
    struct m5_test_alias *alias = find_alias(link, from_client, number);
    if (alias == NULL) {
        alias = m5_test_alloc(sizeof *alias);
        if (alias == NULL)
            return;
        alias->from_client = from_client;
        alias->number = (uint16_t)number;
        m5_list_push_back(&link->aliases, &alias->node);
    }
    alias->topic.size = 0;
    (void)m5_test_bytes_add(&alias->topic, topic);
}

/* The topic of a PUBLISH, also when it comes as an alias. */
static struct mqtt5_bytes topic_of(struct m5_test_link *link, bool from_client,
                                   const struct mqtt5_publish *publish)
{
    if (!MQTT5_HAS(&publish->properties, TOPIC_ALIAS))
        return publish->topic;
    const uint32_t number = publish->properties.topic_alias;
    if (publish->topic.len > 0)
        set_alias(link, from_client, number, publish->topic);
    const struct m5_test_alias *alias = find_alias(link, from_client, number);
    return alias == NULL ? publish->topic : m5_test_bytes_view(&alias->topic);
}

/* ---- packets ---- */

static struct mqtt5_bytes put_text(uint8_t **at, struct mqtt5_bytes text)
{
    uint8_t *begin = *at;
    *at = m5_copy(begin, text);
    return m5_bytes(begin, text.len);
}

static bool make_room(struct m5_test_history *history)
{
    if (history->count < history->capacity)
        return true;
    const uint32_t capacity = history->capacity == 0 ? HISTORY_LEAST : 2 * history->capacity;
    struct m5_test_record **items = realloc(history->items, capacity * sizeof *items);
    if (items == NULL)
        return false;
    history->items = items;
    history->capacity = capacity;
    return true;
}

void m5_test_record(struct m5_test_link *link, bool from_client, bool lost,
                    const struct mqtt5_frame *frame, struct mqtt5_bytes raw,
                    const struct mqtt5_packet *packet)
{
    struct m5_test_history *history = &link->broker->history;
    const struct mqtt5_bytes id = m5_test_bytes_view(&link->client_id);
    const struct mqtt5_bytes topic = packet != NULL && packet->type == MQTT5_PUBLISH
                                         ? topic_of(link, from_client, &packet->as.publish)
                                         : m5_bytes(NULL, 0);
    const size_t size = sizeof(struct m5_test_record) + id.len + topic.len + raw.len;
    history->seen[from_client][frame->type & 15]++;
    if (history->bytes + size > M5_TEST_HISTORY_MAX || !make_room(history))
        return;
    struct m5_test_record *record = malloc(size);
    if (record == NULL)
        return;
    *record = (struct m5_test_record){
        .from_client = from_client,
        .lost = lost,
        .type = frame->type,
        .version = link->version,
        .connection = link->number,
    };
    uint8_t *at = record->text;
    record->client_id = put_text(&at, id);
    record->topic = put_text(&at, topic);
    record->raw = put_text(&at, raw);
    history->items[history->count++] = record;
    history->bytes += size;
}

void m5_test_history_clear(struct m5_test_history *history)
{
    const uint32_t generation = history->generation + 1;
    for (uint32_t i = 0; i < history->count; i++)
        free(history->items[i]);
    free(history->items);
    *history = (struct m5_test_history){.generation = generation};
}

/* ---- subscriptions ---- */

static struct m5_test_subscription *subscription_of(struct m5_list *node)
{
    return M5_CONTAINER_OF(node, struct m5_test_subscription, node);
}

static void free_subscription(struct m5_test_subscription *subscription)
{
    m5_list_remove(&subscription->node);
    m5_test_bytes_fini(&subscription->client_id);
    m5_test_bytes_fini(&subscription->filter);
    free(subscription);
}

static void unsubscribe(const struct m5_test_link *link, struct mqtt5_bytes filter)
{
    struct m5_list *list = &link->broker->subscriptions, *next;
    for (struct m5_list *at = list->next; at != list; at = next) {
        struct m5_test_subscription *one = subscription_of(at);
        next = at->next;
        if (m5_bytes_equal(m5_test_bytes_view(&one->filter), filter) &&
            m5_bytes_equal(m5_test_bytes_view(&one->client_id),
                           m5_test_bytes_view(&link->client_id)))
            free_subscription(one);
    }
}

static void subscribe(const struct m5_test_link *link, struct mqtt5_bytes filter, uint8_t qos)
{
    unsubscribe(link, filter);
    struct m5_test_subscription *one = m5_test_alloc(sizeof *one);
    if (one == NULL)
        return;
    one->qos = qos;
    m5_list_push_back(&link->broker->subscriptions, &one->node);
    if (!m5_test_bytes_add(&one->client_id, m5_test_bytes_view(&link->client_id)) ||
        !m5_test_bytes_add(&one->filter, filter))
        free_subscription(one);
}

void m5_test_forget_session(struct mqtt5_test_broker *broker, struct mqtt5_bytes client_id)
{
    struct m5_list *list = &broker->subscriptions, *next;
    for (struct m5_list *at = list->next; at != list; at = next) {
        struct m5_test_subscription *one = subscription_of(at);
        next = at->next;
        if (client_id.data == NULL ||
            m5_bytes_equal(m5_test_bytes_view(&one->client_id), client_id))
            free_subscription(one);
    }
}

void m5_test_note_question(struct m5_test_link *link, uint8_t type, uint16_t packet_id,
                           struct mqtt5_bytes raw)
{
    struct m5_test_question *question = m5_test_alloc(sizeof *question);
    if (question == NULL)
        return;
    question->type = type;
    question->packet_id = packet_id;
    m5_list_push_back(&link->questions, &question->node);
    (void)m5_test_bytes_add(&question->raw, raw);
}

/* Reason codes stand in the order of the filters; 3.1.1 has none in UNSUBACK. */
static void apply_answer(const struct m5_test_link *link, const struct m5_test_question *question,
                         struct mqtt5_bytes codes)
{
    struct mqtt5_bytes rest = m5_test_bytes_view(&question->raw);
    struct mqtt5_subscription_request request;
    struct mqtt5_bytes filter;
    if (question->type == MQTT5_SUBSCRIBE) {
        for (size_t i = 0; mqtt5_subscribe_next(&rest, link->version, &request); i++) {
            if (i < codes.len && codes.data[i] <= 2)
                subscribe(link, request.filter, codes.data[i]);
        }
        return;
    }
    for (size_t i = 0; mqtt5_unsubscribe_next(&rest, &filter); i++) {
        if (i >= codes.len || codes.data[i] < 0x80)
            unsubscribe(link, filter);
    }
}

void m5_test_note_answer(struct m5_test_link *link, const struct mqtt5_packet *packet)
{
    const uint8_t asked = packet->type == MQTT5_SUBACK ? MQTT5_SUBSCRIBE : MQTT5_UNSUBSCRIBE;
    for (struct m5_list *at = link->questions.next; at != &link->questions; at = at->next) {
        struct m5_test_question *question = M5_CONTAINER_OF(at, struct m5_test_question, node);
        if (question->type != asked || question->packet_id != packet->as.suback.packet_id)
            continue;
        apply_answer(link, question, packet->as.suback.reason_codes);
        m5_list_remove(&question->node);
        m5_test_bytes_fini(&question->raw);
        free(question);
        return;
    }
}
