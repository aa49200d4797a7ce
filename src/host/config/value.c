/* Reads and writes numbers with units, and guesses at misspelt words.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/config/value.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORD_SIZE 64 /* what is compared of a misspelt word */

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit second_units[] = {{"s", 1},    {"sec", 1},   {"m", 60}, {"min", 60},
                                           {"h", 3600}, {"d", 86400}, {NULL, 0}};
static const struct unit millisecond_units[] = {{"ms", 1},      {"s", 1000},    {"m", 60000},
                                                {"min", 60000}, {"h", 3600000}, {"d", 86400000},
                                                {NULL, 0}};
static const struct unit size_units[] = {{"B", 1},         {"kB", 1000},        {"KB", 1000},
                                         {"MB", 1000000},  {"GB", 1000000000},  {"K", 1024},
                                         {"M", 1048576},   {"G", 1073741824},   {"KiB", 1024},
                                         {"MiB", 1048576}, {"GiB", 1073741824}, {NULL, 0}};
static const struct unit *const unit_tables[] = {[M5_UNIT_SECONDS] = second_units,
                                                 [M5_UNIT_MILLISECONDS] = millisecond_units,
                                                 [M5_UNIT_INTERVAL] = millisecond_units,
                                                 [M5_UNIT_BYTES] = size_units};

static uint64_t unit_factor(const struct unit *units, const char *name, size_t size)
{
    for (; units != NULL && units->name != NULL; units++) {
        if (strlen(units->name) == size && memcmp(units->name, name, size) == 0)
            return units->factor;
    }
    return 0;
}

bool m5_value_number(const char *text, enum m5_unit unit, uint64_t *out)
{
    const struct unit *units = unit == M5_UNIT_NONE ? NULL : unit_tables[unit];
    const uint64_t bare = unit == M5_UNIT_MILLISECONDS ? 1000 : 1;
    uint64_t sum = 0;
    if (*text == 0)
        return false;
    for (bool first = true; *text != 0; first = false) {
        if (!isdigit((unsigned char)*text))
            return false;
        char *end;
        errno = 0;
        uint64_t part = strtoull(text, &end, 10);
        const size_t unit_size = strspn(end, "abcdefghijklmnopqrstuvwxyzBKMGT");
        const uint64_t factor =
            unit_size > 0 ? unit_factor(units, end, unit_size) : (first && *end == 0 ? bare : 0);
        if (errno != 0 || factor == 0 || __builtin_mul_overflow(part, factor, &part) ||
            __builtin_add_overflow(sum, part, &sum))
            return false;
        text = end + unit_size;
    }
    *out = sum;
    return true;
}

const char *m5_value_kind(enum m5_unit unit)
{
    switch (unit) {
    case M5_UNIT_NONE: return "a whole number";
    case M5_UNIT_SECONDS: return "a duration like 30, 30s or 1m30s";
    case M5_UNIT_MILLISECONDS: return "a duration like 2, 2s or 250ms";
    case M5_UNIT_INTERVAL: return "a duration like 250, 250ms or 2s";
    case M5_UNIT_BYTES: return "a size like 4096, 64KiB or 16MiB";
    }
    return "";
}

bool m5_value_bool(const char *text, bool *out)
{
    static const char *const words[] = {"false", "true", "0", "1", "no", "yes", "off", "on"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(text, words[i]) == 0) {
            *out = i % 2 != 0;
            return true;
        }
    }
    return false;
}

bool m5_value_is_never(const char *text)
{
    return strcmp(text, "never") == 0 || strcmp(text, "-1") == 0 ||
           strcmp(text, "\xE2\x88\x9E") == 0; /* the sign for infinity */
}

void m5_value_write(uint64_t number, enum m5_unit unit, char out[M5_VALUE_TEXT_SIZE])
{
    static const struct unit second_steps[] = {{"d", 86400}, {"h", 3600}, {"m", 60}, {"s", 1}};
    static const struct unit millisecond_steps[] = {
        {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
    static const struct unit size_steps[] = {
        {"GiB", 1073741824}, {"MiB", 1048576}, {"KiB", 1024}, {"", 1}};
    static const struct unit *const steps[] = {[M5_UNIT_SECONDS] = second_steps,
                                               [M5_UNIT_MILLISECONDS] = millisecond_steps,
                                               [M5_UNIT_INTERVAL] = millisecond_steps,
                                               [M5_UNIT_BYTES] = size_steps};
    const struct unit *step = unit == M5_UNIT_NONE || number == 0 ? NULL : steps[unit];
    while (step != NULL && number % step->factor != 0)
        step++;
    snprintf(out, M5_VALUE_TEXT_SIZE, "%" PRIu64 "%s",
             step == NULL ? number : number / step->factor, step == NULL ? "" : step->name);
}

static size_t least_of(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* How many letters have to be changed, added, taken out or swapped with the next; words are cut at
 * WORD_SIZE. */
static size_t distance(const char *a, const char *b)
{
    size_t rows[3][WORD_SIZE + 1];
    size_t *before = rows[0], *last = rows[1], *row = rows[2];
    const size_t a_size = strnlen(a, WORD_SIZE), b_size = strnlen(b, WORD_SIZE);
    for (size_t j = 0; j <= b_size; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_size; i++) {
        size_t *const oldest = before;
        before = last;
        last = row;
        row = oldest;
        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            row[j] =
                least_of(last[j - 1] + (a[i - 1] != b[j - 1]), 1 + least_of(last[j], row[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least_of(row[j], before[j - 2] + 1);
        }
    }
    return row[b_size];
}

const char *m5_value_suggest(const char *text, const char *const *names)
{
    const char *best = NULL;
    size_t best_distance =
        strnlen(text, WORD_SIZE) / 3 + 2; /* farther than this is no slip of the finger */
    const size_t size = strnlen(text, WORD_SIZE);
    for (; *names != NULL; names++) {
        const size_t other = strnlen(*names, WORD_SIZE);
        if ((size > other ? size - other : other - size) >= best_distance)
            continue; /* so many letters would have to be added or taken out */
        const size_t d = distance(text, *names);
        if (d < best_distance) {
            best_distance = d;
            best = *names;
        }
    }
    return best;
}
