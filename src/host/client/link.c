/* A client's TCP connection.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/client/link.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ATTEMPT_MS_MIN 1000u /* less would give up on a slow network rather than a dead address */

size_t m5_link_resolve(const struct m5_endpoint *endpoint,
                       struct m5_address addresses[M5_ADDRESSES_MAX],
                       struct m5_link_failure *failure)
{
    const char *why = "";
    const size_t count = m5_address_resolve(endpoint->host, endpoint->port, addresses, &why);
    if (count == 0)
        snprintf(failure->text, sizeof failure->text, "%s: %.200s", endpoint->host, why);
    return count;
}

static void note_failure(const struct m5_link *link, int error, struct m5_link_failure *failure)
{
    char text[M5_ADDRESS_TEXT_SIZE];
    m5_address_format(&link->addresses[link->next - 1], text);
    snprintf(failure->text, sizeof failure->text, "%s: %s", text, strerror(error));
}

/* Starts on one address; an errno, or 0. */
static int try_address(struct m5_link *link, const struct m5_address *address)
{
    const int on = 1;
    link->fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (link->fd < 0)
        return errno;
    /* Small packets must not wait for the acknowledgement of others. A failure only costs time. */
    (void)setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(link->fd, (const struct sockaddr *)&address->storage, address->size) == 0 ||
        errno == EINPROGRESS)
        return 0;
    const int error = errno;
    m5_link_close(link);
    return error;
}

static bool try_next(struct m5_link *link, uint64_t now_ms, struct m5_link_failure *failure)
{
    while (link->next < link->count) {
        const int error = try_address(link, &link->addresses[link->next++]);
        if (error == 0) {
            link->state = M5_LINK_CONNECTING;
            link->attempt_deadline_ms = now_ms + link->attempt_ms;
            return true;
        }
        note_failure(link, error, failure);
    }
    m5_link_close(link);
    return false;
}

bool m5_link_start(struct m5_link *link, uint32_t timeout_ms, uint64_t now_ms,
                   struct m5_link_failure *failure)
{
    link->next = 0;
    link->attempt_ms = link->count > 0 ? timeout_ms / (uint32_t)link->count : timeout_ms;
    if (link->attempt_ms < ATTEMPT_MS_MIN)
        link->attempt_ms = ATTEMPT_MS_MIN;
    return try_next(link, now_ms, failure);
}

bool m5_link_continue(struct m5_link *link, bool ready, uint64_t now_ms,
                      struct m5_link_failure *failure)
{
    int error = ETIMEDOUT;
    socklen_t size = sizeof error;
    if (!ready && now_ms < link->attempt_deadline_ms)
        return true;
    if (ready && getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        error = errno;
    if (error == 0) {
        link->state = M5_LINK_UP;
        return true;
    }
    note_failure(link, error, failure);
    m5_link_close(link);
    return try_next(link, now_ms, failure);
}

void m5_link_close(struct m5_link *link)
{
    if (link->fd >= 0)
        close(link->fd);
    link->fd = -1;
    link->state = M5_LINK_DOWN;
}
