/* One HTTP request at a time, for keys and call-outs: bounded in time and size, over TLS unless it
 * stays on this machine, never redirected.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_AUTH_HTTP_H
#define M5_HOST_AUTH_HTTP_H

#include "host/auth/text.h"

#include <stdatomic.h>

#define M5_HTTP_URL_MAX  2048u
#define M5_HTTP_BODY_MAX (1u << 20) /* bytes of an answer */

struct m5_http_request {
    const char *url;         /* one that m5_http_url_check() took */
    const char *ca_file;     /* who may vouch for the server; NULL: those of the system */
    struct mqtt5_bytes form; /* POST, application/x-www-form-urlencoded; NULL data: GET */
    uint32_t timeout_ms;     /* for all of it */
    const atomic_bool *stop; /* gives up soon after it is set; may be NULL */
};

struct m5_http_answer {
    long status;
    struct m5_text body; /* m5_text_free() */
    char why[256];       /* when there is no answer: a sentence */
};

/* True for an absolute https URL with a host; also http, when the host is this machine. No other
 * scheme, no control characters. On false *why is a sentence. */
bool m5_http_url_check(const char *url, const char **why);

/* Waits for the answer; false when there is none (or more than M5_HTTP_BODY_MAX). Any thread. */
bool m5_http_do(const struct m5_http_request *request, struct m5_http_answer *answer);

/* Appends "&NAME=VALUE" (without "&" at the beginning), encoded; false without memory. */
bool m5_http_form_add(struct m5_text *form, const char *name, struct mqtt5_bytes value);

/* Stops asking a service that fails: three failures in a row make it rest for a minute. One thread
 * at a time. Zero-initialise it. */
struct m5_breaker {
    uint32_t failures;
    uint64_t rests_until_ms;
};

#define M5_BREAKER_FAILURES 3u
#define M5_BREAKER_REST_MS  60000u

static inline bool m5_breaker_allows(const struct m5_breaker *breaker, uint64_t now_ms)
{
    return now_ms >= breaker->rests_until_ms;
}

static inline void m5_breaker_note(struct m5_breaker *breaker, bool good, uint64_t now_ms)
{
    breaker->failures = good ? 0 : breaker->failures + 1;
    breaker->rests_until_ms =
        breaker->failures >= M5_BREAKER_FAILURES ? now_ms + M5_BREAKER_REST_MS : 0;
}

#endif
