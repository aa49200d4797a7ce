/* Reads access control lists: our format and Mosquitto's, into one array of rules.
 *
 * A file with a line that makes no sense is refused as a whole: rules are a fence, and a fence with
 * one board missing is open.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/acl/acl.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/bytes.h"

#include <mqtt5/topic.h>

#include <string.h>

#define WORDS_MAX 7 /* one more than any line has */

static const struct {
    const char *word;
    uint8_t rights;
} right_words[] = {
    {"read", M5_ACL_READ},
    {"subscribe", M5_ACL_READ},
    {"write", M5_ACL_WRITE},
    {"publish", M5_ACL_WRITE},
    {"readwrite", M5_ACL_BOTH},
    {"rw", M5_ACL_BOTH},
    {"all", M5_ACL_BOTH},
    {"deny", 0},
    {"none", 0},
};

/* A file being read. */
struct reader {
    struct m5_acl_source *out;
    struct m5_text_error *error;
    struct m5_text_lines lines;
    struct m5_text_word words[WORDS_MAX];
    size_t word_count;
    bool user_seen;          /* Mosquitto: a line `user` came before */
    struct mqtt5_bytes user; /* that it named */
};

bool m5_acl_rights_of(struct mqtt5_bytes word, uint8_t *rights)
{
    for (size_t i = 0; i < M5_COUNT_OF(right_words); i++) {
        if (m5_text_equals(word, right_words[i].word)) {
            *rights = right_words[i].rights;
            return true;
        }
    }
    return false;
}

static const char *pattern_advice(enum mqtt5_error error)
{
    switch (error) {
    case MQTT5_ERR_FILTER_WILDCARD: return "'+' stands alone between slashes, '#' alone at the end";
    case MQTT5_ERR_FILTER_LEVELS: return "it has more than 128 levels";
    case MQTT5_ERR_FILTER_EMPTY: return "it is empty";
    case MQTT5_ERR_SHARE_NAME: return "rules take topics; leave out $share and its name";
    default: return mqtt5_error_text(error);
    }
}

bool m5_acl_pattern_check(struct mqtt5_bytes pattern, struct m5_text_error *error)
{
    struct mqtt5_filter filter;
    enum mqtt5_error wrong = mqtt5_filter_parse(pattern, M5_ACL_LEVELS_MAX, &filter);
    if (wrong == MQTT5_OK && filter.share_name.len > 0)
        wrong = MQTT5_ERR_SHARE_NAME;
    if (wrong == MQTT5_OK)
        return true;
    return m5_text_fail(error, 0, 0, "\"%.*s\" is no topic pattern: %s",
                        pattern.len < 80 ? (int)pattern.len : 80, (const char *)pattern.data,
                        pattern_advice(wrong));
}

/* An error at @p word of the current line. */
#define FAIL_AT(reader, word, ...) \
    m5_text_fail((reader)->error, (reader)->lines.number, (word)->column, __VA_ARGS__)

/* "%.*s" of a word, cut so that the sentence around it fits. */
#define SHOWN(bytes) ((bytes).len < 80 ? (int)(bytes).len : 80), (const char *)(bytes).data

static bool no_memory(struct reader *reader)
{
    return m5_text_fail(reader->error, 0, 0, "out of memory");
}

static int32_t weight_of(struct mqtt5_bytes pattern)
{
    int32_t weight = 50 + (int32_t)pattern.len;
    for (size_t i = 0; i < pattern.len; i++)
        weight -= pattern.data[i] == '+' || pattern.data[i] == '#' ? 10 : 0;
    return weight;
}

static bool add_rule(struct reader *reader, struct m5_acl_rule rule,
                     const struct m5_text_word *pattern)
{
    struct m5_acl_source *out = reader->out;
    if (!m5_acl_pattern_check(pattern->text, reader->error)) {
        reader->error->line = reader->lines.number;
        reader->error->column = pattern->column;
        return false;
    }
    if (out->rule_count == M5_ACL_RULES_MAX)
        return m5_text_fail(reader->error, reader->lines.number, 1,
                            "more than %u rules; use roles, %%u or wildcards", M5_ACL_RULES_MAX);
    struct m5_acl_rule *rules = m5_make_room(out->allocator, out->rules, sizeof *rules,
                                             out->rule_count, &out->rule_capacity, 16);
    if (rules == NULL)
        return no_memory(reader);
    rule.line = reader->lines.number;
    rule.pattern = pattern->text;
    rule.weight = weight_of(rule.pattern);
    out->rules = rules;
    out->rules[out->rule_count++] = rule;
    return true;
}

/* ---- our format ---- */

static bool check_count(struct reader *reader, size_t wanted, const char *form)
{
    if (reader->word_count == wanted)
        return true;
    const struct m5_text_word *where = &reader->words[0];
    if (reader->word_count > wanted)
        where = &reader->words[wanted];
    return FAIL_AT(reader, where, "the line has %zu words, it should be: %s", reader->word_count,
                   form);
}

static bool check_keyword(struct reader *reader, size_t at, const char *wanted)
{
    const struct m5_text_word *word = &reader->words[at];
    if (m5_text_equals(word->text, wanted))
        return true;
    return FAIL_AT(reader, word, "\"%.*s\" stands where \"%s\" should", SHOWN(word->text), wanted);
}

/* user NAME topic PATTERN permission PERMISSION, and the same with `role`. */
static bool read_rule(struct reader *reader, enum m5_acl_kind kind)
{
    if (!check_count(reader, 6,
                     kind == M5_ACL_USER ? "user NAME topic PATTERN permission PERMISSION"
                                         : "role NAME topic PATTERN permission PERMISSION") ||
        !check_keyword(reader, 2, "topic") || !check_keyword(reader, 4, "permission"))
        return false;
    struct m5_acl_rule rule = {.kind = kind, .subject = reader->words[1].text};
    if (kind == M5_ACL_USER && m5_text_equals(rule.subject, "*")) {
        rule.kind = M5_ACL_EVERYBODY;
        rule.subject.len = 0;
    }
    if (!m5_acl_rights_of(reader->words[5].text, &rule.rights))
        return FAIL_AT(reader, &reader->words[5],
                       "\"%.*s\" is no permission; write read, write, readwrite or deny",
                       SHOWN(reader->words[5].text));
    return add_rule(reader, rule, &reader->words[3]);
}

/* assign USER ROLE */
static bool read_assignment(struct reader *reader)
{
    struct m5_acl_source *out = reader->out;
    if (!check_count(reader, 3, "assign USER ROLE"))
        return false;
    if (m5_text_equals(reader->words[1].text, "*"))
        return FAIL_AT(reader, &reader->words[1],
                       "a role is assigned to one user; for everybody write user * rules");
    if (out->assignment_count == M5_ACL_ASSIGNMENTS_MAX)
        return m5_text_fail(reader->error, reader->lines.number, 1,
                            "more than %u assignments; use user * rules", M5_ACL_ASSIGNMENTS_MAX);
    struct m5_acl_assignment *room =
        m5_make_room(out->allocator, out->assignments, sizeof *room, out->assignment_count,
                     &out->assignment_capacity, 16);
    if (room == NULL)
        return no_memory(reader);
    out->assignments = room;
    out->assignments[out->assignment_count++] = (struct m5_acl_assignment){
        .user = reader->words[1].text, .role = reader->words[2].text, .line = reader->lines.number};
    return true;
}

static bool read_our_line(struct reader *reader)
{
    const struct m5_text_word *first = &reader->words[0];
    reader->word_count = m5_text_split(reader->lines.line, reader->words, WORDS_MAX);
    if (m5_text_equals(first->text, "user"))
        return read_rule(reader, M5_ACL_USER);
    if (m5_text_equals(first->text, "role"))
        return read_rule(reader, M5_ACL_ROLE);
    if (m5_text_equals(first->text, "assign"))
        return read_assignment(reader);
    return FAIL_AT(reader, first, "\"%.*s\" begins no rule; write user, role or assign",
                   SHOWN(first->text));
}

/* ---- Mosquitto's format ---- */

/* What stands behind the first word of @p line, without blanks around it. */
static struct m5_text_word rest_of(struct mqtt5_bytes line, const struct m5_text_word *first)
{
    size_t at = first->column - 1 + first->text.len;
    while (at < line.len && (line.data[at] == ' ' || line.data[at] == '\t'))
        at++;
    size_t end = line.len;
    while (end > at && (line.data[end - 1] == ' ' || line.data[end - 1] == '\t'))
        end--;
    return (struct m5_text_word){.text = m5_bytes(line.data + at, end - at),
                                 .column = (uint32_t)at + 1};
}

/* topic [read|write|readwrite|deny] TOPIC, and the same with `pattern`; the topic may hold blanks
 * when a permission stands before it. */
static bool read_topic(struct reader *reader, struct m5_text_word rest, bool is_pattern)
{
    struct m5_acl_rule rule = {.rights = M5_ACL_BOTH, .subject = m5_bytes(rest.text.data, 0)};
    const struct m5_text_word *second = &reader->words[1];
    if (reader->word_count < 2)
        return FAIL_AT(reader, &reader->words[0], "the topic is missing; write: topic read TOPIC");
    if (reader->word_count > 2) {
        if (!m5_acl_rights_of(second->text, &rule.rights))
            return FAIL_AT(reader, second,
                           "\"%.*s\" is no permission; write read, write, readwrite or deny",
                           SHOWN(second->text));
        rest = rest_of(reader->lines.line, second);
    }
    if (is_pattern) {
        rule.kind = M5_ACL_PATTERN;
    } else if (reader->user_seen) {
        rule.kind = M5_ACL_USER;
        rule.subject = reader->user;
    } else {
        rule.kind = M5_ACL_ANONYMOUS;
    }
    return add_rule(reader, rule, &rest);
}

static bool read_mosquitto_line(struct reader *reader)
{
    const struct m5_text_word *first = &reader->words[0];
    reader->word_count = m5_text_split(reader->lines.line, reader->words, WORDS_MAX);
    const struct m5_text_word rest = rest_of(reader->lines.line, first);
    if (m5_text_equals(first->text, "topic"))
        return read_topic(reader, rest, false);
    if (m5_text_equals(first->text, "pattern"))
        return read_topic(reader, rest, true);
    if (!m5_text_equals(first->text, "user"))
        return FAIL_AT(reader, first, "\"%.*s\" begins no rule; write user, topic or pattern",
                       SHOWN(first->text));
    if (rest.text.len == 0)
        return FAIL_AT(reader, first, "the user's name is missing; write: user NAME");
    reader->user_seen = true;
    reader->user = rest.text;
    return true;
}

/* ---- both ---- */

/* Told by the first line that says something: Mosquitto's `user` line names a user and no more. */
static enum m5_acl_format detect(struct mqtt5_bytes text)
{
    struct m5_text_lines lines = {.rest = text};
    struct m5_text_word words[5] = {0};
    while (m5_text_next_line(&lines)) {
        if (m5_text_is_comment(lines.line))
            continue;
        const size_t count = m5_text_split(lines.line, words, 5);
        if (m5_text_equals(words[0].text, "topic") || m5_text_equals(words[0].text, "pattern"))
            return M5_ACL_MOSQUITTO;
        const bool is_rule =
            m5_text_equals(words[2].text, "topic") || m5_text_equals(words[4].text, "permission");
        return m5_text_equals(words[0].text, "user") && count > 1 && !is_rule ? M5_ACL_MOSQUITTO
                                                                              : M5_ACL_OURS;
    }
    return M5_ACL_OURS;
}

static bool read_lines(struct reader *reader)
{
    const bool ours = reader->out->format == M5_ACL_OURS;
    while (m5_text_next_line(&reader->lines)) {
        if (!m5_text_check_line(&reader->lines, reader->error))
            return false;
        if (m5_text_is_comment(reader->lines.line))
            continue;
        if (!(ours ? read_our_line(reader) : read_mosquitto_line(reader)))
            return false;
    }
    return true;
}

bool m5_acl_parse(const struct mqtt5_allocator *allocator, struct mqtt5_bytes text,
                  enum m5_acl_format format, struct m5_acl_source *out, struct m5_text_error *error)
{
    *out = (struct m5_acl_source){
        .allocator = allocator,
        .format = format == M5_ACL_DETECT ? detect(text) : format,
    };
    struct reader reader = {.out = out, .error = error};
    if (text.len > M5_TEXT_FILE_MAX)
        return m5_text_fail(error, 0, 0, "is larger than %u MiB", M5_TEXT_FILE_MAX >> 20);
    if (text.len == 0)
        return true;
    out->text = m5_alloc(allocator, text.len);
    if (out->text == NULL)
        return no_memory(&reader);
    out->text_size = text.len;
    m5_copy(out->text, text);
    reader.lines.rest = m5_bytes(out->text, out->text_size);
    return read_lines(&reader);
}

void m5_acl_source_fini(struct m5_acl_source *source)
{
    const struct mqtt5_allocator *allocator = source->allocator;
    if (allocator == NULL)
        return;
    m5_free(allocator, source->text, source->text_size);
    m5_free(allocator, source->rules, source->rule_capacity * sizeof *source->rules);
    m5_free(allocator, source->assignments,
            source->assignment_capacity * sizeof *source->assignments);
    *source = (struct m5_acl_source){0};
}
