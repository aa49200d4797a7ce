/* Writes configurations: all keys with their defaults, for a start; and the schema itself.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/config/config.h"
#include "host/config/schema.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#define WIDTH        98
#define SECTIONS_MAX 32 /* distinct tables of keys */

/* ---- words about a key ---- */

static void write_bound(const struct m5_key *key, uint64_t bound, char out[M5_VALUE_TEXT_SIZE])
{
    if (key->is_endless && bound == key->most)
        snprintf(out, M5_VALUE_TEXT_SIZE, "never");
    else
        m5_value_write(bound, m5_key_unit(key->type), out);
}

static bool is_number(enum m5_key_type type)
{
    return type == M5_KEY_INTEGER || type == M5_KEY_SECONDS || type == M5_KEY_MILLISECONDS ||
           type == M5_KEY_SIZE;
}

/* "0 to 2; " or "a, b or c; ": what may stand there. */
static void put_range(const struct m5_key *key, char *out, size_t size)
{
    char least[M5_VALUE_TEXT_SIZE], most[M5_VALUE_TEXT_SIZE];
    size_t used = 0;
    *out = 0;
    if (is_number(key->type)) {
        write_bound(key, key->least, least);
        write_bound(key, key->most, most);
        if (key->most == UINT64_MAX)
            snprintf(out, size, "%s or more", least);
        else
            snprintf(out, size, "%s to %s", least, most);
    }
    int seen = -1;
    for (const struct m5_choice *choice = key->choices; choice != NULL && choice->name != NULL;
         choice++) {
        if (choice->value <= seen)
            break; /* other names of what was said */
        seen = choice->value;
        if (used < size)
            used += (size_t)snprintf(out + used, size - used, "%s%s", used > 0 ? ", " : "",
                                     choice->name);
    }
}

static const char *variable_of(const struct m5_key *key, char out[64])
{
    if (key->env != NULL)
        return key->env;
    const int size = snprintf(out, 64, "MQTT5_%s", key->flag);
    for (int i = 0; i < size && i < 63; i++)
        out[i] = out[i] == '-' ? '_' : (char)toupper((unsigned char)out[i]);
    return out;
}

/* ---- YAML ---- */

struct yaml {
    FILE *out;
    unsigned depth;
    bool is_off;  /* lines of keys are comments */
    bool is_item; /* the next key begins an entry of a list */
    bool flags;   /* keys here are flags, too */
};

static void put_indent(const struct yaml *yaml)
{
    for (unsigned i = 0; i < yaml->depth; i++)
        fputs("  ", yaml->out);
}

/* Explanations, in lines of at most WIDTH. */
static void put_prose(const struct yaml *yaml, const char *text)
{
    const size_t room = WIDTH - 3 - (size_t)yaml->depth * 2;
    while (*text != 0) {
        size_t size = strlen(text);
        if (size > room) {
            size = room;
            while (size > 0 && text[size] != ' ')
                size--;
        }
        fputs("##", yaml->out);
        put_indent(yaml);
        fprintf(yaml->out, " %.*s\n", (int)size, text);
        text += size;
        text += strspn(text, " ");
    }
}

static void put_help(const struct yaml *yaml, const struct m5_key *key)
{
    char text[1024], range[256], name[64];
    put_range(key, range, sizeof range);
    const bool has_flag = yaml->flags && key->flag != NULL;
    snprintf(text, sizeof text, "%c%s%s%s%s%s%s%s%s%s", toupper((unsigned char)key->help[0]),
             key->help + 1, *range != 0 || has_flag || key->needs_restart ? " (" : "", range,
             *range != 0 && has_flag ? "; " : "", has_flag ? "--" : "", has_flag ? key->flag : "",
             has_flag ? ", " : "", has_flag ? variable_of(key, name) : "",
             key->needs_restart        ? *range != 0 || has_flag ? "; restart)" : "restart)"
             : *range != 0 || has_flag ? ")"
                                       : "");
    put_prose(yaml, text);
}

/* "# " for what is off, the indentation, and "- " in front of an entry's first key. */
static void put_head(struct yaml *yaml, bool off)
{
    if (off)
        fputs("# ", yaml->out);
    if (yaml->is_item) {
        yaml->depth--;
        put_indent(yaml);
        yaml->depth++;
        fputs("- ", yaml->out);
    } else {
        put_indent(yaml);
    }
    yaml->is_item = false;
}

static void put_section(struct yaml *yaml, const struct m5_section *section);

static void put_inner(struct yaml *yaml, const struct m5_key *key)
{
    struct yaml inner = *yaml;
    const bool is_list = key->type == M5_KEY_LIST;
    inner.is_off = yaml->is_off || is_list || key->is_pointer;
    inner.flags = yaml->flags && key->has_flags;
    put_head(yaml, inner.is_off);
    fprintf(yaml->out, "%s:\n", key->name);
    inner.depth = yaml->depth + (is_list ? 2 : 1);
    inner.is_item = is_list;
    put_section(&inner, key->section);
}

static void put_yaml_key(struct yaml *yaml, const struct m5_key *key)
{
    if (key->group != NULL)
        fprintf(yaml->out, "\n## ---- %s ----\n", key->group);
    if (key->type == M5_KEY_ABSENT)
        return;
    if (yaml->depth == 0)
        fputc('\n', yaml->out);
    put_help(yaml, key);
    if (key->type == M5_KEY_SECTION || key->type == M5_KEY_LIST) {
        put_inner(yaml, key);
        return;
    }
    put_head(yaml, yaml->is_off || key->standard == NULL);
    fprintf(yaml->out, "%s: %s\n", key->name, key->standard != NULL ? key->standard : key->sample);
}

static void put_section(struct yaml *yaml, const struct m5_section *section)
{
    for (const struct m5_key *key = section->keys; key->name != NULL; key++)
        put_yaml_key(yaml, key);
}

static void generate_yaml(FILE *out)
{
    struct yaml yaml = {.out = out, .flags = true};
    fputs(
        "## Configuration of mqttv5 broker: every key with its default.\n"
        "##\n"
        "## Lines that begin with ## explain; to use a key that is switched off with \"# \",\n"
        "## remove those two characters, in front of the keys around it, too.\n"
        "## In parentheses: what a key may be, its flag and environment variable, and \"restart\"\n"
        "## when a change counts only after a restart (others count at SIGHUP or when this file\n"
        "## changes). A flag counts before its variable, and that before this file.\n"
        "## Paths are relative to this file. mqttv5 broker --config FILE --check-config tells\n"
        "## what is wrong or insecure. docs/configuration.md has more.\n",
        out);
    put_section(&yaml, &m5_schema_root);
}

/* ---- JSON ---- */

static void put_string(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text != 0; text++) {
        if (*text == '"' || *text == '\\')
            fprintf(out, "\\%c", *text);
        else
            fputc(*text, out);
    }
    fputc('"', out);
}

static void put_json_value(const struct m5_key *key, FILE *out)
{
    const bool is_plain =
        key->type == M5_KEY_BOOL || key->type == M5_KEY_INTEGER || key->type == M5_KEY_SWITCH;
    if (key->type == M5_KEY_TEXTS || key->type == M5_KEY_LIST)
        fputs("[]", out);
    else if (key->standard == NULL)
        fputs("null", out);
    else if (is_plain)
        fputs(key->standard, out);
    else
        put_string(out, key->standard);
}

static void put_json_section(const struct m5_section *section, unsigned depth, FILE *out)
{
    const char *before = "{\n";
    for (const struct m5_key *key = section->keys; key->name != NULL; key++) {
        if (key->type == M5_KEY_ABSENT)
            continue;
        fprintf(out, "%s%*s\"%s\": ", before, (int)depth * 2, "", key->name);
        before = ",\n";
        if (key->type == M5_KEY_SECTION && !key->is_pointer)
            put_json_section(key->section, depth + 1, out);
        else
            put_json_value(key, out);
    }
    fprintf(out, "\n%*s}", (int)(depth - 1) * 2, "");
}

void m5_config_generate(enum m5_config_format format, FILE *out)
{
    if (format == M5_CONFIG_YAML) {
        generate_yaml(out);
    } else {
        put_json_section(&m5_schema_root, 1, out);
        fputc('\n', out);
    }
}

/* ---- the schema ---- */

/* The tables that were met, each by the path where it was met first. */
struct tables {
    struct {
        const struct m5_section *section;
        char path[96];
        bool flags;
    } items[SECTIONS_MAX];
    size_t count;
};

static const char *name_of(const struct tables *tables, const struct m5_section *section)
{
    for (size_t i = 0; i < tables->count; i++)
        if (tables->items[i].section->keys == section->keys)
            return tables->items[i].path;
    return NULL;
}

/* Adds the tables below number @p index; called for each in turn until there are no new ones. */
static void add_inner(struct tables *tables, size_t index)
{
    const struct m5_section *section = tables->items[index].section;
    for (const struct m5_key *key = section->keys; key->name != NULL; key++) {
        if (key->section == NULL || name_of(tables, key->section) != NULL ||
            tables->count == SECTIONS_MAX)
            continue;
        char path[96];
        const char *outer = tables->items[index].path;
        snprintf(path, sizeof path, "%.60s%s%.30s%s", outer, *outer != 0 ? "." : "", key->name,
                 key->type == M5_KEY_LIST ? "[]" : "");
        tables->items[tables->count].section = key->section;
        tables->items[tables->count].flags = tables->items[index].flags && key->has_flags;
        memcpy(tables->items[tables->count].path, path, sizeof path);
        tables->count++;
    }
}

static const char *type_name(enum m5_key_type type)
{
    static const char *const names[] = {[M5_KEY_BOOL] = "true or false",
                                        [M5_KEY_SWITCH] = "true or false",
                                        [M5_KEY_INTEGER] = "number",
                                        [M5_KEY_SECONDS] = "duration",
                                        [M5_KEY_MILLISECONDS] = "duration",
                                        [M5_KEY_SIZE] = "size",
                                        [M5_KEY_MODE] = "octal",
                                        [M5_KEY_CHOICE] = "word",
                                        [M5_KEY_TEXT] = "text",
                                        [M5_KEY_SECRET] = "secret text",
                                        [M5_KEY_PATH] = "path",
                                        [M5_KEY_TEXTS] = "list of texts",
                                        [M5_KEY_PATTERN] = "pattern",
                                        [M5_KEY_SECTION] = "section",
                                        [M5_KEY_LIST] = "list of sections",
                                        [M5_KEY_ABSENT] = "absent"};
    return names[type];
}

static void put_member(FILE *out, const char *name, const char *value)
{
    fprintf(out, ", \"%s\": ", name);
    if (value == NULL)
        fputs("null", out);
    else
        put_string(out, value);
}

static void describe_key(const struct tables *tables, const struct m5_key *key, bool flags,
                         FILE *out)
{
    char range[256], name[64];
    const bool has_flag = flags && key->flag != NULL;
    put_range(key, range, sizeof range);
    fputs("{\"name\": ", out);
    put_string(out, key->name);
    put_member(out, "group", key->group);
    put_member(out, "also", key->also);
    put_member(out, "type", type_name(key->type));
    put_member(out, "range", *range != 0 ? range : NULL);
    put_member(out, "default", key->standard);
    put_member(out, "sample", key->sample);
    put_member(out, "flag", has_flag ? key->flag : NULL);
    put_member(out, "variable", has_flag ? variable_of(key, name) : NULL);
    put_member(out, "section", key->section != NULL ? name_of(tables, key->section) : NULL);
    put_member(out, "help", key->help);
    fprintf(out, ", \"restart\": %s}", key->needs_restart ? "true" : "false");
}

void m5_config_describe(FILE *out)
{
    struct tables tables = {.count = 1};
    tables.items[0].section = &m5_schema_root;
    tables.items[0].flags = true;
    for (size_t i = 0; i < tables.count; i++)
        add_inner(&tables, i);
    fputs("[", out);
    for (size_t i = 0; i < tables.count; i++) {
        fprintf(out, "%s{\"path\": \"%s\", \"keys\": [", i > 0 ? ",\n  " : "\n  ",
                tables.items[i].path);
        const struct m5_key *keys = tables.items[i].section->keys;
        for (const struct m5_key *key = keys; key->name != NULL; key++) {
            fputs(key == keys ? "\n    " : ",\n    ", out);
            describe_key(&tables, key, tables.items[i].flags, out);
        }
        fputs("]}", out);
    }
    fputs("\n]", out);
}
