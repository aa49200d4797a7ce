/* Commands to the broker: between workers and the thread that executes them.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/control.h"

#include "base/bytes.h"
#include "host/dynsec/dynsec.h"
#include "host/loop.h"
#include "host/thread.h"

#include <stdlib.h>
#include <string.h>

/* A request on its way, and the answer on its way back. */
struct request {
    struct m5_list node;
    struct m5_desk_place *place;
    struct m5_control asked; /* its views point behind this struct */
    char *answer;            /* by malloc(); NULL: no memory for one */
    size_t size;             /* of all this */
};

struct m5_desk {
    struct m5_dynsec *dynsec;
    pthread_mutex_t lock;
    pthread_cond_t work;
    pthread_t thread;
    struct m5_list waiting;
    uint32_t count;
    bool stopping;
    struct m5_desk_place *places;
};

/* Payloads may have passwords in them. */
static void drop(struct request *request)
{
    m5_wipe(request, request->size);
    free(request);
}

static struct request *take(struct m5_list *list)
{
    struct m5_list *node = m5_list_pop_front(list);
    return node == NULL ? NULL : M5_CONTAINER_OF(node, struct request, node);
}

static void wake(struct m5_desk_place *place)
{
    atomic_store(&place->any, true);
    m5_loop_wake(place->loop);
}

/* ---- the thread ---- */

/* @p room: others could not hand in all they had. */
static void serve(struct m5_desk *desk, struct request *request, bool room)
{
    bool changed = false;
    struct m5_desk_place *asking = request->place;
    request->answer = m5_dynsec_execute(desk->dynsec, request->asked.payload, &changed);
    pthread_mutex_lock(&desk->lock);
    m5_list_push_back(&asking->answers, &request->node);
    pthread_mutex_unlock(&desk->lock);
    for (struct m5_desk_place *place = desk->places; place != NULL; place = place->next) {
        if (changed || room || place == asking)
            wake(place);
    }
}

static void *work(void *ctx)
{
    struct m5_desk *desk = ctx;
    pthread_mutex_lock(&desk->lock);
    while (!desk->stopping) {
        struct request *request = take(&desk->waiting);
        if (request == NULL) {
            pthread_cond_wait(&desk->work, &desk->lock);
            continue;
        }
        const bool was_full = desk->count-- == M5_DESK_WAITING_MAX;
        pthread_mutex_unlock(&desk->lock);
        serve(desk, request, was_full);
        pthread_mutex_lock(&desk->lock);
    }
    pthread_mutex_unlock(&desk->lock);
    return NULL;
}

struct m5_desk *m5_desk_new(struct m5_dynsec *dynsec)
{
    struct m5_desk *desk = calloc(1, sizeof *desk);
    if (desk == NULL)
        return NULL;
    desk->dynsec = dynsec;
    pthread_mutex_init(&desk->lock, NULL);
    pthread_cond_init(&desk->work, NULL);
    m5_list_init(&desk->waiting);
    if (m5_thread_start(&desk->thread, work, desk) == 0)
        return desk;
    pthread_cond_destroy(&desk->work);
    pthread_mutex_destroy(&desk->lock);
    free(desk);
    return NULL;
}

void m5_desk_free(struct m5_desk *desk)
{
    struct request *request;
    if (desk == NULL)
        return;
    pthread_mutex_lock(&desk->lock);
    desk->stopping = true;
    pthread_cond_signal(&desk->work);
    pthread_mutex_unlock(&desk->lock);
    pthread_join(desk->thread, NULL);
    while ((request = take(&desk->waiting)) != NULL)
        drop(request);
    for (struct m5_desk_place *place = desk->places; place != NULL; place = place->next) {
        while ((request = take(&place->answers)) != NULL) {
            free(request->answer);
            drop(request);
        }
        place->desk = NULL;
    }
    pthread_cond_destroy(&desk->work);
    pthread_mutex_destroy(&desk->lock);
    free(desk);
}

/* ---- the workers ---- */

void m5_desk_sit(struct m5_desk_place *place, struct m5_desk *desk, struct m5_loop *loop)
{
    *place = (struct m5_desk_place){.desk = desk, .loop = loop};
    m5_list_init(&place->answers);
    if (desk == NULL)
        return;
    place->generation = m5_dynsec_generation(desk->dynsec);
    pthread_mutex_lock(&desk->lock);
    place->next = desk->places;
    desk->places = place;
    pthread_mutex_unlock(&desk->lock);
}

struct review {
    struct m5_dynsec *dynsec;
    uint64_t since; /* generation that the worker has seen */
};

static bool may_stay(void *ctx, const struct m5_principal *who)
{
    const struct review *review = ctx;
    return who->anonymous ||
           m5_dynsec_keeps(review->dynsec, who->username, who->client_id, review->since);
}

void m5_desk_receive(struct m5_desk_place *place, struct m5_shard *shard)
{
    struct m5_desk *desk = place->desk;
    struct m5_list answers;
    struct request *request;
    if (desk == NULL || !atomic_load_explicit(&place->any, memory_order_acquire))
        return;
    atomic_store(&place->any, false);
    m5_list_init(&answers);
    pthread_mutex_lock(&desk->lock);
    while ((request = take(&place->answers)) != NULL)
        m5_list_push_back(&answers, &request->node);
    pthread_mutex_unlock(&desk->lock);
    while ((request = take(&answers)) != NULL) {
        if (request->answer != NULL)
            m5_shard_answer_control(shard, &request->asked, m5_bytes_of(M5_DYNSEC_RESPONSE),
                                    m5_bytes_of(request->answer));
        free(request->answer);
        drop(request);
    }
    const uint64_t generation = m5_dynsec_generation(desk->dynsec);
    struct review review = {.dynsec = desk->dynsec, .since = place->generation};
    if (generation != place->generation)
        m5_shard_review(shard, may_stay, &review);
    place->generation = generation;
}

static struct request *request_new(struct m5_desk_place *place, const struct m5_control *asked)
{
    const size_t size = sizeof(struct request) + asked->client_id.len + asked->payload.len;
    struct request *request = malloc(size);
    if (request == NULL)
        return NULL;
    uint8_t *client_id = (uint8_t *)(request + 1);
    uint8_t *payload = m5_copy(client_id, asked->client_id);
    m5_copy(payload, asked->payload);
    *request = (struct request){
        .place = place,
        .asked = {.session = asked->session,
                  .client_id = m5_bytes(client_id, asked->client_id.len),
                  .payload = m5_bytes(payload, asked->payload.len)},
        .size = size,
    };
    return request;
}

void m5_desk_hand_in(struct m5_desk_place *place, struct m5_shard *shard)
{
    struct m5_desk *desk = place->desk;
    struct m5_control asked;
    if (desk == NULL)
        return;
    pthread_mutex_lock(&desk->lock);
    while (desk->count < M5_DESK_WAITING_MAX && m5_shard_next_control(shard, &asked)) {
        struct request *request = request_new(place, &asked);
        if (request == NULL)
            continue; /* it is not answered, as if the message had been lost at QoS 0 */
        m5_list_push_back(&desk->waiting, &request->node);
        desk->count++;
        pthread_cond_signal(&desk->work);
    }
    pthread_mutex_unlock(&desk->lock);
}
