/* What an authorisation costs: nanoseconds a check, with few rules and with many.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "host/acl/cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TOPICS 64
#define ROUNDS 20
#define CHECKS 200000

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

enum shape { BY_USER, ONE_USER, EVERYBODY, ROLES, NAMES };

static const char *const shapes[] = {"a rule for each user", "all rules of one user",
                                     "all rules of user *", "ten roles of one user",
                                     "all rules with %u"};

static size_t put_rule(char *out, size_t size, enum shape shape, unsigned i)
{
    switch (shape) {
    case BY_USER:
        return (size_t)snprintf(out, size, "user u%u topic bench/%u/# permission rw\n", i, i);
    case ONE_USER:
        return (size_t)snprintf(out, size, "user u0 topic bench/%u/# permission rw\n", i);
    case EVERYBODY:
        return (size_t)snprintf(out, size, "user * topic bench/%u/+ permission rw\n", i);
    case ROLES:
        return (size_t)snprintf(out, size,
                                "role r%u topic bench/%u/# permission rw\nassign u0 r%u\n", i % 10,
                                i, i % 10);
    case NAMES: break;
    }
    return (size_t)snprintf(out, size, "user * topic bench/%u/%%u permission rw\n", i);
}

static struct m5_acl *make(enum shape shape, unsigned rules)
{
    const size_t size = rules * 128ul + 1;
    char *text = malloc(size);
    struct m5_text_error error;
    size_t used = 0;
    if (text == NULL)
        abort();
    for (unsigned i = 0; i < rules; i++)
        used += put_rule(text + used, size - used, shape, i);
    struct m5_acl *acl = m5_acl_new(&m5_libc_allocator, m5_bytes(text, used), M5_ACL_OURS, &error);
    if (acl == NULL)
        abort();
    free(text);
    return acl;
}

/* The best round: nanoseconds a check; @p cache may be NULL. */
static double measure(const struct m5_acl *acl, unsigned rules, enum shape shape,
                      struct m5_acl_cache *cache)
{
    static char topics[TOPICS][32], users[TOPICS][16];
    struct m5_principal who[TOPICS];
    struct mqtt5_bytes topic[TOPICS];
    for (unsigned i = 0; i < TOPICS; i++) {
        const unsigned rule = i * 7919u % rules;
        snprintf(topics[i], sizeof topics[i], "bench/%u/u0", rule);
        snprintf(users[i], sizeof users[i], "u%u", shape == BY_USER ? rule : 0);
        topic[i] = m5_bytes_of(topics[i]);
        who[i] =
            (struct m5_principal){.client_id = m5_bytes_of("c"), .username = m5_bytes_of(users[i])};
    }
    double best = 1e9;
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned allowed = 0;
        const double start = now_s();
        for (unsigned i = 0; i < CHECKS; i++)
            allowed += cache == NULL
                           ? m5_acl_may_write(acl, &who[i % TOPICS], topic[i % TOPICS]).allowed
                           : m5_acl_cache_ask(cache, acl, 1, &who[i % TOPICS], M5_ACL_MAY_WRITE,
                                              topic[i % TOPICS]);
        const double each = (now_s() - start) / CHECKS * 1e9;
        if (allowed != CHECKS)
            abort();
        best = each < best ? each : best;
    }
    return best;
}

static void print_line(enum shape shape, struct m5_acl_cache *cache)
{
    static const unsigned counts[] = {1, 100, 1000};
    printf("%-24s %-10s", shapes[shape], cache == NULL ? "found" : "remembered");
    for (unsigned i = 0; i < 3; i++) {
        struct m5_acl *acl = make(shape, counts[i]);
        if (cache != NULL)
            memset(cache, 0, sizeof *cache);
        printf(" %8.1f", measure(acl, counts[i], shape, cache));
        m5_acl_free(acl);
    }
    putchar('\n');
}

int main(void)
{
    static struct m5_acl_cache cache;
    printf("%-24s %-10s %8s %8s %8s   ns a check, best of %d rounds\n", "rules", "", "1", "100",
           "1000", ROUNDS);
    for (enum shape shape = BY_USER; shape <= NAMES; shape++) {
        print_line(shape, NULL);
        print_line(shape, &cache);
    }
    return 0;
}
