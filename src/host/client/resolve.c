/* Looking a host name up on a thread of its own.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/client/resolve.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define STACK_SIZE (256u << 10) /* bytes: getaddrinfo() and its plug-ins take a few dozen KiB */

struct m5_resolution {
    pthread_mutex_t lock;
    bool done, orphan; /* orphan: the thread frees it */
    struct m5_endpoint endpoint;
    struct m5_address addresses[M5_ADDRESSES_MAX];
    size_t count;
    const char *why;
    m5_resolved_fn *resolved;
    void *ctx;
};

static void destroy(struct m5_resolution *resolution)
{
    pthread_mutex_destroy(&resolution->lock);
    free(resolution);
}

static void *run(void *argument)
{
    struct m5_resolution *resolution = argument;
    const struct m5_endpoint endpoint = resolution->endpoint; /* never written again */
    struct m5_address addresses[M5_ADDRESSES_MAX];
    const char *why = "";
    const size_t count = m5_address_resolve(endpoint.host, endpoint.port, addresses, &why);
    pthread_mutex_lock(&resolution->lock);
    memcpy(resolution->addresses, addresses, count * sizeof *addresses);
    resolution->count = count;
    resolution->why = why;
    resolution->done = true;
    const bool orphan = resolution->orphan;
    if (!orphan)
        resolution->resolved(resolution->ctx); /* the lock keeps m5_resolution_free() out */
    pthread_mutex_unlock(&resolution->lock);
    if (orphan)
        destroy(resolution);
    return NULL;
}

static bool start_thread(struct m5_resolution *resolution)
{
    pthread_attr_t attributes;
    pthread_t thread;
    if (pthread_attr_init(&attributes) != 0)
        return false;
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    (void)pthread_attr_setstacksize(&attributes, STACK_SIZE);
    const int failed = pthread_create(&thread, &attributes, run, resolution);
    pthread_attr_destroy(&attributes);
    return failed == 0;
}

struct m5_resolution *m5_resolution_start(const struct m5_endpoint *endpoint,
                                          m5_resolved_fn *resolved, void *ctx)
{
    /* Not of the client's allocator: it may outlive that. */
    struct m5_resolution *resolution = calloc(1, sizeof *resolution);
    if (resolution == NULL)
        return NULL;
    resolution->endpoint = *endpoint;
    resolution->resolved = resolved;
    resolution->ctx = ctx;
    pthread_mutex_init(&resolution->lock, NULL);
    if (start_thread(resolution))
        return resolution;
    destroy(resolution);
    return NULL;
}

bool m5_resolution_take(struct m5_resolution *resolution,
                        struct m5_address addresses[M5_ADDRESSES_MAX], size_t *count,
                        const char **why)
{
    pthread_mutex_lock(&resolution->lock);
    const bool done = resolution->done;
    if (done) {
        memcpy(addresses, resolution->addresses, resolution->count * sizeof *addresses);
        *count = resolution->count;
        *why = resolution->why;
    }
    pthread_mutex_unlock(&resolution->lock);
    return done;
}

void m5_resolution_free(struct m5_resolution *resolution)
{
    if (resolution == NULL)
        return;
    pthread_mutex_lock(&resolution->lock);
    const bool done = resolution->done;
    resolution->orphan = true;
    pthread_mutex_unlock(&resolution->lock);
    if (done)
        destroy(resolution);
}

bool m5_host_is_numeric(const char *host)
{
    uint8_t bytes[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}
