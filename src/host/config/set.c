/* Puts texts into the fields of the schema: what each type reads, and what it says otherwise.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/config/data.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_SIZE 320

static void *field_of(const struct m5_key *key, void *base)
{
    return (char *)base + key->offset;
}

static void store_number(const struct m5_key *key, void *base, uint64_t number)
{
    void *field = field_of(key, base);
    switch (key->width) {
    case 1: *(uint8_t *)field = (uint8_t)number; break;
    case 2: *(uint16_t *)field = (uint16_t)number; break;
    case 4: *(uint32_t *)field = (uint32_t)number; break;
    default: *(uint64_t *)field = number; break;
    }
}

__attribute__((format(printf, 3, 4))) static bool refuse(const struct m5_setting *setting,
                                                         const char *code, const char *format, ...)
{
    char text[M5_PROBLEM_TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return m5_problem_add(setting->problems, M5_PROBLEM_ERROR, code, setting->place, setting->path,
                          "%s", text);
}

bool m5_config_no_memory(struct m5_problems *problems)
{
    return m5_problem_add(problems, M5_PROBLEM_ERROR, "no-memory", (struct m5_place){.file = NULL},
                          NULL, "out of memory");
}

const char *m5_config_keep(struct m5_config *config, const char *text)
{
    return m5_arena_text(&config->arena, text, strlen(text));
}

/* ---- each type ---- */

static void write_number(const struct m5_key *key, uint64_t number, char out[M5_VALUE_TEXT_SIZE])
{
    if (key->is_endless && number == key->most)
        snprintf(out, M5_VALUE_TEXT_SIZE, "never");
    else
        m5_value_write(number, m5_key_unit(key->type), out);
}

static bool set_number(const struct m5_setting *setting, const struct m5_key *key, void *base,
                       const char *text)
{
    const enum m5_unit unit = m5_key_unit(key->type);
    uint64_t number = key->most;
    char least[M5_VALUE_TEXT_SIZE], most[M5_VALUE_TEXT_SIZE];
    if (setting->is_quoted && unit == M5_UNIT_NONE)
        return refuse(setting, "wrong-type", "wants %s without quotes, not \"%s\"",
                      m5_value_kind(unit), text);
    if (!(key->is_endless && m5_value_is_never(text)) && !m5_value_number(text, unit, &number))
        return refuse(setting, "wrong-type", "wants %s%s, not \"%s\"", m5_value_kind(unit),
                      key->is_endless ? ", or never" : "", text);
    if (number >= key->least && number <= key->most) {
        store_number(key, base, number);
        return true;
    }
    write_number(key, key->least, least);
    write_number(key, key->most, most);
    if (key->most == UINT64_MAX)
        return refuse(setting, "out-of-range", "must be at least %s, not %s", least, text);
    return refuse(setting, "out-of-range", "must be %s to %s, not %s", least, most, text);
}

static bool set_mode(const struct m5_setting *setting, const struct m5_key *key, void *base,
                     const char *text)
{
    const size_t size = strlen(text);
    if (size == 0 || size > 6 || strspn(text, "01234567") != size)
        return refuse(setting, "wrong-type", "wants access bits in octal, like 0660, not \"%s\"",
                      text);
    const unsigned long mode = strtoul(text, NULL, 8);
    if (mode > key->most)
        return refuse(setting, "out-of-range", "must be 0 to 0777, not %s", text);
    store_number(key, base, mode);
    return true;
}

/* Names that stand for a value that has one already are for the reading only. */
static bool is_first_name(const struct m5_choice *choices, const struct m5_choice *choice)
{
    for (; choices < choice; choices++)
        if (choices->value == choice->value)
            return false;
    return true;
}

static bool refuse_choice(const struct m5_setting *setting, const struct m5_key *key,
                          const char *text)
{
    const char *names[16] = {NULL};
    char list[WORDS_SIZE] = "";
    size_t count = 0, used = 0;
    for (const struct m5_choice *choice = key->choices; choice->name != NULL; choice++) {
        if (!is_first_name(key->choices, choice) || count + 1 >= sizeof names / sizeof *names)
            continue;
        names[count++] = choice->name;
        if (used < sizeof list)
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", used > 0 ? ", " : "",
                                     choice->name);
    }
    const char *guess = m5_value_suggest(text, names);
    return refuse(setting, "unknown-word", "must be one of %s, not \"%s\"%s%s%s", list, text,
                  guess != NULL ? " (did you mean " : "", guess != NULL ? guess : "",
                  guess != NULL ? "?)" : "");
}

static bool set_choice(const struct m5_setting *setting, const struct m5_key *key, void *base,
                       const char *text)
{
    for (const struct m5_choice *choice = key->choices; choice->name != NULL; choice++) {
        if (strcmp(choice->name, text) == 0) {
            *(int *)field_of(key, base) = choice->value;
            return true;
        }
    }
    return refuse_choice(setting, key, text);
}

static bool set_bool(const struct m5_setting *setting, const struct m5_key *key, void *base,
                     const char *text)
{
    bool value;
    if (setting->is_quoted || !m5_value_bool(text, &value))
        return refuse(setting, "wrong-type", "wants true or false%s, not \"%s\"",
                      setting->is_quoted ? " without quotes" : "", text);
    if (key->type == M5_KEY_BOOL)
        *(bool *)field_of(key, base) = value;
    else
        *(enum m5_switch *)field_of(key, base) = value ? M5_SWITCH_ON : M5_SWITCH_OFF;
    return true;
}

bool m5_text_allowed(const struct m5_setting *setting, const struct m5_key *key, const char *text)
{
    const char *why = key->check == NULL ? NULL : key->check(text);
    return why == NULL || refuse(setting, "bad-text", "\"%s\" %s", text, why);
}

/* Sockets in the abstract namespace have names that look like no path. */
static const char *resolve(const struct m5_setting *setting, const char *text)
{
    const char *folder = setting->folder;
    if (folder == NULL || *folder == 0 || *text == '/' || *text == '@')
        return m5_config_keep(setting->config, text);
    const size_t size = strlen(folder) + 1 + strlen(text);
    char *out = (char *)m5_arena_alloc(&setting->config->arena, size + 1);
    if (out != NULL)
        snprintf(out, size + 1, "%s/%s", folder, text);
    return out;
}

static bool set_text(const struct m5_setting *setting, const struct m5_key *key, void *base,
                     const char *text)
{
    if (*text == 0 && key->type != M5_KEY_TEXT)
        return refuse(setting, "wrong-type", "may not be empty: give %s, or leave it out",
                      key->type == M5_KEY_PATH ? "the name of a file or folder" : "a text");
    if (!m5_text_allowed(setting, key, text))
        return false;
    const char *copy =
        key->type == M5_KEY_PATH ? resolve(setting, text) : m5_config_keep(setting->config, text);
    if (copy == NULL)
        return m5_config_no_memory(setting->problems);
    *(const char **)field_of(key, base) = copy;
    return true;
}

bool m5_key_set(const struct m5_setting *setting, const struct m5_key *key, void *base,
                const char *text)
{
    switch (key->type) {
    case M5_KEY_BOOL:
    case M5_KEY_SWITCH: return set_bool(setting, key, base, text);
    case M5_KEY_INTEGER:
    case M5_KEY_SECONDS:
    case M5_KEY_MILLISECONDS:
    case M5_KEY_SIZE: return set_number(setting, key, base, text);
    case M5_KEY_MODE: return set_mode(setting, key, base, text);
    case M5_KEY_CHOICE: return set_choice(setting, key, base, text);
    case M5_KEY_TEXT:
    case M5_KEY_SECRET:
    case M5_KEY_PATH: return set_text(setting, key, base, text);
    case M5_KEY_TEXTS:
    case M5_KEY_PATTERN:
    case M5_KEY_SECTION:
    case M5_KEY_LIST:
    case M5_KEY_ABSENT: break;
    }
    return refuse(setting, "wrong-type", "cannot be given as one text");
}

/* ---- defaults ---- */

/* Defaults of texts are literals of the schema and need no memory. */
bool m5_section_defaults(const struct m5_section *section, void *base, struct m5_problems *problems)
{
    const struct m5_setting setting = {.problems = problems};
    bool ok = true;
    for (const struct m5_key *key = section->keys; key->name != NULL; key++) {
        if (key->type == M5_KEY_SECTION && !key->is_pointer)
            ok = m5_section_defaults(key->section, (char *)base + key->offset, problems) && ok;
        else if (key->standard != NULL && (key->type == M5_KEY_TEXT || key->type == M5_KEY_PATH))
            *(const char **)field_of(key, base) = key->standard;
        else if (key->standard != NULL)
            ok = m5_key_set(&setting, key, base, key->standard) && ok;
    }
    return ok;
}
