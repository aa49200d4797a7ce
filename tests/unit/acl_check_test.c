/* Access control: what is decided, by which rule, and that a naive evaluator decides the same.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "base/rng.h"
#include "host/acl/cache.h"
#include "support/naive_topic.h"
#include "support/seed.h"
#include "support/unit.h"

#include <mqtt5/topic.h>

#include <stdio.h>
#include <string.h>

static struct m5_acl *make(const char *text)
{
    struct m5_text_error error = {0};
    struct m5_acl *acl = m5_acl_new(&m5_libc_allocator, m5_bytes_of(text), M5_ACL_DETECT, &error);
    if (acl == NULL)
        fail_msg("%u:%u: %s", error.line, error.column, error.text);
    return acl;
}

/* NULL as @p user: anonymous. */
static struct m5_principal principal(const char *user, const char *client_id)
{
    return (struct m5_principal){.client_id = m5_bytes_of(client_id),
                                 .username = m5_bytes_of(user != NULL ? user : ""),
                                 .anonymous = user == NULL};
}

enum action { READ, WRITE, SUBSCRIBE };

static struct m5_acl_verdict ask(const struct m5_acl *acl, const struct m5_principal *who,
                                 enum action action, const char *topic)
{
    const struct mqtt5_bytes text = m5_bytes_of(topic);
    switch (action) {
    case READ: return m5_acl_may_read(acl, who, text);
    case WRITE: return m5_acl_may_write(acl, who, text);
    case SUBSCRIBE: break;
    }
    return m5_acl_may_subscribe(acl, who, text);
}

/* One question and its answer: allowed, and by the rule of which line (0: none). */
struct answer {
    const char *user, *client_id;
    enum action action;
    const char *topic;
    bool allowed;
    uint32_t line;
};

static void expect(const char *text, const struct answer *answers, size_t count)
{
    struct m5_acl *acl = make(text);
    for (size_t i = 0; i < count; i++) {
        const struct answer *want = &answers[i];
        const struct m5_principal who = principal(want->user, want->client_id);
        const struct m5_acl_verdict got = ask(acl, &who, want->action, want->topic);
        const uint32_t line = got.rule != NULL ? got.rule->line : 0;
        if (got.allowed != want->allowed || line != want->line)
            fail_msg("%s %d %s: %d by line %u", want->user != NULL ? want->user : "(anonymous)",
                     (int)want->action, want->topic, got.allowed, line);
    }
    m5_acl_free(acl);
}

#define EXPECT(text, answers) expect(text, answers, sizeof(answers) / sizeof *(answers))

static void the_heaviest_rule_of_the_user_decides(void **state)
{
    (void)state;
    static const struct answer answers[] = {
        {"u", "c", READ, "a/b", true, 1},        {"u", "c", WRITE, "a/b", false, 0},
        {"u", "c", READ, "secret/x", false, 2},  {"u", "c", READ, "secret/open", true, 3},
        {"u", "c", WRITE, "secret/x", false, 2}, {"v", "c", READ, "a/b", false, 0},
        {"u", "c", READ, "$SYS/x", false, 0},
    };
    EXPECT("user u topic # permission read\n"
           "user u topic secret/# permission deny\n"
           "user u topic secret/open permission read\n",
           answers);
}

static void a_right_the_user_rule_does_not_have_is_looked_for_further(void **state)
{
    (void)state;
    static const struct answer answers[] = {
        {"u", "c", READ, "a/b", true, 1},
        {"u", "c", WRITE, "a/b", true, 2}, /* by the role */
        {"w", "c", WRITE, "a/b", true, 4}, /* by user * */
        {"u", "c", WRITE, "c", true, 4},
        {"w", "c", READ, "a/b", false, 4}, /* user * is the last word */
        {"u", "c", WRITE, "a/no", false, 6},
    };
    EXPECT("user u topic a/b permission read\n"
           "role r topic a/# permission write\n"
           "assign u r\n"
           "user * topic # permission write\n"
           "user * topic x permission rw\n"
           "role s topic a/no permission deny\n"
           "assign u s\n",
           answers);
}

static void among_equals_a_denial_comes_first_and_grants_add_up(void **state)
{
    (void)state;
    static const struct answer answers[] = {{"u", "c", READ, "a/b", true, 2},
                                            {"u", "c", WRITE, "a/b", true, 1},
                                            {"v", "c", READ, "a/b", false, 4},
                                            {"w", "c", READ, "a/b", false, 5}};
    EXPECT("user u topic a/+ permission write\nuser u topic +/b permission read\n"
           "user v topic a/+ permission read\nuser v topic +/b permission deny\n"
           "user w topic +/b permission deny\nuser w topic a/+ permission read\n",
           answers);
}

static void anonymous_clients_have_a_name(void **state)
{
    (void)state;
    static const struct answer answers[] = {
        {NULL, "c", READ, "public/x", true, 1}, {"u", "c", READ, "public/x", false, 0},
        {NULL, "c", READ, "home/", false, 0},   {NULL, "c", READ, "home/anonymous", false, 0},
        {"u", "c", READ, "home/u", true, 2},
    };
    EXPECT("user anonymous topic public/# permission read\n"
           "user * topic home/%u permission read\n",
           answers);
}

/* Row 46: CVE-2017-7650 and its like. */
static void case_46_names_never_widen_a_rule(void **state)
{
    (void)state;
    static const struct answer answers[] = {
        {"bob", "x", READ, "u/bob/in", true, 1},
        {"+", "x", READ, "u/bob/in", false, 0},
        {"#", "x", READ, "u/bob/in", false, 0},
        {"+", "x", READ, "u/+/in", false, 0},
        {"a/b", "x", READ, "u/a/b/in", false, 0},
        {"", "x", READ, "u//in", false, 0},
        {"bob", "#", WRITE, "c/#", false, 0},
        {"bob", "+", WRITE, "c/y", false, 0},
        {"bob", "y", WRITE, "c/y", true, 2},
        {"bob", "y/z", WRITE, "c/y/z", false, 0},
        {"bob", "y", WRITE, "c/z", false, 0},
        {"$SYS", "x", READ, "$SYS/a", false, 0},
        {"s", "x", READ, "s/a", true, 3},
        {"bob", "7", READ, "d-bob-7-%x", true, 4},
        {"bob", "7", READ, "d-bob-77-%x", false, 0},
        {"+", "x", SUBSCRIBE, "u/+/in", false, 0},
        {"bob", "x", SUBSCRIBE, "u/+/in", false, 0},
        {"bob", "x", SUBSCRIBE, "u/bob/in", true, 1},
        {"bob", "", WRITE, "c/", false, 0},
    };
    EXPECT("user * topic u/%u/# permission read\n"
           "user * topic c/%c permission write\n"
           "user * topic %u/# permission read\n"
           "user * topic d-%u-%c-%x permission read\n",
           answers);
}

/* Rows 35 and 36, and the hole told in the product this is compatible with: '#' as text. */
static void case_35_a_subscription_is_what_it_can_match(void **state)
{
    (void)state;
    static const struct answer answers[] = {
        {"u", "c", SUBSCRIBE, "#", false, 0},      {"u", "c", SUBSCRIBE, "+/x", false, 0},
        {"u", "c", SUBSCRIBE, "a/#", true, 1},     {"u", "c", SUBSCRIBE, "a/+", true, 1},
        {"u", "c", SUBSCRIBE, "a", true, 1},       {"u", "c", SUBSCRIBE, "+/b", false, 0},
        {"u", "c", SUBSCRIBE, "b/+", true, 2},     {"u", "c", SUBSCRIBE, "b/#", false, 0},
        {"u", "c", SUBSCRIBE, "b/+/c", false, 0},  {"u", "c", SUBSCRIBE, "a/s", false, 3},
        {"u", "c", SUBSCRIBE, "a/s/#", false, 3},  {"u", "c", SUBSCRIBE, "a/s/x", false, 3},
        {"u", "c", SUBSCRIBE, "a/+/x", true, 1},   {"u", "c", READ, "a/s/x", false, 3},
        {"all", "c", SUBSCRIBE, "#", true, 4},     {"all", "c", SUBSCRIBE, "$SYS/#", false, 0},
        {"all", "c", SUBSCRIBE, "+/+", true, 4},   {"two", "c", SUBSCRIBE, "#", true, 5},
        {"two", "c", SUBSCRIBE, "a/#", true, 5},   {"sub", "c", SUBSCRIBE, "a/#", false, 0},
        {"sub", "c", SUBSCRIBE, "a/+/#", true, 6},
    };
    EXPECT("user u topic a/# permission read\n"
           "user u topic b/+ permission read\n"
           "user u topic a/s/# permission deny\n"
           "user all topic # permission read\n"
           "user two topic +/# permission read\n"
           "user sub topic a/+/# permission read\n",
           answers);
}

static void mosquitto_rules_decide_as_there(void **state)
{
    (void)state;
    static const struct answer answers[] = {
        {NULL, "c", READ, "public/x", true, 1},
        {"joe", "c", READ, "public/x", false, 0},
        {"joe", "c", WRITE, "a/b", true, 3},
        {"joe", "c", READ, "a/secret", false, 4},
        {"joe", "c", WRITE, "dev/joe", true, 5},
        {"jim", "c", WRITE, "dev/joe", false, 0},
        {NULL, "c", WRITE, "dev/joe", false, 0},
        {NULL, "c", READ, "id/c", true, 6},
        {"anonymous", "c", READ, "public/x", false, 0},
        {"joe", "c", READ, "%u/x", true, 7},
        {"joe", "c", READ, "joe/x", false, 0},
        {"+", "c", READ, "id/c/no", false, 8},
    };
    EXPECT("topic read public/#\nuser joe\ntopic a/#\ntopic deny a/secret\n"
           "pattern readwrite dev/%u\npattern read id/%c\ntopic read %u/x\n"
           "pattern deny id/%c/no\n",
           answers);
}

/* Row 46: an empty file is no open door. */
static void case_46_an_empty_file_denies(void **state)
{
    (void)state;
    static const struct answer answers[] = {{"u", "c", READ, "a", false, 0},
                                            {NULL, "c", WRITE, "a", false, 0},
                                            {"u", "c", SUBSCRIBE, "#", false, 0}};
    EXPECT("", answers);
    EXPECT("# user u topic # permission rw\n", answers);
}

/* "a/+/a/+..." or "a/a/a...", @p levels of them, behind what is in @p out. */
static void append_levels(char *out, size_t size, unsigned levels, const char *even)
{
    size_t used = strlen(out);
    for (unsigned i = 0; i < levels; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%s", i == 0 ? "" : "/",
                                 i % 2 != 0 ? even : "a");
}

/* Row 39 and 13: as many levels as a packet holds. */
static void case_39_deep_topics_are_decided(void **state)
{
    (void)state;
    static char topic[65536];
    struct m5_acl *acl = make("user * topic a/# permission rw\nuser * topic +/+/x permission rw\n");
    const struct m5_principal who = principal("u", "c");
    memset(topic, '/', sizeof topic - 1);
    assert_false(ask(acl, &who, READ, topic).allowed);
    topic[0] = 'a';
    assert_true(ask(acl, &who, READ, topic).allowed);
    assert_true(ask(acl, &who, SUBSCRIBE, topic).allowed);
    m5_acl_free(acl);
    char rule[1024] = "user * topic ";
    append_levels(rule, sizeof rule, M5_ACL_LEVELS_MAX, "+");
    const size_t size = strlen(rule);
    snprintf(rule + size, sizeof rule - size, " permission rw\n");
    acl = make(rule);
    topic[0] = 0;
    append_levels(topic, sizeof topic, M5_ACL_LEVELS_MAX, "a");
    assert_true(ask(acl, &who, READ, topic).allowed);
    topic[0] = 0;
    append_levels(topic, sizeof topic, M5_ACL_LEVELS_MAX + 1, "a");
    assert_false(ask(acl, &who, READ, topic).allowed);
    m5_acl_free(acl);
}

/* ---- the naive evaluator ---- */

#define TOPICS_MAX 780 /* 5 + 25 + 125 + 625 */

static char all_topics[TOPICS_MAX][24];
static unsigned topic_count;

/* Every topic of one to four levels over an alphabet that has a level no rule knows. */
static void list_topics(void)
{
    static const char *const levels[] = {"a", "b", "", "$x", "c"};
    topic_count = 0;
    for (unsigned depth = 1, ends = 5; depth <= 4; depth++, ends *= 5) {
        for (unsigned number = 0; number < ends; number++) {
            char *out = all_topics[topic_count];
            size_t used = 0;
            for (unsigned i = 0, left = number; i < depth; i++, left /= 5)
                used += (size_t)snprintf(out + used, 24 - used, "%s%s", i == 0 ? "" : "/",
                                         levels[left % 5]);
            topic_count += used > 0; /* the empty topic is none */
        }
    }
}

static bool naive_safe(struct mqtt5_bytes value)
{
    return value.len > 0 && memchr(value.data, '+', value.len) == NULL &&
           memchr(value.data, '#', value.len) == NULL && memchr(value.data, '/', value.len) == NULL;
}

/* The pattern with names in it; false when it matches nobody. */
static bool naive_expand(const struct m5_acl_rule *rule, const struct m5_principal *who, char *out)
{
    size_t used = 0;
    for (size_t i = 0; i < rule->pattern.len; i++) {
        const uint8_t *at = rule->pattern.data + i;
        const bool marks = at[0] == '%' && i + 1 < rule->pattern.len;
        if (!marks || (at[1] != 'u' && at[1] != 'c')) {
            out[used++] = (char)at[0];
            continue;
        }
        const struct mqtt5_bytes value = at[1] == 'u' ? who->username : who->client_id;
        if (!naive_safe(value) || (at[1] == 'u' && who->anonymous))
            return false;
        memcpy(out + used, value.data, value.len);
        used += value.len;
        i++;
    }
    out[used] = 0;
    return true;
}

static bool naive_matches(const struct m5_acl_rule *rule, const char *pattern,
                          struct mqtt5_bytes topic)
{
    if (topic.len > 0 && topic.data[0] == '$' && rule->pattern.data[0] != '$')
        return false; /* nor by a name that begins with it */
    return naive_filter_matches(m5_bytes_of(pattern), topic);
}

/* True when all that @p filter matches is matched by the rule: by trying. */
static bool naive_covers(const struct m5_acl_rule *rule, const char *pattern,
                         struct mqtt5_bytes filter)
{
    for (unsigned i = 0; i < topic_count; i++) {
        const struct mqtt5_bytes topic = m5_bytes_of(all_topics[i]);
        if (naive_filter_matches(filter, topic) && !naive_matches(rule, pattern, topic))
            return false;
    }
    return true;
}

static bool naive_applies(const struct m5_acl_rule *rule, const struct m5_principal *who,
                          struct mqtt5_bytes text, bool is_filter)
{
    char pattern[128];
    if (!naive_expand(rule, who, pattern))
        return false;
    return is_filter ? naive_covers(rule, pattern, text) : naive_matches(rule, pattern, text);
}

enum vote { NOTHING, GRANT, DENIAL, OTHER };

/* What the heaviest rules of one subject say. */
static enum vote naive_best(const struct m5_acl_source *source, const bool *applies,
                            enum m5_acl_kind kind, struct mqtt5_bytes subject, uint8_t wanted)
{
    int32_t heaviest = INT32_MIN;
    enum vote vote = NOTHING;
    for (uint32_t i = 0; i < source->rule_count; i++) {
        const struct m5_acl_rule *rule = &source->rules[i];
        if (!applies[i] || rule->kind != kind || !m5_bytes_equal(rule->subject, subject) ||
            rule->weight < heaviest)
            continue;
        if (rule->weight > heaviest)
            vote = NOTHING;
        heaviest = rule->weight;
        const enum vote own = rule->rights == 0              ? DENIAL
                              : (rule->rights & wanted) != 0 ? GRANT
                                                             : OTHER;
        if (own == DENIAL || vote == NOTHING || (own == GRANT && vote == OTHER))
            vote = own;
        else if (vote == DENIAL)
            continue;
    }
    return vote;
}

static bool naive_has_role(const struct m5_acl_source *source, struct mqtt5_bytes user,
                           struct mqtt5_bytes role)
{
    for (uint32_t i = 0; i < source->assignment_count; i++) {
        if (m5_bytes_equal(source->assignments[i].user, user) &&
            m5_bytes_equal(source->assignments[i].role, role))
            return true;
    }
    return false;
}

static enum vote naive_roles(const struct m5_acl_source *source, const bool *applies,
                             struct mqtt5_bytes user, uint8_t wanted)
{
    enum vote vote = NOTHING;
    for (uint32_t i = 0; i < source->rule_count; i++) {
        const struct m5_acl_rule *rule = &source->rules[i];
        if (!applies[i] || rule->kind != M5_ACL_ROLE ||
            !naive_has_role(source, user, rule->subject))
            continue;
        if (rule->rights == 0)
            return DENIAL;
        if ((rule->rights & wanted) != 0)
            vote = GRANT;
    }
    return vote;
}

static bool naive_allowed(const struct m5_acl_source *source, const struct m5_principal *who,
                          enum action action, struct mqtt5_bytes text)
{
    bool applies[64];
    const uint8_t wanted = action == WRITE ? M5_ACL_WRITE : M5_ACL_READ;
    const struct mqtt5_bytes name = who->anonymous ? m5_bytes_of("anonymous") : who->username;
    for (uint32_t i = 0; i < source->rule_count; i++)
        applies[i] = naive_applies(&source->rules[i], who, text, action == SUBSCRIBE);
    enum vote vote = naive_best(source, applies, M5_ACL_USER, name, wanted);
    if (vote != GRANT && vote != DENIAL)
        vote = naive_roles(source, applies, name, wanted);
    if (vote != GRANT && vote != DENIAL)
        vote = naive_best(source, applies, M5_ACL_EVERYBODY, m5_bytes_of(""), wanted);
    return vote == GRANT;
}

/* ---- random policies ---- */

static const char *pick(struct m5_rng *rng, const char *const *from, size_t count)
{
    return from[m5_rng_below(rng, count)];
}

#define PICK(rng, from) pick(rng, from, sizeof(from) / sizeof *(from))

static void random_filter(struct m5_rng *rng, char *out, const char *const *levels, size_t count)
{
    const uint64_t depth = 1 + m5_rng_below(rng, 3);
    out[0] = 0;
    for (uint64_t i = 0; i < depth; i++) {
        const bool ends = m5_rng_below(rng, 4) == 0;
        snprintf(out + strlen(out), 32, "%s%s", i > 0 ? "/" : "",
                 ends ? "#" : pick(rng, levels, count));
        if (ends)
            return;
    }
    if (out[0] == 0)
        memcpy(out, "a", 2);
}

static const char *const users[] = {"a", "b", "anonymous", "+", "a/b", "$x"};

static void random_policy(struct m5_rng *rng, char *text, size_t size)
{
    static const char *const levels[] = {"a", "b", "+", "", "$x", "%u", "%c", "a%u"};
    static const char *const subjects[] = {"user a", "user b", "user anonymous",
                                           "user *", "role r", "role s"};
    static const char *const rights[] = {"read", "write", "rw", "deny"};
    static const char *const roles[] = {"r", "s"};
    size_t used = 0;
    const uint64_t rules = 1 + m5_rng_below(rng, 12);
    for (uint64_t i = 0; i < rules; i++) {
        char filter[128];
        random_filter(rng, filter, levels, sizeof levels / sizeof *levels);
        used += (size_t)snprintf(text + used, size - used, "%s topic %s permission %s\n",
                                 PICK(rng, subjects), filter, PICK(rng, rights));
    }
    for (unsigned i = 0; i < 3; i++)
        used += (size_t)snprintf(text + used, size - used, "assign %s %s\n", PICK(rng, users),
                                 PICK(rng, roles));
}

static struct m5_acl_cache cache;
static uint64_t generation;

static void compare(struct m5_rng *rng, const struct m5_acl *acl, const char *policy)
{
    static const char *const levels[] = {"a", "b", "+", "", "$x"};
    char filter[128];
    const bool anonymous = m5_rng_below(rng, 4) == 0;
    const struct m5_principal who =
        principal(anonymous ? NULL : PICK(rng, users), PICK(rng, users));
    const enum action action = (enum action)m5_rng_below(rng, 3);
    const char *topic = all_topics[m5_rng_below(rng, topic_count)];
    if (action == SUBSCRIBE) {
        random_filter(rng, filter, levels, sizeof levels / sizeof *levels);
        topic = filter;
    }
    static const enum m5_acl_action actions[] = {M5_ACL_MAY_READ, M5_ACL_MAY_WRITE,
                                                 M5_ACL_MAY_SUBSCRIBE};
    const bool got = ask(acl, &who, action, topic).allowed;
    if (m5_acl_cache_ask(&cache, acl, generation, &who, actions[action], m5_bytes_of(topic)) != got)
        fail_msg("something else is remembered of %s with\n%s", topic, policy);
    if (got != naive_allowed(m5_acl_source_of(acl), &who, action, m5_bytes_of(topic)))
        fail_msg("user %.*s client %.*s action %d topic %s: %d with\n%s", (int)who.username.len,
                 (const char *)who.username.data, (int)who.client_id.len,
                 (const char *)who.client_id.data, (int)action, topic, got, policy);
}

static void a_naive_evaluator_decides_the_same(void **state)
{
    (void)state;
    struct m5_rng rng;
    unsigned allowed = 0;
    m5_rng_init(&rng, test_seed(20261122));
    list_topics();
    for (unsigned round = 0; round < 1500; round++) {
        char policy[2048];
        random_policy(&rng, policy, sizeof policy);
        struct m5_acl *acl = make(policy);
        generation++;
        for (unsigned i = 0; i < 30; i++)
            compare(&rng, acl, policy);
        const struct m5_principal who = principal("a", "b");
        allowed += ask(acl, &who, READ, "a/b").allowed;
        m5_acl_free(acl);
    }
    assert_in_range(cache.hits, 200, 1500 * 30); /* some questions came twice */
    assert_in_range(allowed, 100, 1400);         /* the policies are not all closed, nor all open */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_heaviest_rule_of_the_user_decides),
        cmocka_unit_test(a_right_the_user_rule_does_not_have_is_looked_for_further),
        cmocka_unit_test(among_equals_a_denial_comes_first_and_grants_add_up),
        cmocka_unit_test(anonymous_clients_have_a_name),
        cmocka_unit_test(case_46_names_never_widen_a_rule),
        cmocka_unit_test(case_35_a_subscription_is_what_it_can_match),
        cmocka_unit_test(mosquitto_rules_decide_as_there),
        cmocka_unit_test(case_46_an_empty_file_denies),
        cmocka_unit_test(case_39_deep_topics_are_decided),
        cmocka_unit_test(a_naive_evaluator_decides_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
