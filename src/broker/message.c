/* Application messages in pools by size.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "broker/message.h"

#include "base/alloc.h"
#include "base/assert.h"

#define CLASS_SIZE_MIN 128u
#define CLASS_SIZE(i)  (CLASS_SIZE_MIN << (i))
#define SLAB_SIZE      (64u * 1024u)

void m5_message_store_init(struct m5_message_store *store, const struct mqtt5_allocator *allocator)
{
    store->allocator = allocator;
    for (uint32_t i = 0; i < M5_MESSAGE_CLASSES; i++)
        m5_pool_init(&store->classes[i], allocator, CLASS_SIZE(i), SLAB_SIZE);
}

void m5_message_store_fini(struct m5_message_store *store)
{
    for (uint32_t i = 0; i < M5_MESSAGE_CLASSES; i++)
        m5_pool_fini(&store->classes[i]);
}

bool m5_message_store_trim(struct m5_message_store *store)
{
    bool more = false;
    for (uint32_t i = 0; i < M5_MESSAGE_CLASSES; i++)
        more |= m5_pool_trim(&store->classes[i]);
    return more;
}

/* The index of the smallest class that @p size fits in, or M5_MESSAGE_CLASSES. */
static uint32_t class_of(size_t size)
{
    uint32_t i = 0;
    while (i < M5_MESSAGE_CLASSES && CLASS_SIZE(i) < size)
        i++;
    return i;
}

struct m5_message *m5_message_new(struct m5_message_store *store,
                                  const struct m5_message_view *view)
{
    size_t size =
        sizeof(struct m5_message) + view->topic.len + view->properties.len + view->payload.len;
    uint32_t class = class_of(size);
    struct m5_message *message = class < M5_MESSAGE_CLASSES ? m5_pool_take(&store->classes[class])
                                                            : m5_alloc(store->allocator, size);
    if (message == NULL)
        return NULL;
    message->references = 1;
    message->block_size = (uint32_t)size;
    message->expires_at_ms = view->expires_at_ms;
    message->properties_size = (uint32_t)view->properties.len;
    message->payload_size = (uint32_t)view->payload.len;
    message->topic_size = (uint16_t)view->topic.len;
    message->qos = view->qos;
    message->retain = view->retain;
    message->moved = false;
    message->stored_references = 0;
    message->stored_id = 0;
    uint8_t *end = m5_copy(message->data, view->topic);
    end = m5_copy(end, view->properties);
    m5_copy(end, view->payload);
    return message;
}

void m5_message_destroy(struct m5_message_store *store, struct m5_message *message)
{
    M5_ASSERT(message->references == 0);
    uint32_t class = class_of(message->block_size);
    if (class < M5_MESSAGE_CLASSES)
        m5_pool_give(&store->classes[class], message);
    else
        m5_free(store->allocator, message, message->block_size);
}
