/* Reads a document by the schema: unknown keys, wrong types and values are all told, with their
 * places, and the rest is read on.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/config/data.h"
#include "host/config/document.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define NAMES_MAX 128 /* keys of a section, with their other names */

struct reader {
    struct m5_config *config;
    struct m5_problems *problems;
    const char *folder;
    char path[M5_PROBLEM_PATH_SIZE]; /* of the key that is read */
};

/* Adds ".name" or "[3]" to the path and gives the length before, for leave(). */
static size_t enter(struct reader *reader, const char *name, size_t index)
{
    const size_t size = strlen(reader->path), room = sizeof reader->path - size;
    if (name != NULL)
        snprintf(reader->path + size, room, "%s%s", size > 0 ? "." : "", name);
    else
        snprintf(reader->path + size, room, "[%zu]", index);
    return size;
}

static void leave(struct reader *reader, size_t size)
{
    reader->path[size] = 0;
}

__attribute__((format(printf, 4, 5))) static bool refuse(struct reader *reader, const char *code,
                                                         struct m5_place place, const char *format,
                                                         ...)
{
    char text[M5_PROBLEM_TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return m5_problem_add(reader->problems, M5_PROBLEM_ERROR, code, place, reader->path, "%s",
                          text);
}

static const char *kind_name(enum m5_node_kind kind)
{
    switch (kind) {
    case M5_NODE_SCALAR: return "a single value";
    case M5_NODE_MAPPING: return "a section of keys";
    case M5_NODE_LIST: return "a list";
    }
    return "";
}

/* ---- unknown keys ---- */

/* All names of a section's keys, first names first; the list ends with NULL. */
static size_t list_names(const struct m5_section *section, const char *names[NAMES_MAX])
{
    size_t count = 0;
    for (const struct m5_key *key = section->keys; key->name != NULL; key++)
        if (key->type != M5_KEY_ABSENT && count + 1 < NAMES_MAX)
            names[count++] = key->name;
    names[count] = NULL;
    return count;
}

static void join(const char *const *names, char *out, size_t size)
{
    size_t used = 0;
    *out = 0;
    for (; *names != NULL && used < size; names++)
        used += (size_t)snprintf(out + used, size - used, "%s%s", used > 0 ? ", " : "", *names);
}

static void refuse_unknown(struct reader *reader, const struct m5_section *section,
                           const struct m5_node *entry)
{
    const char *names[NAMES_MAX];
    char list[384];
    const size_t count = list_names(section, names);
    const bool is_told = reader->problems->count < M5_PROBLEMS_MAX;
    const char *guess = is_told ? m5_value_suggest(entry->key, names) : NULL;
    if (guess != NULL) {
        refuse(reader, "unknown-key", entry->key_place, "there is no such key; did you mean %s?",
               guess);
    } else if (count <= 20) {
        join(names, list, sizeof list);
        refuse(reader, "unknown-key", entry->key_place, "there is no such key here; there are %s",
               list);
    } else {
        refuse(reader, "unknown-key", entry->key_place,
               "there is no such key; mqttv5 broker generate-config writes all that there are");
    }
}

/* ---- values ---- */

static bool read_section(struct reader *reader, const struct m5_section *section,
                         const struct m5_node *node, void *base);

static struct m5_setting setting_at(const struct reader *reader, struct m5_place place)
{
    return (struct m5_setting){.config = reader->config,
                               .problems = reader->problems,
                               .folder = reader->folder,
                               .place = place,
                               .path = reader->path};
}

static bool read_scalar(struct reader *reader, const struct m5_key *key, const struct m5_node *node,
                        void *base)
{
    struct m5_setting setting = setting_at(reader, node->place);
    setting.is_quoted = node->is_quoted;
    if (node->kind != M5_NODE_SCALAR)
        return refuse(reader, "wrong-type", node->place, "wants a single value, not %s",
                      kind_name(node->kind));
    return m5_key_set(&setting, key, base, node->text);
}

static bool too_many(struct reader *reader, const struct m5_key *key, const struct m5_node *node)
{
    if (key->most == 0 || node->child_count <= key->most)
        return false;
    refuse(reader, "too-many", node->place, "may have at most %llu entries, not %u",
           (unsigned long long)key->most, node->child_count);
    return true;
}

static bool read_text(struct reader *reader, const struct m5_key *key, const struct m5_node *node,
                      const char **out)
{
    if (node->kind != M5_NODE_SCALAR || node->is_null)
        return refuse(reader, "wrong-type", node->place, "wants texts in its list, not %s",
                      node->kind == M5_NODE_SCALAR ? "nothing" : kind_name(node->kind));
    const struct m5_setting setting = setting_at(reader, node->place);
    if (!m5_text_allowed(&setting, key, node->text))
        return false;
    *out = m5_config_keep(reader->config, node->text);
    return *out != NULL || m5_config_no_memory(reader->problems);
}

static void store_texts(const struct m5_key *key, void *base, const char *const *items,
                        size_t count, struct m5_place place)
{
    *(const char *const **)(void *)((char *)base + key->offset) = items;
    *(size_t *)(void *)((char *)base + key->count_offset) = count;
    if (key->place_offset > 0)
        *(struct m5_place *)(void *)((char *)base + key->place_offset) = place;
}

/* A list, or one text instead. */
static bool read_texts(struct reader *reader, const struct m5_key *key, const struct m5_node *node,
                       void *base)
{
    if (node->kind == M5_NODE_MAPPING)
        return refuse(reader, "wrong-type", node->place, "wants a list of texts: [one, two]");
    if (too_many(reader, key, node))
        return false;
    const struct m5_node *item = node->kind == M5_NODE_LIST ? node->children : node;
    const size_t count = node->kind == M5_NODE_LIST ? node->child_count : 1;
    const char **items =
        (const char **)m5_arena_alloc(&reader->config->arena, (count + 1) * sizeof *items);
    if (items == NULL)
        return m5_config_no_memory(reader->problems);
    bool ok = true;
    for (size_t i = 0; i < count; i++, item = item->next)
        ok = read_text(reader, key, item, &items[i]) && ok;
    if (ok)
        store_texts(key, base, items, count, node->place);
    return ok;
}

/* {Equals: device}, or Any. */
static bool read_pattern(struct reader *reader, const struct m5_key *key,
                         const struct m5_node *node, struct mqtt5_role_mapping *mapping)
{
    static const struct m5_choice patterns[] = {{"Equals", MQTT5_CLAIM_EQUALS},
                                                {"Contains", MQTT5_CLAIM_CONTAINS},
                                                {"StartsWith", MQTT5_CLAIM_STARTS_WITH},
                                                {"EndsWith", MQTT5_CLAIM_ENDS_WITH},
                                                {"Regex", MQTT5_CLAIM_REGEX},
                                                {NULL, 0}};
    if (node->kind == M5_NODE_SCALAR && strcasecmp(node->text, "any") == 0) {
        mapping->match = MQTT5_CLAIM_ANY;
        mapping->value = NULL;
        return true;
    }
    const struct m5_node *entry = node->kind == M5_NODE_MAPPING ? node->children : NULL;
    for (const struct m5_choice *choice = patterns; entry != NULL && choice->name != NULL; choice++)
        if (node->child_count == 1 && strcmp(entry->key, choice->name) == 0) {
            mapping->match = (enum mqtt5_claim_match)choice->value;
            return read_text(reader, key, entry, &mapping->value);
        }
    return refuse(reader, "wrong-type", node->place,
                  "must be {Equals: text}, {Contains: text}, {StartsWith: text}, {EndsWith: text}, "
                  "{Regex: text} or Any");
}

/* A new struct of @p section with its defaults; NULL with a problem. */
static void *new_struct(struct reader *reader, const struct m5_section *section, size_t count)
{
    char *items = (char *)m5_arena_alloc(&reader->config->arena, (count + 1) * section->size);
    if (items == NULL) {
        m5_config_no_memory(reader->problems);
        return NULL;
    }
    for (size_t i = 0; i < count; i++)
        m5_section_defaults(section, items + i * section->size, reader->problems);
    return items;
}

static bool read_inner(struct reader *reader, const struct m5_key *key, const struct m5_node *node,
                       void *base)
{
    void *inner = (char *)base + key->offset;
    if (node->kind != M5_NODE_MAPPING)
        return refuse(reader, "wrong-type", node->place, "wants a section of keys, not %s",
                      kind_name(node->kind));
    if (key->is_pointer) {
        void **pointer = (void **)inner;
        if (*pointer == NULL)
            *pointer = new_struct(reader, key->section, 1);
        inner = *pointer;
    }
    return inner != NULL && read_section(reader, key->section, node, inner);
}

static bool read_list(struct reader *reader, const struct m5_key *key, const struct m5_node *node,
                      void *base)
{
    if (node->kind != M5_NODE_LIST)
        return refuse(reader, "wrong-type", node->place,
                      "wants a list: lines that begin with \"- \", not %s", kind_name(node->kind));
    if (too_many(reader, key, node))
        return false;
    char *items = (char *)new_struct(reader, key->section, node->child_count);
    if (items == NULL)
        return false;
    bool ok = true;
    size_t index = 0;
    for (const struct m5_node *item = node->children; item != NULL; item = item->next, index++) {
        const size_t size = enter(reader, NULL, index);
        if (item->kind == M5_NODE_MAPPING)
            ok = read_section(reader, key->section, item, items + index * key->section->size) && ok;
        else
            ok = refuse(reader, "wrong-type", item->place, "wants a section of keys, not %s",
                        kind_name(item->kind));
        leave(reader, size);
    }
    *(void **)(void *)((char *)base + key->offset) = items;
    *(size_t *)(void *)((char *)base + key->count_offset) = node->child_count;
    return ok;
}

static bool read_absent(struct reader *reader, const struct m5_key *key, const struct m5_node *node)
{
    const bool says_nothing = node->kind != M5_NODE_SCALAR && node->child_count == 0;
    if (says_nothing)
        return true;
    m5_problem_add(reader->problems, key->is_harmless ? M5_PROBLEM_WARNING : M5_PROBLEM_ERROR,
                   "not-here", node->key_place, reader->path, "%s", key->help);
    return key->is_harmless;
}

static bool read_value(struct reader *reader, const struct m5_key *key, const struct m5_node *node,
                       void *base)
{
    if (node->kind == M5_NODE_SCALAR && node->is_null)
        return true; /* the default */
    switch (key->type) {
    case M5_KEY_TEXTS: return read_texts(reader, key, node, base);
    case M5_KEY_PATTERN: return read_pattern(reader, key, node, (struct mqtt5_role_mapping *)base);
    case M5_KEY_SECTION: return read_inner(reader, key, node, base);
    case M5_KEY_LIST: return read_list(reader, key, node, base);
    case M5_KEY_ABSENT: return read_absent(reader, key, node);
    default: return read_scalar(reader, key, node, base);
    }
}

/* A key by two of its names is a duplicate as well. */
static bool is_repeated(struct reader *reader, const struct m5_key *key, const struct m5_node *node,
                        const struct m5_node *entry)
{
    const struct m5_node *before = node->children;
    while (before != entry && !m5_key_is_named(key, before->key))
        before = before->next;
    if (before == entry)
        return false;
    refuse(reader, "duplicate-key", entry->key_place,
           "is another name of %s, which stands in line %u", before->key, before->key_place.line);
    return true;
}

static bool read_section(struct reader *reader, const struct m5_section *section,
                         const struct m5_node *node, void *base)
{
    bool ok = true;
    if (section->has_place)
        *(struct m5_place *)base = node->place;
    for (const struct m5_node *entry = node->children; entry != NULL; entry = entry->next) {
        const struct m5_key *key = m5_section_find(section, entry->key);
        const size_t size = enter(reader, entry->key, 0);
        if (key == NULL) {
            refuse_unknown(reader, section, entry);
            ok = false;
        } else if (is_repeated(reader, key, node, entry)) {
            ok = false;
        } else {
            ok = read_value(reader, key, entry, base) && ok;
        }
        leave(reader, size);
    }
    return ok;
}

/* ---- files ---- */

bool m5_config_read_text(struct m5_config *config, const char *file, const char *folder,
                         struct mqtt5_bytes text, struct m5_problems *problems)
{
    const uint32_t errors = problems->errors;
    struct reader reader = {.config = config, .problems = problems};
    const char *name = m5_config_keep(config, file);
    reader.folder = folder == NULL ? NULL : m5_config_keep(config, folder);
    if (name == NULL || (folder != NULL && reader.folder == NULL))
        return m5_config_no_memory(problems);
    struct m5_arena arena;
    m5_arena_init(&arena, config->allocator);
    const struct m5_node *root = m5_document_read(&arena, name, text, problems);
    if (root != NULL)
        read_section(&reader, &m5_schema_root, root, config);
    m5_arena_fini(&arena);
    return problems->errors == errors;
}

bool m5_config_read_bytes(const char *path, struct m5_config_bytes *out, char why[256])
{
    struct stat info;
    *out = (struct m5_config_bytes){.data = NULL};
    FILE *file = fopen(path, "re");
    if (file == NULL || fstat(fileno(file), &info) != 0) {
        snprintf(why, 256, "%s", strerror(errno));
    } else if (S_ISDIR(info.st_mode)) {
        snprintf(why, 256, "it is a folder");
    } else {
        out->data = (char *)malloc(M5_CONFIG_FILE_MAX + 1);
        if (out->data == NULL)
            snprintf(why, 256, "out of memory");
        else
            out->size = fread(out->data, 1, M5_CONFIG_FILE_MAX + 1, file);
        if (out->data != NULL && ferror(file))
            snprintf(why, 256, "%s", strerror(errno));
        else if (out->size > M5_CONFIG_FILE_MAX)
            snprintf(why, 256, "it is larger than 1 MiB");
        else if (out->data != NULL)
            why[0] = 0;
    }
    if (file != NULL)
        fclose(file);
    if (why[0] == 0)
        return true;
    free(out->data);
    out->data = NULL;
    return false;
}

/* "" for a file in the current folder. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == path)
        return strdup("/");
    return slash == NULL ? strdup("") : strndup(path, (size_t)(slash - path));
}

bool m5_config_read_file(struct m5_config *config, const char *path, struct m5_problems *problems)
{
    struct m5_config_bytes bytes;
    char why[256] = "";
    config->file = m5_config_keep(config, path);
    if (config->file == NULL)
        return m5_config_no_memory(problems);
    config->read[config->read_count++] = config->file;
    if (!m5_config_read_bytes(path, &bytes, why))
        return m5_problem_add(problems, M5_PROBLEM_ERROR, "no-file",
                              (struct m5_place){.file = path}, NULL, "cannot be read: %s", why);
    char *folder = folder_of(path);
    const bool ok =
        folder != NULL
            ? m5_config_read_text(config, path, folder,
                                  (struct mqtt5_bytes){(const uint8_t *)bytes.data, bytes.size},
                                  problems)
            : m5_config_no_memory(problems);
    free(folder);
    free(bytes.data);
    return ok;
}

/* ---- flags and variables ---- */

/* Where the key of a flag lies. */
struct target {
    const struct m5_key *key;
    void *base;
};

/* Finds the key of @p flag; sections on the way are made. Three levels, as the tables have. */
static struct target find_flag(struct reader *reader, const struct m5_section *section, void *base,
                               const char *flag, bool make)
{
    struct target none = {NULL, NULL};
    for (const struct m5_key *key = section->keys; key->name != NULL; key++) {
        if (!key->has_flags && key->flag != NULL && strcmp(key->flag, flag) == 0)
            return (struct target){key, base};
        if (!key->has_flags)
            continue;
        void *inner = make ? (char *)base + key->offset : NULL;
        const bool is_there = find_flag(reader, key->section, NULL, flag, false).key != NULL;
        if (!is_there)
            continue;
        if (make && key->is_pointer) {
            void **pointer = (void **)inner;
            if (*pointer == NULL)
                *pointer = new_struct(reader, key->section, 1);
            if (*pointer == NULL)
                return none;
            inner = *pointer;
        }
        return find_flag(reader, key->section, inner, flag, make);
    }
    return none;
}

/* Splits a variable's list at its commas; the parts are kept. */
static const char **split(struct m5_config *config, const char *text, size_t *count)
{
    char *rest = m5_arena_text(&config->arena, text, strlen(text));
    *count = 1;
    for (const char *comma = strchr(text, ','); comma != NULL; comma = strchr(comma + 1, ','))
        ++*count;
    const char **items =
        (const char **)m5_arena_alloc(&config->arena, (*count + 1) * sizeof *items);
    if (rest == NULL || items == NULL)
        return NULL;
    for (size_t i = 0; i < *count; i++)
        items[i] = strsep(&rest, ",");
    return items;
}

static bool set_list(struct reader *reader, const struct target *target, const char *const *texts,
                     size_t count, struct m5_place place)
{
    const struct m5_key *key = target->key;
    const char **items;
    if (count == 1 && strchr(texts[0], ',') != NULL) {
        items = split(reader->config, texts[0], &count);
    } else {
        items = (const char **)m5_arena_alloc(&reader->config->arena, (count + 1) * sizeof *items);
        for (size_t i = 0; items != NULL && i < count; i++)
            items[i] = m5_config_keep(reader->config, texts[i]);
    }
    if (items == NULL)
        return m5_config_no_memory(reader->problems);
    if (key->most > 0 && count > key->most)
        return refuse(reader, "too-many", place, "at most %llu can be given",
                      (unsigned long long)key->most);
    const struct m5_setting setting = setting_at(reader, place);
    bool ok = true;
    for (size_t i = 0; i < count; i++)
        ok = m5_text_allowed(&setting, key, items[i]) && ok;
    store_texts(key, target->base, items, count, place);
    return ok;
}

/* True and false the other way round: --no-retain is retain_available: false. */
static const char *invert(const char *text)
{
    bool value;
    return m5_value_bool(text, &value) ? (value ? "false" : "true") : text;
}

bool m5_config_set_at(struct m5_config *config, const char *flag, const char *const *texts,
                      size_t count, struct m5_place place, const char *path,
                      struct m5_problems *problems)
{
    struct reader reader = {.config = config, .problems = problems};
    const struct target target = find_flag(&reader, &m5_schema_root, config, flag, true);
    if (target.key == NULL)
        return m5_config_no_memory(problems);
    snprintf(reader.path, sizeof reader.path, "%s", path == NULL ? "" : path);
    if (target.key->type == M5_KEY_TEXTS)
        return set_list(&reader, &target, texts, count, place);
    const struct m5_setting setting = setting_at(&reader, place);
    const char *text = texts[count - 1];
    return m5_key_set(&setting, target.key, target.base,
                      target.key->is_inverted ? invert(text) : text);
}

bool m5_config_set(struct m5_config *config, const char *flag, const char *const *texts,
                   size_t count, const char *label, struct m5_problems *problems)
{
    const struct m5_place place = {.file = m5_config_keep(config, label)};
    if (place.file == NULL)
        return m5_config_no_memory(problems);
    return m5_config_set_at(config, flag, texts, count, place, NULL, problems);
}
