/* What changed from one configuration to another, key by key.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/config/data.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* One field and its value as text. */
struct line {
    const struct m5_key *key;
    char *path, *text; /* text NULL: not set */
};

struct dump {
    const struct m5_config *config;
    struct line *lines;
    size_t count, capacity;
    bool failed;
};

/* ---- texts of values ---- */

static uint64_t number_at(const struct m5_key *key, const void *field)
{
    switch (key->width) {
    case 1: return *(const uint8_t *)field;
    case 2: return *(const uint16_t *)field;
    case 4: return *(const uint32_t *)field;
    default: return *(const uint64_t *)field;
    }
}

static char *number_text(const struct m5_key *key, const void *field)
{
    char text[M5_VALUE_TEXT_SIZE];
    const uint64_t number = number_at(key, field);
    if (key->type == M5_KEY_MODE)
        snprintf(text, sizeof text, "0%" PRIo64, number);
    else if (key->is_endless && number == key->most)
        snprintf(text, sizeof text, "never");
    else
        m5_value_write(number, m5_key_unit(key->type), text);
    return strdup(text);
}

static char *choice_text(const struct m5_key *key, const void *field)
{
    for (const struct m5_choice *choice = key->choices; choice->name != NULL; choice++)
        if (choice->value == *(const int *)field)
            return strdup(choice->name);
    return NULL;
}

static char *texts_text(const struct m5_key *key, const void *base)
{
    const char *const *items =
        *(const char *const *const *)(const void *)((const char *)base + key->offset);
    const size_t count = *(const size_t *)(const void *)((const char *)base + key->count_offset);
    size_t size = 3, used = 1;
    if (count == 0)
        return NULL;
    for (size_t i = 0; i < count; i++)
        size += strlen(items[i]) + 2;
    char *out = (char *)malloc(size);
    if (out == NULL)
        return NULL;
    out[0] = '[';
    for (size_t i = 0; i < count; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%s", i > 0 ? ", " : "", items[i]);
    snprintf(out + used, size - used, "]");
    return out;
}

static char *text_of(const struct m5_key *key, const void *base)
{
    const void *field = (const char *)base + key->offset;
    const char *text;
    switch (key->type) {
    case M5_KEY_BOOL: return strdup(*(const bool *)field ? "true" : "false");
    case M5_KEY_SWITCH:
        if (*(const enum m5_switch *)field == M5_SWITCH_UNSET)
            return NULL;
        return strdup(*(const enum m5_switch *)field == M5_SWITCH_ON ? "true" : "false");
    case M5_KEY_CHOICE: return choice_text(key, field);
    case M5_KEY_TEXT:
    case M5_KEY_SECRET:
    case M5_KEY_PATH: text = *(const char *const *)field; return text == NULL ? NULL : strdup(text);
    case M5_KEY_TEXTS: return texts_text(key, base);
    default: return number_text(key, field);
    }
}

/* ---- listeners by their names ---- */

/* The name of an entry of `listeners`, else where it listens. */
static const char *listener_name(const struct m5_config_listener *listener)
{
    if (listener->listener.name != NULL)
        return listener->listener.name;
    if (listener->bind != NULL)
        return listener->bind;
    return listener->listener.path != NULL ? listener->listener.path : "";
}

static const struct m5_config_listener *find_listener(const struct m5_config *config,
                                                      const char *name)
{
    for (size_t i = 0; i < config->listener_count; i++)
        if (strcmp(listener_name(&config->listeners[i]), name) == 0)
            return &config->listeners[i];
    return NULL;
}

/* "listeners[0].x" as "listeners[name].x". */
static char *named_path(const struct m5_config *config, const char *path)
{
    char *end;
    if (strncmp(path, "listeners[", 10) != 0)
        return strdup(path);
    const size_t index = strtoul(path + 10, &end, 10);
    const char *name =
        index < config->listener_count ? listener_name(&config->listeners[index]) : "";
    const size_t size = strlen(path) + strlen(name) + 1;
    char *out = (char *)malloc(size);
    if (out != NULL)
        snprintf(out, size, "listeners[%s%s", name, end);
    return out;
}

/* ---- comparing ---- */

static void add_line(void *ctx, const char *path, const struct m5_key *key, const void *base)
{
    struct dump *dump = (struct dump *)ctx;
    if (dump->count == dump->capacity) {
        const size_t capacity = dump->capacity == 0 ? 256 : dump->capacity * 2;
        struct line *lines = (struct line *)realloc(dump->lines, capacity * sizeof *lines);
        if (lines == NULL) {
            dump->failed = true;
            return;
        }
        dump->lines = lines;
        dump->capacity = capacity;
    }
    struct line *line = &dump->lines[dump->count];
    *line = (struct line){.key = key, .path = named_path(dump->config, path)};
    if (line->path == NULL) {
        dump->failed = true;
        return;
    }
    line->text = text_of(key, base);
    dump->count++;
}

static void dump_fini(struct dump *dump)
{
    for (size_t i = 0; i < dump->count; i++) {
        free(dump->lines[i].path);
        free(dump->lines[i].text);
    }
    free(dump->lines);
}

/* The line with this path: as a rule right behind the one that was found last. */
static const struct line *find_line(const struct dump *dump, const char *path, size_t *hint)
{
    for (size_t i = 0; i < dump->count; i++) {
        const size_t at = (*hint + i) % dump->count;
        if (strcmp(dump->lines[at].path, path) == 0) {
            *hint = at + 1;
            return &dump->lines[at];
        }
    }
    return NULL;
}

struct report {
    m5_config_change_fn *each;
    void *ctx;
    size_t count;
};

static const char *shown(const struct m5_key *key, const char *text)
{
    return text != NULL && key->type == M5_KEY_SECRET ? "..." : text;
}

static void tell(struct report *report, const struct m5_config_change *change)
{
    report->count++;
    report->each(report->ctx, change);
}

static void tell_line(struct report *report, const struct line *line, const char *from,
                      const char *to)
{
    if (from == to || (from != NULL && to != NULL && strcmp(from, to) == 0))
        return;
    const struct m5_config_change change = {.kind = M5_CHANGE_SET,
                                            .reloadable = !line->key->needs_restart,
                                            .path = line->path,
                                            .from = shown(line->key, from),
                                            .to = shown(line->key, to)};
    tell(report, &change);
}

static void tell_listeners(struct report *report, const struct m5_config *here,
                           const struct m5_config *there, bool added)
{
    for (size_t i = 0; i < here->listener_count; i++) {
        const char *name = listener_name(&here->listeners[i]);
        char path[M5_PROBLEM_PATH_SIZE];
        if (find_listener(there, name) != NULL)
            continue;
        snprintf(path, sizeof path, "listeners[%s]", name);
        const struct m5_config_change change = {
            .kind = added ? M5_CHANGE_ADDED : M5_CHANGE_REMOVED, .reloadable = true, .path = path};
        tell(report, &change);
    }
}

/* Fields of a listener that is there only once are told with the listener as a whole. */
static bool is_of_lone_listener(const struct m5_config *other, const char *path)
{
    if (strncmp(path, "listeners[", 10) != 0)
        return false;
    for (size_t i = 0; i < other->listener_count; i++) {
        const char *name = listener_name(&other->listeners[i]);
        const size_t size = strlen(name);
        if (strncmp(path + 10, name, size) == 0 && path[10 + size] == ']')
            return false;
    }
    return true;
}

static void compare(struct report *report, const struct dump *before, const struct dump *after)
{
    size_t hint = 0;
    for (size_t i = 0; i < before->count; i++) {
        const struct line *line = &before->lines[i];
        if (is_of_lone_listener(after->config, line->path))
            continue;
        const struct line *other = find_line(after, line->path, &hint);
        tell_line(report, line, line->text, other == NULL ? NULL : other->text);
    }
    hint = 0;
    for (size_t i = 0; i < after->count; i++) {
        const struct line *line = &after->lines[i];
        if (!is_of_lone_listener(before->config, line->path) &&
            find_line(before, line->path, &hint) == NULL)
            tell_line(report, line, NULL, line->text);
    }
}

size_t m5_config_diff(const struct m5_config *before, const struct m5_config *after,
                      m5_config_change_fn *each, void *ctx)
{
    struct report report = {.each = each, .ctx = ctx};
    struct dump a = {.config = before}, b = {.config = after};
    m5_config_walk(before, add_line, &a);
    m5_config_walk(after, add_line, &b);
    tell_listeners(&report, before, after, false);
    tell_listeners(&report, after, before, true);
    if (!a.failed && !b.failed && b.count > 0)
        compare(&report, &a, &b);
    dump_fini(&a);
    dump_fini(&b);
    return report.count;
}
