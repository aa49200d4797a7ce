/* What the model knows: topics, messages and what their payloads say, subscriptions, epochs.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "sim/sim.h"

#include <stdlib.h>
#include <string.h>

static const uint8_t payload_magic[4] = {'m', '5', 's', 'm'};

/* ---- topics ---- */

uint32_t sim_topic_add(struct sim_world *world, const char *name, enum sim_family family,
                       uint32_t kind)
{
    struct sim_topic topic = {
        .family = family, .kind = kind, .retained = SIM_NONE, .retained_turn = SIM_NEVER};
    topic.size = (size_t)snprintf(topic.name, sizeof topic.name, "%s", name);
    SIM_PUSH(&world->topics, topic);
    return world->topics.count - 1;
}

uint32_t sim_topic_find(const struct sim_world *world, struct mqtt5_bytes name)
{
    for (uint32_t i = 0; i < world->topics.count; i++) {
        const struct sim_topic *topic = &world->topics.items[i];
        if (topic->size == name.len && memcmp(topic->name, name.data, name.len) == 0)
            return i;
    }
    return SIM_NONE;
}

void sim_model_init(struct sim_world *world)
{
    static const char *const plain[] = {"t/0",     "t/1",     "t/2",  "t/a/0", "t/a/1",
                                        "t/b/c/0", "t/b/c/1", "t//x", "/t"};
    static const char *const retained[] = {"r/0", "r/1", "r/a/0", "r/a/b/c", "r/2", "r/3"};
    static const char *const shared[] = {"s/a/0", "s/a/1", "s/b/0", "s/b/x/y"};
    world->plain_topics = world->topics.count;
    for (uint32_t i = 0; i < sizeof plain / sizeof *plain; i++)
        sim_topic_add(world, plain[i], SIM_PLAIN, 0);
    world->retained_topics = world->topics.count;
    for (uint32_t i = 0; i < sizeof retained / sizeof *retained; i++)
        sim_topic_add(world, retained[i], SIM_RETAINED, 0);
    world->shared_topics = world->topics.count;
    for (uint32_t i = 0; i < sizeof shared / sizeof *shared; i++)
        sim_topic_add(world, shared[i], SIM_SHARED, i / 2);
}

void sim_model_free(struct sim_world *world)
{
    for (uint32_t i = 0; i < world->epochs.count; i++) {
        struct sim_epoch *epoch = world->epochs.items[i];
        for (uint32_t k = 0; k < epoch->subscriptions.count; k++)
            free(epoch->subscriptions.items[k].matches.items);
        free(epoch->subscriptions.items);
        free(epoch->copies.items);
        free(epoch->last_sequence.items);
        free(epoch);
    }
    for (uint32_t i = 0; i < world->topics.count; i++)
        free(world->topics.items[i].history.items);
    free(world->epochs.items);
    free(world->topics.items);
    free(world->streams.items);
    free(world->messages.items);
}

/* ---- filters: a second opinion on what matches, written for clearness ---- */

static const char *level_end(const char *level)
{
    const char *slash = strchr(level, '/');
    return slash != NULL ? slash : level + strlen(level);
}

bool sim_filter_matches(const char *filter, const char *topic)
{
    if (*topic == '$' && (*filter == '+' || *filter == '#'))
        return false;
    for (;;) {
        if (strcmp(filter, "#") == 0)
            return true;
        const char *filter_end = level_end(filter), *topic_end = level_end(topic);
        size_t filter_size = (size_t)(filter_end - filter);
        size_t topic_size = (size_t)(topic_end - topic);
        bool any = filter_size == 1 && *filter == '+';
        if (!any && (filter_size != topic_size || memcmp(filter, topic, topic_size) != 0))
            return false;
        if (*topic_end == '\0')
            return *filter_end == '\0' || strcmp(filter_end, "/#") == 0;
        if (*filter_end == '\0')
            return false;
        filter = filter_end + 1;
        topic = topic_end + 1;
    }
}

bool sim_subscription_matches(const struct sim_world *world, struct sim_subscription *subscription,
                              uint32_t topic)
{
    while (subscription->matches.count < world->topics.count)
        SIM_PUSH(&subscription->matches, 0);
    uint8_t *known = &subscription->matches.items[topic];
    if (*known == 0) {
        const char *filter = subscription->filter;
        if (subscription->home != SIM_NONE)
            filter = strchr(filter + strlen("$share/"), '/') + 1;
        *known = sim_filter_matches(filter, world->topics.items[topic].name) ? 2 : 1;
    }
    return *known == 2;
}

/* ---- messages ---- */

static uint32_t stream_of(struct sim_world *world, const struct sim_message *message)
{
    uint32_t publisher = message->publisher->number;
    for (uint32_t i = 0; i < world->streams.count; i++) {
        const struct sim_stream *stream = &world->streams.items[i];
        if (stream->publisher == publisher && stream->topic == message->topic &&
            stream->qos == message->qos)
            return i;
    }
    SIM_PUSH(
        &world->streams,
        (struct sim_stream){.publisher = publisher, .topic = message->topic, .qos = message->qos});
    return world->streams.count - 1;
}

uint32_t sim_message_new(struct sim_world *world, const struct sim_message *like)
{
    struct sim_message message = *like;
    uint32_t index = world->messages.count;
    if (message.topic == SIM_NONE) {
        char name[32];
        snprintf(name, sizeof name, "z/%u", (unsigned)index);
        message.topic = sim_topic_add(world, name, SIM_EMPTY, index);
    }
    message.stream = stream_of(world, &message);
    message.sequence = ++world->streams.items[message.stream].sequence;
    message.first_fed_tick = message.accepted_tick = message.superseded_tick = SIM_NEVER;
    message.fed_turn = message.released_turn = SIM_NEVER;
    SIM_PUSH(&world->messages, message);
    return index;
}

struct sim_message *sim_message_at(struct sim_world *world, uint32_t index)
{
    return &world->messages.items[index];
}

bool sim_message_fits(const struct sim_client *client, const struct sim_message *message)
{
    return client->packet_size_max == 0 || message->size + 400 < client->packet_size_max;
}

static uint8_t filler(uint32_t index, uint32_t at)
{
    return (uint8_t)(index * 31 + at * 7);
}

static void write_header(const struct sim_message *message, uint32_t index, uint8_t *out)
{
    memcpy(out, payload_magic, sizeof payload_magic);
    uint8_t *at = m5_write_u32(out + 4, index);
    at = m5_write_u16(at, (uint16_t)message->publisher->number);
    at = m5_write_u32(at, message->topic);
    at = m5_write_u32(at, message->sequence);
    *at++ = message->qos;
    *at = message->retain;
}

void sim_payload_write(const struct sim_world *world, uint32_t index, uint8_t *out)
{
    const struct sim_message *message = &world->messages.items[index];
    if (message->size == 0)
        return;
    write_header(message, index, out);
    for (uint32_t i = SIM_PAYLOAD; i < message->size; i++)
        out[i] = filler(index, i);
}

static bool payload_fits(const struct sim_world *world, uint32_t index, struct mqtt5_bytes payload)
{
    if (index >= world->messages.count)
        return false;
    const struct sim_message *message = &world->messages.items[index];
    uint8_t header[SIM_PAYLOAD];
    write_header(message, index, header);
    if (payload.len != message->size || memcmp(header, payload.data, sizeof header) != 0)
        return false;
    for (uint32_t i = SIM_PAYLOAD; i < message->size; i++)
        if (payload.data[i] != filler(index, i))
            return false;
    return true;
}

uint32_t sim_payload_read(struct sim_world *world, uint32_t topic, struct mqtt5_bytes payload)
{
    const struct sim_topic *where = &world->topics.items[topic];
    if (payload.len == 0 && where->family == SIM_EMPTY)
        return where->kind;
    if (payload.len == 0 && where->family == SIM_RETAINED)
        return SIM_NONE;
    uint32_t index = payload.len >= SIM_PAYLOAD ? m5_read_u32(payload.data + 4) : SIM_NONE;
    if (!payload_fits(world, index, payload)) {
        sim_fail(world, "the payload of a message to %s was changed on the way (%zu bytes)",
                 where->name, payload.len);
        return SIM_NONE;
    }
    if (sim_message_at(world, index)->topic != topic) {
        sim_fail(world, "message %u arrived with topic %s, not its own", (unsigned)index,
                 where->name);
        return SIM_NONE;
    }
    return index;
}

/* The last one that was read counts; but when several connections went on in one turn with what
 * they had sent before, nobody knows which was first. */
void sim_message_retained(struct sim_world *world, uint32_t index, bool doubt)
{
    struct sim_message *message = sim_message_at(world, index);
    struct sim_topic *topic = &world->topics.items[message->topic];
    topic->retained_race = world->resuming && topic->retained_turn == world->turn;
    topic->retained_turn = world->turn;
    /* While commits fail it may be refused; at QoS 0 nobody is told. */
    doubt = doubt || sim_store_failed_lately(world);
    topic->retained_unsure |= doubt;
    if (topic->retained != SIM_NONE && topic->retained != index && !topic->retained_race && !doubt)
        sim_message_at(world, topic->retained)->superseded_tick = world->tick;
    message->superseded_tick = SIM_NEVER;
    topic->retained = message->size == 0 ? SIM_NONE : index;
    if (world->profile.store)
        SIM_PUSH(&topic->history, (struct sim_retained_was){world->turn, topic->retained});
}

void sim_message_fed(struct sim_world *world, uint32_t index)
{
    struct sim_message *message = sim_message_at(world, index);
    world->tick++;
    bool again = message->transmissions > 0;
    bool refused =
        again && (message->refusable || sim_store_failed_since(world, message->last_fed_ms));
    if (message->qos == 2 && message->transmissions > 0 && !message->forgotten && !refused)
        return; /* the broker knows its packet id */
    /* After a crash the broker knows the packet id if it was stored, and waits for nothing; it is
     * stored when the message is. */
    bool stored = message->qos == 2 && message->stored;
    message->forgotten = message->stored = false;
    message->fed_turn = stored || refused ? 0 : world->turn;
    message->refusable = sim_store_failed_lately(world);
    if (stored && (message->retain || message->id_kept)) {
        message->last_fed_tick = world->tick;
        message->last_fed_ms = world->now_ms;
        return;
    }
    if (message->transmissions++ == 0) {
        message->first_fed_tick = world->tick;
        message->first_fed_ms = world->now_ms;
    }
    message->last_fed_tick = world->tick;
    message->last_fed_ms = world->now_ms;
    sim_promise_fed(world, index);
    if (message->retain)
        sim_message_retained(world, index, refused);
}

/* ---- epochs ---- */

struct sim_epoch *sim_epoch_new(struct sim_world *world, struct sim_client *client)
{
    struct sim_epoch *epoch = calloc(1, sizeof *epoch);
    if (epoch == NULL)
        abort();
    epoch->client = client;
    epoch->number = world->epochs.count;
    epoch->packet_ids_skip =
        client->packet_size_max != 0 || world->profile.expiry || world->profile.small_limits;
    SIM_PUSH(&world->epochs, epoch);
    return epoch;
}

void sim_epoch_end(struct sim_world *world, struct sim_epoch *epoch)
{
    if (epoch == NULL || epoch->over)
        return;
    epoch->over = true;
    sim_group_left(world, epoch->client);
}

void sim_group_left(struct sim_world *world, const struct sim_client *client)
{
    if (client->home != SIM_NONE)
        world->groups[client->home].left_tick = world->tick;
}
