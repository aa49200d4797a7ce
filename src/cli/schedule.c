/* When things are due: points in time as people write them, and steps that do not drift.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/schedule.h"

#include <stdio.h>
#include <string.h>

/* Reads two digits and takes them off @p text. */
static bool take_two(const char **text, int max, int *out)
{
    const char *at = *text;
    if (at[0] < '0' || at[0] > '9' || at[1] < '0' || at[1] > '9')
        return false;
    *out = (at[0] - '0') * 10 + (at[1] - '0');
    *text = at + 2;
    return *out <= max;
}

static bool take_char(const char **text, char wanted)
{
    if (**text != wanted)
        return false;
    ++*text;
    return true;
}

/* HH:MM[:SS] */
static bool take_clock(const char **text, struct tm *out)
{
    out->tm_sec = 0;
    if (!take_two(text, 23, &out->tm_hour) || !take_char(text, ':') ||
        !take_two(text, 59, &out->tm_min))
        return false;
    return !take_char(text, ':') || take_two(text, 60, &out->tm_sec);
}

/* YYYY-MM-DD */
static bool take_date(const char **text, struct tm *out)
{
    int century, year;
    if (!take_two(text, 99, &century) || !take_two(text, 99, &year) || !take_char(text, '-') ||
        !take_two(text, 12, &out->tm_mon) || !take_char(text, '-') ||
        !take_two(text, 31, &out->tm_mday))
        return false;
    out->tm_year = century * 100 + year - 1900;
    return out->tm_mon-- > 0 && out->tm_mday > 0;
}

/* "", "Z", "+01:00" or "+0100". */
static bool take_zone(const char **text, bool *has_zone, int *offset_s)
{
    int hours = 0, minutes = 0;
    const char sign = **text;
    *has_zone = sign != 0;
    *offset_s = 0;
    if (sign == 0)
        return true;
    if (take_char(text, 'Z'))
        return **text == 0;
    if (!take_char(text, '+') && !take_char(text, '-'))
        return false;
    if (!take_two(text, 14, &hours))
        return false;
    (void)take_char(text, ':');
    if (**text != 0 && !take_two(text, 59, &minutes))
        return false;
    *offset_s = (hours * 60 + minutes) * 60 * (sign == '-' ? -1 : 1);
    return **text == 0;
}

static enum cli_at read_clock(const char *text, time_t now, time_t *out)
{
    struct tm day;
    localtime_r(&now, &day);
    if (!take_clock(&text, &day) || *text != 0)
        return CLI_AT_UNREADABLE;
    day.tm_isdst = -1;
    *out = mktime(&day);
    if (*out <= now) {
        day.tm_mday++; /* mktime() puts it in order, and the clock may change meanwhile */
        day.tm_isdst = -1;
        *out = mktime(&day);
    }
    return CLI_AT_OK;
}

static enum cli_at read_date(const char *text, time_t now, time_t *out)
{
    struct tm date = {.tm_isdst = -1};
    bool has_zone;
    int offset_s;
    if (!take_date(&text, &date) || (!take_char(&text, 'T') && !take_char(&text, ' ')) ||
        !take_clock(&text, &date) || !take_zone(&text, &has_zone, &offset_s))
        return CLI_AT_UNREADABLE;
    const int day = date.tm_mday;
    *out = has_zone ? timegm(&date) - offset_s : mktime(&date);
    if (date.tm_mday != day)
        return CLI_AT_UNREADABLE; /* the 31st of a month that has fewer */
    return *out <= now ? CLI_AT_PAST : CLI_AT_OK;
}

enum cli_at cli_at_read(const char *text, time_t now, time_t *out)
{
    return strlen(text) > 8 ? read_date(text, now, out) : read_clock(text, now, out);
}

uint64_t cli_step_due(uint64_t start, uint64_t interval, uint64_t index)
{
    uint64_t offset, due;
    if (__builtin_mul_overflow(interval, index, &offset) ||
        __builtin_add_overflow(start, offset, &due))
        return UINT64_MAX;
    return due;
}
