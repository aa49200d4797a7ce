/* Decides by a compiled access control list.
 *
 * Our format, in this order; the first that decides ends it:
 *   1. The rules of the user (of `anonymous` for a client without a user name). Of those that match
 *      the topic the heaviest counts: the fewest wildcards and the longest pattern. It denies, or
 *      grants what is asked, or leaves the question open.
 *   2. The rules of the user's roles. One denial denies; else one grant grants.
 *   3. The rules of `user *`, the heaviest again. It grants what is asked, or it is denied.
 *   4. It is denied.
 * Among rules of the same weight a denial comes first, and grants add up.
 *
 * Mosquitto's format: the rules of the user, then the patterns; in both one denial denies, else one
 * grant grants; then it is denied.
 *
 * A subscription is decided in the same way, but only by rules that cover the filter: the walk
 * takes '+' in a filter only along '+' and '#' in a pattern, and '#' only along '#'.
 *
 * A user name or client identifier that is empty or has '+', '#' or '/' in it matches no %u or %c,
 * and what begins with '$' is never reached through %u or %c.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/acl/compiled.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "protocol/level.h"

#include <string.h>

#define LEVELS_SIZE \
    (M5_ACL_LEVELS_MAX + 1) /* no trie is deeper; one more shows that there is more */

/* Each depth leaves at most a '+' child and a row of templates waiting. */
#define STACK_SIZE (2 * LEVELS_SIZE + 4)

struct level {
    struct mqtt5_bytes text;
    uint32_t hash;
};

/* One question. Levels are found as far as a walk asks for them. */
struct question {
    const struct m5_acl *acl;
    const struct m5_principal *who;
    uint8_t wanted; /* enum m5_acl_right */
    bool is_filter;
    bool has_more;           /* levels that were not looked at yet, in `rest` */
    uint32_t known;          /* levels that were */
    struct mqtt5_bytes rest; /* behind them */
    struct level levels[LEVELS_SIZE];
};

/* What the rules that matched say. */
struct tally {
    const struct m5_acl_rule *best; /* the heaviest, a denial first */
    uint8_t best_rights;            /* of all rules as heavy */
    bool best_denies;
    const struct m5_acl_rule *denial, *grant; /* the first of each that was met */
};

struct step {
    uint32_t node, depth;
    bool is_template; /* the node is to be compared with the level first */
};

static bool has_level(struct question *question, uint32_t depth)
{
    while (question->known <= depth && question->has_more) {
        M5_ASSERT(question->known < LEVELS_SIZE);
        struct level *level = &question->levels[question->known++];
        question->has_more = m5_take_level(&question->rest, &level->text);
        level->hash = m5_acl_hash(level->text);
    }
    return depth < question->known;
}

static void count_rules(const struct question *question, uint32_t node, struct tally *tally)
{
    const struct m5_acl *acl = question->acl;
    uint32_t next;
    for (uint32_t i = acl->nodes[node - 1].rule_head; i != 0; i = next) {
        const struct m5_acl_rule *rule = &acl->source.rules[i - 1];
        const bool denies = rule->rights == 0;
        const bool grants = (rule->rights & question->wanted) != 0;
        next = rule->next;
        if (denies)
            tally->denial = rule;
        if (grants)
            tally->grant = rule;
        if (tally->best == NULL || rule->weight > tally->best->weight) {
            tally->best = rule;
            tally->best_rights = rule->rights;
            tally->best_denies = denies;
        } else if (rule->weight == tally->best->weight) {
            const bool better = denies || (grants && (tally->best_rights & question->wanted) == 0);
            if (better && !tally->best_denies)
                tally->best = rule;
            tally->best_rights |= rule->rights;
            tally->best_denies |= denies;
        }
    }
}

/* ---- %u and %c ---- */

static bool is_safe(struct mqtt5_bytes value)
{
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] == '+' || value.data[i] == '#' || value.data[i] == '/')
            return false;
    }
    return value.len > 0;
}

/* Takes @p part off the front of @p level. */
static bool take(struct mqtt5_bytes *level, struct mqtt5_bytes part)
{
    if (level->len < part.len || memcmp(level->data, part.data, part.len) != 0)
        return false;
    *level = m5_bytes(level->data + part.len, level->len - part.len);
    return true;
}

static bool take_value(struct mqtt5_bytes *level, struct mqtt5_bytes value)
{
    return is_safe(value) && take(level, value);
}

bool m5_acl_level_matches(const struct m5_principal *who, struct mqtt5_bytes template,
                          struct mqtt5_bytes level)
{
    const struct mqtt5_bytes nobody = {0};
    for (size_t i = 0; i < template.len; i++) {
        const bool marks = template.data[i] == '%' && i + 1 < template.len;
        if (marks && template.data[i + 1] == 'u') {
            if (!take_value(&level, who->anonymous ? nobody : who->username))
                return false;
            i++;
        } else if (marks && template.data[i + 1] == 'c') {
            if (!take_value(&level, who->client_id))
                return false;
            i++;
        } else if (!take(&level, m5_bytes(template.data + i, 1))) {
            return false;
        }
    }
    return level.len == 0;
}

/* ---- the walk ---- */

static bool is_one(struct mqtt5_bytes level, char wanted)
{
    return level.len == 1 && level.data[0] == (uint8_t)wanted;
}

static bool is_hidden(const struct level *level, uint32_t depth)
{
    return depth == 0 && level->text.len > 0 && level->text.data[0] == '$';
}

static bool enters_template(const struct question *question, const struct step *step)
{
    const struct level *level = &question->levels[step->depth];
    const struct mqtt5_bytes template = question->acl->nodes[step->node - 1].level;
    if (is_hidden(level, step->depth) && template.data[0] != '$')
        return false;
    return m5_acl_level_matches(question->who, template, level->text);
}

/* "+/#" covers "#" too, and "/+/#" covers "/#": '#' stands for the level before it as well, but no
 * topic is empty. */
static void count_below_plus(const struct question *question, const struct m5_acl_node *node,
                             uint32_t depth, struct tally *tally)
{
    const bool no_parent = depth == 0 || (depth == 1 && question->levels[0].text.len == 0);
    if (!no_parent || node->plus == 0)
        return;
    const uint32_t hash = question->acl->nodes[node->plus - 1].hash;
    if (hash != 0)
        count_rules(question, hash, tally);
}

/* What is at @p step: counts rules that match, puts steps to take later on the stack; the literal
 * child to go on with, or 0. */
static uint32_t visit(struct question *question, struct step step, struct step *stack,
                      uint32_t *height, struct tally *tally)
{
    const struct m5_acl_node *node = &question->acl->nodes[step.node - 1];
    if (!has_level(question, step.depth)) {
        count_rules(question, step.node, tally);
        if (node->hash != 0) /* "a/#" matches "a" too */
            count_rules(question, node->hash, tally);
        return 0;
    }
    const struct level *level = &question->levels[step.depth];
    const bool hidden = is_hidden(level, step.depth); /* [MQTT-4.7.2-1] */
    if (node->hash != 0 && !hidden)
        count_rules(question, node->hash, tally);
    if (question->is_filter && is_one(level->text, '#')) {
        count_below_plus(question, node, step.depth, tally);
        return 0;
    }
    if (node->plus != 0 && !hidden)
        stack[(*height)++] = (struct step){.node = node->plus, .depth = step.depth + 1};
    if (question->is_filter && is_one(level->text, '+'))
        return 0;
    if (node->template_head != 0)
        stack[(*height)++] =
            (struct step){.node = node->template_head, .depth = step.depth, .is_template = true};
    return node->literals == 0
               ? 0
               : m5_acl_find_child(question->acl, step.node, level->text, level->hash);
}

static void walk(struct question *question, uint32_t root, struct tally *tally)
{
    struct step stack[STACK_SIZE];
    uint32_t height = 0;
    if (root != 0)
        stack[height++] = (struct step){.node = root};
    while (height > 0) {
        struct step step = stack[--height];
        if (step.is_template) {
            const uint32_t next = question->acl->nodes[step.node - 1].template_next;
            const bool enters = enters_template(question, &step);
            if (next != 0)
                stack[height++] =
                    (struct step){.node = next, .depth = step.depth, .is_template = true};
            if (!enters)
                continue;
            step = (struct step){.node = step.node, .depth = step.depth + 1};
        }
        while (step.node != 0) {
            M5_ASSERT(height + 2 <= STACK_SIZE);
            step.node = visit(question, step, stack, &height, tally);
            step.depth++;
        }
    }
}

/* ---- the order of decision ---- */

static const struct m5_acl_subject *find_user(const struct question *question)
{
    static const char anonymous[] = "anonymous";
    const struct m5_acl *acl = question->acl;
    if (!question->who->anonymous)
        return m5_acl_find_name(&acl->users, question->who->username);
    if (acl->source.format == M5_ACL_MOSQUITTO)
        return &acl->anonymous;
    return m5_acl_find_name(&acl->users, m5_bytes(anonymous, sizeof anonymous - 1));
}

/* True when one denial or grant decides. */
static bool any_decides(const struct tally *tally, struct m5_acl_verdict *verdict)
{
    const struct m5_acl_rule *rule = tally->denial != NULL ? tally->denial : tally->grant;
    if (rule == NULL)
        return false;
    *verdict = (struct m5_acl_verdict){.allowed = rule->rights != 0, .rule = rule};
    return true;
}

static bool best_grants(const struct question *question, const struct tally *tally)
{
    return !tally->best_denies && (tally->best_rights & question->wanted) != 0;
}

/* Roles that the file assigns, and those of the login. */
static void walk_roles(struct question *question, const struct m5_acl_subject *user,
                       struct tally *tally)
{
    for (uint32_t i = 0; user != NULL && i < user->role_count; i++)
        walk(question, user->roles[i], tally);
    const char *name = question->who->roles;
    for (; name != NULL && name[0] != 0; name += strlen(name) + 1) {
        const struct m5_acl_subject *role =
            m5_acl_find_name(&question->acl->roles, m5_bytes_of(name));
        if (role != NULL)
            walk(question, role->root, tally);
    }
}

static struct m5_acl_verdict decide_ours(struct question *question)
{
    struct m5_acl_verdict verdict = {0};
    const struct m5_acl_subject *user = find_user(question);
    if (user != NULL || question->who->roles != NULL) {
        struct tally own = {0}, roles = {0};
        if (user != NULL)
            walk(question, user->root, &own);
        if (own.best != NULL && (own.best_denies || best_grants(question, &own)))
            return (struct m5_acl_verdict){.allowed = !own.best_denies, .rule = own.best};
        walk_roles(question, user, &roles);
        if (any_decides(&roles, &verdict))
            return verdict;
    }
    struct tally everybody = {0};
    walk(question, question->acl->everybody.root, &everybody);
    if (everybody.best != NULL)
        verdict = (struct m5_acl_verdict){.allowed = best_grants(question, &everybody),
                                          .rule = everybody.best};
    return verdict;
}

static struct m5_acl_verdict decide_mosquitto(struct question *question)
{
    struct m5_acl_verdict verdict = {0};
    struct tally own = {0}, patterns = {0};
    const struct m5_acl_subject *user = find_user(question);
    if (user != NULL)
        walk(question, user->root, &own);
    if (any_decides(&own, &verdict))
        return verdict;
    walk(question, question->acl->patterns.root, &patterns);
    any_decides(&patterns, &verdict);
    return verdict;
}

static struct m5_acl_verdict decide(const struct m5_acl *acl, const struct m5_principal *who,
                                    struct mqtt5_bytes text, uint8_t wanted, bool is_filter)
{
    struct question question; /* its levels are written before they are read */
    question.acl = acl;
    question.who = who;
    question.wanted = wanted;
    question.is_filter = is_filter;
    question.has_more = true;
    question.known = 0;
    question.rest = text;
    return acl->source.format == M5_ACL_MOSQUITTO ? decide_mosquitto(&question)
                                                  : decide_ours(&question);
}

struct m5_acl_verdict m5_acl_may_write(const struct m5_acl *acl, const struct m5_principal *who,
                                       struct mqtt5_bytes topic)
{
    return decide(acl, who, topic, M5_ACL_WRITE, false);
}

struct m5_acl_verdict m5_acl_may_read(const struct m5_acl *acl, const struct m5_principal *who,
                                      struct mqtt5_bytes topic)
{
    return decide(acl, who, topic, M5_ACL_READ, false);
}

struct m5_acl_verdict m5_acl_may_subscribe(const struct m5_acl *acl, const struct m5_principal *who,
                                           struct mqtt5_bytes filter)
{
    return decide(acl, who, filter, M5_ACL_READ, true);
}
