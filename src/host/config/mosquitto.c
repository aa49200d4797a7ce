/* Reads a mosquitto.conf, line by line, with what it includes.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/config/mosquitto.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define BLANKS " \t"

static bool add_problem(const struct m5_mosquitto *state, enum m5_problem_level level,
                        const char *format, va_list arguments)
{
    char text[M5_PROBLEM_TEXT_SIZE];
    vsnprintf(text, sizeof text, format, arguments);
    return m5_problem_add(state->problems, level, "mosquitto", state->place, state->key, "%s",
                          text);
}

bool m5_mosquitto_refuse(const struct m5_mosquitto *state, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    add_problem(state, M5_PROBLEM_ERROR, format, arguments);
    va_end(arguments);
    return false;
}

void m5_mosquitto_warn(const struct m5_mosquitto *state, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    add_problem(state, M5_PROBLEM_WARNING, format, arguments);
    va_end(arguments);
}

/* ---- lines ---- */

/* Takes "key value", whose end is cut off already. The text is changed. */
static bool take_line(struct m5_mosquitto *state, char *line)
{
    char *value = line + strcspn(line, BLANKS);
    if (*value != 0)
        *value++ = 0;
    value += strspn(value, BLANKS);
    state->key = line;
    return m5_mosquitto_take(state, line, value);
}

/* Cuts blanks and a carriage return off the end. */
static void cut_end(char *line)
{
    size_t size = strlen(line);
    while (size > 0 && strchr(" \t\r", line[size - 1]) != NULL)
        line[--size] = 0;
}

static bool take_text(struct m5_mosquitto *state, char *text)
{
    bool ok = true;
    for (char *line; (line = strsep(&text, "\n")) != NULL;) {
        state->place.line++;
        cut_end(line);
        state->place.column = (uint32_t)strspn(line, BLANKS) + 1;
        line += strspn(line, BLANKS);
        if (*line != 0 && *line != '#')
            ok = take_line(state, line) && ok;
    }
    return ok;
}

/* ---- files ---- */

static bool note_file(struct m5_mosquitto *state, const char *path)
{
    struct m5_config *config = state->config;
    if (config->read_count == M5_CONFIG_READ_MAX)
        return m5_mosquitto_refuse(state, "more than %d files are read: put them together",
                                   M5_CONFIG_READ_MAX);
    config->read[config->read_count++] = path;
    return true;
}

static bool read_file(struct m5_mosquitto *state, const char *path)
{
    const struct m5_place outer_place = state->place;
    const char *outer_key = state->key;
    struct m5_config_bytes bytes;
    char why[256] = "";
    const char *name = m5_config_keep(state->config, path);
    if (name == NULL)
        return m5_config_no_memory(state->problems);
    if (!note_file(state, name))
        return false;
    state->place = (struct m5_place){.file = name};
    state->key = NULL;
    bool ok = m5_config_read_bytes(path, &bytes, why);
    if (!ok) {
        m5_mosquitto_refuse(state, "cannot be read: %s", why);
    } else if (memchr(bytes.data, 0, bytes.size) != NULL) {
        ok = m5_mosquitto_refuse(state, "is no text");
    } else {
        bytes.data[bytes.size] = 0;
        ok = take_text(state, bytes.data);
    }
    free(bytes.data);
    state->place = outer_place;
    state->key = outer_key;
    return ok;
}

static int is_conf(const struct dirent *entry)
{
    const size_t size = strlen(entry->d_name);
    return size > 5 && entry->d_name[0] != '.' && strcmp(entry->d_name + size - 5, ".conf") == 0;
}

static int compare(const struct dirent **a, const struct dirent **b)
{
    const int order = strcasecmp((*a)->d_name, (*b)->d_name);
    return order != 0 ? order : strcmp((*a)->d_name, (*b)->d_name);
}

bool m5_mosquitto_include(struct m5_mosquitto *state, const char *folder)
{
    struct dirent **entries = NULL;
    if (state->depth == M5_MOSQUITTO_DEPTH_MAX)
        return m5_mosquitto_refuse(state, "is nested too deeply");
    const int count = scandir(folder, &entries, is_conf, compare);
    if (count < 0)
        return m5_mosquitto_refuse(state, "%s cannot be read: %s", folder, strerror(errno));
    bool ok = true;
    state->depth++;
    for (int i = 0; i < count; i++) {
        char path[4096];
        if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name) < sizeof path)
            ok = read_file(state, path) && ok;
        free(entries[i]);
    }
    state->depth--;
    free(entries);
    return ok;
}

/* Everything that was said counts: an error makes the configuration one that is not used. */
static bool build(struct m5_mosquitto *state, struct m5_config *config,
                  struct m5_problems *problems, bool (*read)(struct m5_mosquitto *, const void *),
                  const void *what)
{
    const uint32_t errors = problems->errors;
    state->config = config;
    state->problems = problems;
    state->count = 1;
    read(state, what);
    m5_mosquitto_build(state);
    free(state);
    return problems->errors == errors;
}

static bool read_path(struct m5_mosquitto *state, const void *path)
{
    return read_file(state, (const char *)path);
}

bool m5_config_read_mosquitto(struct m5_config *config, const char *path,
                              struct m5_problems *problems)
{
    struct m5_mosquitto *state = (struct m5_mosquitto *)calloc(1, sizeof *state);
    config->file = m5_config_keep(config, path);
    if (state != NULL && config->file != NULL)
        return build(state, config, problems, read_path, path);
    free(state);
    return m5_config_no_memory(problems);
}

/* Nothing is included. */
static bool read_copy(struct m5_mosquitto *state, const void *text)
{
    const struct mqtt5_bytes *bytes = (const struct mqtt5_bytes *)text;
    char *copy = m5_arena_text(&state->config->arena, (const char *)bytes->data, bytes->len);
    state->depth = M5_MOSQUITTO_DEPTH_MAX;
    return copy != NULL ? take_text(state, copy) : m5_config_no_memory(state->problems);
}

bool m5_config_read_mosquitto_text(struct m5_config *config, const char *file,
                                   struct mqtt5_bytes text, struct m5_problems *problems)
{
    struct m5_mosquitto *state = (struct m5_mosquitto *)calloc(1, sizeof *state);
    if (state == NULL)
        return m5_config_no_memory(problems);
    state->place.file = file;
    return build(state, config, problems, read_copy, &text);
}
