/* Reads golden conversations: first the lines of a scenario as text, then, once for each of its
 * `each:` rows, the steps with the columns put in.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "golden/golden_script.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS_MAX 9
#define LINE_MAX    8192

/* A line of a scenario, or a row of its table. */
struct line {
    unsigned number;
    const char *text;
    struct line *next;
};

struct row {
    const char *columns[COLUMNS_MAX];
    size_t count;
};

/* A scenario before its rows are put in. */
struct draft {
    unsigned number;
    const char *title;
    struct golden_setting *settings;
    struct line *rows, **rows_end;
    struct line *steps, **steps_end;
    size_t step_count;
};

struct reader {
    struct golden_file *file;
    const char *path;
    struct golden_scenario **scenarios_end;
    struct draft draft;
    bool drafting;
};

static bool fail(struct reader *reader, unsigned number, const char *why)
{
    if (reader->file->error[0] == '\0')
        snprintf(reader->file->error, sizeof reader->file->error, "%s:%u: %s", reader->path, number,
                 why);
    return false;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static char *trimmed(struct golden_arena *arena, const char *text, size_t size)
{
    while (size > 0 && is_blank(text[size - 1]))
        size--;
    while (size > 0 && is_blank(*text)) {
        text++;
        size--;
    }
    return golden_arena_text(arena, text, size);
}

/* What follows @p prefix in @p text, or NULL. */
static const char *after(const char *text, const char *prefix)
{
    const size_t size = strlen(prefix);
    if (strncmp(text, prefix, size) != 0)
        return NULL;
    for (text += size; is_blank(*text);)
        text++;
    return text;
}

/* ---- rows ---- */

/* Columns are parted by '|' between blanks. */
static bool split_row(struct golden_arena *arena, const char *text, struct row *row)
{
    const char *start = text;
    row->count = 0;
    for (const char *at = text;; at++) {
        const bool parts =
            *at == '|' && at > text && is_blank(at[-1]) && (is_blank(at[1]) || at[1] == '\0');
        if (*at != '\0' && !parts)
            continue;
        if (row->count == COLUMNS_MAX)
            return false;
        row->columns[row->count++] = trimmed(arena, start, (size_t)(at - start));
        start = at + 1;
        if (*at == '\0')
            return true;
    }
}

/* @p text with $1 to $9 replaced; NULL when a column is missing or the result is too long. */
static const char *substitute(struct golden_arena *arena, const char *text, const struct row *row)
{
    char out[LINE_MAX];
    size_t size = 0;
    for (; *text != '\0'; text++) {
        const char *piece = text;
        size_t n = 1;
        if (row != NULL && text[0] == '$' && text[1] >= '1' && text[1] <= '9') {
            const size_t column = (size_t)(text[1] - '1');
            if (column >= row->count)
                return NULL;
            piece = row->columns[column];
            n = strlen(piece);
            text++;
        }
        if (size + n >= sizeof out)
            return NULL;
        memcpy(out + size, piece, n);
        size += n;
    }
    return golden_arena_text(arena, out, size);
}

/* ---- steps ---- */

struct compiler {
    struct reader *reader;
    struct golden_scenario *scenario;
    unsigned number;
};

static struct golden_step *add_step(struct compiler *c, enum golden_verb verb, char name,
                                    const char *text)
{
    struct golden_step *step = &c->scenario->steps[c->scenario->step_count++];
    *step = (struct golden_step){.verb = verb, .name = name, .line = c->number, .text = text};
    return step;
}

static bool compile_bytes(struct compiler *c, enum golden_verb verb, char name, const char *text)
{
    struct golden_parser parser = {.arena = &c->reader->file->arena,
                                   .captures = &c->scenario->captures};
    struct golden_step *step = add_step(c, verb, name, text);
    step->list = verb == GOLDEN_SEND ? golden_parse_bytes(&parser, text)
                                     : golden_parse_expected(&parser, text);
    return step->list != NULL || fail(c->reader, c->number, parser.error);
}

/* A step that takes a while. */
static bool compile_timed(struct compiler *c, enum golden_verb verb, const char *text)
{
    char *unit;
    const unsigned long long n = strtoull(text, &unit, 10);
    const bool ms = strcmp(unit, "ms") == 0;
    if (unit == text || (!ms && strcmp(unit, "s") != 0))
        return fail(c->reader, c->number, "a duration is needed, 1500ms or 3s");
    add_step(c, verb, 0, text)->ms = ms ? n : n * 1000;
    return true;
}

/* `restart`, `crash`, each perhaps with `down 10s`. */
static bool compile_down(struct compiler *c, enum golden_verb verb, const char *text)
{
    const char *rest = after(text, "down ");
    c->scenario->needs_store = true;
    return compile_timed(c, verb, *text == '\0' ? "0s" : rest != NULL ? rest : text);
}

static bool compile_store(struct compiler *c, const char *text)
{
    static const char *const store_words[] = {"fails", "works", "holds", "goes on"};
    c->scenario->needs_store = true;
    for (size_t i = 0; i < sizeof store_words / sizeof store_words[0]; i++) {
        if (strcmp(text, store_words[i]) != 0)
            continue;
        add_step(c, GOLDEN_STORE, 0, text)->store = (enum golden_store_word)i;
        return true;
    }
    return fail(c->reader, c->number, "store fails, works, holds, or goes on");
}

/* The options of `connect`, as texts. */
struct connect_options {
    char id[512], flags[8], keep[8], props[512];
    char version;
    bool present;
};

/* Copies a word up to a blank, or a {...} of any depth. */
static const char *copy_option(const char *at, char *out, size_t size)
{
    int depth = 0;
    size_t n = 0;
    for (; *at != '\0' && (depth > 0 || !is_blank(*at)) && n + 1 < size; at++) {
        depth += (*at == '{') - (*at == '}');
        out[n++] = *at;
    }
    out[n] = '\0';
    return at;
}

/* Copies a quoted string with its quotes. */
static const char *copy_quoted(const char *at, char *out, size_t size)
{
    size_t n = 0;
    if (*at != '"')
        return NULL;
    do {
        if (*at == '\\' && n + 2 < size)
            out[n++] = *at++;
        if (*at == '\0' || n + 2 >= size)
            return NULL;
        out[n++] = *at++;
    } while (*at != '"');
    out[n++] = '"';
    out[n] = '\0';
    return at + 1;
}

static bool read_connect(const char *at, struct connect_options *options)
{
    const char *rest;
    at = copy_quoted(at, options->id, sizeof options->id);
    while (at != NULL && *at != '\0') {
        if (is_blank(*at))
            at++;
        else if ((rest = after(at, "flags=")) != NULL)
            at = copy_option(rest, options->flags, sizeof options->flags);
        else if ((rest = after(at, "keep=")) != NULL)
            at = copy_option(rest, options->keep, sizeof options->keep);
        else if ((rest = after(at, "props=")) != NULL)
            at = copy_option(rest, options->props, sizeof options->props);
        else if ((rest = after(at, "v=")) != NULL && *rest >= '3' && *rest <= '5')
            options->version = *rest, at = rest + 1;
        else if ((rest = after(at, "present")) != NULL)
            options->present = true, at = rest;
        else
            return false;
    }
    return at != NULL;
}

/* `A connect "id" ...` stands for open, a CONNECT and the CONNACK that accepts it. */
static bool compile_connect(struct compiler *c, char name, const char *text)
{
    struct connect_options o = {.flags = "02", .keep = "0000", .props = "{}", .version = '5'};
    char packet[2048], answer[64];
    if (!read_connect(text, &o))
        return fail(c->reader, c->number, "cannot read: connect");
    const bool v5 = o.version == '5';
    snprintf(packet, sizeof packet, "10 {%s 0%c %s %s %s %s}",
             o.version == '3' ? "\"MQIsdp\"" : "\"MQTT\"", o.version, o.flags, o.keep,
             v5 ? o.props : "", o.id);
    snprintf(answer, sizeof answer, "20 {%s 00 %s}", o.present && o.version != '3' ? "01" : "00",
             v5 ? "{**}" : "");
    struct golden_arena *arena = &c->reader->file->arena;
    add_step(c, GOLDEN_OPEN, name, text);
    return compile_bytes(c, GOLDEN_SEND, name, golden_arena_text(arena, packet, strlen(packet))) &&
           compile_bytes(c, GOLDEN_EXPECT, name, golden_arena_text(arena, answer, strlen(answer)));
}

static bool compile_named(struct compiler *c, char name, const char *text)
{
    const char *rest;
    if (strcmp(text, "open") == 0)
        return add_step(c, GOLDEN_OPEN, name, text) != NULL;
    if (strcmp(text, "close") == 0)
        return add_step(c, GOLDEN_BREAK, name, text) != NULL;
    if ((rest = after(text, "connect ")) != NULL)
        return compile_connect(c, name, rest);
    if ((rest = after(text, ">")) != NULL)
        return compile_bytes(c, GOLDEN_SEND, name, rest);
    if ((rest = after(text, "<?")) != NULL)
        return compile_bytes(c, GOLDEN_EXPECT_OPTIONAL, name, rest);
    if ((rest = after(text, "<&")) != NULL)
        return compile_bytes(c, GOLDEN_EXPECT_UNORDERED, name, rest);
    if ((rest = after(text, "<")) != NULL)
        return compile_bytes(c, GOLDEN_EXPECT, name, rest);
    return fail(c->reader, c->number, "cannot read this step");
}

static bool compile_step(struct compiler *c, const char *text)
{
    const char *rest = after(text, "advance ");
    if (rest != NULL)
        return compile_timed(c, GOLDEN_ADVANCE, rest);
    if ((rest = after(text, "restart")) != NULL)
        return compile_down(c, GOLDEN_RESTART, rest);
    if ((rest = after(text, "crash")) != NULL)
        return compile_down(c, GOLDEN_CRASH, rest);
    if ((rest = after(text, "store ")) != NULL)
        return compile_store(c, rest);
    if (strcmp(text, "stop") == 0)
        return add_step(c, GOLDEN_STOP, 0, text) != NULL;
    if (text[0] < 'A' || text[0] > 'Z' || !is_blank(text[1]))
        return fail(c->reader, c->number, "a step begins with a capital letter");
    return compile_named(c, text[0], after(text + 1, ""));
}

/* ---- scenarios ---- */

/* Makes one scenario of the draft; @p row may be NULL. */
static bool finish_one(struct reader *reader, unsigned number, const struct row *row)
{
    struct golden_arena *arena = &reader->file->arena;
    const struct draft *draft = &reader->draft;
    struct golden_scenario *scenario = golden_arena_alloc(arena, sizeof *scenario);
    struct compiler c = {.reader = reader, .scenario = scenario};
    scenario->path = reader->path;
    scenario->line = number;
    scenario->settings = draft->settings;
    scenario->title = substitute(arena, draft->title, row);
    if (scenario->title == NULL)
        return fail(reader, number, "a column is missing");
    /* `connect` makes three steps. */
    scenario->steps = golden_arena_alloc(arena, 3 * draft->step_count * sizeof *scenario->steps);
    for (const struct line *line = draft->steps; line != NULL; line = line->next) {
        const char *text = substitute(arena, line->text, row);
        c.number = line->number;
        if (text == NULL)
            return fail(reader, number, "a column is missing, or a line is too long");
        if (!compile_step(&c, text))
            return false;
    }
    *reader->scenarios_end = scenario;
    reader->scenarios_end = &scenario->next;
    return true;
}

static bool finish_draft(struct reader *reader)
{
    if (!reader->drafting)
        return true;
    if (reader->draft.rows == NULL)
        return finish_one(reader, reader->draft.number, NULL);
    for (const struct line *line = reader->draft.rows; line != NULL; line = line->next) {
        struct row row;
        if (!split_row(&reader->file->arena, line->text, &row))
            return fail(reader, line->number, "too many columns");
        if (!finish_one(reader, line->number, &row))
            return false;
    }
    return true;
}

static bool begin_draft(struct reader *reader, unsigned number, const char *title)
{
    if (!finish_draft(reader))
        return false;
    reader->draft = (struct draft){.number = number, .title = title};
    reader->draft.rows_end = &reader->draft.rows;
    reader->draft.steps_end = &reader->draft.steps;
    reader->drafting = true;
    return true;
}

static void add_line(struct golden_arena *arena, struct line ***end, unsigned number,
                     const char *text)
{
    struct line *line = golden_arena_alloc(arena, sizeof *line);
    *line = (struct line){.number = number, .text = text};
    **end = line;
    *end = &line->next;
}

/* `key=value key=value`, in any order. */
static bool add_settings(struct reader *reader, unsigned number, const char *text)
{
    struct golden_arena *arena = &reader->file->arena;
    while (*text != '\0') {
        const size_t size = strcspn(text, " \t");
        const char *equals = memchr(text, '=', size);
        if (equals == NULL)
            return fail(reader, number, "broker: needs key=value");
        struct golden_setting *setting = golden_arena_alloc(arena, sizeof *setting);
        const size_t key = (size_t)(equals - text);
        setting->key = golden_arena_text(arena, text, key);
        setting->value = golden_arena_text(arena, equals + 1, size - key - 1);
        setting->next = reader->draft.settings;
        reader->draft.settings = setting;
        text = after(text + size, "");
    }
    return true;
}

static bool read_line(struct reader *reader, unsigned number, const char *text)
{
    struct golden_arena *arena = &reader->file->arena;
    const char *rest;
    if (*text == '\0' || *text == '#')
        return true;
    if ((rest = after(text, "--- ")) != NULL)
        return begin_draft(reader, number, rest);
    if (!reader->drafting)
        return fail(reader, number, "a step before the first '---'");
    if (after(text, "req:") != NULL || after(text, "tags:") != NULL)
        return true;
    if ((rest = after(text, "broker:")) != NULL)
        return add_settings(reader, number, rest);
    if ((rest = after(text, "each:")) != NULL) {
        add_line(arena, &reader->draft.rows_end, number, rest);
        return true;
    }
    add_line(arena, &reader->draft.steps_end, number, trimmed(arena, text, strlen(text)));
    reader->draft.step_count++;
    return true;
}

bool golden_file_parse(struct golden_file *file, const char *path, const char *text)
{
    memset(file, 0, sizeof *file);
    struct reader reader = {.file = file, .scenarios_end = &file->scenarios};
    reader.path = golden_arena_text(&file->arena, path, strlen(path));
    for (unsigned number = 1; *text != '\0'; number++) {
        const size_t size = strcspn(text, "\n");
        /* A trailing blank may end an empty column, so that only the left side is trimmed here. */
        const char *line = golden_arena_text(&file->arena, text, size);
        if (!read_line(&reader, number, after(line, "")))
            return false;
        text += size + (text[size] == '\n');
    }
    return finish_draft(&reader);
}

bool golden_file_read(struct golden_file *file, const char *path)
{
    FILE *in = fopen(path, "rb");
    char *text = NULL;
    size_t size = 0;
    memset(file, 0, sizeof *file);
    if (in == NULL || getdelim(&text, &size, '\0', in) < 0) {
        snprintf(file->error, sizeof file->error, "%s: cannot be read", path);
        free(text);
        if (in != NULL)
            fclose(in);
        return false;
    }
    fclose(in);
    const bool done = golden_file_parse(file, path, text);
    free(text);
    return done;
}

void golden_file_fini(struct golden_file *file)
{
    golden_arena_fini(&file->arena);
    memset(file, 0, sizeof *file);
}
